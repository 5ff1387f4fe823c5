"""The runs of a study before anything is trained: every arm's rows, sizes and steps, made equal where they can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, get_args

from habitus.errors import UserError, nearest
from habitus.settings_train import Arm, MidtrainArm, SftArm
from habitus.train.job import Job, Kind, with_steps
from habitus.train.mixture import Mixture, amount, balanced, capacity, mix, shares, whole
from habitus.train.pool import Pools
from habitus.train.selection import left_out, thinned, unjudged
from habitus.train.start import find_start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from habitus.settings_train import BdpoArm, Selection, Training
    from habitus.shapes import Shape
    from habitus.study import Study
    from habitus.train.mixture import AnyTokens
    from habitus.train.pool import Pool
    from habitus.train.start import Start

KINDS: tuple[Kind, ...] = get_args(Kind)
SHAPES: dict[Kind, Shape] = {"midtrain": "documents", "sft": "chats", "bdpo": "preferences"}
FEW_STEPS = 250
"""Optimiser steps of midtraining below which to expect little: published, 31 are a null result and 244 are not."""

SHIFT = 0.02
"""From what change in a stratum's share on a filtered arm is said to have another composition."""


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    arm: str
    seed: int
    start: Start
    jobs: tuple[Job, ...]

    def made_with(self, stages: int | None = None) -> dict[str, str]:
        """Return what decides the outcome of the first so many stages, by name."""
        found = {"start": f"{self.start.name} {self.start.fingerprint}"}
        for job in self.jobs[:stages]:
            found |= job.made_with()
        return found

    def digest(self, stages: int) -> str:
        """Return a hash of what decides the outcome of the first so many stages."""
        told = "\n".join(f"{name}: {value}" for name, value in sorted(self.made_with(stages).items()))
        return sha256(told.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Plan:
    """All runs of a study."""

    runs: tuple[Run, ...]
    size: int | None
    """What each arm's SFT data come to."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    left_out: tuple[dict[str, Any], ...]
    """Rows that nobody is trained on, each with its reason."""

    def some(self, arms: tuple[str, ...], seeds: tuple[int, ...]) -> list[Run]:
        """Return the runs of these arms and seeds; of all, where none is named.

        Raises:
            UserError: there is no such arm or seed.

        """
        for name, given, there in (("arm", arms, [one.arm for one in self.runs]), ("seed", seeds, self._seeds)):
            if unknown := next((one for one in given if one not in there), None):
                choices = [str(one) for one in dict.fromkeys(there)]
                hint = nearest(str(unknown), choices)
                todo = f"There are {', '.join(choices)}."
                raise UserError(f"no {name} '{unknown}' in this study.{hint}", where="config.yaml", todo=todo)
        return [one for one in self.runs if one.arm in (arms or {one.arm}) and one.seed in (seeds or {one.seed})]

    @property
    def _seeds(self) -> list[int]:
        return [one.seed for one in self.runs]


def usual_arms(study: Study) -> dict[str, Arm]:
    """Return the arms that the study's own data allow, where it sets none."""
    has = {name: study.dataset(name).kept.exists() for name in ("documents", "chats", "preferences")}
    if not any(has.values()):
        raise UserError(
            "there is nothing to train on yet.",
            where=str(study.root),
            todo=f"Run `habitus generate chats {study.root}`.",
        )
    found = {"baseline": Arm(sft=SftArm())}
    if has["chats"]:
        found["sft"] = Arm(sft=SftArm(data="chats"))
    if has["documents"] and has["chats"]:
        found["both"] = Arm(midtrain=MidtrainArm(data="documents"), sft=SftArm(data="chats"))
    return found


def make_plan(study: Study, training: Training, arms: Mapping[str, Arm]) -> Plan:
    """Return the runs of every arm with every seed.

    Raises:
        UserError: data or models are missing, unreadable, or too few for what is asked.

    """
    planner = _Planner(study, training, arms)
    size = planner.size
    runs = [planner.run(name, seed) for seed in training.seeds for name in arms]
    steps = {
        kind: min((job.own_steps for run in runs for job in run.jobs if job.kind == kind), default=0) for kind in KINDS
    }
    runs = [
        Run(run.arm, run.seed, run.start, tuple(with_steps(job, steps[job.kind]) for job in run.jobs)) for run in runs
    ]
    for job in (job for run in runs for job in run.jobs):
        _ = job.accumulate  # a batch that can't be parted is told before anything is trained
    pools = planner.pools
    return Plan(
        tuple(runs),
        size,
        (*planner.notes, *pools.notes),
        (*_warnings(runs, pools), *planner.warnings),
        tuple(pools.left_out),
    )


def _warnings(runs: list[Run], pools: Pools) -> tuple[str, ...]:
    """Return what the user ought to know before anything is spent."""
    found = dict.fromkeys(pools.warnings)
    for run in runs:
        for job in run.jobs:
            if job.kind == "midtrain" and job.steps < FEW_STEPS:
                found[f"midtraining takes {job.steps:,} optimiser steps; under {FEW_STEPS} expect little"] = None
            if job.kind == "midtrain" and run.start.looks_post_trained:
                found[
                    f"{run.start.name} looks post-trained; midtraining it costs chat abilities, so begin with the "
                    "pretrained checkpoint"
                ] = None
            if job.mixture.repeated:
                found[f"{run.arm}: {job.mixture.repeated:,} rows come more than once, as asked"] = None
    return tuple(found)


@dataclass
class _Planner:
    """What the runs of one study share while they are planned."""

    study: Study
    training: Training
    arms: Mapping[str, Arm]
    notes: list[str] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)

    @cached_property
    def pools(self) -> Pools:
        found = Pools(self.study, self.training)
        found.most = self._most_baseline(found)
        return found

    def _most_baseline(self, pools: Pools) -> int | None:
        """Return the most baseline data that an arm could take, as far as the config or the synthetic data say it."""
        if self.training.size is not None:
            return self.training.size
        unit = self.training.of
        wanted = [(name, arm.sft) for name, arm in self.arms.items() if arm.sft is not None and arm.sft.data]
        sizes = (
            sum(amount(one, unit) for one in pools.pool(str(sft.data), "chats", self.start(name)).rows) / sft.fraction
            for name, sft in wanted
        )
        return int(min(sizes, default=0)) or None

    @cached_property
    def size(self) -> int | None:
        """How much SFT data each arm has: as set, or the most that every arm can have."""
        arms = {name: arm.sft for name, arm in self.arms.items() if arm.sft is not None}
        if self.training.size is not None or not arms:
            return self.training.size
        unit = self.training.of
        most = {name: self._capacity(name, wanted) for name, wanted in arms.items()}
        least = min(most, key=lambda name: most[name])
        if not most[least]:
            what = f"the arm '{least}' has no {unit} of one of its two kinds of chats."
            raise UserError(what, where="config.yaml, arms", todo="Bring more rows, or change its fraction.")
        self.notes.append(f"size: {most[least]:,} {unit} for each arm, the most that '{least}' can have")
        return most[least]

    def _capacity(self, name: str, wanted: SftArm) -> int:
        start, fraction, unit = self.start(name), self._fraction(wanted), self.training.of
        baseline = self.pools.baseline(start).rows if fraction < 1 else []
        if not wanted.data:
            return capacity(baseline, [], fraction, unit)
        seeds = self.training.seeds if wanted.as_many_as else self.training.seeds[:1]  # by tokens, chance decides
        return min(capacity(baseline, self._chosen(name, "sft", wanted, seed), fraction, unit) for seed in seeds)

    @staticmethod
    def _fraction(wanted: SftArm) -> float:
        return wanted.fraction if wanted.data else 0.0

    def start(self, name: str) -> Start:
        """Return where an arm begins."""
        given = self.arms[name].start or self.training.start
        if given is None:
            todo = "Set `train.start` to a hub id, a folder or `toy:0.5M`; or try it all with --toy."
            raise UserError("it is not said which model to train.", where="config.yaml, train.start", todo=todo)
        if given not in self._starts:
            self._starts[given] = find_start(given, self.study.root, self.training)
        return self._starts[given]

    @cached_property
    def _starts(self) -> dict[str, Start]:
        return {}

    def run(self, name: str, seed: int) -> Run:
        """Return the run of one arm with one seed, its steps not settled yet."""
        arm, start = self.arms[name], self.start(name)
        jobs = []
        if arm.midtrain is not None:
            jobs.append(self._midtrain(name, arm.midtrain, start, seed))
        if arm.sft is not None:
            jobs.append(self._sft(name, arm.sft, start, seed))
        if arm.bdpo is not None:
            jobs.append(self._bdpo(name, arm.bdpo, start, seed))
        return Run(name, seed, start, tuple(jobs))

    def _midtrain(self, name: str, wanted: MidtrainArm, start: Start, seed: int) -> Job:
        settings = self.training.midtrain
        chosen = self._chosen(name, "midtrain", wanted, seed)
        mixture = whole(chosen, seed)
        if settings.web:
            web = self.pools.pool(settings.web, "documents", start).rows
            share = 1 - settings.web_share
            size = capacity(web, chosen, share, "tokens")
            mixture = mix(web, chosen, fraction=share, size=size, unit="tokens", seed=seed)
        held_out = {"documents": self._pool("midtrain", wanted, start).held_out}
        return self._job("midtrain", mixture, settings, seed=seed, start=start, held_out=held_out)

    def _sft(self, name: str, wanted: SftArm, start: Start, seed: int) -> Job:
        fraction, training = self._fraction(wanted), self.training
        baseline = self.pools.baseline(start) if fraction < 1 else None
        synthetic = self._pool("sft", wanted, start) if wanted.data else None
        assert self.size is not None
        chosen = self._chosen(name, "sft", wanted, seed) if wanted.data else []
        mixture = mix(
            baseline.rows if baseline else [],
            chosen,
            fraction=fraction,
            size=self.size,
            unit=training.of,
            seed=seed,
            may_repeat=training.repeat,
            like=synthetic.rows if synthetic else None,
        )
        if synthetic and wanted.contrast:
            self._tell_of_shift(name, mixture, chosen, synthetic, fraction)
        named = {"baseline": baseline, "synthetic": synthetic}
        held_out = {name: one.held_out for name, one in named.items() if one}
        return self._job("sft", mixture, training.sft, seed=seed, start=start, held_out=held_out)

    def _tell_of_shift(self, name: str, mixture: Mixture, chosen: list[AnyTokens], pool: Pool, fraction: float) -> None:
        """Warn where what is left of a dataset is too little for the composition of the whole."""
        source = pool.rows[0].row.source
        was, now = shares(pool.rows), shares([one for one in mixture.rows if one.row.source == source])
        most = max(was, key=lambda stratum: abs(now.get(stratum, 0.0) - was[stratum]))
        if abs(now.get(most, 0.0) - was[most]) <= SHIFT:
            return
        room = int(balanced(chosen, pool.rows) * sum(amount(one, self.training.of) for one in pool.rows) / fraction)
        todo = f"a `size` of {room:,} or less keeps them alike" if room else "none of them is left"
        told = f"{name}: rows of '{most}' are {now.get(most, 0.0):.0%} of what it takes from {source}, where they are"
        self.warnings[f"{told} {was[most]:.0%}; {todo}"] = None

    def _bdpo(self, name: str, wanted: BdpoArm, start: Start, seed: int) -> Job:
        given = {key: value for key in ("loss", "mixture") if (value := getattr(wanted, key)) is not None}
        settings = self.training.bdpo.model_copy(update=given)
        mixture = whole(self._chosen(name, "bdpo", wanted, seed), seed)
        held_out = {"pairs": self._pool("bdpo", wanted, start).held_out}
        return self._job("bdpo", mixture, settings, seed=seed, start=start, held_out=held_out)

    def _job(
        self,
        kind: Kind,
        mixture: Mixture,
        settings: Any,
        *,
        seed: int,
        start: Start,
        held_out: dict[str, list[AnyTokens]],
    ) -> Job:
        if not mixture.rows:
            raise UserError(f"nothing is left to train {kind} on.", where="config.yaml, arms", todo="Leave out less.")
        asked = (
            [one.row.content["messages"][:-1] for rows in held_out.values() for one in rows] if kind == "sft" else []
        )
        prompts = tuple(tuple(one) for one in asked[-self.training.samples :]) if self.training.samples else ()
        toy = start.name.startswith("toy:")
        return Job(kind, mixture, settings, self.training, seed, toy, held_out, prompts)

    def _pool(self, kind: Kind, wanted: Selection, start: Start) -> Pool:
        return self.pools.pool(str(wanted.data), SHAPES[kind], start)

    def _chosen(self, name: str, kind: Kind, wanted: Selection, seed: int) -> list[AnyTokens]:
        """Return the rows of a dataset that an arm takes, after what it leaves out."""
        pool = self._pool(kind, wanted, self.start(name))
        gone = left_out(self.study, wanted, pool) | self._unjudged(str(wanted.data), pool)
        if wanted.as_many_as:
            theirs = self._gone_of(name, kind, wanted) - self._unjudged(str(wanted.data), pool)
            rest = [row for row in pool.records if row.id not in gone]
            gone |= thinned(rest, len(theirs), seed)
        if (
            gone
            and (note := f"{name}: {len(gone):,} of {len(pool.records):,} rows of {wanted.data} left out")
            not in self.notes
        ):
            self.notes.append(note)
        return [one for one in pool.rows if one.row.id not in gone]

    def _unjudged(self, data: str, pool: Pool) -> set[str]:
        """Return the rows that no arm takes, as a pattern is filtered in one and the judge never managed them."""
        stages = [stage for arm in self.arms.values() for stage in (arm.midtrain, arm.sft, arm.bdpo) if stage]
        if not any(stage.without and stage.data == data for stage in stages):
            return set()
        found = unjudged(self.study, data, pool)
        if found:
            told = f"{data}: {len(found):,} rows are in no arm, as the audit's judge never managed to rate them"
            self.warnings[told] = None
        return found

    def _gone_of(self, name: str, kind: Kind, wanted: Selection) -> set[str]:
        """Return what the arm leaves out to which this one is the control."""
        other = self.arms.get(str(wanted.as_many_as))
        theirs: Selection | None = getattr(other, kind) if other else None
        if theirs is None or theirs.data != wanted.data or theirs.as_many_as:
            what = f"'{wanted.as_many_as}' is no arm that filters {wanted.data}."
            todo = "Name an arm of the same data that leaves rows out by a pattern or a list."
            raise UserError(what, where=f"config.yaml, arms.{name}.{kind}.as_many_as", todo=todo)
        return left_out(self.study, theirs, self._pool(kind, theirs, self.start(str(wanted.as_many_as))))
