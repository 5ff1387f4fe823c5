"""The command that trains a study's models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from habitus.cli.arguments import STUDY, open_study
from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from habitus.settings_train import Arm, Training
    from habitus.study import Study
    from habitus.train.plan import Plan, Run

TOY_START, TOY_LENGTH, TOY_SIZE, TOY_BATCH = "toy:0.5M", 768, 200, 2


@click.command(short_help="Train the arms of a study: midtrain, SFT, BDPO.")
@STUDY
@click.option("--arm", "arms", multiple=True, help="Train this arm alone; may be given several times.")
@click.option(
    "--seed", "seeds", multiple=True, type=int, help="Train with this seed alone; may be given several times."
)
@click.option("--show", "show_", is_flag=True, help="Print three rows of each stage with what carries loss, and stop.")
@click.option("--dry-run", is_flag=True, help="Print what would be trained, the memory and the time, and stop.")
@click.option("--toy", is_flag=True, help="Train tiny models made on the spot, into models/toy: minutes on a CPU.")
@click.option("--redo", is_flag=True, help="Set runs that are stale or failed aside, and train them anew.")
def train(
    study: Path, *, arms: tuple[str, ...], seeds: tuple[int, ...], show_: bool, dry_run: bool, toy: bool, redo: bool
) -> None:
    """Train every arm of a study, each seed in a folder of its own below models/.

    Interrupt it at any time; the same command goes on. What is finished is never trained again nor overwritten. On
    several GPUs: accelerate launch --config_file FILE -m habitus train STUDY.
    """
    from contextlib import nullcontext

    from habitus import show, show_train

    options = [*(f"--arm {name}" for name in arms), *(f"--seed {seed}" for seed in seeds), *["--toy"] * toy]
    again = " ".join(["habitus", "train", str(study), *options])
    require()
    from habitus.train.job import is_first
    from habitus.train.plan import make_plan
    from habitus.train.quiet import hush

    opened = open_study(study)
    training, wanted = settings(opened, toy=toy)
    _require_trackers(training)
    hush(training.threads)
    show.be_quiet(quiet=show.progress_console.quiet or not is_first())
    with opened.lock() if is_first() else nullcontext():
        found = make_plan(opened, training, wanted)
        runs = found.some(arms, seeds)
        if is_first():
            show_train.plan(found, runs)
        if show_:
            _show_loss(runs)
        elif dry_run:
            _estimate(runs)
        else:
            try:
                _train(opened, found, runs, toy=toy, redo=redo)
            except KeyboardInterrupt as stop:
                show.warn("Interrupted. Everything finished and the last saved state are kept.")
                show.next_command(again)
                raise SystemExit(130) from stop
    if is_first() and (show_ or dry_run):
        show.next_command(again)


def require() -> None:
    """Refuse to begin without the packages, none of which is imported before `hush` has its say."""
    from importlib.util import find_spec

    for name in ("peft", "trl"):
        if find_spec(name) is None:
            todo = 'Run: pip install "habitus[train]"'
            raise UserError(f"training needs {name}, which is not installed.", todo=todo)


def _require_trackers(training: Training) -> None:
    """Refuse to begin where a tracker's package is missing."""
    from importlib.util import find_spec

    for name in training.trackers:
        if find_spec(name) is None:
            todo = f"Run: pip install {name}, or leave it out; metrics.jsonl is written in any case."
            raise UserError(f"the tracker {name} is not installed.", where="config.yaml, train.trackers", todo=todo)


def settings(study: Study, *, toy: bool) -> tuple[Training, dict[str, Arm]]:
    """Return the study's settings; with --toy, those of a tiny model on a part of the data."""
    from habitus import show
    from habitus.train.plan import usual_arms
    from habitus.train.pool import ORDINARY
    from habitus.train.toy import is_toy

    training, arms = study.config.train, study.config.arms
    if not arms:
        arms = usual_arms(study)
        show.note(f"no arms are set in config.yaml; from the data there are: {', '.join(arms)}")
    if toy:
        small = {"max_length": min(training.max_length, TOY_LENGTH), "size": TOY_SIZE, "of": "rows", "lora": None}
        starts = {"start": training.start if is_toy(training.start or "") else TOY_START, "repeat": True}
        stages = ("midtrain", "sft", "bdpo")
        pace = {"batch": TOY_BATCH, "rows_at_once": 1, "steps": None, "epochs": 1.0, "learning_rate": None}
        paces = {name: getattr(training, name).model_copy(update=pace) for name in stages}
        types = {"weights": None, "bf16": None}
        training = training.model_copy(update=small | starts | paces | types)
        arms = {name: arm.model_copy(update={"start": None}) for name, arm in arms.items()}
        show.note(f"toy: {training.start}, {TOY_SIZE} rows an arm, rows of {training.max_length} tokens")
    if training.baseline is None and is_toy(training.start or ""):
        training = training.model_copy(update={"baseline": ORDINARY})
        show.note("baseline: ordinary chats of the embedded world, as `train.baseline` is not set")
    return training, arms


def _show_loss(runs: Sequence[Run]) -> None:
    from habitus import show_train
    from habitus.train.show_loss import counts, shown

    for run in {run.arm: run for run in runs}.values():
        for job in run.jobs:
            show_train.loss(shown(job, run.start.tokenizer), counts(job), f"{run.arm}, {job.kind}")


def _estimate(runs: Sequence[Run]) -> None:
    from habitus import show_train
    from habitus.train.estimate import estimate, hardware

    show_train.estimates([(run, estimate(run)) for run in runs], hardware())


def _train(study: Study, plan: Plan, runs: Sequence[Run], *, toy: bool, redo: bool) -> None:
    """Train what is not trained yet, print how each run ended, and leave with 1 where one failed."""
    from habitus import show, show_train
    from habitus.study import encode
    from habitus.train.arms import carry_out
    from habitus.train.job import is_first

    models = study.root / "models" / "toy" if toy else study.root / "models"
    if is_first():
        models.mkdir(parents=True, exist_ok=True)
        (models / "left_out.jsonl").write_bytes(b"".join(encode(row) for row in plan.left_out))
    found = list(carry_out(runs, models, show.note, redo=redo))
    if is_first():
        show_train.outcomes(found)
        show.say(f"\n  {models}/ARM/seed-N: checkpoint, mixture.jsonl, metrics.jsonl, curve.svg, README.md")
    if any(one.state == "stale" for one in found):
        show.next_command(f"habitus train {study.root} --redo{' --toy' * toy}")
    if any(one.state in {"stale", "failed"} for one in found):
        raise SystemExit(1)
