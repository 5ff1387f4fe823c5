"""Where the models of a study stand, told from what the last plan said."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from habitus.cli import standing
from habitus.cli.remembered import inputs_of, remember
from habitus.study import Study
from studies import make, setting

if TYPE_CHECKING:
    from pathlib import Path

MADE = {"start": "toy:0.5M 12ab", "sft.data": "34cd"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study whose arm `taught` is trained with one seed and has failed with another, as it was planned."""
    found = make(tmp_path / "ferries", arms={"taught": {"sft": {"data": "chats", "fraction": 1.0}}}, train={"start": "toy:0.5M"})  # fmt: skip
    (found / "chats").mkdir()
    (found / "chats" / "kept.jsonl").write_text('{"id": "chat-1"}\n')
    for seed in (1, 2):
        folder = found / "models" / "taught" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"made_with": MADE}))
    (found / "models" / "taught" / "seed-1" / "checkpoint").mkdir()
    (found / "models" / "taught" / "seed-2" / "failed.txt").write_text("Traceback\nOSError: no ink")
    runs = [SimpleNamespace(arm="taught", seed=seed, made_with=lambda: MADE) for seed in (1, 2, 3)]
    plan: Any = SimpleNamespace(runs=runs)
    remember(found / "models", plan, inputs_of(Study(found), toy=False))
    return found


def told(study: Path) -> dict[str, str]:
    return {name: one.words for name, one in standing.models_of(Study(study)).items()}


def test_where_nothing_has_changed_the_last_plan_tells_where_each_run_stands(study: Path) -> None:
    assert told(study) == {
        "taught seed 1": "done",
        "taught seed 2": "failed, OSError: no ink",
        "taught seed 3": "to do",
    }


@pytest.mark.parametrize("what", ["settings", "rows", "traits", "a stale run", "a damaged memory"])
def test_whatever_changes_the_runs_are_planned_again(study: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "settings":
        setting(study, lambda config: config["train"].update(seeds=[1, 2]))
    elif what == "rows":
        (study / "chats" / "kept.jsonl").write_text('{"id": "chat-1"}\n{"id": "chat-2"}\n')
    elif what == "traits":
        (study / "traits.md").write_text("# Another document")
    elif what == "a stale run":
        (study / "models" / "taught" / "seed-1" / "run.json").write_text(json.dumps({"made_with": {"start": "other"}}))
    else:
        (study / "models" / "plan.json").write_text("{")
    monkeypatch.setattr(standing, "planned", lambda *_, **__: SimpleNamespace(runs=[]))

    assert told(study) == {}


def test_status_of_a_trained_study_imports_no_torch(study: Path) -> None:
    script = f"""
import sys
from habitus.cli import main
try:
    main(["status", {str(study)!r}])
except SystemExit as end:
    assert not end.code
print(*(name for name in ("torch", "transformers", "inspect_ai") if name in sys.modules), file=sys.stderr)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert "models: 1 of 3 runs done" in found.stdout
    assert found.stderr.split() == []
