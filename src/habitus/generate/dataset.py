"""A generated dataset on disk: what it was made with, whether that still holds, and what became of its records."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.generate.kinds import ALL, PLAIN, Job
from habitus.models.structured import schema_of
from habitus.study import read_ids, read_rows
from habitus.traits.document import read_traits

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.recipe import Engine
    from habitus.study import Study


def jobs(study: Study) -> list[Job]:
    """Return every dataset that a study may have, in the order of the pipeline."""
    controls = (Job(study, kind, placebo=True) for kind in ALL if "-" not in kind.folder)
    return [*(Job(study, kind) for kind in ALL), *controls]


def entry_of(job: Job) -> dict[str, Any]:
    """Return what the manifest says of a dataset; nothing where none was begun."""
    return job.study.manifest.get("datasets", {}).get(job.dataset.name, {})


def made_with(job: Job, engine: Engine) -> dict[str, str]:
    """Return all that decides what the recipe writes, as name → fingerprint, to be compared between runs."""
    settings: dict[str, Any] = {}
    for name, value in job.own_settings.items():
        settings |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    bound = {step: engine.bind(step, role) for step, role in job.kind.steps.items()}
    source: dict[str, str] = {}
    if job.kind.from_chats:
        entry = entry_of(job.chats)
        made = entry.get("made_with") or made_with(job.chats, engine)
        source = {"chats": _digest([made, *entry.get("made_with_before", [])])}
    return {
        "traits document": read_traits(job.traits, budget=job.settings.chunk_tokens).digest,
        "seed": str(job.study.config.seed),
        **{name: repr(value) for name, value in settings.items()},
        "axes": _digest(sorted(job.axes.items())),
        "answer shapes": _digest([schema_of(shape).schema for shape in job.kind.shapes]),
        **source,
        **{f"model of {step}": f"{one.model.name} {one.settings or ''}".strip() for step, one in bound.items()},
        **{f"prompt {step}": engine.prompts.hash(step) for step in job.kind.steps},
    }


def _digest(value: Any) -> str:
    return sha256(repr(value).encode()).hexdigest()[:12]


def changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return what differs between two `made_with`, in words."""
    models = [name for name in now if name.startswith("model of") and before.get(name) != now[name]]
    if len(models) > 1 and len({(before.get(name), now[name]) for name in models}) == 1:
        told = f"model of {len(models)} steps: {before.get(models[0])} → {now[models[0]]}"
        rest = [{name: one for name, one in side.items() if name not in models} for side in (before, now)]
        return [told, *changes(*rest)]
    return [
        f"{name} changed"
        if name.startswith(("prompt", "traits", "axes", "answer")) or name == "chats"
        else f"{name}: {before.get(name)} → {now.get(name)}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def prepare(job: Job, engine: Engine, want: int, *, redo: bool, go_on: bool) -> Path | None:
    """See whether the rows on disk were made with today's settings, set them aside on `redo`, and note the settings.

    They are noted before the first row is written, so that a run killed half-way is known for what it was.

    Raises:
        UserError: they were made with others, and the user has not said what to do about it.

    """
    if job.kind.from_chats:
        _check_chats(job, engine)
    dataset, entry = job.dataset, entry_of(job)
    now = made_with(job, engine)  # reads every prompt: what can't be used is refused before anything is moved
    if redo:
        aside = dataset.set_aside()
        if aside is not None and entry:
            job.study.write_manifest(f"{dataset.name}/{aside.name}", entry)
        job.study.write_manifest(dataset.name, {})
        record_run(job, engine, want)
        return aside
    steps = funnel(job)
    stale = changes(entry["made_with"], now) if entry and steps["planned"] else []
    if stale and not go_on:
        raise UserError(
            f"{steps['kept']:,} {job.kind.noun} were made with other settings: {'; '.join(stale)}.",
            where=str(dataset.folder),
            todo=f"`{job.command} --redo` makes them anew (old rows are set aside, answers that still hold cost "
            "nothing); --go-on keeps them and adds new ones.",
        )
    before = [*entry.get("made_with_before", []), entry["made_with"]] if stale else None
    record_run(job, engine, want, before=before)
    return None


def _check_chats(job: Job, engine: Engine) -> None:
    """See whether there are chats that a dataset may be made from, before anything of it is touched."""
    chats, entry = job.chats, entry_of(job.chats)
    if job.settings.contrast >= 1 and job.kind is not PLAIN:
        raise UserError(
            "every chat is a contrast, and contrasts give no pairs.",
            where=str(job.study.root / "config.yaml"),
            todo="Set chats.contrast below 1.",
        )
    kept = sum(1 for _ in read_ids(chats.dataset.kept))
    if job.kind is PLAIN and not kept:
        todo = f"Run `{chats.command}`."
        raise UserError("there are no chats to make it from.", where=str(chats.dataset.kept), todo=todo)
    stale = changes(entry["made_with"], made_with(chats, engine)) if entry.get("made_with") and kept else []
    if stale:
        raise UserError(
            f"the {kept:,} chats that these are made from were made with other settings: {'; '.join(stale)}.",
            where=str(chats.dataset.folder),
            todo=f"Settle that first: `{chats.command} --redo`, or --go-on.",
        )


def record_run(job: Job, engine: Engine, want: int, *, before: list[dict[str, str]] | None = None) -> None:
    """Write into the manifest how the dataset was made, and what it has come to.

    `before` are the settings of older rows that were kept when the settings changed.
    """
    steps, entry = funnel(job), entry_of(job)
    bound = [engine.bind(step, role) for step, role in job.kind.steps.items()]
    made_by_simulation = any(one.model.name.startswith("simulated/") for one in bound)
    from_simulated = job.kind.from_chats and entry_of(job.chats).get("simulated", False)
    round_ = {name: entry[name] for name in ("planned_for", "planned_to") if name in entry}
    job.study.write_manifest(job.dataset.name, round_ | {
        "want": max(want, entry.get("want", 0)),
        "kept": steps["kept"],
        "funnel": steps,
        "roles": job.kind.steps,
        "made_with": made_with(job, engine),
        "made_with_before": before if before is not None else entry.get("made_with_before", []),
        "placebo": job.placebo,
        "simulated": made_by_simulation or from_simulated,
        "cost": [asdict(total) for total in engine.ledger.totals() if total.step in job.kind.steps],
    })  # fmt: skip


def planned_to(job: Job, want: int) -> int:
    """Return how many seats the round planned that a run for so many rows was last in; 0 where there was none."""
    entry = entry_of(job)
    return entry.get("planned_to", 0) if entry.get("planned_for") == want else 0


def note_target(job: Job, want: int, planned_to: int) -> None:
    """Write into the manifest how many seats a round plans."""
    entry = entry_of(job) | {"planned_for": want, "planned_to": planned_to}
    job.study.write_manifest(job.dataset.name, entry)


def funnel(job: Job) -> dict[str, int]:
    """Return how many records were planned, lost at each step, and kept."""
    dataset, kind = job.dataset, job.kind
    kept = set(read_ids(dataset.kept))
    lost: dict[str, str] = {row["id"]: row["step"] for row in read_rows(dataset.dropped, "id", "step")}
    written = set(read_ids(dataset.waiting(kind.waiting))) if kind.waiting else set()
    steps: dict[str, int] = {"planned": len(written | lost.keys() | kept)}
    for step in [*(step for step in kind.steps if step not in kind.late), "dedup", *kind.late]:
        if number := sum(1 for record, at in lost.items() if at == step and record not in kept):
            steps[f"dropped at {step}"] = number
    waiting = len(written - kept - lost.keys())
    reserve = "messages in reserve" if kind.late else f"{kind.noun} in reserve"
    return steps | ({reserve: waiting} if waiting else {}) | {"kept": len(kept)}
