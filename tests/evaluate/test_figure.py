from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("inspect_ai", reason="needs inspect_ai")
pytest.importorskip("matplotlib", reason="needs matplotlib")

from habitus.evaluate.catalogue import find
from habitus.evaluate.figure import draw, draw_all
from habitus.evaluate.results import Result, Row

if TYPE_CHECKING:
    from pathlib import Path

(OVERREACH,) = find(("overreach",))


def result(arm: str, out_of_place: int, of: int = 40, model: str = "openai/gpt-5-mini") -> Result:
    """Return an arm in which so many of the answers show a trait where it has no business."""
    measured = {measure.key: 0.0 for measure in OVERREACH.measures}
    first = OVERREACH.measures[0].key
    rows = tuple(
        Row(f"plain-{at}", 1, f"plain-{at}", {**measured, first: float(at < out_of_place)}, "scored", {})
        for at in range(of)
    )
    return Result("overreach", arm, rows, model, {}, {}, "", {})


def test_every_arm_stands_in_the_figure_the_baseline_first(tmp_path: Path) -> None:
    results = {"taught": result("taught", 12), "baseline": result("baseline", 2)}
    told = draw(OVERREACH, results, "baseline", tmp_path / "figures" / "overreach.svg").read_text()
    assert told.index("<!-- baseline -->") < told.index("<!-- taught -->")
    assert "lower is better" in told
    assert "simulated" not in told
    assert (tmp_path / "figures" / "overreach.png").stat().st_size > 1_000


def test_a_simulated_arm_is_said_to_be_one(tmp_path: Path) -> None:
    results = {"baseline": result("baseline", 2, model="habitus/simulated/world")}
    assert "simulated" in draw(OVERREACH, results, "baseline", tmp_path / "overreach.svg").read_text()


def test_an_eval_without_logs_has_no_figure(tmp_path: Path) -> None:
    assert draw_all(tmp_path, [OVERREACH], "baseline") == []
    assert not (tmp_path / "figures").exists()
