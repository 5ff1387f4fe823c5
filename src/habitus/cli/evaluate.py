"""The command that runs evals on an arm of a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from habitus.cli.arguments import open_study
from habitus.errors import RunStopped, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.results import Result
    from habitus.evaluate.runs import Order, Plan


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
@click.option(
    "--agree",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Hold an eval's verdicts against labels: JSON lines of id, epoch and measures.",
)
@click.option("--more", is_flag=True, hidden=True)  # to come: figures and summaries are left to the last
@click.option("--list", "only_list", is_flag=True, help="Tell which evals there are.")
def evaluate(study: Path | None, *, arm: str | None, names: tuple[str, ...], only_list: bool, **options: Any) -> None:
    """Run evals on an arm of a study. Interrupt it at any time; the same command goes on.

    Logs go to evals/ARM and open in Inspect View; the evals also run as `inspect eval habitus/NAME`.
    """
    from habitus import show, show_evals

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
    try:
        _evaluate(study, arm, chosen, **options)
    except KeyboardInterrupt as stop:
        show.warn("Interrupted. Finished samples are in the log; the same command goes on.")
        raise SystemExit(130) from stop


def _evaluate(
    root: Path,
    arm: str,
    chosen: tuple[Eval, ...],
    *,
    dry_run: bool,
    rejudge: bool,
    agree: Path | None,
    more: bool,
    **options: Any,
) -> None:
    """Run, or plan, or judge anew, and print the numbers of each eval as it ends; then compare the arm."""
    from habitus import show, show_evals
    from habitus.evaluate.contamination import overlaps
    from habitus.evaluate.runs import Order, plan

    order = Order(open_study(root), arm, **options)
    if agree is not None:
        _agree(order, chosen, agree)
        return
    if dry_run:
        plans: list[Plan] = []
        possible = _possible(chosen, lambda one: plans.append(plan(order, one)))
        show_evals.plans(plans)
        show_evals.contamination(overlaps(order.study, [one.name for one in possible]))
        return
    with order.study.lock():
        possible = chosen if rejudge else _possible(chosen, lambda one: _checked(order, one))
        results: list[Result] = []
        ran = _possible(possible, lambda one: results.append(_one(order, one, rejudge=rejudge)))
        _compare(order, ran, results, rejudge=rejudge)
        if not more:
            finish(order, ran)
    if any(result.simulated for result in results):
        show.simulated_banner()
    show.next_command(f"inspect view --log-dir {order.folder}")
    _fail(results, left=len(chosen) - len(ran))


def _agree(order: Order, chosen: tuple[Eval, ...], labels: Path) -> None:
    """Print how far the verdicts of one eval agree with labels."""
    from habitus import show_evals
    from habitus.evaluate.agreement import agreements

    if len(chosen) > 1:
        raise UserError("labels are of one eval.", todo="Name it: --eval NAME --agree FILE")
    show_evals.agreed(agreements(order, chosen[0], labels))


def finish(order: Order, ran: tuple[Eval, ...]) -> None:
    """Draw and sum up what all arms of a study have measured, and tell what of the evals stands in its data."""
    from habitus import show, show_evals
    from habitus.evaluate.catalogue import find
    from habitus.evaluate.contamination import overlaps
    from habitus.evaluate.figure import draw_all
    from habitus.evaluate.summary import write_all

    for path in draw_all(order.study.root / "evals", ran, order.baseline):
        show.say(f"  {path}")
    write_all(order, find(()))
    show_evals.contamination(overlaps(order.study, [one.name for one in ran]))


def _possible(chosen: tuple[Eval, ...], act: Callable[[Eval], Any]) -> tuple[Eval, ...]:
    """Do something with each eval and return those with which it could be done; of the others the reason is told.

    Raises:
        UserError: it could be done with none.

    """
    from habitus import show

    done: list[Eval] = []
    for at, one in enumerate(chosen, start=1):
        try:
            act(one)
            done.append(one)
        except UserError as error:
            if at == len(chosen) and not done:
                raise
            show.warn(f"{one.name} is left out: {error}")
    return tuple(done)


def _checked(order: Order, one: Eval) -> None:
    """See that an eval can be run, and tell what is stale and whose price is unknown."""
    from habitus import show
    from habitus.evaluate.runs import check, stale

    unpriced = check(order, one)
    if unpriced:
        show.warn(f"{one.name}: the price of {', '.join(unpriced)} is unknown, and what it costs is not counted.")
    if told := stale(order, one):
        show.warn(told)


def _one(order: Order, one: Eval, *, rejudge: bool) -> Result:
    """Return the result of one eval, having said that it begins and printed its numbers."""
    from habitus import show, show_evals
    from habitus.evaluate.bills import bill
    from habitus.evaluate.rejudge import judged_anew
    from habitus.evaluate.runs import run

    show.note(f"{one.name}: arm {order.arm}")
    watched = sys.stdout.isatty() and not show.progress_console.quiet
    result = judged_anew(order, one) if rejudge else run(order, one, {"display": "rich" if watched else "none"})
    show_evals.numbers(result, (one,), bill(result, order.study))
    return result


def _compare(order: Order, chosen: tuple[Eval, ...], results: list[Result], *, rejudge: bool) -> None:
    """Print how the arm differs from the baseline, where that has logs that may be compared."""
    from habitus import show, show_evals
    from habitus.evaluate.results import against, beside, corrected

    if order.arm == order.baseline:
        return
    folder = order.baseline_folder / "rejudged" if rejudge else order.baseline_folder
    rows, first = [], []
    for one, result in zip(chosen, results, strict=True):
        theirs, apart = beside(result, folder, order.baseline, order.baseline_target)
        if apart:
            show.warn(f"{one.name} is not compared: {order.baseline} was measured with other {', '.join(apart)}.")
        for measure in (measure for measure in one.all_measures(result) if measure.better):
            found = against(result, theirs, measure) if theirs else None
            if found is not None:
                rows.append((one.name, measure.title, measure.kind, found))
                first.append(measure is one.measures[0])
    if rows:
        holm = iter(corrected([row[3] for row, is_first in zip(rows, first, strict=True) if is_first]))
        holms = [next(holm) if is_first else None for is_first in first]
        show_evals.comparison(order.arm, order.baseline, rows, holms)


def _fail(results: list[Result], *, left: int) -> None:
    """End with exit code 1 where an eval was left out, or the numbers are not to be used."""
    from habitus import show
    from habitus.evaluate.results import MOST_UNREAD

    bad = [one for one in results if one.unusable]
    for one in bad:
        show.warn(
            f"{one.name}: {len(one.unread):,} of {len(one.rows):,} samples are without a verdict, and "
            f"{MOST_UNREAD:.0%} are allowed; these numbers are not to be used. The same command asks again."
        )
    if bad or left:
        raise SystemExit(1) from RunStopped("samples without a verdict, or evals left out")
