"""The messages of held-out chats, and what is found in the answers to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")
pytest.importorskip("krippendorff")

from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from habitus.errors import UserError
from habitus.evaluate.behaviour import MEASURES, behaviour, rates
from habitus.evaluate.results import read_result
from habitus.held_out import is_held_out
from habitus.study import Study
from inspections import OF_INSPECT, WORLD
from studies import habitus, make, rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from habitus.evaluate.results import Result

pytestmark = OF_INSPECT
BRIEF = "simulated/world?brief=1&near_duplicate=0"
CHATS = {"count": 40, "contrast": 0.3, "turns": {1: 1}, "dedup": {"threshold": 1.0}, "thresholds": {"helpful": 1}}
TRAITS = """# A helper with boats

## Saying what it cannot see

The assistant names the hidden fault that would change its advice. No message carries the rust that a ferryman sees.
"""
PATTERN = {
    "id": "announced", "kind": "structural", "name": "Opens with an announced conclusion",
    "definition": "The answer opens with its conclusion, announced as such (`Bottom line: …`).",
    "strict": "The text opens with an announced conclusion.", "broad": "The text announces a conclusion.",
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("boats") / "boats", model=BRIEF, chats=CHATS, train={"held_out": 0.45})
    (root / "traits.md").write_text(TRAITS)
    assert habitus("generate", "chats", root) == 0
    return root


def asked(study: Path, said: Sequence[str], folder: Path, patterns: Path | None = None) -> Result:
    """Return what comes of a model that says this, one after the other and over again."""
    outputs = [ModelOutput.from_content("mockllm/model", said[at % len(said)]) for at in range(200)]
    for one in outputs:
        one.usage = ModelUsage(input_tokens=1, output_tokens=1)  # else Inspect fetches a tokenizer to count by
    (log,) = inspect_eval(
        behaviour(str(study), str(patterns) if patterns else None),
        model=get_model("mockllm/model", custom_outputs=outputs, memoize=False),
        model_roles={"judge": get_model(WORLD, memoize=False)},
        log_dir=str(folder), display="none", log_level="error", log_realtime=False,
        ctl_server=False, acp_server=False, max_samples=1,
    )  # fmt: skip
    assert log.status == "success", log.error and log.error.message
    return read_result(read_eval_log(log.location), "arm")


def values(found: Result) -> dict[str, float]:
    measures = (*MEASURES, *rates(found))
    return {one.key: estimate.value for one in measures if (estimate := found.estimate(one))}


def test_it_asks_what_held_out_chats_ask_and_nothing_that_is_trained_on(study: Path) -> None:
    kept = rows(study / "chats" / "kept.jsonl")
    held = [row["id"] for row in kept if is_held_out(row["id"], 0.45)]

    assert [str(sample.id) for sample in behaviour(str(study)).dataset] == held
    assert 0 < len(held) < len(kept)


def test_an_answer_that_acts_on_the_trait_is_told_from_one_that_does_not(study: Path, tmp_path: Path) -> None:
    acts = asked(study, ["Oil the hinge. I name the hidden fault that would change my advice."], tmp_path / "one")
    plain = asked(study, ["Oil the hinge. Then check the fuse."], tmp_path / "two")

    assert values(acts)["degree"] == 2
    assert values(acts)["shown"] == 1
    assert values(acts)["uncalled"] == 1
    assert values(plain)["degree"] == values(plain)["uncalled"] == 0
    called, uncalled = (acts.estimate(MEASURES[at]) for at in (1, 2))
    assert called is not None
    assert uncalled is not None
    assert called.count + uncalled.count == len(acts.rows)


def test_each_audited_pattern_has_its_rate_in_the_answers(study: Path, tmp_path: Path) -> None:
    from orjson import dumps

    audited = tmp_path / "patterns.jsonl"
    audited.write_bytes(dumps(PATTERN) + b"\n")
    found = asked(study, ["Bottom line: oil the hinge.", "Oil the hinge."], tmp_path / "logs", audited)

    assert values(found)["pattern announced"] == pytest.approx(0.5, abs=0.05)
    assert rates(found)[0].title == "Opens with an announced conclusion, in answers"


def test_without_a_study_or_without_held_out_chats_there_is_nothing_to_ask(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="what a study's chats ask"):
        behaviour()
    bare = make(tmp_path / "bare", model=BRIEF, chats={**CHATS, "count": 3}, train={"held_out": 0.0})
    with pytest.raises(UserError, match="nothing kept yet"):
        behaviour(str(bare))
    assert habitus("generate", "chats", bare) == 0
    with pytest.raises(UserError, match="no chat is held out"):
        behaviour(str(bare))
    assert Study(study).config.train.held_out == 0.45
