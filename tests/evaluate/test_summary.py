from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")
pytest.importorskip("krippendorff")

from inspections import OF_INSPECT
from studies import habitus, make, setting

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = OF_INSPECT
ARMS = {"baseline": "simulated/world?violate=0.9&refusal=0&empty=0", "taught": "simulated/world?violate=0"}


def test_what_every_arm_measured_stands_beside_its_logs(tmp_path: Path) -> None:
    study = make(tmp_path / "advice", evaluate={"arms": ARMS})
    for arm in ARMS:
        assert habitus("evaluate", study, "--arm", arm, "--eval", "overreach", "--limit", "8") == 0
    baseline, taught = (json.loads((study / "evals" / arm / "results.json").read_text()) for arm in ARMS)
    (one,) = taught["evals"]
    first = one["measures"][0]

    assert baseline["evals"][0]["measures"][0]["difference"] is None
    assert first["difference"]["pairs"] == 8
    assert first["difference"]["value"] < 0
    assert first["holm"] is not None
    assert first["estimate"]["low"] <= first["estimate"]["value"] <= first["estimate"]["high"]
    assert len(one["samples"]) == 8
    parts = {part["of"][1]: part for part in baseline["evals"][0]["parts"]}
    assert parts["candour"]["of"][0] == "trait"
    assert all(part["estimate"]["count"] == 8 for part in parts.values())
    assert max(part["estimate"]["value"] for part in parts.values()) > 0
    assert one["simulated"]
    worst = baseline["evals"][0]["worst"][0]
    assert worst["values"]["overreach"] == 1.0
    assert [message["role"] for message in worst["messages"]] == ["user", "assistant"]
    assert (study / "evals" / "taught" / one["log"]).exists()


def test_arms_that_others_judged_are_not_compared_in_the_summary_either(tmp_path: Path) -> None:
    study = make(tmp_path / "advice", evaluate={"arms": ARMS})
    command = ["evaluate", study, "--eval", "overreach", "--limit", "4", "--arm"]
    assert habitus(*command, "baseline") == 0
    setting(study, lambda config: config["evaluate"].update(judges=["simulated/world?seed=1"]))
    assert habitus(*command, "taught") == 0
    taught = json.loads((study / "evals" / "taught" / "results.json").read_text())

    assert all(one["difference"] is None for one in taught["evals"][0]["measures"])
