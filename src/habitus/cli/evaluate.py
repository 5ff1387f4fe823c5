"""The command that runs evals on an arm of a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from habitus.cli.arguments import open_study
from habitus.errors import RunStopped, UserError

if TYPE_CHECKING:
    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.results import Result
    from habitus.evaluate.runs import Order


@click.command(short_help="Run evals on an arm, and compare it with the baseline.")
@click.argument("study", type=click.Path(path_type=Path), required=False)
@click.option("--arm", help="Which model of the study: a name under evaluate.arms, or of a folder in models/.")
@click.option("--eval", "names", multiple=True, metavar="NAME", help="Only this eval; may be given several times.")
@click.option("--model", metavar="NAME", help="The arm's model, as provider/name, in place of the config's.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many samples of each eval; they count.")
@click.option("--epochs", type=click.IntRange(min=1), help="How often each sample is run.")
@click.option("--base", is_flag=True, help="The model continues texts: no chat template (knowledge alone).")
@click.option("--dry-run", is_flag=True, help="Tell what would be run, and what it would cost.")
@click.option("--rejudge", is_flag=True, help="Have the arm's logs judged anew, without running the model again.")
@click.option("--list", "only_list", is_flag=True, help="Tell which evals there are.")
def evaluate(study: Path | None, *, arm: str | None, names: tuple[str, ...], only_list: bool, **options: Any) -> None:
    """Run evals on an arm of a study. Interrupt it at any time; the same command goes on.

    Logs go to evals/ARM and open in Inspect View; the evals also run as `inspect eval habitus/NAME`.
    """
    from habitus import show_evals

    try:
        from habitus.evaluate.catalogue import find
    except ImportError as missing:
        todo = 'Run: pip install "habitus[evaluate]"'
        raise UserError(f"evals need {missing.name}, which is not installed.", todo=todo) from missing
    chosen = find(names)
    if only_list:
        show_evals.listed(chosen)
        return
    if study is None or arm is None:
        raise UserError("name a study and an arm.", todo="habitus evaluate STUDY --arm ARM")
    _evaluate(study, arm, chosen, **options)


def _evaluate(root: Path, arm: str, chosen: tuple[Eval, ...], *, dry_run: bool, rejudge: bool, **options: Any) -> None:
    """Run, or plan, or judge anew; then print the arm's numbers."""
    from habitus import show, show_evals
    from habitus.evaluate.catalogue import find
    from habitus.evaluate.contamination import overlaps
    from habitus.evaluate.figure import draw_all
    from habitus.evaluate.runs import Order, bill, plan
    from habitus.evaluate.summary import write_all

    order = Order(open_study(root), arm, **options)
    if dry_run:
        show_evals.plans([plan(order, one) for one in chosen])
        show_evals.contamination(overlaps(order.study, [one.name for one in chosen]))
        return
    with order.study.lock():
        results = [_one(order, one, rejudge=rejudge) for one in chosen]
    for result in results:
        show_evals.numbers(result, chosen, bill(result))
    _compare(order, chosen, results)
    for path in draw_all(order.study.root / "evals", chosen, order.baseline):
        show.say(f"  {path}")
    write_all(order, find(()))
    show_evals.contamination(overlaps(order.study, [one.name for one in chosen]))
    if any(result.simulated for result in results):
        show.simulated_banner()
    show.next_command(f"inspect view --log-dir {order.folder}")
    _fail_on_judges(results)


def _one(order: Order, one: Eval, *, rejudge: bool) -> Result:
    """Return the result of one eval, and say that it begins."""
    from habitus import show
    from habitus.evaluate.runs import run

    show.note(f"{one.name}: arm {order.arm}")
    if rejudge:
        from habitus.evaluate.rejudge import judged_anew

        return judged_anew(order, one)
    watched = sys.stdout.isatty() and not show.progress_console.quiet
    return run(order, one, {"display": "rich" if watched else "none"})


def _compare(order: Order, chosen: tuple[Eval, ...], results: list[Result]) -> None:
    """Print how the arm differs from the baseline, where that has logs of the same evals."""
    from habitus import show_evals
    from habitus.evaluate.results import against, corrected, read_arm

    baseline = order.baseline
    if order.arm == baseline:
        return
    theirs = read_arm(order.study.root / "evals" / baseline, baseline)
    rows, first = [], []
    for one, result in zip(chosen, results, strict=True):
        for measure in (measure for measure in one.measures if measure.better):
            found = against(result, theirs[one.name], measure) if one.name in theirs else None
            if found is not None:
                rows.append((one.name, measure.title, measure.kind, found))
                first.append(measure is one.measures[0])
    if rows:
        holm = iter(corrected([row[3] for row, is_first in zip(rows, first, strict=True) if is_first]))
        show_evals.comparison(order.arm, baseline, rows, [next(holm) if is_first else None for is_first in first])


def _fail_on_judges(results: list[Result]) -> None:
    """End with exit code 1 where judges failed too often for the numbers to be used."""
    from habitus import show
    from habitus.evaluate.results import MOST_JUDGE_FAILURES

    bad = [one for one in results if one.judge_failures > MOST_JUDGE_FAILURES]
    for one in bad:
        show.warn(
            f"{one.name}: judges left {one.judge_failures:.1%} of the samples without a verdict, and "
            f"{MOST_JUDGE_FAILURES:.0%} are allowed; these numbers are not to be used. The same command asks again."
        )
    if bad:
        raise SystemExit(1) from RunStopped("too many judge failures")
