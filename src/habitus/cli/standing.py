"""Where each part of a study stands: done, to do, or stale and why."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.runs import Order, Plan
    from habitus.generate.kinds import Job
    from habitus.study import Study
    from habitus.train.arms import Outcome
    from habitus.train.plan import Plan as TrainPlan
    from habitus.train.plan import Run

State = Literal["done", "stale", "to do", "failed", "left out"]


@dataclass(frozen=True)
class Standing:
    """How far one part of a study has come, and what there is to say of that."""

    state: State
    why: str = ""

    @property
    def words(self) -> str:
        """The state and its reason, in one line."""
        told = "to redo" if self.state == "stale" else self.state
        return f"{told}, {self.why}" if self.why else told


def dataset(job: Job) -> Standing:
    """Return where a dataset stands; rows that habitus did not make are taken as they are."""
    from habitus.generate.dataset import entry_of, funnel

    entry, steps, want = entry_of(job), funnel(job), job.usual_count()
    if not entry:
        return Standing("done", "rows of your own") if steps["kept"] else Standing("to do")
    if stale := differences(job):
        return Standing("stale", "; ".join(stale))
    reached = steps["planned"] if job.kind.folder == "chats-plain" else steps["kept"]
    return Standing("done" if reached >= want else "to do", f"{steps['kept']:,} of {want:,} kept")


def differences(job: Job) -> list[str]:
    """Return what a dataset was made with that is another now, in words."""
    from habitus.generate.dataset import changes, entry_of, made_with
    from habitus.recipe import open_engine

    async def found() -> list[str]:
        async with open_engine(job.study) as engine:
            return changes(entry_of(job)["made_with"], made_with(job, engine))

    return asyncio.run(found())


def audit(study: Study, name: str) -> Standing:
    """Return where the audit of a dataset stands of which every row is to be rated."""
    from habitus.sources import file_sha256

    entry: dict[str, Any] = study.manifest.get("audits", {}).get(name, {})
    if "prevalence" not in entry:
        return Standing("to do")
    kept = study.dataset(name).kept
    if not kept.is_file() or file_sha256(kept) != entry["dataset"]["sha256"]:
        return Standing("stale", f"{name} changed")
    rated, rows = entry["rated"], entry["dataset"]["rows"]
    return Standing("done" if rated >= rows else "to do", f"{rated:,} of {rows:,} rows rated")


def planned(study: Study, *, toy: bool = False) -> TrainPlan:
    """Return every run of the study, as `habitus train` would have it.

    Raises:
        UserError: the packages or the data are missing.

    """
    from habitus.cli.remembered import inputs_of, remember
    from habitus.cli.train import require, settings
    from habitus.train.plan import make_plan
    from habitus.train.quiet import hush

    require()
    training, arms = settings(study, toy=toy)
    hush(training.threads)
    plan = make_plan(study, training, arms)
    remember(_models(study, toy=toy), plan, inputs_of(study, toy=toy))
    return plan


def _models(study: Study, *, toy: bool) -> Path:
    return study.root / "models" / "toy" if toy else study.root / "models"


def model(run: Run, models: Path) -> Standing:
    """Return where one arm with one seed stands."""
    from habitus.train.arms import standing

    found: Outcome = standing(run, models)
    return _told(found.state, found.why)


def _told(state: str, why: str) -> Standing:
    if state in {"stale", "failed"}:
        return Standing("stale" if state == "stale" else "failed", why)
    return Standing("done") if state == "was done" else Standing("to do", "begun" * (state == "begun"))


def plans(order: Order, chosen: Sequence[Eval]) -> list[Plan]:
    """Return the plan of each eval; of one that waits for the baseline's answers, one that tells nothing but that."""
    from habitus.evaluate.runs import Plan, plan

    found = []
    for one in chosen:
        try:
            found.append(plan(order, one))
        except UserError:
            found.append(Plan(one.name, samples=1, calls={}, dollars=None, finished=0, ahead=1, measured=False))
    return found


def evals(order: Order, plans: list[Plan]) -> Standing:
    """Return where the evals of an arm stand: stale if its model or what they are made of has changed since."""
    if trained_since(order.study, order.arm):
        return Standing("stale", "the model was trained anew")
    if changed := [f"{name} of {one.name} changed" for one in plans for name in one.changed]:
        return Standing("stale", "; ".join(changed))
    missing = [one for one in plans if one.finished < one.samples]
    told = ", ".join(f"{one.name} {one.finished:,} of {one.samples:,}" for one in missing if one.finished)
    return Standing("to do" if missing else "done", told)


def trained_since(study: Study, arm: str) -> bool:
    """Tell whether an arm's model is newer than some of its logs."""
    weights = study.root / "models" / arm / "checkpoint" / "config.json"
    logs = (study.root / "evals" / arm).glob("*.eval")
    return weights.exists() and any(log.stat().st_mtime < weights.stat().st_mtime for log in logs)


def models_of(study: Study) -> dict[str, Standing]:
    """Return where every run stands that was begun, by its name; nothing where none was.

    Raises:
        UserError: the plan that they are held against can't be made.

    """
    found: dict[str, Standing] = {}
    for toy in (False, True):
        models = _models(study, toy=toy)
        if any(models.glob("*/seed-*/*")):
            stands = _as_remembered(study, models, toy=toy) or [
                (run.arm, run.seed, model(run, models)) for run in planned(study, toy=toy).runs
            ]
            found |= {f"{arm} seed {seed}" + " (toy)" * toy: one for arm, seed, one in stands}
    return found


def _as_remembered(study: Study, models: Path, *, toy: bool) -> list[tuple[str, int, Standing]] | None:
    """Return where every run stands by what the last plan said, which takes no tokenizer and no torch.

    None where something has changed since, or a run is stale: only a new plan can tell why.
    """
    from habitus.cli.remembered import inputs_of, remembered
    from habitus.train.arms import RUN, reached

    runs = remembered(models, inputs_of(study, toy=toy))
    stands = []
    for run in runs or ():
        folder = models / run["arm"] / f"seed-{run['seed']}"
        about = folder / RUN
        if about.exists() and orjson.loads(about.read_bytes())["made_with"] != run["made_with"]:
            return None
        stands.append((run["arm"], run["seed"], _told(*reached(folder))))
    return stands if runs is not None else None


def evals_of(study: Study) -> dict[str, tuple[Standing, list[str]]]:
    """Return what logs there are of every arm, by eval, and whether they are of the model that is there now."""
    folders = sorted({path.parent for path in (study.root / "evals").rglob("*.eval")})
    found: dict[str, tuple[Standing, list[str]]] = {}
    for folder in folders:
        arm = folder.relative_to(study.root / "evals").as_posix()
        is_stale = trained_since(study, arm)
        standing = Standing("stale", "the model was trained anew") if is_stale else Standing("done")
        told = [f"{name} {scored:,} of {rows:,}" for name, scored, rows in _counted(folder, arm)]
        found[arm] = standing, told
    return found


def _counted(folder: Path, arm: str) -> list[tuple[str, int, int]]:
    """Return the evals of an arm, each with its samples that have a number and all of them."""
    told = folder / "results.json"
    if told.exists() and all(log.stat().st_mtime <= told.stat().st_mtime for log in folder.glob("*.eval")):
        outcomes = {one["name"]: one["outcomes"] for one in orjson.loads(told.read_bytes())["evals"]}
        return [(name, one.get("scored", 0), sum(one.values())) for name, one in outcomes.items()]
    try:
        from habitus.evaluate.results import read_arm
    except ImportError as missing:
        todo = 'Run: pip install "habitus[evaluate]"'
        raise UserError(f"reading evals needs {missing.name}, which is not installed.", todo=todo) from missing
    return [(name, len(one.scored), len(one.rows)) for name, one in read_arm(folder, arm).items()]
