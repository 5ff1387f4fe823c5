"""Filter: the rows that show a pattern are dropped, thinned out to a rate, or written anew without it."""

from __future__ import annotations

import math
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from habitus.audit.autorate import rate
from habitus.audit.classifier import classified
from habitus.audit.dataset import order
from habitus.audit.passes import ASKED, PATTERN, VERDICT, run_pass
from habitus.audit.prevalence import Rate, is_there, rate_of
from habitus.audit.rewrite import Rewritten, Row, rewrite
from habitus.errors import UserError
from habitus.forecast import forecast
from habitus.models.embed import open_embedder
from habitus.records import Drop, Rated
from habitus.shapes import recognise
from habitus.study import Rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from habitus.audit.dataset import Reading
    from habitus.audit.opened import Audited
    from habitus.forecast import StepEstimate
    from habitus.recipe import Engine
    from habitus.records import Level, Pattern, Role
    from habitus.tally import Progress

How = Literal["drop", "cap", "rewrite"]
LEAST_SKILL = 0.5
"""Precision and recall below which a classifier's word is not gone by."""


@dataclass
class Filtered:
    """What a filter did."""

    pattern: str
    how: How
    before: Rate
    after: Rate
    remarks: list[str] = field(default_factory=list)


def shown_in(patterns: Sequence[Pattern], rated: Sequence[Rated], level: Level) -> dict[str, bool]:
    """Return by text whether it shows one of the patterns."""
    return {one.id: any(is_there(one.verdicts.get(pattern.id), level) for pattern in patterns) for one in rated}


def to_remove(
    shown: Mapping[str, bool], traits: Mapping[str, str], *, how: How, target: float | None, seed: int
) -> frozenset[str]:
    """Return the texts that go: all that show the pattern, or so many that the rest has it at no more than `target`.

    What goes is drawn at random, from each trait in proportion; capping leaves no trait without a row.
    """
    flagged = [name for name, there in shown.items() if there]
    if how == "drop" or target is None:
        return frozenset(flagged)
    others = len(shown) - len(flagged)
    stay = math.floor(target * others / (1 - target) + 1e-9) if target < 1 else len(flagged)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(flagged, key=lambda name: order(seed, "filter", name)):
        groups[traits[name]].append(name)
    alone = groups.keys() - {traits[name] for name, there in shown.items() if not there}
    quota = _shares({trait: len(names) for trait, names in groups.items()}, min(stay, len(flagged)), alone)
    return frozenset(name for trait, names in groups.items() for name in names[quota[trait] :])


def _shares(sizes: Mapping[str, int], total: int, at_least_one: Collection[str]) -> dict[str, int]:
    """Return so many in all, shared out in proportion to the sizes by largest remainders."""
    everything = sum(sizes.values())
    exact = {name: size * total / max(everything, 1) for name, size in sizes.items()}
    found = {name: math.floor(share) for name, share in exact.items()}
    for name in sorted(exact, key=lambda name: found[name] - exact[name])[: total - sum(found.values())]:
        found[name] += 1
    return {name: max(number, int(name in at_least_one)) for name, number in found.items()}


def vanished(traits: Mapping[str, str], removed: Collection[str]) -> list[str]:
    """Return the traits of which no row is left."""
    left = Counter(trait for name, trait in traits.items() if name not in removed)
    return sorted(trait for trait in set(traits.values()) if not left[trait])


def rows_after(
    reading: Reading,
    removed: Mapping[str, str],
    rewritten: Mapping[str, dict[str, Any]] | None,
    patterns: Sequence[str],
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every row of the dataset as it is to be written, with the reason why it goes; none for one that stays.

    Where rows were written anew, all come in our shape, so that what is left has one.
    """
    for text, raw in reading.pairs():
        if text.id in removed:
            yield {**raw, "id": text.id}, removed[text.id]
        elif rewritten is None:
            yield raw, ""
        else:
            _, content, used = recognise(raw)
            rest = {name: value for name, value in raw.items() if name not in used}
            anew = rewritten.get(text.id)
            if anew is not None:
                meta = raw["meta"] if isinstance(raw.get("meta"), dict) else {}
                rest["meta"] = meta | {"rewritten_without": list(patterns)}
            yield {**rest, "id": text.id, **(anew or content)}, ""


def write_rows(folder: Path, rows: Iterator[tuple[dict[str, Any], str]]) -> None:
    """Write the rows that stay and those that go; the folder is there only once both are whole."""
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    kept, gone = Rows(fresh / "kept.jsonl"), Rows(fresh / "removed.jsonl")
    try:
        for row, reason in rows:
            (gone if reason else kept).append([{**row, "removed": reason} if reason else row])
    except TypeError as error:
        what = f"a row holds what JSON has no place for ({error})."
        raise UserError(what, where=str(folder), todo="Leave such columns out of the dataset.") from error
    finally:
        kept.close()
        gone.close()
    fresh.rename(folder)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a filter is to do."""

    patterns: tuple[Pattern, ...]
    how: How
    level: Level
    target: float | None
    """The rate to cap at."""


@dataclass
class Filtering:
    """A filter on its way through a dataset."""

    plan: Plan
    engine: Engine
    audited: Audited
    progress: Progress
    by: Literal["judge", "classifier"] | None = None
    """How rows that were not rated are told."""
    embedder: str = "hashing"
    address: str | None = None
    """Where a classifier works (see `gone_over`)."""
    remarks: list[str] = field(default_factory=list)
    rated: list[Rated] = field(default_factory=list)
    """What was rated besides the sample."""

    def estimate(self) -> list[StepEstimate]:
        """Return what the models will take, as far as it can be told before all rows are rated."""
        plan, rows = self.plan, self.audited.summary["dataset"]["rows"]
        shown = shown_in(plan.patterns, self.audited.rated, plan.level)
        anew = round(rows * rate_of(sum(shown.values()), len(shown)).rate) if plan.how == "rewrite" else 0
        rest = rows - len(shown) if self.by == "judge" else 0
        texts = self.audited.texts.values()
        size, told = sum(map(len, texts)) / 4 / max(len(texts), 1), PATTERN * len(plan.patterns)
        steps: tuple[tuple[str, Role, int, tuple[float, float]], ...] = (
            ("audit/rate", "judge", rest + anew, (ASKED["audit/rate"] + size + told, VERDICT * len(plan.patterns))),
            ("audit/rewrite", "refiner", anew, (ASKED["audit/rate"] + size + told, size)),
        )
        # not by the mean of the audit's own calls, which asked for more patterns than these
        return [forecast(self.engine, step, role, calls=calls, each=each, known=[])
                for step, role, calls, each in steps if calls]  # fmt: skip

    @cached_property
    def _reading(self) -> Reading:
        """The dataset, which `_traits` has read once."""
        return self.audited.reading()

    @cached_property
    def _traits(self) -> dict[str, str]:
        """The trait of every row, in their order."""
        return {text.id: text.trait for text in self._reading}

    async def write(self, folder: Path, shown: Mapping[str, bool]) -> Filtered:
        """Write what the filter leaves and what it takes out into a new folder, and return what it did.

        Raises:
            Waiting: some answers are still to come.

        """
        plan, traits, reading = self.plan, self._traits, self._reading
        chosen = to_remove(shown, traits, how=plan.how, target=plan.target, seed=self.engine.config.seed)
        names = [one.id for one in plan.patterns]
        removed = {name: f"shows {', '.join(names)} ({plan.level})" for name in chosen}
        rewritten: dict[str, dict[str, Any]] | None = None
        if plan.how == "rewrite":
            rewritten, removed = await self._rewritten(reading, chosen)
            self.remarks.append(f"written anew, and the judge no longer finds it: {len(rewritten):,}")
        write_rows(folder, rows_after(reading, removed, rewritten, names))
        if removed:
            self.remarks.append(f"in removed.jsonl, with the reason: {len(removed):,}")
        if lost := [trait for trait in vanished(traits, removed) if trait]:
            self.remarks.append(f"no row is left of these traits: {', '.join(lost)}")
        before = sum(shown.values())
        return Filtered(
            pattern=", ".join(names), how=plan.how, before=rate_of(before, len(shown)),
            after=rate_of(before - len(chosen), len(shown) - len(removed)), remarks=self.remarks,
        )  # fmt: skip

    async def tell(self) -> dict[str, bool]:
        """Return of every row whether it shows a pattern; `remarks` then say how well that is known.

        Raises:
            UserError: not all rows were rated, and it was not said how the others are told; or a classifier can't.
            Waiting: some answers are still to come.

        """
        plan, ids, reading = self.plan, list(self._traits), self._reading
        judged = shown_in(plan.patterns, self.audited.rated, plan.level)
        rest = sum(name not in judged for name in ids)
        if not rest:
            return judged
        if self.by is None:
            what = f"{rest:,} of {len(ids):,} rows were not rated."
            todo = f"Say --by judge ({rest:,} calls), or --by classifier (free)."
            raise UserError(what, where=str(self.audited.folder), todo=todo)
        if self.by == "judge":
            return await self._judged(reading, judged)
        return await self._classified(reading, judged, ids)

    async def _judged(self, reading: Reading, judged: dict[str, bool]) -> dict[str, bool]:
        plan = self.plan
        rating = partial(rate, patterns=plan.patterns, per_call=len(plan.patterns), kind=reading.kind)
        rest = [text for text in reading if text.id not in judged]
        done = await run_pass(self.engine, self.progress, "rating the other rows", rating, rest)
        self.rated += [one for one in done if isinstance(one, Rated)]
        found = shown_in(plan.patterns, self.rated, plan.level)
        unknown = {one.id: False for one in done if isinstance(one, Drop)}
        self.remarks.append(f"rated besides the sample: {len(found):,}")
        if unknown:
            self.remarks.append(f"rows that could not be rated, and stay: {len(unknown):,}")
        return judged | found | unknown

    async def _classified(self, reading: Reading, judged: dict[str, bool], ids: Sequence[str]) -> dict[str, bool]:
        name = self.embedder
        http = self.engine.endpoint(name) if "/" in name and not name.startswith("local/") else None
        self.progress.phase, self.progress.want = "a classifier reads all rows", len(ids)
        found = await classified(reading, ids, judged, open_embedder(name, http=http), self.address)
        rest = [one for one in ids if one not in judged]
        self.remarks.append(
            f"a classifier, trained on {found.trained_on:,} rated rows, told the other {len(rest):,}: "
            f"precision {found.precision:.2f}, recall {found.recall:.2f} (cross-validated)"
        )
        if min(found.precision, found.recall) < LEAST_SKILL:
            what = (
                f"a classifier on {name} embeddings tells this pattern badly: precision {found.precision:.2f}, recall "
                f"{found.recall:.2f} (cross-validated on {found.trained_on:,} rated rows)."
            )
            todo = "Nothing was written. Rate the rows (--by judge), or take another --embedder or a larger sample."
            raise UserError(what, where=str(self.audited.folder), todo=todo)
        self.remarks.append("the table counts the classifier's word as if it were the judge's")
        low, high = found.rate.low, found.rate.high
        self.remarks.append(f"rate of the whole, by both: {found.rate.rate:.1%} ({low:.1%} to {high:.1%})")
        return judged | {one: one in found.positive for one in rest}

    async def _rewritten(
        self, reading: Reading, chosen: Collection[str]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Return the rows that were written anew, and those that still show a pattern, with the reason why they go."""
        plan = self.plan
        quotes = {
            one.id: tuple(match.quote for pattern in plan.patterns
                          if (match := one.verdicts.get(pattern.id)) and is_there(match, plan.level))
            for one in (*self.audited.rated, *self.rated)
        }  # fmt: skip
        rows = [
            Row(text.id, text.trait, text, recognise(raw)[1], quotes.get(text.id, ()))
            for text, raw in reading.pairs()
            if text.id in chosen
        ]
        recipe = partial(rewrite, patterns=plan.patterns, level=plan.level, reading=reading)
        done = await run_pass(self.engine, self.progress, "rewriting", recipe, rows)
        return (
            {one.id: one.content for one in done if isinstance(one, Rewritten)},
            {one.id: one.reason for one in done if isinstance(one, Drop)},
        )
