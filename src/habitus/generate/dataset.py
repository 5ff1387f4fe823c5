"""A chats dataset on disk: what it was made with, whether that still holds, and what has become of its records."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.generate.chats import ANSWER_STEPS, SHAPES, STEPS, Prompt
from habitus.generate.plan import Seats, built_in_axes, spread
from habitus.models.structured import schema_of
from habitus.study import read_rows
from habitus.traits.document import read_traits

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.generate.plan import Spread
    from habitus.recipe import Engine
    from habitus.study import Dataset, Study


def checked(study: Study) -> Seats:
    """Return the seats of a study, its traits document having been read."""
    document = read_traits(study.traits, budget=study.config.chats.chunk_tokens)
    return Seats(document, study.config.chats, seed=study.config.seed)


def made_with(study: Study, engine: Engine) -> dict[str, str]:
    """Return all that decides what the recipe writes, as name → fingerprint, to be compared between runs."""
    config = study.config
    settings: dict[str, Any] = {}
    for name, value in config.chats.model_dump(exclude={"count", "most_planned"}).items():
        settings |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    bound = {step: engine.bind(step, role) for step, role in STEPS.items()}
    return {
        "traits document": read_traits(study.traits, budget=config.chats.chunk_tokens).digest,
        "seed": str(config.seed),
        **{f"chats.{name}": repr(value) for name, value in settings.items()},
        "axes": sha256(repr(sorted(built_in_axes().items())).encode()).hexdigest()[:12],
        "answer shapes": sha256(repr([schema_of(shape).schema for shape in SHAPES]).encode()).hexdigest()[:12],
        **{f"model of {step}": f"{one.model.name} {one.settings or ''}".strip() for step, one in bound.items()},
        **{f"prompt {step}": engine.prompts.hash(step) for step in STEPS},
    }


def changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return what differs between two `made_with`, in words."""
    models = [name for name in now if name.startswith("model of") and before.get(name) != now[name]]
    if len(models) > 1 and len({(before.get(name), now[name]) for name in models}) == 1:
        told = f"model of {len(models)} steps: {before.get(models[0])} → {now[models[0]]}"
        rest = [{name: one for name, one in side.items() if name not in models} for side in (before, now)]
        return [told, *changes(*rest)]
    return [
        f"{name} changed"
        if name.startswith(("prompt", "traits", "axes", "answer"))
        else f"{name}: {before.get(name)} → {now.get(name)}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def prepare(study: Study, engine: Engine, want: int, *, redo: bool, go_on: bool) -> Path | None:
    """See whether the rows on disk were made with today's settings, set them aside on `redo`, and note the settings.

    They are noted before the first row is written, so that a run killed half-way is known for what it was.

    Raises:
        UserError: they were made with others, and the user has not said what to do about it.

    """
    dataset = study.dataset("chats")
    entry = study.manifest.get("datasets", {}).get("chats", {})
    now = made_with(study, engine)  # reads every prompt: what can't be used is refused before anything is moved
    if redo:
        aside = dataset.set_aside()
        study.write_manifest("chats", {})
        record_run(study, engine, want)
        return aside
    steps = funnel(dataset)
    stale = changes(entry["made_with"], now) if entry and steps["planned"] else []
    if stale and not go_on:
        raise UserError(
            f"{steps['kept']:,} chats were made with other settings: {'; '.join(stale)}.",
            where=str(dataset.folder),
            todo="--redo makes them anew (old rows are set aside, answers that still hold cost nothing); "
            "--go-on keeps them and adds new ones.",
        )
    before = [*entry.get("made_with_before", []), entry["made_with"]] if stale else None
    record_run(study, engine, want, before=before)
    return None


def record_run(study: Study, engine: Engine, want: int, *, before: list[dict[str, str]] | None = None) -> None:
    """Write into the manifest how the dataset was made, and what it has come to.

    `before` are the settings of older rows that were kept when the settings changed.
    """
    steps = funnel(study.dataset("chats"))
    entry = study.manifest.get("datasets", {}).get("chats", {})
    bound = [engine.bind(step, role) for step, role in STEPS.items()]
    study.write_manifest("chats", {
        "want": max(want, entry.get("want", 0)),
        "kept": steps["kept"],
        "funnel": steps,
        "made_with": made_with(study, engine),
        "made_with_before": before if before is not None else entry.get("made_with_before", []),
        "simulated": any(one.model.name.startswith("simulated/") for one in bound),
        "cost": [asdict(total) for total in engine.ledger.totals()],
    })  # fmt: skip


def funnel(dataset: Dataset) -> dict[str, int]:
    """Return how many records were planned, lost at each step, and kept."""
    kept = {row["id"] for row in read_rows(dataset.kept)}
    lost: dict[str, str] = {row["id"]: row["step"] for row in read_rows(dataset.dropped)}
    prompts = {row["id"] for row in read_rows(dataset.prompts)}
    steps: dict[str, int] = {"planned": len(prompts | lost.keys() | kept)}
    for step in [*(step for step in STEPS if step not in ANSWER_STEPS), "dedup", *ANSWER_STEPS]:
        if number := sum(1 for record, at in lost.items() if at == step and record not in kept):
            steps[f"dropped at {step}"] = number
    waiting = len(prompts - kept - lost.keys())
    return steps | ({"messages in reserve": waiting} if waiting else {}) | {"kept": len(kept)}


def spread_of(dataset: Dataset) -> list[Spread]:
    """Return how far a dataset's first messages spread over fields, openings and names."""
    rows = (Prompt.model_validate(row) for row in read_rows(dataset.prompts))
    return spread((row.scenario, row.prompt) for row in rows)
