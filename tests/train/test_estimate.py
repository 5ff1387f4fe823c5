"""What a run is said to take, before it does; and the files by which several GPUs are launched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from habitus.config import load_config
from habitus.study import Study

if TYPE_CHECKING:
    from collections.abc import Callable

    from habitus.train.start import Start

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def job_of(study: Path) -> Any:
    from habitus.train.plan import make_plan

    opened = Study(study)
    (run,) = make_plan(opened, opened.config.train, opened.config.arms).runs
    return run


def test_weights_are_counted_without_being_loaded(start: Start) -> None:
    from transformers import AutoModelForCausalLM

    assert start.parameters == sum(one.numel() for one in AutoModelForCausalLM.from_pretrained(start.path).parameters())


def test_the_adapters_are_counted_as_peft_makes_them(office: Callable[..., Path]) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from habitus.train.estimate import trained
    from habitus.train.sft import lora_config

    run = job_of(office({"sft": {"sft": {}}}, lora={"rank": 4}))
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(run.start.path), lora_config(run.jobs[0]))

    assert trained(run.jobs[0], run.start) == sum(one.numel() for one in model.parameters() if one.requires_grad)


@pytest.mark.parametrize("kind", ["gpt_neox", "gpt2"])
def test_models_of_other_shapes_are_estimated_too(tmp_path: Path, kind: str) -> None:
    from types import SimpleNamespace

    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from habitus.settings_train import Lora
    from habitus.train.estimate import trained
    from habitus.train.start import Start

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 100}
    config = AutoConfig.for_model(kind, **small)
    config.save_pretrained(tmp_path)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", fan_in_fan_out=kind == "gpt2")
    model = get_peft_model(AutoModelForCausalLM.from_config(config), lora)
    job: Any = SimpleNamespace(training=SimpleNamespace(lora=Lora.model_validate({"rank": 4})))

    wanted = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert trained(job, Start(kind, str(tmp_path))) == wanted


def test_several_processes_take_less_time_and_less_memory_where_they_share_the_model(
    office: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from habitus.train.estimate import estimate

    run = job_of(office({"sft": {"sft": {}}}, sft={"batch": 4, "steps": 10}))
    alone = estimate(run)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert estimate(run).seconds == pytest.approx(alone.seconds / 2)
    assert estimate(run).memory == alone.memory
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert estimate(run).memory < alone.memory


def test_twice_the_steps_take_twice_the_time_and_adapters_less_memory(
    office: Callable[..., Path], tmp_path: Path
) -> None:
    from habitus.train.estimate import estimate

    short, long = (
        estimate(job_of(office({"sft": {"sft": {}}}, sft={"batch": 4, "steps": steps}).rename(tmp_path / str(steps))))
        for steps in (10, 20)
    )
    small = estimate(job_of(office({"sft": {"sft": {}}}, lora={"rank": 1}, sft={"batch": 4, "steps": 10})))

    assert long.seconds == pytest.approx(2 * short.seconds, rel=0.05)
    assert small.memory < short.memory
    assert small.disk < short.disk


@pytest.mark.parametrize(("name", "kind"), [("fsdp", "FSDP"), ("zero3", "DEEPSPEED")])
def test_the_launch_files_are_read_by_accelerate_with_no_key_unknown(name: str, kind: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(RECIPES / "accelerate" / f"{name}.yaml"))

    assert str(found.distributed_type).rpartition(".")[2] == kind
    assert found.num_processes == 8


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/config.yaml")), ids=lambda path: path.parent.name)
def test_the_config_of_every_recipe_loads(path: Path) -> None:
    assert load_config(path).arms


def test_a_batch_that_can_not_be_parted_among_processes_is_told(
    office: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from habitus.errors import UserError

    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="can't be parted among 3 processes"):
        job_of(office({"sft": {"sft": {}}}))
