"""Commands that look for over-represented patterns in any dataset."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from habitus.cli.arguments import RAY
from habitus.cli.running import interruptible, tell_exchanges, tell_jobs, tell_waiting
from habitus.errors import RunStopped, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from habitus.audit.counts import Tally, Texts, Whole
    from habitus.audit.dataset import Reading
    from habitus.audit.lexical import Finding, LexicalReport
    from habitus.audit.passes import Findings, Passes
    from habitus.config import Config
    from habitus.records import Role
    from habitus.study import Study

FILE = click.Path(path_type=Path)
WRITTEN_AS = (".json", ".md", ".html")
HINTS = 12
ALL = 200
"""Counted findings that are looked for, however many are listed."""
LEAST_ENGLISH = 0.2
"""Share of English words of grammar in English texts, at the least."""
LEAST_RATED = 0.9
"""Share of the drawn texts that must have been rated for the gate to open."""


class _OrData(click.Group):
    """A group whose first word, where it is no command, is the dataset of its first command."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of their use."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant, and the words left for it."""
        if args and args[0] not in self.commands:
            return "data", self.commands["data"], args
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take options before the dataset for those of the first command."""
        if args and args[0].startswith("-") and args[0] not in {"-h", "--help"}:
            args = ["data", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_OrData, short_help="Find over-represented patterns in any dataset.")
def audit() -> None:
    """Find over-represented patterns in any dataset: `habitus audit DATA`, with all options of `habitus audit data`.

    Without a model, openings, phrases, frames and habits are counted. With --model, batches are read, what recurs is
    named, defined and found in a random sample, each verdict with a quotation. What was found can be filtered.
    """


@audit.command(short_help="Look for patterns; the word `data` may be left out.")
@click.argument("data")
@click.option("--dataset", help="Of a study: which of its datasets.  [default: chats]")
@click.option("--reference", help="Compare with this dataset; of pairs, by default, with the rejected answers.")
@click.option("--split", default="train", show_default=True, help="Of a dataset on the hub.")
@click.option("--side", type=click.Choice(["assistant", "user", "both"]), default="assistant", show_default=True,
              help="Of conversations, whose messages are looked at.")  # fmt: skip
@click.option("--turns", type=click.Choice(["all", "first"]), default="all", show_default=True,
              help="All messages of that side, or the first alone.")  # fmt: skip
@click.option("--model", help="Who reads and judges, as provider/name; a study has its own roles for this.")
@click.option("--judge", help="Who judges, where that is another one.")
@click.option("--into", type=FILE, help="Folder for what is found and paid for.  [default: NAME.audit]")
@click.option("--scans", type=click.IntRange(min=1), help="Batches to read, in place of the config's.")
@click.option("--sample", type=click.IntRange(min=1), help="Texts to rate, in place of the config's.")
@click.option("--within", type=click.FloatRange(0.001, 0.5), help="Rate so many that any rate is known to within this.")
@click.option("--hints/--no-hints", default=None, help="Tell the readers what was counted.  [default: no]")
@click.option("--dry-run", is_flag=True, help="Print what the passes with a model would take, and stop.")
@click.option("--export-only", is_flag=True, help="With exchange/ models: write the requests and stop.")
@RAY
@click.option("--most", default=25, show_default=True, type=click.IntRange(min=1), help="Counted findings to list.")
@click.option("--fail-above", type=click.FloatRange(0, 1), help="Exit with 1 if a pattern is above this rate.")
@click.option("--strict", is_flag=True, help="For that, by the strict test and not the broad one.")
@click.option("--write", "to", multiple=True, type=FILE, help="Write the report to a .json, .md or .html file.")
def data(data: str, **options: Any) -> None:
    """Look for patterns in DATA: a file (JSON, JSON lines, Parquet), hf:owner/name, or a study's folder."""
    from habitus import show_audit

    _check_targets(options["to"])
    reading, reference = _readings(data, options)
    counted = _counted(reading, reference, options["most"], options["ray"])
    is_paired = reference is not None and reference.view.answer == "rejected"
    avoided = _counted(reference, reading, options["most"], options["ray"]).findings if reference and is_paired else ()
    _warn_of_rows(reading, None if is_paired else reference)
    _warn_of_profile(reading, counted)
    show_audit.lexical(counted, reading.source.given, reading.kind, options["most"])
    show_audit.avoided(avoided, options["most"])
    asked = _Asked(reading, reference, counted, avoided, options)
    study, config = _home(data, reading, options)
    if study is None or config is None:
        _without_model(asked)
        _deliver(asked)
        return
    with study.lock():
        _ask_models(study, config, asked)


def _check_targets(targets: Sequence[Path]) -> None:
    for target in targets:
        if target.suffix not in WRITTEN_AS:
            what = f"a report is one of {', '.join(WRITTEN_AS)}."
            raise UserError(what, where=str(target), todo="Give the file one of these endings.")
        if target.exists():
            raise UserError("this file exists already.", where=str(target), todo="Move it away, or name another.")
        if not target.parent.is_dir():
            raise UserError("there is no such folder.", where=str(target.parent), todo="Make it, or name another.")


def _readings(data: str, options: dict[str, Any]) -> tuple[Reading, Reading | None]:
    """Return the dataset and the one it is compared with."""
    from habitus.audit.dataset import Reading, View

    place = Path(data)
    is_study = (place / "config.yaml").is_file()
    if is_study:
        name = options["dataset"] = options["dataset"] or "chats"
        data = str(place / name / "kept.jsonl")
        if not Path(data).is_file():
            raise UserError(f"there are no kept rows of '{name}'.", where=data, todo="Name another --dataset.")
    elif options["dataset"]:
        raise UserError("--dataset is for studies.", where=data, todo="Name the file itself, or a study's folder.")
    view = View(options["side"], options["turns"])
    reading = Reading(data, view, split=options["split"])
    next(iter(reading), None)
    if options["reference"]:
        return reading, Reading(options["reference"], view, split=options["split"])
    if reading.shape == "preferences" and options["side"] == "assistant":
        return reading, Reading(data, View(view.side, view.turns, "rejected"), split=options["split"])
    return reading, None


def _warn_of_rows(reading: Reading, reference: Reading | None) -> None:
    """Warn of rows that can't be read, and of a reference of another kind."""
    from habitus import show

    for one in filter(None, (reading, reference)):
        if one.unread:
            show.warn(f"{one.unread:,} of {one.rows:,} rows can't be read; the first: {one.complaint}")
    if reference is not None and reference.shape != reading.shape:
        show.warn(
            f"the reference holds {reference.shape} and the dataset {reading.shape}: they differ in more than manner"
        )


def _warn_of_profile(reading: Reading, counted: LexicalReport) -> None:
    """Warn where the shipped profile, of assistants' answers in English, is of another kind than the texts."""
    from habitus import show

    if not counted.version:
        return
    other = {"user": ["messages of users"], "both": ["messages of both sides"], "assistant": []}
    reasons = other.get(reading.kind, [reading.kind])
    if counted.words and counted.grammar < LEAST_ENGLISH:
        reasons = [*reasons, "hardly English"]
    if reasons:
        show.warn(
            f"these are {' and '.join(reasons)}; the profile is of assistants' answers in English, so that much of "
            "this tells the one kind from the other (--reference DATA compares with texts of their own kind)"
        )


def _without_model(asked: _Asked) -> None:
    """Say that no model was asked, and how to ask one.

    Raises:
        UserError: something was wanted that needs a model.

    """
    from habitus import show

    names = ("judge", "scans", "sample", "within", "hints", "dry_run", "export_only")
    if wanted := next((name for name in names if asked.options[name] not in (None, False)), None):
        todo = "Name one with --model provider/name, or --into with the folder of an earlier audit."
        raise UserError("this needs a model, and none is named.", where=f"--{wanted.replace('_', '-')}", todo=todo)
    show.say("  no model was named: this is by counting alone (--model provider/name reads and judges)")
    earlier = Path(f"{asked.reading.source.stem}.audit")
    if (earlier / "config.yaml").is_file():
        show.say(f"  an earlier audit with a model is in {earlier} (--into {earlier} goes on with its models)")


def _counted(reading: Reading, reference: Reading | None, most: int, ray: str | None) -> LexicalReport:
    try:
        from habitus.audit.lexical import audit_lexical
    except ImportError as missing:
        todo = 'Run: pip install "habitus[audit]"'
        raise UserError("the audit needs numpy, which is not installed.", todo=todo) from missing
    # Everything is found, so that the gate does not depend on how much is listed.
    found = audit_lexical(
        (row for text in reading for row in text.messages),
        reference=(row for text in reference for row in text.messages) if reference else None,
        most=max(most, ALL),
        whole=_whole(reading, ray),
        whole_reference=_whole(reference, ray) if reference else None,
    )
    if reference is None:
        return found
    is_paired = reference.view.answer != reading.view.answer
    name = f"the {reference.view.answer} answers" if is_paired else reference.source.given
    return replace(found, reference=name)


def _whole(reading: Reading, ray: str | None) -> Whole:
    """Return how a dataset of which only a part was held is gone over: on a cluster, all cores, or one."""
    from habitus import show
    from habitus.stretches import own_cores

    def over(work: Callable[[Texts], Tally]) -> Iterator[Tally]:
        show.note(
            f"too large to be held at once: what was found in a part is now counted in all of {reading.source.given}"
        )
        return reading.over_messages(work, own_cores(ray))

    return over


def _home(data: str, reading: Reading, options: dict[str, Any]) -> tuple[Study | None, Config | None]:
    """Return the folder that pays and its config with what the command line sets; nothing where no model is meant."""
    from habitus.audit.prevalence import sample_for
    from habitus.study import Study

    model, into = options["model"], options["into"]
    if (Path(data) / "config.yaml").is_file():
        study = Study(Path(data))
    elif model or (into and (into / "config.yaml").is_file()):
        study = _standalone(into or Path(f"{reading.source.stem}.audit"), model, options["judge"])
    else:
        return None, None
    roles: dict[Role, str | None] = {"auditor": model, "judge": options["judge"] or model}
    config = study.config.with_models({role: name for role, name in roles.items() if name}, "the command line")
    size = sample_for(options["within"]) if options["within"] else options["sample"]
    given = {"scans": options["scans"], "sample": size, "hints": options["hints"]}
    settings = config.audit.model_copy(update={name: one for name, one in given.items() if one is not None})
    return study, config.model_copy(update={"audit": settings})


def _standalone(root: Path, model: str | None, judge: str | None) -> Study:
    """Return the folder of an audit that belongs to no study, with a config of its own."""
    from habitus.study import Study

    if not (root / "config.yaml").is_file():
        if root.exists() and any(root.iterdir()):
            todo = "Name another folder with --into."
            raise UserError("this folder holds something else.", where=str(root), todo=todo)
        root.mkdir(parents=True, exist_ok=True)
        lines = ["# Models and settings of these audits; the command line comes before them.", "version: 1", "models:",
                 f"  default: {model}", *([f"  judge: {judge}"] if judge else [])]  # fmt: skip
        (root / "config.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Study(root)


@dataclass(frozen=True)
class _Asked:
    """What the command line asks for, as far as it is read and counted."""

    reading: Reading
    reference: Reading | None
    counted: LexicalReport
    avoided: Sequence[Finding]
    """What the rejected answers of preference pairs have more of."""
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """Return what the audit is called."""
        return (self.options["dataset"] or self.reading.source.stem).replace("/", "-")

    @property
    def hints(self) -> list[str]:
        """Return what the readers may be told of what was counted."""
        from habitus.show_audit import WORDY

        habits = (one for one in self.counted.findings if one.kind not in WORDY)
        return [f"{one.pattern} ({one.kind})" for one in habits][:HINTS]


def _ask_models(study: Study, config: Config, asked: _Asked) -> None:
    """Take the dataset through the passes that ask a model, and print and write what they find."""
    from importlib.util import find_spec

    from habitus import show, show_audit

    if missing := [name for name in ("ppi_py", "scipy", "sklearn", "statsmodels") if find_spec(name) is None]:
        todo = 'Run: pip install "habitus[audit]"'
        raise UserError(f"an audit with a model needs {', '.join(missing)}, not installed here.", todo=todo)
    folder = study.root / "audit" / asked.name
    try:
        passes = asyncio.run(_run(study, config, folder, asked))
    except (KeyboardInterrupt, asyncio.CancelledError, RunStopped) as stop:
        show.warn(f"{str(stop) or 'Interrupted.'} Everything finished is kept; the same command goes on.")
        tell_jobs(study)
        raise SystemExit(1 if isinstance(stop, RunStopped) else 130) from stop
    if passes is None:
        if asked.options["fail_above"] is not None and not asked.options["dry_run"]:
            show.warn("the audit is not through, so the gate stays shut")
            raise SystemExit(1)
        return
    show_audit.patterns(passes.found, reference=asked.reference is not None)
    show_audit.quotes(passes.found)
    show_audit.spent(passes.summary)
    if passes.is_simulated:
        show.simulated_banner()
    show.say(f"  {folder}/report.html")
    _deliver(asked, passes)
    if passes.found.prevalence:
        top = passes.found.prevalence[0].id
        show.next_command(f"habitus audit filter {folder} {top}", f"habitus audit agree {folder} marks.json --draw 80")


async def _run(study: Study, config: Config, folder: Path, asked: _Asked) -> Passes | None:
    """Return the passes once they are through; None where they are only planned, or wait for answers."""
    from habitus import show
    from habitus.audit.passes import USUAL_PATTERNS, Passes, Waiting
    from habitus.audit.report import write_reports
    from habitus.models.ledger import read_totals
    from habitus.recipe import open_engine
    from habitus.tally import Progress

    state = Progress()
    async with open_engine(
        study, config=config, export_only=asked.options["export_only"], ray=asked.options["ray"]
    ) as engine:
        hints = asked.hints if config.audit.hints else ()
        passes = Passes(engine, folder, asked.reading, progress=state, reference=asked.reference, hints=hints)
        passes.draw()
        estimate = passes.estimate(read_totals(study.ledger))
        show.who(estimate)
        show.plan(estimate, f"{len(passes.found.texts):,} rated texts")
        show.say(f"  as if {USUAL_PATTERNS} patterns were found; how many there are is known after the scans")
        if asked.options["dry_run"]:
            return None
        if aside := passes.prepare(study):
            show.note(f"data or settings changed: what was found before is in {aside}")
        tell_exchanges(engine)
        interruptible(engine)
        try:
            async with show.progress(state, engine.tally):
                await passes.run()
        except Waiting:
            tell_waiting(engine)
            return None
        passes.note(study)
        write_reports(folder, asked.counted, asked.avoided, passes)
    return passes


def _deliver(asked: _Asked, passes: Passes | None = None) -> None:
    """Write the reports that were asked for, and hold the rates against the bar."""
    from habitus import show, show_audit
    from habitus.audit.report import written

    for target in asked.options["to"]:
        whole = written(target.suffix, asked.reading, asked.counted, asked.avoided, passes)
        target.write_text(whole, encoding="utf-8")
        show.say(f"  everything is in {target}")
    bar = asked.options["fail_above"]
    if bar is None:
        return
    level = "strict" if asked.options["strict"] else "broad"
    if passes and not _is_measured(passes.found):
        show.warn(f"too little came of the scans and ratings for the gate to open (see {passes.folder}/dropped.jsonl)")
        raise SystemExit(1)
    over = _over(passes.found, bar, level) if passes else _counted_over(asked.counted, bar)
    how = level if passes else "by counting, and commoner than usual"
    show_audit.gate(asked.reading.source.given, over, bar, how)
    if over:
        raise SystemExit(1)


def _is_measured(found: Findings) -> bool:
    """Tell whether scans were made and, of the patterns they found, nearly all texts rated."""
    rated = len(found.rated) >= LEAST_RATED * len(found.texts)
    scanned = len(found.scanned) > sum(drop.step == "audit/scan" for drop in found.drops)
    return scanned and (rated or not found.patterns) and bool(found.texts)


def _over(found: Findings, bar: float, level: str) -> list[tuple[str, float, float]]:
    rates = [(one.name, one.strict.here if level == "strict" else one.broad.here) for one in found.prevalence]
    return [(name, rate.rate, rate.low) for name, rate in rates if rate.rate > bar]


def _counted_over(counted: LexicalReport, bar: float) -> list[tuple[str, float, float]]:
    return [(one.pattern, one.rate, one.low) for one in counted.findings if one.rate > bar]
