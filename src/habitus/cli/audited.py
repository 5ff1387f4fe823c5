"""Commands that go on from a finished audit: marks of people, and filters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from habitus.cli.arguments import RAY
from habitus.cli.running import interruptible, tell_exchanges, tell_jobs, tell_waiting
from habitus.errors import RunStopped, UserError

if TYPE_CHECKING:
    from habitus.audit.filter import Filtered, Plan
    from habitus.audit.opened import Audited

FOLDER = click.Path(path_type=Path)


@click.command(short_help="Hold the judge against marks of people.")
@click.argument("audit", type=FOLDER)
@click.argument("marks", type=FOLDER)
@click.option("--draw", type=click.IntRange(min=6), help="Write so many texts of each pattern into MARKS.")
def agree(audit: Path, marks: Path, *, draw: int | None) -> None:
    """Hold the judge of AUDIT (its folder) against what people say in MARKS (a JSON file)."""
    import orjson

    from habitus import show, show_audit
    from habitus.audit.agree import agree as compare
    from habitus.audit.agree import read_marks, to_mark
    from habitus.audit.opened import Audited

    found = Audited(audit)
    seed = int(found.summary["made_with"]["seed"])
    if draw is None:
        show_audit.agreed(compare(found.patterns, found.rated, read_marks(marks, found.patterns, found.rated)))
        return
    if marks.exists():
        raise UserError("this file exists already.", where=str(marks), todo="Name another.")
    sheet = to_mark(found.patterns, found.rated, found.texts, draw, seed)
    marks.write_bytes(orjson.dumps(sheet, option=orjson.OPT_INDENT_2))
    show.say(f"  {len(sheet['marks']):,} texts to mark are in {marks}, without the judge's verdicts")
    show.next_command(f"habitus audit agree {audit} {marks}")


@click.command("filter", short_help="Drop, cap or rewrite the rows with a pattern.")
@click.argument("audit", type=FOLDER)
@click.argument("patterns", nargs=-1, required=True)
@click.option("--how", type=click.Choice(["drop", "cap", "rewrite"]), default="drop", show_default=True,
              help="Rows with a pattern go, are thinned out to a rate, or are written anew without it.")  # fmt: skip
@click.option("--to", help="For cap: a rate such as 0.1, or `reference` for the rate there.")
@click.option("--level", type=click.Choice(["strict", "broad"]), default="broad", show_default=True,
              help="By which test a row has a pattern.")  # fmt: skip
@click.option("--by", type=click.Choice(["judge", "classifier"]),
              help="How rows outside the rated sample are told: all rated, or by a classifier.")  # fmt: skip
@click.option("--embedder", default="hashing", show_default=True, help="For the classifier; as in `dedup`.")
@click.option("--out", type=FOLDER, help="A new folder for the rows.  [default: beside the audit]")
@click.option("--export-only", is_flag=True, help="With exchange/ models: write the requests and stop.")
@RAY
def filter_(audit: Path, patterns: tuple[str, ...], **options: Any) -> None:
    """Filter the dataset of AUDIT (its folder) by PATTERNS (their ids); the dataset itself is left as it is."""
    from habitus import show, show_audit
    from habitus.audit.opened import Audited

    found = Audited(audit)
    plan = _plan(found, patterns, options)
    name = f"without-{'-'.join(one.id for one in plan.patterns)}"[:80] + f"-{plan.how}"
    folder: Path = options["out"] or audit / name
    if folder.exists():
        raise UserError("this folder exists already.", where=str(folder), todo="Name a new one with --out.")
    with found.study.lock():
        try:
            outcome = asyncio.run(_carry_out(found, plan, folder, options))
        except (KeyboardInterrupt, asyncio.CancelledError, RunStopped) as stop:
            show.warn(f"{str(stop) or 'Interrupted.'} Everything finished is kept; the same command goes on.")
            tell_jobs(found.study)
            raise SystemExit(1 if isinstance(stop, RunStopped) else 130) from stop
    if outcome is not None:
        show_audit.filtered(outcome)
        show.say(f"  {folder}/kept.jsonl")


def _plan(found: Audited, patterns: tuple[str, ...], options: dict[str, Any]) -> Plan:
    """Return what is to be done.

    Raises:
        UserError: it can't be.

    """
    from habitus.audit.filter import Plan

    side = found.summary["dataset"]["side"]
    chosen, how, level = found.chosen(patterns), options["how"], options["level"]
    if how == "rewrite" and side == "user":
        raise UserError("what people wrote is not written anew.", where="--how", todo="Drop or cap.")
    if how != "cap" and options["to"]:
        raise UserError("--to is for --how cap.", where="--to", todo="Leave it out, or cap.")
    return Plan(chosen, how, level, _target(found, patterns, options["to"], level) if how == "cap" else None)


def _target(found: Audited, patterns: tuple[str, ...], to: str | None, level: str) -> float:
    if to is None:
        raise UserError("to which rate?", where="--to", todo="Give a number from 0 to 1, or `reference`.")
    if to == "reference":
        rows = {row["id"]: row[level]["there"] for row in found.summary["prevalence"]}
        if len(patterns) > 1 or rows[patterns[0]] is None:
            raise UserError(
                "no rate in a reference is known.", where="--to", todo="Audit one pattern with --reference."
            )
        return rows[patterns[0]]["rate"]
    try:
        target = float(to)
    except ValueError:
        target = -1.0
    if not 0 <= target < 1:
        raise UserError(f"'{to}' is no rate.", where="--to", todo="Give a number from 0 to below 1, or `reference`.")
    return target


async def _carry_out(found: Audited, plan: Plan, folder: Path, options: dict[str, Any]) -> Filtered | None:
    """Return what was done; None where answers are still to come."""
    from habitus import show
    from habitus.audit.filter import Filtering
    from habitus.audit.passes import Waiting
    from habitus.recipe import open_engine
    from habitus.stretches import own_cores
    from habitus.tally import Progress

    config = found.study.config.with_models({"judge": found.summary["models"]["audit/rate"]}, "the audit")
    state = Progress(done="done")
    calls = options["by"] == "judge" or plan.how == "rewrite"
    ray = options["ray"] if calls else None
    async with open_engine(found.study, config=config, export_only=options["export_only"], ray=ray) as engine:
        tell_exchanges(engine)
        interruptible(engine)
        filtering = Filtering(
            plan,
            engine,
            found,
            state,
            by=options["by"],
            embedder=options["embedder"],
            address=own_cores(options["ray"]),
        )
        if estimate := filtering.estimate():
            show.plan(estimate, "the filtered rows")
        try:
            async with show.progress(state, engine.tally):
                shown = await filtering.tell()
            while filtering.remarks:
                show.say(f"  {filtering.remarks.pop(0)}")
            async with show.progress(state, engine.tally):
                return await filtering.write(folder, shown)
        except Waiting:
            tell_waiting(engine)
            return None
