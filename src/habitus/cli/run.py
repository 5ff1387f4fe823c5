"""The command that takes a whole study through all verbs, and goes on wherever it was left."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import click

from habitus.cli.arguments import STUDY, open_study
from habitus.cli.audit import audit
from habitus.cli.evaluate import evaluate, finish
from habitus.cli.generate import generate
from habitus.cli.needs import audited, chosen_evals, needed, orders, possible
from habitus.cli.train import train
from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.runs import Order
    from habitus.study import Study

STEPS = ("generate", "audit", "train", "evaluate", "report")
ALL_ROWS = 10**9
INTERRUPTED = 130


@click.command(short_help="Take a whole study through all steps: generate, audit, train, evaluate, report.")
@STUDY
@click.option("--arm", "arms", multiple=True, help="Train and evaluate this arm alone; may be given several times.")
@click.option(
    "--toy", is_flag=True, help="Try it all out in STUDY/toy, offline, on a CPU: simulated rows, tiny models."
)
@click.option("--dry-run", is_flag=True, help="Print what is done, stale and to do, and what it will take, and stop.")
@click.option("--skip", multiple=True, type=click.Choice(STEPS), help="Leave a step out; may be given several times.")
def run(study: Path, *, arms: tuple[str, ...], toy: bool, dry_run: bool, skip: tuple[str, ...]) -> None:
    """Write what the arms of a study need, audit what they filter by, train, evaluate and report.

    Interrupt it at any time; the same command goes on, and does nothing twice. What is stale is told and never
    overwritten. An arm that fails does not lose the others; the command then ends with exit code 1.
    """
    from habitus import show

    _refuse_a_launcher(study)
    opened = open_study(study)
    if unknown := next((name for name in arms if name not in opened.config.arms), None):
        there = ", ".join(opened.config.arms) or "none"
        raise UserError(f"no arm '{unknown}' in this study.", where="config.yaml, arms", todo=f"There are: {there}.")
    if toy:
        from habitus.cli.toy import twin_of

        opened = twin_of(opened)
        show.note(f"toy: a study of its own in {opened.root}, written by the simulated model, with tiny models")
    if dry_run:
        from habitus.cli.outlook import print_plan

        print_plan(opened, arms, skip, command=f"habitus run {study}{' --toy' * toy}")
        return
    if "generate" not in skip:
        _generate(opened)
    if "audit" not in skip:
        _audit(opened)
    bad = _train(opened, arms) if "train" not in skip else []
    bad += _evaluate(opened, arms) if "evaluate" not in skip else []
    bad += _report(opened) if "report" not in skip else []
    _tell_effects(opened)
    show.heading(f"{opened.root}: {f'{len(bad):,} parts are missing' if bad else 'all done'}")
    for told in bad:
        show.warn(told)
    show.next_command(f"habitus status {opened.root}")
    if bad:
        raise SystemExit(1)


def _refuse_a_launcher(study: Path) -> None:
    """Refuse to run all verbs in several processes, of which only training knows."""
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        todo = f"Launch `habitus train {study}` so; `habitus run {study}` goes on from there."
        raise UserError("several processes can train a study, and not run it.", todo=todo)


def _generate(study: Study) -> None:
    """Write every dataset that is not whole; what comes after needs them all, so the first that fails ends the run."""
    from habitus import show
    from habitus.cli import standing

    for job in needed(study):
        found = standing.dataset(job)
        if found.state == "done":
            show.note(f"{job.dataset.name}: {found.words}")
            continue
        kind, _, control = job.dataset.name.partition("-")
        if not _call(generate, [kind, str(study.root), *(["--control", control] if control else [])]):
            show.next_command(f"habitus run {study.root}")
            raise SystemExit(1)


def _audit(study: Study) -> None:
    """Rate every row of the datasets that are filtered."""
    from habitus import show
    from habitus.cli import standing

    for name in audited(study):
        found = standing.audit(study, name)
        if found.state == "done":
            show.note(f"audit of {name}: done")
        else:
            _call(audit, ["data", str(study.root), "--dataset", name, "--sample", str(ALL_ROWS)])


def _train(study: Study, arms: tuple[str, ...]) -> list[str]:
    """Train what is not trained, and return which runs are missing and why."""
    from habitus import show
    from habitus.cli import standing

    runs = standing.planned(study).some(arms, ())
    if all(standing.model(one, study.root / "models").state == "done" for one in runs):
        show.note(f"models: done, {len(runs):,} runs")
        return []
    _safely(lambda: _call(train, [str(study.root), *(word for name in arms for word in ("--arm", name))]))
    stands = [(run, standing.model(run, study.root / "models")) for run in runs]
    return [f"{run.arm} seed {run.seed}: {one.words}" for run, one in stands if one.state != "done"]


def _evaluate(study: Study, arms: tuple[str, ...]) -> list[str]:
    """Run the evals of every arm that is trained, and return which are missing and why."""
    from habitus import show
    from habitus.cli import standing

    models = study.root / "models"
    found = standing.planned(study).runs
    runs = [(one.arm, one.seed) for one in found if standing.model(one, models).state == "done"]
    evals, bad = chosen_evals(study), []
    asked = orders(study, runs, arms)
    known: list[Eval] = []
    for order in asked:
        named, left = possible(order, evals)
        known += [one for one in named if one not in known]
        stands = standing.evals(order, standing.plans(order, named))
        for name, why in left.items():
            show.note(f"{order.arm}: {name} is left out: {why}")
        if stands.state == "done":
            show.note(f"evals of {order.arm}: done")
            continue
        if stands.state == "stale":
            show.note(f"{order.arm}: {stands.why}; the old logs are in {_set_aside(order)}")
        wanted = (word for one in named for word in ("--eval", one.name))
        words = [str(study.root), "--more", "--arm", order.arm, *wanted]
        limit = ["--limit", str(order.limit)] if order.limit else []
        if why := _safely(lambda words=[*words, *limit]: _call(evaluate, words), order.folder):
            bad.append(f"evals of {order.arm}: {why}")
    if asked and not _is_summed_up(study):
        with study.lock():
            finish(asked[0], tuple(known))
    return bad


def _is_summed_up(study: Study) -> bool:
    """Tell whether figures and summaries have every log, and each effect that is expected now."""
    from habitus.study import OVER_SEEDS

    told = study.root / OVER_SEEDS
    written = told.stat().st_mtime if told.exists() else 0.0
    expected, effects = study.config.expect, study.over_seeds["effects"]
    if len(expected) != len(effects) or any(log.stat().st_mtime > written for log in _logs(study)):
        return False
    return all(one.model_dump().items() <= row.items() for one, row in zip(expected, effects, strict=True))


def _logs(study: Study) -> Iterator[Path]:
    return (study.root / "evals").rglob("*.eval")


def _set_aside(order: Order) -> Path:
    """Move the logs of an arm out of the way of new ones, and return where they are now."""
    old = order.study.root / "evals-old"
    number = sum(1 for _ in old.glob(f"{order.arm}-*")) + 1
    target = old / f"{order.arm}-{number}"
    target.mkdir(parents=True)
    for log in order.folder.glob("*.eval"):
        log.rename(target / log.name)
    return target


def _report(study: Study) -> list[str]:
    """Write the report, where this habitus has that command."""
    root = click.get_current_context().find_root().command
    command = root.commands.get("report") if isinstance(root, click.Group) else None
    if command is None:
        return []
    why = _safely(lambda: _call(command, [str(study.root)]))
    return [f"report: {why}"] if why else []


def _tell_effects(study: Study) -> None:
    """Print whether the effects that the config expects show, as the last evals left it."""
    from habitus import show_evals

    if found := study.over_seeds["effects"]:
        show_evals.effects(found)


def _call(command: click.Command, words: list[str]) -> Any:
    """Run another command of habitus as if it had been typed, and return what it returns."""
    from habitus import show

    show.note(f"habitus {command.name} {' '.join(words)}")
    return command.main(args=words, prog_name=f"habitus {command.name}", standalone_mode=False)


def _safely(step: Callable[[], object], folder: Path | None = None) -> str:
    """Carry out a step, and return why it failed; nothing where it did not. What the user interrupts ends the run."""
    try:
        step()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise
        return "" if not end.code else "it ended early; see above"
    except UserError as error:
        return str(error)
    except Exception as error:  # one arm's failure does not lose the others
        if folder is None:
            raise
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "failed.txt").write_text(traceback.format_exc(), encoding="utf-8")
        return f"{type(error).__name__}: {error} (see {folder / 'failed.txt'})"
    return ""
