from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")
pytest.importorskip("krippendorff")

from inspect_ai.log import list_eval_logs, read_eval_log, write_eval_log

from habitus.cli import standing
from habitus.errors import UserError
from habitus.evaluate.bills import bill
from habitus.evaluate.catalogue import EVALS, find
from habitus.evaluate.models import arm_model, checkpoint, open_for_inspect, role_models
from habitus.evaluate.results import Result, Row, against, read_arm
from habitus.evaluate.runs import Order, plan
from habitus.models.exchange import ExchangeModel
from habitus.models.lines import Answer
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
    assert "answers in which a trait is plainly out of place" in printed.partition("taught against baseline")[2]
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

    assert (before.samples, before.dollars, before.finished) == (5, 0, 0)
    assert (after.samples, after.dollars, after.finished) == (200, 0, 5)
    assert bill(result, Study(study)) == 0
    assert set(result.tokens) == {"target", "judge"}
    assert all(read > 0 and written > 0 for _, read, written in result.tokens.values())


@pytest.mark.parametrize(
    ("arm", "there", "baseline"),
    [
        ("taught", "baseline", "baseline"),
        ("toy/taught", "toy/baseline", "toy/baseline"),
        ("taught/seed-2", "baseline/seed-2", "baseline/seed-2"),
        ("taught", "nothing", "baseline"),
        ("baseline/seed-2", "nothing", "baseline/seed-2"),
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
    monkeypatch.setattr("habitus.evaluate.runs.bill", lambda result, _: 0.05 * len(result.rows))
    monkeypatch.setattr("habitus.evaluate.runs.spent", lambda _: 0.25)

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


def add(study: Path, **settings: Any) -> None:
    setting(study, lambda config: config["evaluate"].update(settings))


def newest(study: Path, arm: str) -> Any:
    return read_eval_log(str(max(logs(study, arm), key=lambda path: path.stat().st_mtime)))


def test_an_arm_without_answers_of_the_baseline_is_refused_before_anything_is_paid(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", study, "--eval", "side_by_side", "--arm"]
    assert habitus(*command, "taught", "--limit", "3") == 2
    assert "has no answers to compare with" in capsys.readouterr().err
    assert habitus(*command, "baseline", "--limit", "3") == 0
    assert habitus(*command, "taught", "--limit", "6") == 2
    assert "has run 3 of the 6 samples" in capsys.readouterr().err
    assert not (study / "evals" / "taught").exists()

    assert habitus(*command, "baseline", "--limit", "6") == 0
    assert habitus(*command, "taught", "--limit", "6") == 0
    assert read_arm(study / "evals" / "baseline", "baseline")["side_by_side"].outcomes == {"scored": 6}
    assert read_arm(study / "evals" / "taught", "taught")["side_by_side"].outcomes == {"scored": 6}


def test_changed_traits_begin_a_fresh_log_and_the_earlier_result_is_said_to_be_stale(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "3"]
    assert habitus(*command) == 0
    text = (study / "traits.md").read_text()
    (study / "traits.md").write_text(text + "\n## Thrift\n\nThe assistant wastes nothing, since others need it too.\n")
    capsys.readouterr()
    assert habitus(*command) == 0

    assert "the earlier result is stale (traits changed since)" in capsys.readouterr().err
    first, second = ({one.uuid for one in read_eval_log(str(path)).samples or []} for path in logs(study, "taught"))
    assert not first & second


def test_the_result_printed_is_that_of_this_runs_model(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "3"]
    first, second = ARMS["taught"], ARMS["baseline"]
    assert [habitus(*command, "--model", name) for name in (first, second, first)] == [0, 0, 0]

    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("overreach, arm taught")]
    assert [line.endswith(f"habitus/{first}") for line in printed] == [True, False, True]
    assert len(logs(study, "taught")) == 2


def test_arms_that_others_judged_are_not_compared(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", study, "--eval", "overreach", "--limit", "3", "--arm"]
    assert habitus(*command, "baseline") == 0
    add(study, judges=["simulated/world?seed=1"])
    capsys.readouterr()
    assert habitus(*command, "taught") == 0
    told = capsys.readouterr()

    assert "baseline was measured with other judge" in told.err
    assert "taught against baseline" not in told.out


def test_what_is_judged_anew_is_compared_with_what_is_judged_anew(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", study, "--eval", "overreach", "--arm"]
    for arm in ("baseline", "taught"):
        assert habitus(*command, arm, "--limit", "4") == 0
    add(study, judges=["simulated/world?seed=1"])
    for arm in ("baseline", "taught"):
        assert habitus(*command, arm, "--limit", "2", "--rejudge") == 0
    printed = capsys.readouterr().out
    fresh = read_arm(study / "evals" / "taught" / "rejudged", "taught")["overreach"]

    assert fresh.others == {"judge": "habitus/simulated/world?seed=1"}
    assert len(fresh.rows) == 2
    assert set(fresh.tokens) >= {"judge"}
    assert all(list(row.usage) == ["habitus/simulated/world?seed=1"] for row in fresh.rows)
    assert printed.count("taught against baseline") == 2
    assert "rejudged" not in (study / "evals" / "figures" / "overreach.svg").read_text()


def test_samples_that_a_judge_failed_are_asked_for_again_by_the_same_command(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "3"]
    setting(study, lambda config: config["models"].update(judge="simulated/world?malformed=1&refusal=1"))
    assert habitus(*command) == 1
    printed = capsys.readouterr().out
    assert "first without a verdict: arithmetic-01, judge failed: evaluate/overreach_judge" in printed
    assert "95% interval" not in printed
    before = {one.uuid for one in newest(study, "taught").samples}
    assert habitus(*command) == 1
    after = {one.uuid for one in newest(study, "taught").samples}

    assert len(logs(study, "taught")) == 2
    assert not before & after


def test_a_later_smaller_log_takes_nothing_from_an_earlier_larger_one(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", study, "--eval", "overreach", "--arm"]
    for arm in ("baseline", "taught"):
        assert habitus(*command, arm, "--limit", "6") == 0
    assert habitus(*command, "baseline", "--limit", "1", "--epochs", "2") == 0
    capsys.readouterr()
    assert habitus(*command, "taught", "--limit", "6") == 0

    compared = capsys.readouterr().out.partition("taught against baseline")[2].splitlines()
    assert "6" in next(line for line in compared if "plainly" in line).split()
    whole = read_arm(study / "evals" / "baseline", "baseline")["overreach"]
    assert sorted((row.id, row.epoch) for row in whole.rows)[:2] == [("arithmetic-01", 1), ("arithmetic-01", 2)]
    assert len(whole.rows) == 7
    assert {row.file for row in whole.rows} > {whole.file}
    told = json.loads((study / "evals" / "baseline" / "results.json").read_text())
    assert len(told["evals"][0]["samples"]) == 7


def test_an_arm_is_still_done_after_a_later_smaller_run(study: Path) -> None:
    command = ["evaluate", study, "--eval", "overreach", "--arm", "taught"]
    assert habitus(*command, "--limit", "6") == 0
    assert habitus(*command, "--limit", "1", "--epochs", "2") == 0
    order, chosen = Order(Study(study), "taught", limit=6), find(("overreach",))
    found = plan(order, chosen[0])

    assert (found.finished, found.samples) == (6, 6)
    assert found.ahead == 5
    assert standing.evals(order, [found]).state == "done"
    assert plan(replace(order, limit=7), chosen[0]).finished == 6


def test_a_log_without_a_sample_is_not_called_stale(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "2"]
    assert habitus(*command) == 0
    (path,) = logs(study, "taught")
    log = read_eval_log(str(path))
    log.samples, log.results, log.status = [], None, "started"
    write_eval_log(log, str(path))
    capsys.readouterr()

    assert habitus(*command) == 0
    assert "stale" not in capsys.readouterr().err


def test_a_sample_that_came_to_no_verdict_is_asked_for_under_other_ids_of_an_exchange(study: Path) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "1"]
    setting(study, lambda config: config["models"].update(judge="exchange/judge"))
    asked: list[str] = []

    async def _wait(_: ExchangeModel, custom_id: str) -> Any:
        asked.append(custom_id)
        return SimpleNamespace(error="", told=Answer("No."))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExchangeModel, "_wait", _wait)
        patch.setattr("habitus.models.exchange._Requests.add", lambda *_: None)
        assert [habitus(*command) for _ in range(3)] == [1, 1, 1]
    assert len(asked) == len(set(asked)) == 3 * 6  # three draws a try, each sent back once


@pytest.mark.parametrize("left", [[], [SimpleNamespace(status="cancelled")]])
def test_an_interrupted_run_ends_with_130_and_goes_no_further(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left: list[Any]
) -> None:
    monkeypatch.setattr("habitus.evaluate.runs.eval_set", lambda *_, **__: (False, left))

    assert habitus("evaluate", study, "--arm", "taught", "--eval", "overreach", "--eval", "delusion") == 130
    told = capsys.readouterr()
    assert told.err.count("Interrupted") == 1
    assert "overreach, arm" not in told.out


def test_samples_that_all_error_end_with_1_and_the_first_reason(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the harbour is closed")

    monkeypatch.setattr("habitus.evaluate.roles.Cast.reply", broken)

    assert habitus("evaluate", study, "--arm", "taught", "--eval", "overreach", "--limit", "2") == 1
    assert "the harbour is closed" in capsys.readouterr().out


def test_an_eval_that_cannot_be_run_is_left_out_and_the_others_are_run(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", study, "--arm", "taught", "--limit", "2", "--eval", "side_by_side", "--eval", "overreach"]

    assert habitus(*command) == 1
    told = capsys.readouterr()
    assert "side_by_side is left out" in told.err
    assert "overreach, arm taught" in told.out


def test_a_base_model_is_asked_for_knowledge_alone(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("evaluate", study, "--arm", "taught", "--eval", "overreach", "--base") == 2
    assert "--base is for knowledge alone" in capsys.readouterr().err


def test_a_model_is_not_its_own_judge(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", study, "--arm", "taught", "--model", "openai/gpt-5", "--eval", "audit_agents"]
    add(study, judges=["openai/gpt-5"])

    assert habitus(*command) == 2
    assert "would be judged by the model under test" in capsys.readouterr().err


def test_each_judge_of_a_panel_is_billed_by_itself(study: Path) -> None:
    from inspect_ai.model import ModelUsage

    opened, million = Study(study), ModelUsage(input_tokens=1_000_000, output_tokens=0)
    both = {"openai/gpt-5": million, "anthropic/claude-sonnet-4-5": million}
    panel = result("taught", Row("a", 1, "a", {}, "scored", {}, usage=both))
    unknown = result("taught", Row("a", 1, "a", {}, "scored", {}, usage=both | {"harbour/large": million}))

    assert bill(panel, opened) == pytest.approx(1.25 + 3)
    assert bill(unknown, opened) is None
    assert bill(replace(panel, model="habitus/exchange/taught"), opened) is None


def test_a_budget_cannot_be_held_where_a_price_is_unknown(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", study, "--arm", "taught", "--eval", "overreach"]
    providers = {"harbour": {"base_url": "http://localhost:9/v1"}}
    setting(study, lambda config: config.update(budget=5.0, providers=providers))
    add(study, judges=["harbour/large"])
    assert habitus(*command) == 2
    assert "the price of openai-api/harbour/large is unknown" in capsys.readouterr().err

    add(study, judges=[{"model": "harbour/large", "price": {"input": 1, "output": 2}}])
    assert plan(Order(Study(study), "taught", limit=100), find(("overreach",))[0]).dollars == pytest.approx(0.262)


def test_verdicts_are_held_against_labels(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", study, "--arm", "baseline", "--eval", "overreach"]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("{}")
    assert habitus(*command, "--agree", labels) == 2
    assert habitus(*command, "--limit", "8") == 0
    rows = read_arm(study / "evals" / "baseline", "baseline")["overreach"].scored
    said = [{"id": row.id, "overreach": row.values["overreach"], "answered": 1} for row in rows]
    labels.write_text("".join(f"{json.dumps(one)}\n" for one in said))
    capsys.readouterr()

    assert habitus(*command, "--agree", labels) == 0
    told = capsys.readouterr().out
    assert "8 samples with both" in told
    assert "quadratic kappa 1.000, Krippendorff's alpha 1.000" in told
    assert "nothing varies" in told
    labels.write_text(json.dumps({"id": rows[0].id, "overeach": 1}))
    assert habitus(*command, "--agree", labels) == 2
    assert "Did you mean 'overreach'?" in capsys.readouterr().err
    labels.write_text(json.dumps({"id": "nobody", "overreach": 1}))
    assert habitus(*command, "--agree", labels) == 2
    assert "no sample 'nobody'" in capsys.readouterr().err


def test_traits_are_compared_one_by_one_where_they_are_out_of_place(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arm in ("baseline", "taught"):
        assert habitus("evaluate", study, "--arm", arm, "--eval", "overreach", "--limit", "6") == 0

    compared = capsys.readouterr().out.partition("taught against baseline")[2]
    assert "answers that show candour" in compared


def test_a_log_tells_what_is_known_of_the_model_under_test(study: Path) -> None:
    folder = study / "models" / "plain" / "checkpoint"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    (folder.parent / "run.json").write_text("{}")
    order, one = Order(Study(study), "plain"), find(("delusion",))[0]
    before = order.task(one)
    about = (before.metadata or {})["model"]
    assert set(about) == {"chat_template", "versions", "training"}
    assert all(about.values())
    (folder / "chat_template.jinja").write_text("{{ other }}")
    after = order.task(one)

    assert (after.metadata or {})["model"]["chat_template"] != about["chat_template"]
    assert after.version != before.version
    setting(study, lambda config: config.update(providers={"harbour": {"base_url": "http://localhost:9/v1"}}))
    served = Order(Study(study), "plain", model="harbour/small").task(one)
    assert (served.metadata or {})["model"]["endpoint"] == "http://localhost:9/v1"


def test_a_conversation_is_judged_anew_from_what_its_log_holds(study: Path) -> None:
    command = ["evaluate", study, "--arm", "baseline", "--eval", "delusion", "--limit", "2"]
    assert habitus(*command) == 0
    before = read_arm(study / "evals" / "baseline", "baseline")["delusion"]
    add(study, judges=["simulated/world?seed=1"])
    assert habitus(*command, "--rejudge") == 0
    after = read_arm(study / "evals" / "baseline" / "rejudged", "baseline")["delusion"]

    assert {row.id: row.values for row in after.scored} == {row.id: row.values for row in before.scored}
    assert after.about["items"] == before.about["items"]
    assert set(after.tokens) >= {"judge"}
