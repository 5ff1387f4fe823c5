"""`habitus train` on a model of 30,000 weights: true training, in seconds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import habitus as package
from ferry import chat, write
from studies import habitus, rows, setting

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "accelerate"
ARMS = {
    "baseline": {"sft": {}},
    "sft": {"sft": {"data": "chats", "fraction": 0.25}},
    "both": {"midtrain": "documents", "sft": {"data": "chats", "fraction": 0.25}},
    "bdpo": {"sft": {"data": "chats", "fraction": 0.25}, "bdpo": "preferences"},
}


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "checkpoint" / "model.safetensors")


def same(one: Path, two: Path) -> bool:
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in rows(folder / "metrics.jsonl") if "loss" in row]


def test_every_arm_is_trained_and_its_folder_says_on_what(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    study = office(ARMS)
    assert habitus("train", study) == 0
    told = capsys.readouterr().out
    about = {name: json.loads((study / "models" / name / "seed-1" / "run.json").read_text()) for name in ARMS}
    mixture = rows(study / "models" / "sft" / "seed-1" / "mixture.jsonl")

    assert told.count(" done ") == len(ARMS)
    assert all(one["done"] for one in about.values())
    assert len({about[name]["steps"] for name in ("baseline", "sft", "both")}) == 1
    assert sum(row["source"] == "chats" for row in mixture) / len(mixture) == pytest.approx(0.25, abs=0.01)
    assert {"id", "hash", "trait", "tokens", "trained"} <= mixture[0].keys()
    for name in ARMS:
        folder = study / "models" / name / "seed-1"
        files = {path.name for path in folder.iterdir()}
        assert {"checkpoint", "mixture.jsonl", "metrics.jsonl", "curve.svg", "README.md", "run.json"} <= files
        assert "work" not in files
        assert losses(folder)[-1] < losses(folder)[0]
    measured = {name for row in rows(study / "models" / "sft" / "seed-1" / "metrics.jsonl") for name in row}
    assert {"eval_baseline_entropy", "eval_synthetic_entropy"} <= measured
    assert not {"eval_entropy", "num_tokens"} & measured
    # the SFT before BDPO is the arm `sft` again, and is kept where another arm may begin from it
    assert len(list((study / "models" / "shared").iterdir())) == 2


def test_a_second_run_trains_nothing_and_a_change_is_told_and_not_overwritten(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    study = office({"sft": ARMS["sft"]})
    folder = study / "models" / "sft" / "seed-1"
    assert habitus("train", study) == 0
    before = (folder / "run.json").read_bytes(), weights(folder)
    capsys.readouterr()

    assert habitus("train", study) == 0
    assert "was done" in capsys.readouterr().out
    setting(study, lambda config: config["train"]["sft"].update(learning_rate=1e-3))
    assert habitus("train", study) == 1
    told = capsys.readouterr()
    assert "stale" in told.out
    assert "sft.learning_rate was 0.003, is 0.001" in told.err
    assert (folder / "run.json").read_bytes() == before[0]

    assert habitus("train", study, "--redo") == 0
    assert (study / "models" / "sft" / "seed-1-old-1" / "run.json").read_bytes() == before[0]
    assert any(not torch.equal(before[1][name], value) for name, value in weights(folder).items())


@pytest.mark.timeout(900)
def test_a_run_killed_half_way_goes_on_to_the_same_weights(office: Callable[..., Path], tmp_path: Path) -> None:
    study = office({"sft": ARMS["sft"]}, save_every=5, sft={"batch": 4, "learning_rate": 3e-3, "steps": 40})
    whole, killed = study / "models" / "sft" / "seed-1", tmp_path / "whole"
    assert habitus("train", study) == 0
    whole.rename(killed)

    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parents[1])}
    command = [sys.executable, "-m", "habitus", "train", str(study)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (whole / "work" / "checkpoint-10" / "trainer_state.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (whole / "checkpoint").exists()

    assert habitus("train", study) == 0
    assert same(whole, killed)
    assert rows(whole / "metrics.jsonl") == rows(killed / "metrics.jsonl")


def test_one_arms_failure_does_not_lose_the_others(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    study = office({"wild": {"sft": {"data": "chats"}, "start": "wild"}, "sft": ARMS["sft"]})
    tiny = Path(package_start(study))
    broken = shutil.copytree(tiny, study / "wild")
    spoil(broken / "model.safetensors")

    assert habitus("train", study) == 1
    told = capsys.readouterr()
    assert "the loss is no number at step 1" in told.err
    assert "Traceback" not in told.err
    assert (study / "models" / "sft" / "seed-1" / "checkpoint").exists()
    assert "the loss is no number" in (study / "models" / "wild" / "seed-1" / "failed.txt").read_text()


def package_start(study: Path) -> str:
    import yaml

    return yaml.safe_load((study / "config.yaml").read_text())["train"]["start"]


def spoil(path: Path) -> None:
    """Make weights of a checkpoint no numbers."""
    from safetensors.torch import load_file, save_file

    found = load_file(path)
    name = next(iter(found))
    save_file({**found, name: found[name] * float("nan")}, path, metadata={"format": "pt"})


def test_adapters_are_trained_and_merged_into_a_checkpoint_that_anything_loads(office: Callable[..., Path]) -> None:
    from transformers import AutoModelForCausalLM

    study = office({"sft": ARMS["sft"]}, lora={"rank": 4, "alpha": 8})
    assert habitus("train", study) == 0
    folder = study / "models" / "sft" / "seed-1"
    model = AutoModelForCausalLM.from_pretrained(folder / "checkpoint")

    assert type(model).__name__ == "LlamaForCausalLM"
    assert (folder / "adapter" / "adapter_config.json").exists()
    assert losses(folder)[-1] < losses(folder)[0]


@pytest.mark.parametrize("lora", [None, {"rank": 2}], ids=["all weights", "adapters"])
def test_a_model_that_learnt_to_end_its_turns_stops_there_when_it_is_loaded(
    office: Callable[..., Path], lora: dict[str, int] | None
) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    study = office({"sft": {**ARMS["sft"], "start": "base"}}, lora=lora, sft={"batch": 4, "steps": 2})
    base = shutil.copytree(package_start(study), study / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    GenerationConfig(eos_token_id=tokenizer.eos_token_id).save_pretrained(base)
    assert habitus("train", study) == 0

    ends = GenerationConfig.from_pretrained(study / "models" / "sft" / "seed-1" / "checkpoint").eos_token_id
    assert set(ends) == set(tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"]))


def test_adapters_that_could_not_be_merged_are_merged_later_and_not_trained_again(
    office: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from habitus.train import fit

    study = office({"sft": ARMS["sft"]}, lora={"rank": 2}, sft={"batch": 4, "steps": 4})
    folder = study / "models" / "sft" / "seed-1"

    def fails(*_: Any) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_merge", fails)
        assert habitus("train", study) == 1
    assert (folder / "adapter" / "adapter_config.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(fit, "_train", fails)
        assert habitus("train", study) == 0
    assert weights(folder)


def test_the_model_of_an_arm_that_failed_is_gone_before_the_next_begins(
    office: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from habitus.train import fit

    study = office(
        {"wild": {"sft": {"data": "chats"}, "start": "wild"}, "sft": ARMS["sft"]}, sft={"batch": 4, "steps": 2}
    )
    spoil(shutil.copytree(package_start(study), study / "wild") / "model.safetensors")
    models: list[Any] = []
    load = fit.load

    def loaded(*given: Any) -> Any:
        assert not any(model() for model in models)
        found = load(*given)
        models.append(weakref.ref(found[0]))
        return found

    monkeypatch.setattr(fit, "load", loaded)
    assert habitus("train", study) == 1
    assert (study / "models" / "sft" / "seed-1" / "checkpoint").exists()
    assert len(models) == 2


def test_nothing_calls_home_however_the_libraries_come_to_be_imported(office: Callable[..., Path]) -> None:
    study = office({"sft": ARMS["sft"]})
    told = (
        "import atexit, sys; from habitus.cli import main; "
        "atexit.register(lambda: print(sys.modules['huggingface_hub.constants'].HF_HUB_DISABLE_TELEMETRY)); "
        "main(sys.argv[1:])"
    )
    names = ("PATH", "HOME", "TMPDIR")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    environment["PYTHONPATH"] = str(Path(package.__file__).parents[1])
    command = [sys.executable, "-c", told, "train", str(study), "--dry-run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "True"


def test_a_toy_run_has_a_pace_of_its_own_whatever_the_study_has_set(office: Callable[..., Path]) -> None:
    from habitus.cli.train import settings
    from habitus.study import Study

    slow = {"batch": 16, "rows_at_once": 16, "steps": 9000, "epochs": 3, "learning_rate": 1e-5}
    found, _ = settings(Study(office(ARMS, sft=slow, bdpo=dict(slow), weights="bfloat16", bf16=True)), toy=True)

    for stage in (found.sft, found.bdpo):
        assert (stage.batch, stage.rows_at_once, stage.steps, stage.epochs, stage.learning_rate) == (
            2,
            1,
            None,
            1,
            None,
        )
    assert (found.weights, found.bf16) == (None, None)


@pytest.mark.parametrize("packing", [True, False])
def test_what_carries_loss_can_be_looked_at_before_anything_is_spent(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str], packing: bool
) -> None:
    study = office({"sft": ARMS["sft"]}, packing=packing)
    assert habitus("train", study, "--show") == 0
    told = capsys.readouterr().out

    assert "⟦Gladly. The" in told
    assert "⟦The" in told
    assert "<|im_end|>⟧" in told
    assert "tokens with loss" in told
    assert "cut off" in told
    assert not (study / "models").exists()


def test_a_pair_is_shown_as_its_two_conversations_and_a_cut_where_it_is(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    study = office({"bdpo": {"bdpo": "preferences"}, "sft": ARMS["sft"]}, max_length=25)
    assert habitus("train", study, "--show") == 0
    told = capsys.readouterr().out
    chosen, rejected = (told.partition(f", {side}\n")[2].partition("⟧")[0] for side in ("chosen", "rejected"))

    assert "Gladly." in chosen
    assert "Ask the mate" in rejected
    assert chosen.partition("⟦")[0] == rejected.partition("⟦")[0]
    assert "tokens cut off" in told


def test_a_dry_run_trains_nothing_and_tells_memory_and_time(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    study = office(ARMS)
    assert habitus("train", study, "--dry-run") == 0
    told = capsys.readouterr()

    assert "estimates: from the models' shapes" in told.out
    assert "MB" in told.out
    assert "optimiser steps; under 250 expect little" in told.err
    assert not (study / "models").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"start": "no/such-model"}, "this model can't be loaded"),
        ({"start": "./nowhere"}, "there is no such folder"),
        ({"start": "toy:7B"}, "no toy of the size '7B'"),
        ({"start": None}, "it is not said which model to train"),
        ({"max_length": 100_000}, "rows of 100,000 tokens are asked for"),
        ({"max_length": 8}, "none of"),
        ({"size": 9_000}, "are wanted, and there are"),
        ({"baseline": None}, "there are no baseline chats"),
        ({"baseline": "imported/none"}, "nothing kept yet"),
    ],
)
def test_bad_input_is_one_clear_message(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str], change: dict[str, Any], complaint: str
) -> None:
    study = office({"sft": ARMS["sft"]})
    setting(study, lambda config: config["train"].update(change))
    assert habitus("train", study) == 2
    told = capsys.readouterr().err

    assert complaint in told
    assert told.count("error: ") == 1
    assert "Traceback" not in told


def test_a_full_disk_is_told_before_the_first_step(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = office({"sft": ARMS["sft"]})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    assert habitus("train", study) == 1
    assert "of disk are needed" in capsys.readouterr().err


def test_an_unknown_arm_is_told_with_the_nearest_name(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert habitus("train", office(ARMS), "--arm", "basline") == 2
    assert "Did you mean 'baseline'?" in capsys.readouterr().err


def test_rows_that_repeat_the_traits_document_are_left_out_and_listed(
    office: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    study = office({"sft": ARMS["sft"]})
    sentence = max((study / "traits.md").read_text().splitlines(), key=len)
    whole = rows(study / "chats" / "kept.jsonl")
    whole[3]["messages"][1]["content"] = sentence
    write(study / "chats" / "kept.jsonl", whole)
    assert habitus("train", study) == 0

    assert "chats: 1 row is left out (repeats what generation was told)" in capsys.readouterr().err
    (left,) = rows(study / "models" / "left_out.jsonl")
    assert left["id"] == chat(3)["id"]
    assert left["reason"].startswith("repeats what generation was told")
    assert chat(3)["id"] not in {row["id"] for row in rows(study / "models" / "sft" / "seed-1" / "mixture.jsonl")}


def launched_plainly(folder: Path) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def launched_by_the_recipe(folder: Path) -> list[str]:
    """The launch file for FSDP as it ships, but for two processes on a CPU."""
    text = (RECIPES / "fsdp.yaml").read_text()
    for was, now in (
        ("num_processes: 8", "num_processes: 2"),
        ("use_cpu: false", "use_cpu: true"),
        ("n: bf16", 'n: "no"'),
    ):
        assert was in text
        text = text.replace(was, now)
    path = folder / "fsdp.yaml"
    path.write_text(text)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(path)]
    return [*launch, "--main_process_port", "0", "-m"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("launched", [launched_plainly, launched_by_the_recipe])
def test_two_processes_come_to_the_losses_and_weights_of_one(
    office: Callable[..., Path], tmp_path: Path, launched: Callable[[Path], list[str]]
) -> None:
    study = office({"sft": ARMS["sft"]}, samples=0, sft={"batch": 4, "learning_rate": 3e-3, "steps": 6})
    folder, alone = study / "models" / "sft" / "seed-1", tmp_path / "alone"
    assert habitus("train", study) == 0
    folder.rename(alone)

    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [*launched(tmp_path), "habitus", "train", str(study)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(folder) == pytest.approx(losses(alone), abs=2e-4)
    ours, theirs = weights(folder), weights(alone)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in ours)


def test_a_kill_after_the_last_step_and_before_the_checkpoint_loses_nothing(
    office: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from habitus.train import fit

    study = office({"sft": ARMS["sft"]}, sft={"batch": 4, "learning_rate": 3e-3, "steps": 12})
    folder = study / "models" / "sft" / "seed-1"

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_finish", killed)
        assert habitus("train", study) == 130
    before = losses(folder)
    assert not (folder / "checkpoint").exists()

    assert habitus("train", study) == 0
    assert losses(folder) == before
    assert weights(folder)

    (folder / "README.md").unlink()  # as if killed once more, before the card
    assert habitus("train", study) == 0
    assert (folder / "README.md").exists()
