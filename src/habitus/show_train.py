"""What is printed about training: the plan, the rows with their loss, the estimate, and how each run ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from habitus import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.train.arms import Outcome
    from habitus.train.estimate import Estimate, Hardware
    from habitus.train.plan import Plan, Run
    from habitus.train.show_loss import Count, Shown

MARKS = "⟦", "⟧"
"""Around what carries loss, where there is no colour."""


def plan(found: Plan, runs: Sequence[Run]) -> None:
    """Print what each arm is trained on and for how long."""
    seeds = list(dict.fromkeys(run.seed for run in runs))
    arms = len({run.arm for run in runs})
    show.heading(f"{arms} arm{'s' * (arms > 1)}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    rows = []
    for run in runs:
        if run.seed != seeds[0]:
            continue
        for at, job in enumerate(run.jobs):
            sources = list(dict.fromkeys(one.row.source for one in job.mixture.rows))
            told = " + ".join(f"{job.mixture.share(name, job.training.of):.0%} {name}" for name in sorted(sources))
            rows.append([
                run.arm * (not at), job.kind, told, f"{len(job.mixture.rows):,}", f"{job.steps:,}",
                f"{job.epochs:.2f}", f"{job.tokens:,}", f"{job.learning_rate:g}",
            ])  # fmt: skip
    show.table(
        [("arm", "left"), ("stage", "left"), (f"data (of {runs[0].jobs[0].training.of})", "left"), ("rows", "right"),
         ("steps", "right"), ("passes", "right"), ("tokens", "right"), ("rate", "right")],
        rows,
    )  # fmt: skip
    for note in found.notes:
        show.say(f"  {note}")
    for warning in found.warnings:
        show.warn(warning)


def estimates(found: Sequence[tuple[Run, Estimate]], where: Hardware) -> None:
    """Print what the runs would take here."""
    show.heading(f"what they take on {where.name} ({where.memory / 1e9:,.0f} GB)")
    show.table(
        [("arm", "left"), ("seed", "right"), ("memory", "right"), ("time", "right"), ("disk", "right")],
        [[run.arm, str(run.seed), size(one.memory), show.clock(one.seconds), size(one.disk)] for run, one in found],
        total=["in all", "", "", show.clock(sum(one.seconds for _, one in found)), ""],
    )
    show.say(f"  estimates: from the models' shapes, and a matrix product of {where.speed / 1e12:,.2f} TFLOP/s here")
    if any(one.memory > where.memory for _, one in found):
        show.warn("that is more memory than there is; train adapters (`lora: {}`) or take shorter rows")


def size(number: float) -> str:
    """Return a number of bytes as it is read."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.1f} MB"  # noqa: PLR2004


def loss(rows: Sequence[Shown], found: Sequence[Count], title: str) -> None:
    """Print rows with what carries loss in colour, and how many tokens do."""
    show.heading(f"{title}: what carries loss")
    plain = show.out.color_system is None
    for row in rows:
        show.say(f"  {row.title}")
        text = Text()
        for said, has_loss in row.stretches:
            marked = f"{MARKS[0]}{said}{MARKS[1]}" if plain and has_loss else said
            text.append(marked, style="green" if has_loss else "dim")
        if row.cut:
            text.append(f" … {row.cut:,} tokens cut off", style="yellow")
        show.out.print(Padding(text, (0, 2, 1, 4), expand=False))
    show.table(
        [
            ("data", "left"),
            ("rows", "right"),
            ("tokens with loss", "right"),
            ("without", "right"),
            ("cut off", "right"),
        ],
        [[one.source, f"{one.rows:,}", f"{one.trained:,}", f"{one.masked:,}", f"{one.cut:,}"] for one in found],
    )


def outcomes(found: Sequence[Outcome]) -> None:
    """Print how each run ended."""
    show.heading("runs")
    names = list(dict.fromkeys(name for one in found for name in one.losses if name.startswith("eval_")))
    told = [(f"held out: {name.removeprefix('eval_').removesuffix('_loss')}", "right") for name in names]
    rows = []
    for one in found:
        losses = one.losses
        values = [f"{losses[name]:.3f}" if name in losses else "·" for name in ("loss", *names)]
        took = show.clock(one.seconds) if one.state == "done" else "·"
        rows.append([one.run.arm, str(one.run.seed), one.state, *values, took])
    show.table([("arm", "left"), ("seed", "right"), ("", "left"), ("loss", "right"), *told, ("took", "right")], rows)
    for one in found:
        if one.why:
            show.warn(f"{one.run.arm}, seed {one.run.seed}: {one.state}: {one.why}")
