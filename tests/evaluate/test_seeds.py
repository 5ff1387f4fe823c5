"""What several seeds come to, and what is said of the effects that a study expects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")
pytest.importorskip("krippendorff")

from habitus.errors import UserError
from habitus.evaluate.catalogue import find
from habitus.evaluate.results import Result, Row
from habitus.evaluate.seeds import by_arm, effects, over_seeds
from habitus.report.page import page
from habitus.settings import Expected
from habitus.study import Study
from inspections import OF_INSPECT
from studies import habitus, make, setting

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

pytestmark = OF_INSPECT
EVALS = find(("overreach",))
ARMS = {
    f"{arm}/seed-{seed}": f"simulated/world?violate={rate}&seed={seed}&refusal=0&empty=0"
    for arm, rate in (("plain", 0.9), ("contrast", 0.2))
    for seed in (1, 2)
}


def result(arm: str, *values: float, judge: str = "one") -> dict[str, Result]:
    rows = tuple(Row(f"r{at}", 1, f"r{at}", {"overreach": value}, "scored", {}) for at, value in enumerate(values))
    return {"overreach": Result("overreach", arm, rows, "model", {"judge": judge}, {}, "", {})}


def expected(higher: str = "plain", than: str = "contrast", measure: str = "overreach/overreach") -> Expected:
    return Expected(says="contrast lowers overreach", measure=measure, higher=higher, than=than, otherwise="Too few.")


def logs(plain: list[float], contrast: list[float]) -> dict[str, dict[str, Result]]:
    """Return four requests of every seed, answered with so many of them overreaching."""
    found = {}
    for arm, shares in (("plain", plain), ("contrast", contrast)):
        for seed, share in enumerate(shares, start=1):
            values = [float(at < 4 * share) for at in range(4)]
            found[f"{arm}/seed-{seed}"] = result(arm, *values)
    return found


def only(found: dict[str, dict[str, Result]], **options: str) -> dict[str, Any]:
    (one,) = effects([expected(**options)], by_arm(found), EVALS)
    return one


def test_an_effect_shows_where_the_whole_interval_over_the_seeds_is_above_zero() -> None:
    one = only(logs([1.0, 0.75, 1.0], [0.0, 0.0, 0.25]))

    assert one["verdict"] == "shows"
    assert one["seeds"] == 3
    assert one["difference"]["value"] == pytest.approx(2.5 / 3)


def test_where_all_seeds_are_alike_the_interval_is_over_samples() -> None:
    found = {f"plain/seed-{seed}": result("plain", *[1.0] * 20) for seed in (1, 2, 3)}
    found |= {f"contrast/seed-{seed}": result("contrast", *[0.0] * 20) for seed in (1, 2, 3)}
    one = only(found)

    assert one["verdict"] == "shows"
    assert 0.5 < one["difference"]["low"] < 1


def test_an_effect_that_the_seeds_disagree_on_does_not_show() -> None:
    assert only(logs([1.0, 0.0, 0.5], [0.25, 0.5, 0.25]))["verdict"] == "does not show"


def test_an_effect_may_point_the_other_way() -> None:
    found = logs([1.0, 0.75, 1.0], [0.0, 0.0, 0.25])
    assert only(found, higher="contrast", than="plain")["verdict"] == "points the other way"


def test_arms_that_never_differ_show_no_effect() -> None:
    assert only(logs([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]))["verdict"] == "does not show"


def test_the_effect_of_one_seed_has_its_interval_over_samples() -> None:
    one = only({"plain/seed-1": result("plain", *[1.0] * 30), "contrast/seed-1": result("contrast", *[0.0] * 30)})

    assert one["verdict"] == "shows"
    assert one["seeds"] == 1
    assert 0.5 < one["difference"]["low"] < 1


def test_what_was_not_measured_or_by_another_judge_is_not_compared() -> None:
    found = logs([1.0], [0.0])

    assert only(found, measure="overreach/patience")["verdict"] == "not measured"
    assert only(found, than="nobody")["verdict"] == "not measured"
    other = {"plain/seed-1": result("plain", 1.0, 1.0), "contrast/seed-1": result("contrast", 0.0, 0.0, judge="two")}
    assert only(other)["verdict"] == "not measured"


def test_an_arm_is_summed_up_over_its_seeds() -> None:
    arms = {one["arm"]: one for one in over_seeds(by_arm(logs([1.0, 0.5], [0.25])), EVALS)}
    plain, contrast = (arms[name]["evals"][0]["measures"][0]["estimate"] for name in ("plain", "contrast"))

    assert arms["plain"]["seeds"] == 2
    assert plain["value"] == pytest.approx(0.75)
    assert plain["count"] == 2
    assert contrast["count"] == 4


def test_seeds_that_are_another_measurement_are_left_out_and_told() -> None:
    found = logs([1.0, 0.75, 1.0], [0.0, 0.0, 0.25]) | {
        "plain/seed-4": result("plain", 0.0, 0.0, 0.0, 0.0, judge="two"),
        "contrast/seed-4": result("contrast", 1.0, 1.0, 1.0, 1.0),
        "plain/seed-5": result("plain", 0.0),
        "contrast/seed-5": result("contrast", 1.0, 1.0, 1.0, 1.0),
        "plain/seed-6": result("plain", 0.0, 0.0, 0.0, 0.0, judge="two"),
        "contrast/seed-6": result("contrast", 1.0, 1.0, 1.0, 1.0, judge="two"),
        "contrast/seed-7": result("contrast", 1.0, 1.0, 1.0, 1.0),
    }
    one = only(found)
    arms = {arm["arm"]: arm["evals"][0] for arm in over_seeds(by_arm(found), EVALS)}

    assert one["verdict"] == "shows"
    assert one["seeds"] == 3
    assert {left["seed"]: left["why"] for left in one["left_out"]} == {
        "4": ["judge"], "5": ["samples"], "6": ["judge"], "7": ["only contrast"],
    }  # fmt: skip
    assert arms["plain"]["seeds"] == 3
    assert arms["plain"]["measures"][0]["estimate"]["value"] == pytest.approx(2.75 / 3)
    assert {left["seed"]: left["why"] for left in arms["plain"]["left_out"]} == {
        "4": ["judge"], "5": ["samples"], "6": ["judge"],
    }  # fmt: skip
    assert [left["seed"] for left in arms["contrast"]["left_out"]] == ["6"]


def test_an_expectation_of_an_arm_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    study = make(tmp_path / "ferries", arms={"plain": {"sft": {}}}, expect=[expected(than="plane").model_dump()])

    with pytest.raises(UserError, match=r"'plane', which is no arm\. Did you mean 'plain'"):
        _ = Study(study).config


def test_the_page_and_the_file_say_of_each_effect_whether_it_shows(tmp_path: Path) -> None:
    study = make(tmp_path / "ferries", evaluate={"arms": ARMS, "baseline": "plain"})
    for arm in ARMS:
        assert habitus("evaluate", study, "--arm", arm, "--eval", "overreach", "--limit", "12") == 0
    setting(study, lambda config: config.update(arms={"plain": {"sft": {}}, "contrast": {"sft": {}}}))
    told = [expected().model_dump(), expected(higher="contrast", than="plain").model_dump()]
    setting(study, lambda config: config.update(expect=told))
    assert habitus("evaluate", study, "--arm", "plain/seed-1", "--eval", "overreach", "--limit", "12") == 0

    found = json.loads((study / "evals" / "over-seeds.json").read_text())
    assert [one["seeds"] for one in found["effects"]] == [2, 2]
    assert {one["arm"]: one["seeds"] for one in found["arms"]} == {"plain": 2, "contrast": 2}
    text = page(Study(study))
    assert "Expected effects" in text
    assert "contrast lowers overreach" in text
    assert found["effects"][1]["verdict"] in text
    assert "Arms and evals over all seeds" in text
