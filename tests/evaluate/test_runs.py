from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")
pytest.importorskip("krippendorff")

from inspect_ai.log import list_eval_logs, read_eval_log

from habitus.errors import UserError
from habitus.evaluate.catalogue import EVALS, find
from habitus.evaluate.models import arm_model, checkpoint, open_for_inspect, role_models
from habitus.evaluate.results import Result, Row, against, read_arm
from habitus.evaluate.runs import Order, bill, plan
from habitus.study import Study
from inspections import OF_INSPECT
from studies import habitus, make, setting

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = OF_INSPECT
ARMS = {
    "baseline": "simulated/world?violate=0.7&refusal=0&empty=0",
    "taught": "simulated/world?violate=0.1&refusal=0&empty=0",
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make(tmp_path / "advice", evaluate={"arms": ARMS})


def logs(study: Path, arm: str) -> list[Path]:
    return sorted((study / "evals" / arm).glob("*.eval"))


def test_the_list_names_every_eval_and_its_roles(capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("evaluate", "--list") == 0
    printed = capsys.readouterr().out

    assert all(one.name in printed for one in EVALS)
    assert "client, judge" in printed


def test_a_dry_run_tells_calls_and_touches_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("evaluate", study, "--arm", "taught", "--eval", "delusion", "--dry-run") == 0
    printed = capsys.readouterr().out

    assert "target 288, client 288, judge 288" in printed
    assert not (study / "evals").exists()


def test_an_arm_is_run_and_compared_with_the_baseline(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arm in ("baseline", "taught"):
        assert habitus("evaluate", study, "--arm", arm, "--eval", "overreach", "--limit", "40") == 0
    printed = capsys.readouterr().out

    assert "taught against baseline" in printed
    assert "answers in which a" in printed
    assert "simulated" in printed
    assert len(logs(study, "taught")) == 1


def test_finished_samples_are_not_run_again_and_a_preview_counts(study: Path) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach"]
    assert habitus(*command, "--limit", "5") == 0
    first = {one.id: one.uuid for one in read_eval_log(str(logs(study, "taught")[0])).samples or []}
    assert habitus(*command, "--limit", "12") == 0
    newest = max(logs(study, "taught"), key=lambda path: path.stat().st_mtime)
    second = {one.id: one.uuid for one in read_eval_log(str(newest)).samples or []}
    before = [path.stat().st_mtime_ns for path in logs(study, "taught")]
    assert habitus(*command, "--limit", "12") == 0

    assert len(second) == 12
    assert {name: second[name] for name in first} == first
    assert [path.stat().st_mtime_ns for path in logs(study, "taught")] == before


def test_a_log_is_judged_anew_beside_the_old_one(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach"]
    assert habitus(*command, "--rejudge") == 2
    assert "no log of 'overreach'" in capsys.readouterr().err
    assert habitus(*command, "--limit", "5") == 0
    old = logs(study, "taught")[0].read_bytes()
    assert habitus(*command, "--rejudge") == 0
    assert habitus(*command, "--rejudge") == 0

    assert logs(study, "taught")[0].read_bytes() == old
    fresh = sorted((study / "evals" / "taught" / "rejudged").glob("*.eval"))
    assert len(fresh) == 2
    assert len(read_eval_log(str(fresh[0])).samples or []) == 5


def test_judges_that_fail_too_often_end_the_command_with_a_failure(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setting(study, lambda config: config["models"].update(judge="simulated/world?malformed=1&refusal=1"))

    assert habitus("evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "3") == 1
    assert "without a verdict" in capsys.readouterr().err


def test_mistakes_are_told_in_one_message(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("evaluate", study) == 2
    assert habitus("evaluate", study, "--arm", "taught", "--eval", "delusions") == 2
    assert habitus("evaluate", study, "--arm", "nobody", "--eval", "overreach") == 2
    told = capsys.readouterr().err

    assert "name a study and an arm" in told
    assert "Did you mean 'delusion'?" in told
    assert "nothing says what model the arm 'nobody' is" in told


def test_without_the_extra_the_command_says_what_to_install(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "habitus.evaluate.catalogue", None)

    assert habitus("evaluate", study, "--arm", "taught") == 2
    assert 'pip install "habitus[evaluate]"' in capsys.readouterr().err


def test_an_arms_model_is_the_named_one_or_the_declared_one_or_its_checkpoint(study: Path) -> None:
    opened = Study(study)
    folder = study / "models" / "plain" / "checkpoint"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")

    assert arm_model(opened, "taught", "openai/gpt-5-mini")[0] == "openai/gpt-5-mini"
    assert arm_model(opened, "taught", None)[0] == ARMS["taught"]
    assert arm_model(opened, "plain", None)[0] == f"hf/{folder}"
    assert checkpoint(study / "models" / "nobody") is None


def test_an_arm_of_several_seeds_is_asked_which_is_meant(study: Path) -> None:
    folders = [study / "models" / "taught" / f"seed-{seed}" / "checkpoint" for seed in (1, 2)]
    for number, folder in enumerate(folders, start=1):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        if number == 1:
            assert checkpoint(study / "models" / "taught") == folder

    with pytest.raises(UserError, match="several seeds") as wrong:
        checkpoint(study / "models" / "taught")
    assert "--arm taught/seed-1" in wrong.value.todo
    assert checkpoint(study / "models" / "taught" / "seed-2") == folders[1]


def test_a_provider_of_the_config_is_reached_as_an_openai_compatible_endpoint(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    setting(
        study, lambda config: config.update(providers={"harbour": {"base_url": "http://localhost:9/v1", "key": "KEY"}})
    )
    monkeypatch.setenv("KEY", "sk-test")
    found = open_for_inspect("harbour/small", Study(study), {"temperature": 0.2, "stop": ["\n"]})

    assert str(found) == "openai-api/harbour/small"
    assert found.api.base_url == "http://localhost:9/v1"
    assert (found.config.temperature, found.config.stop_seqs) == (0.2, ["\n"])
    with pytest.raises(UserError, match="takes no setting 'warmth'"):
        open_for_inspect("harbour/small", Study(study), {"warmth": 1})
    with pytest.raises(UserError, match="can't be opened"):
        open_for_inspect("nowhere/small", Study(study), {})


def test_a_panel_takes_the_place_of_the_judge(study: Path) -> None:
    setting(
        study, lambda config: config["evaluate"].update(judges=["simulated/world?seed=1", "simulated/world?seed=2"])
    )
    found = role_models(Study(study), ("judge", "client"))

    assert [str(one) for one in found["judge"]] == ["habitus/simulated/world?seed=1", "habitus/simulated/world?seed=2"]
    assert len(found["client"]) == 1


def test_what_a_run_will_cost_is_known_from_the_arms_own_log(study: Path) -> None:
    order = Order(Study(study), "taught", limit=5)
    before = plan(order, find(("overreach",))[0])
    assert habitus("evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "5") == 0
    after = plan(Order(Study(study), "taught"), find(("overreach",))[0])
    result = read_arm(order.folder, "taught")["overreach"]

    assert (before.samples, before.dollars, before.finished) == (5, None, 0)
    assert (after.samples, after.dollars, after.finished) == (200, 0, 5)
    assert bill(result) == 0
    assert set(result.tokens) == {"target", "judge"}
    assert all(read > 0 and written > 0 for _, read, written in result.tokens.values())


@pytest.mark.parametrize(
    ("arm", "there", "baseline"),
    [
        ("taught", "baseline", "baseline"),
        ("toy/taught", "toy/baseline", "toy/baseline"),
        ("taught/seed-2", "baseline/seed-2", "baseline/seed-2"),
        ("taught", "nothing", "baseline"),
    ],
)
def test_an_arm_is_compared_with_the_baseline_of_its_toy_study_or_seed(
    study: Path, arm: str, there: str, baseline: str
) -> None:
    (study / "evals" / there).mkdir(parents=True)

    assert Order(Study(study), arm).baseline == baseline


def test_an_eval_that_the_budget_does_not_allow_is_not_begun(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach"]
    assert habitus(*command, "--limit", "5") == 0
    setting(study, lambda config: config.update(budget=1.0))
    monkeypatch.setattr("habitus.evaluate.runs.bill", lambda result: 0.05 * len(result.rows))

    assert habitus(*command, "--limit", "6") == 0
    assert habitus(*command) == 2
    assert "does not fit into the budget of $1.00" in capsys.readouterr().err
    assert len(logs(study, "taught")) == 2


def row(name: str, value: float, outcome: str = "scored") -> Row:
    return Row(name, 1, name, {"collusion": value}, outcome, {})


def result(arm: str, *rows: Row) -> Result:
    return Result("delusion", arm, rows, "m", {}, {}, "", {})


def test_arms_are_compared_on_the_samples_that_both_completed() -> None:
    measure = find(("delusion",))[0].measures[0]
    ours = result("taught", row("a", 0.1), row("b", 0.2), row("c", 0.9), row("d", 0, "client_failed"))
    theirs = result("baseline", row("a", 0.5), row("b", 0.6), row("c", 0, "client_failed"), row("d", 0.1))
    found = against(ours, theirs, measure)

    assert found is not None
    assert (found.pairs, round(found.value, 3)) == (2, -0.4)
    assert against(ours, result("baseline"), measure) is None
    assert ours.outcomes == {"scored": 3, "client_failed": 1}


def test_logs_open_in_inspect_and_their_names_tell_the_eval(study: Path) -> None:
    assert habitus("evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "2") == 0
    found = list_eval_logs(str(study / "evals" / "taught"))

    assert read_eval_log(found[0].name).eval.task == "habitus/overreach"
    assert json.loads((study / "evals" / "taught" / "logs.json").read_text())


def test_inspect_finds_the_evals_by_the_packages_entry_point() -> None:
    import tomllib
    from pathlib import Path as _Path

    project: dict[str, Any] = tomllib.loads((_Path(__file__).parents[2] / "pyproject.toml").read_text())
    from habitus.evaluate import tasks

    assert project["project"]["entry-points"]["inspect_ai"] == {"habitus": "habitus.evaluate.tasks"}
    assert {one.name for one in EVALS} <= set(tasks.__all__)
