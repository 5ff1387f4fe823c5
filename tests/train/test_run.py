"""`habitus run` on the ferry office: true training and true evals, of a model of 30,000 weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")

from ferry import chat, write
from habitus.cli.needs import audited, needed
from habitus.cli.toy import twin_of
from habitus.study import Study
from inspections import OF_INSPECT
from studies import habitus, make, setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [*OF_INSPECT, pytest.mark.timeout(300)]
ARMS = {"baseline": {"sft": {}}, "taught": {"sft": {"data": "chats", "fraction": 0.25}}}
SMALL = {"evals": ["overreach"], "limit": 2}


@pytest.fixture
def small(office: Callable[..., Path]) -> Path:
    study = office(ARMS, sft={"batch": 4, "steps": 2})
    setting(study, lambda config: config.update(evaluate=SMALL))
    return study


def logs(study: Path, arm: str) -> set[str]:
    return {path.name for path in (study / "evals" / arm / "seed-1").glob("*.eval")}


def names(study: Path) -> list[str]:
    return [job.dataset.name for job in needed(Study(study))]


def test_the_datasets_that_are_written_are_those_of_the_arms(tmp_path: Path) -> None:
    def arms(*data: str) -> dict[str, Any]:
        return {name.replace("/", "-"): {"sft": {"data": name}} for name in data}

    assert names(make(tmp_path / "plain", arms=arms("chats-plain"))) == ["chats", "chats-plain"]
    assert names(make(tmp_path / "placebo", arms=arms("chats-placebo", "imported/desk"))) == ["chats-placebo"]
    assert names(make(tmp_path / "none")) == ["documents", "chats"]
    assert names(make(tmp_path / "baseline", arms={"baseline": {"sft": {}}})) == []


def test_only_what_an_arm_filters_by_a_pattern_is_audited(tmp_path: Path) -> None:
    arms = {"sft": {"sft": "chats"}, "filtered": {"sft": {"data": "chats-plain", "without": ["gladly"]}}}

    assert audited(Study(make(tmp_path / "filtered", arms=arms))) == ["chats-plain"]


def test_a_study_is_trained_and_evaluated_by_one_command_and_nothing_is_done_twice(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert habitus("run", small) == 0
    told = capsys.readouterr().out
    before = {arm: logs(small, arm) for arm in ARMS}

    assert "all done" in told
    assert all(before.values())
    assert habitus("run", small) == 0
    assert "taught/seed-1 against baseline/seed-1" not in capsys.readouterr().out
    assert {arm: logs(small, arm) for arm in ARMS} == before

    assert habitus("status", small) == 0
    told = capsys.readouterr().out
    assert "models: 2 of 2 runs done" in told
    assert "taught/seed-1: overreach 2 of 2" in told


def test_what_an_interrupted_run_left_unsummed_is_summed_up_by_the_next(small: Path) -> None:
    assert habitus("run", small) == 0
    told, figure = small / "evals" / "over-seeds.json", small / "evals" / "figures" / "overreach.svg"
    for path in (told, figure):
        path.unlink()

    assert habitus("run", small) == 0
    assert told.exists()
    assert figure.exists()
    effect = {"says": "it carries over", "measure": "overreach/overreach", "higher": "taught", "than": "baseline"}
    setting(small, lambda config: config.update(expect=[effect]))
    assert habitus("run", small) == 0
    assert [one["says"] for one in Study(small).over_seeds["effects"]] == ["it carries over"]


def test_a_changed_dataset_is_told_and_after_a_redo_its_evals_are_run_anew(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert habitus("run", small) == 0
    before = {arm: logs(small, arm) for arm in ARMS}
    write(small / "chats" / "kept.jsonl", [chat(number, opener="By all means. ") for number in range(60)])
    capsys.readouterr()

    assert habitus("run", small) == 1
    assert "taught seed 1: to redo, chats changed" in capsys.readouterr().err
    assert habitus("status", small) == 0
    assert "taught seed 1: to redo, chats changed" in capsys.readouterr().out
    assert habitus("run", small, "--dry-run") == 0
    assert "to redo, chats changed" in capsys.readouterr().out

    assert habitus("train", small, "--redo") == 0
    assert habitus("run", small) == 0
    assert logs(small, "baseline") == before["baseline"]
    assert logs(small, "taught").isdisjoint(before["taught"])
    assert {path.name for path in (small / "evals-old").rglob("*.eval")} == before["taught"]


def test_an_arm_that_fails_does_not_lose_the_others(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from habitus.train import fit

    real = fit.fit

    def failing(job: Any, *rest: Any) -> None:
        if job.kind == "midtrain":
            raise RuntimeError("the press stands still")
        real(job, *rest)

    monkeypatch.setattr(fit, "fit", failing)
    setting(small, lambda config: config["arms"].update(both={"midtrain": "documents", **ARMS["taught"]}))

    assert habitus("run", small) == 1
    assert "both seed 1: failed, RuntimeError: the press stands still" in capsys.readouterr().err
    assert logs(small, "taught")
    assert not logs(small, "both")


def test_a_dry_run_trains_nothing_and_tells_steps_and_calls(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("run", small, "--dry-run", "--arm", "taught") == 0
    told = capsys.readouterr().out

    assert "taught seed 1" in told
    assert "baseline seed 1" not in told
    assert "1 of 3 done" in told  # the chats
    assert not (small / "models").exists()


def test_an_arm_that_is_not_there_is_told(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("run", small, "--arm", "tought") == 2
    assert "There are: baseline, taught." in " ".join(capsys.readouterr().err.split())


def test_the_toy_twin_is_a_study_of_its_own_that_asks_nobody(tmp_path: Path) -> None:
    arms = {"sft": {"start": "acme/large", "sft": {"data": "hf:acme/chats", "without_ids": "gone.txt"}}}
    train = {"start": "acme/small", "seeds": [3, 4], "sft": {"steps": 900}, "lora": {}}
    study = make(tmp_path / "advice", model="openai/gpt-5", arms=arms, train=train, chats={"count": 5000})
    config = twin_of(Study(study)).config

    assert config.models.default.model == "simulated/world"
    assert config.train.start == "toy:0.5M"
    assert config.train.seeds == [3]
    assert config.train.sft.steps is None
    assert config.arms["sft"].start is None
    assert config.arms["sft"].sft
    assert config.arms["sft"].sft.data == "chats"
    assert config.chats.count < 200
    assert config.evaluate.evals == ["behaviour", "knowledge", "overreach"]
