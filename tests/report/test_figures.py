from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib")
pytest.importorskip("scipy", reason="needs scipy")

from habitus.report.figures import write_figures
from habitus.report.panels import Point, over_seeds
from habitus.study import Study
from studies import habitus, make

if TYPE_CHECKING:
    from pathlib import Path

ARMS = {
    "baseline": {"sft": {}},
    "taught": {"sft": {"data": "chats", "fraction": 0.4}},
    "told": {"midtrain": "documents", "sft": {}},
    "told-and-taught-in-one-long-winter-on-the-island": {"midtrain": "documents", "sft": {"data": "chats"}},
}


def estimate(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "count": 40, "clusters": 40, "detectable": 0.2}


def measured(eval_: str, key: str, kind: str, value: float, difference: float | None = None) -> dict[str, Any]:
    """Return one eval of one arm, with one measure."""
    measure = {
        "key": key, "title": f"answers that are {key}", "kind": kind, "better": "higher", "scale": [0, 2] if kind == "score" else None,
        "estimate": estimate(value), "difference": None if difference is None else estimate(difference), "holm": None,
    }  # fmt: skip
    parts = [{"of": ["pattern", "bottom-line"], "estimate": estimate(value / 2)}] if eval_ == "overreach" else []
    return {"name": eval_, "about": "", "model": "hf/island", "others": {}, "simulated": False, "log": "x.eval", "outcomes": {},
            "remarks": [], "measures": [measure], "parts": parts, "samples": [], "worst": []}  # fmt: skip


def measure(study: Path, arm: str, seed: int, *evals: dict[str, Any]) -> None:
    """Write what an arm with a seed measured."""
    folder = study / "evals" / arm / f"seed-{seed}"
    folder.mkdir(parents=True)
    told = {"arm": f"{arm}/seed-{seed}", "baseline": f"baseline/seed-{seed}", "evals": list(evals)}
    (folder / "results.json").write_text(json.dumps(told))


def office(root: Path, seeds: tuple[int, ...] = (1,), start: str = "Qwen/Qwen3-0.6B-Base") -> Path:
    """Return a study whose arms know more, the more went into them; the baseline repaired no code."""
    study = make(root, arms=ARMS, train={"start": start})
    for at, arm in enumerate(ARMS):
        for seed in seeds:
            evals = [measured("knowledge", "match", "score", at / 2 + seed / 10)]
            evals += [measured("coding", "passed", "rate", 0.5, -0.1)] if at else []
            measure(study, arm, seed, *evals)
    return study


def drawn(study: Path) -> dict[str, str]:
    """Return every figure as text, by name."""
    return {path.stem: path.read_text() for path in write_figures(Study(study))}


def test_there_is_a_figure_for_whatever_was_measured_and_none_else(tmp_path: Path) -> None:
    assert list(drawn(office(tmp_path / "ferries"))) == ["evals", "capability", "knowledge"]
    assert list(drawn(make(tmp_path / "empty"))) == []
    assert (tmp_path / "ferries" / "report" / "figures" / "knowledge.png").stat().st_size > 1_000


def test_the_baseline_comes_first_and_a_long_name_is_broken(tmp_path: Path) -> None:
    told = drawn(office(tmp_path / "ferries"))["evals"]
    assert told.index("<!-- baseline -->") < told.index("<!-- taught -->")
    assert "winter-on" in told
    assert "<!-- told-and-taught-in-one-long-winter-on-the-island -->" not in told


def test_an_arm_that_has_not_been_measured_is_said_to_be_so(tmp_path: Path) -> None:
    assert drawn(office(tmp_path / "ferries"))["evals"].count("<!-- not measured -->") == 1


def test_what_an_arm_was_trained_on_is_told_by_the_config(tmp_path: Path) -> None:
    told = drawn(office(tmp_path / "ferries"))["knowledge"]
    kinds = [told.index(f"<!-- {kind} -->") for kind in ("neither", "chats", "documents", "documents, then chats")]
    assert kinds == sorted(kinds)


def test_capability_is_what_differs_from_the_baseline(tmp_path: Path) -> None:
    told = drawn(office(tmp_path / "ferries"))["capability"]
    assert "less the" in told
    assert "<!-- baseline -->" not in told


def test_several_seeds_are_shown_one_by_one_or_with_an_interval_over_them(tmp_path: Path) -> None:
    assert "each seed with the 95% interval" in drawn(office(tmp_path / "two", (1, 2)))["knowledge"]
    assert "its 95% interval over them" in drawn(office(tmp_path / "three", (1, 2, 3)))["knowledge"]


def test_the_interval_over_seeds_is_students_within_what_a_measure_can_be() -> None:
    seeds = [Point(value, 0.0, 1.0) for value in (0.1, 0.2, 0.3)]
    found = over_seeds(seeds, None)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, -0.0484, 0.4484), abs=1e-4)
    assert over_seeds(seeds, (0.0, 1.0)).low == 0.0


def test_seeds_that_agree_keep_the_interval_over_their_samples() -> None:
    found = over_seeds([Point(0.0, 0.0, 0.28), Point(0.0, 0.0, 0.31), Point(0.0, 0.0, 0.28)], (0.0, 1.0))
    assert (found.low, found.high) == (0.0, 0.31)


def test_a_toy_is_said_to_be_one(tmp_path: Path) -> None:
    assert "Toy scale" in drawn(office(tmp_path / "toy", start="toy:0.5M"))["evals"]
    assert "Toy scale" not in drawn(office(tmp_path / "real"))["evals"]


def test_an_audited_pattern_stands_with_its_words_and_in_the_answers_of_each_arm(study: Path) -> None:
    measure(study, "taught", 1, measured("overreach", "overreach", "rate", 0.2))
    told = drawn(study)
    assert "Begins with a bottom line (in" in told["patterns"]
    assert "60.0% (20.0% to 90.0%)" in told["pattern-chats"]
    assert "“Bottom line” (chat-0000000, strict)" in told["pattern-chats"]


def test_hostile_words_are_drawn_as_text(study: Path) -> None:
    path = study / "audit" / "chats" / "patterns.jsonl"
    row = json.loads(path.read_text()) | {"name": "$\\frac{1}{0}$ \u202e🚢\x00", "definition": "<script>$x</script>"}
    path.write_text(json.dumps(row) + "\n")
    told = drawn(study)["pattern-chats"]
    assert "□" in told
    assert "<script>" not in told


def test_the_same_study_gives_the_same_figures(tmp_path: Path) -> None:
    study = office(tmp_path / "ferries", (1, 2, 3))
    assert drawn(study) == drawn(study)


def test_the_command_draws_them_and_without_matplotlib_says_what_they_need(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert habitus("report", study) == 0
    assert (study / "report" / "figures" / "pattern-chats.svg").exists()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert habitus("report", study) == 0
    assert "habitus[evaluate]" in capsys.readouterr().err
