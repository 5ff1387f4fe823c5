"""The passes over one dataset that ask a model: scan, cluster, define, rate; what they find goes into files.

From one run to the next nothing is kept but the ledger's answers: the same command goes through all passes again at the
speed of memory, and asks only what was not answered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from habitus.audit.autorate import define, named, rate
from habitus.audit.cluster import (
    MOST_NOTES,
    MOST_ROUNDS,
    Block,
    Candidate,
    Merged,
    blocks,
    candidate_of,
    chosen,
    scans_of,
    sort,
)
from habitus.audit.dataset import Reading, Text, drawn
from habitus.audit.prevalence import prevalence, together
from habitus.audit.scan import Scanned, batches, scan
from habitus.errors import UserError
from habitus.forecast import forecast
from habitus.models.embed import open_embedder
from habitus.records import Drop, Observation, Pattern, Rated, Record, Role
from habitus.study import Dataset, Rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from habitus.ask import Ask, Planned, Step
    from habitus.audit.dataset import Reading, Text
    from habitus.audit.prevalence import Prevalence, Together
    from habitus.forecast import StepEstimate
    from habitus.models.ledger import StepTotal
    from habitus.recipe import Engine
    from habitus.study import Study
    from habitus.tally import Progress

STEPS: dict[str, Role] = {
    "audit/scan": "auditor",
    "audit/cluster": "auditor",
    "audit/define": "auditor",
    "audit/rate": "judge",
}
"""The steps in order, each with the role that takes it."""
POOL = 400
"""Texts that may be read for each scan."""
USUAL_PATTERNS, NOTES_A_SCAN = 12, 12
"""What scans come to, as long as nothing is known."""
ASKED = {"audit/scan": 1_000, "audit/cluster": 600, "audit/define": 1_200, "audit/rate": 700}
NOTE, PATTERN, HABIT, VERDICT = 110, 330, 120, 45
"""Tokens of a note, of a definition, of a habit that is reported, and of a verdict."""

In = TypeVar("In", bound="Planned")
Out = TypeVar("Out", bound=Record)


class Waiting(Exception):
    """Signal that some answers are still to come, so that the next pass can't begin."""


@dataclass
class Findings:
    """Everything that the passes found."""

    rows: int = 0
    """Of the dataset."""
    kind: str = "assistant"
    texts: list[Text] = field(default_factory=list)
    """Those that were rated."""
    scanned: list[Scanned] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    set_aside: list[tuple[Candidate, str]] = field(default_factory=list)
    rated: list[Rated] = field(default_factory=list)
    reference: list[Rated] = field(default_factory=list)
    repeated: list[Rated] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    prevalence: list[Prevalence] = field(default_factory=list)
    together: list[Together] = field(default_factory=list)


class Passes:
    """The passes over one dataset, in the folder that they write into."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        reading: Reading,
        *,
        progress: Progress,
        reference: Reading | None = None,
        hints: Sequence[str] = (),
    ) -> None:
        self.engine, self.folder, self.reading, self.reference = engine, folder, reading, reference
        self.settings, self.progress, self.hints = engine.config.audit, progress, hints
        self.seed = engine.config.seed
        self.found = Findings()
        self._pool: list[Text] = []
        self._beside: list[Text] = []
        progress.done = "done"

    @property
    def paired(self) -> bool:
        """Whether the reference is the other answer of the same preference pairs."""
        return self.reference is not None and self.reference.view.answer != self.reading.view.answer

    @property
    def is_simulated(self) -> bool:
        """Whether any step is answered by the embedded model."""
        return any(self.engine.bind(step, role).model.name.startswith("simulated/") for step, role in STEPS.items())

    @cached_property
    def made_with(self) -> dict[str, str]:
        """All that decides what is found, as name → fingerprint."""
        reading, reference = self.reading, self.reference
        given = [f"{one.source.sha256 or one.source.name} {one.split}" for one in (reading, reference) if one]
        bound = {step: self.engine.bind(step, role) for step, role in STEPS.items()}
        beside = f"{given[1]} {reference.view}" if reference else "none"
        return {
            "dataset": given[0],
            "view": repr(reading.view),
            "reference": beside,
            "seed": str(self.seed),
            "hints": repr(list(self.hints)),
            **{name: repr(value) for name, value in self.settings.model_dump().items() if name != "hints"},
            **{f"model of {step}": f"{one.model.name} {one.settings or ''}".strip() for step, one in bound.items()},
            **{f"prompt {step}": self.engine.prompts.hash(step) for step in STEPS},
        }

    def prepare(self, study: Study) -> Path | None:
        """Set aside what was found with other data or settings, and return where it is now; None if nothing was."""
        before = study.manifest.get("audits", {}).get(self.folder.name, {})
        is_other = bool(before) and before["made_with"] != self.made_with
        aside = Dataset(self.folder).set_aside() if is_other else None
        study.write_manifest(self.folder.name, {"made_with": self.made_with}, section="audits")
        return aside

    def note(self, study: Study) -> None:
        """Write into the manifest what the passes have come to."""
        study.write_manifest(self.folder.name, self.summary, section="audits")

    def draw(self) -> None:
        """Read the dataset once, and draw what is scanned and what is rated.

        Raises:
            UserError: no row can be read.

        """
        sizes = {"scan": self.settings.scans * POOL, "rate": self.settings.sample}
        samples, self.found.rows = drawn(self.reading, self.seed, sizes)
        self._pool, self.found.texts = samples["scan"], samples["rate"]
        self.found.kind = self.reading.kind
        if self.reference is None:
            return
        beside, _ = drawn(self.reference, self.seed, sizes)
        self._beside = beside["rate"]
        if self.paired:  # what the rejected answers have in common is learned too: to be avoided
            rejected = [replace(text, id=f"{text.id} (rejected)") for text in beside["scan"]]
            both = zip(self._pool, rejected[len(rejected) // 2 :] + rejected[: len(rejected) // 2], strict=False)
            self._pool = [text for pair in both for text in pair]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The outcome but for the texts, as `rates.json` has it; to be looked at first while the ledger is open."""
        found, reading, reference = self.found, self.reading, self.reference
        return {
            "dataset": {"given": reading.source.given, "name": reading.source.name, "sha256": reading.source.sha256,
                        "digest": reading.digest, "split": reading.split,
                        "rows": found.rows, "unread": reading.unread, "looked_at": found.kind, **asdict(reading.view)},
            "reference": {"given": reference.source.given, "name": reference.source.name,
                          "rated": len(found.reference), "paired": self.paired,
                          **asdict(reference.view)} if reference else None,
            "scans": len(found.scanned),
            "read": len({name for one in found.scanned for name in one.texts}),
            "observations": sum(len(one.observations) for one in found.scanned),
            "examples_that_do_not_occur": sum(one.unsupported for one in found.scanned),
            "rated": len(found.rated),
            "repeated": len(found.repeated),
            "patterns_per_call": self.settings.patterns_per_call,
            "dropped": len(found.drops),
            "prevalence": [asdict(one) for one in found.prevalence],
            "together": [asdict(one) for one in found.together],
            "models": {step: self.engine.bind(step, role).model.name for step, role in STEPS.items()},
            "simulated": self.is_simulated,
            "made_with": self.made_with,
            "cost": [asdict(one) for one in self.engine.ledger.totals() if one.step in STEPS],
            "per_1000": self._per_thousand(),
        }  # fmt: skip

    def _per_thousand(self) -> dict[str, Any] | None:
        """Return what rating a thousand more texts would take, by the mean of the calls so far."""
        rating = next((one for one in self.engine.ledger.totals() if one.step == "audit/rate"), None)
        per_text = -(-len(self.found.prevalence) // self.settings.patterns_per_call)
        if rating is None or not per_text:
            return None
        calls = 1_000 * per_text
        share = calls / rating.calls
        return {"calls": calls, "input_tokens": round(rating.input_tokens * share),
                "output_tokens": round(rating.output_tokens * share), "dollars": rating.dollars * share,
                "unpriced": round(rating.unpriced * share)}  # fmt: skip

    def estimate(self, known: list[StepTotal]) -> list[StepEstimate]:
        """Return what the passes will take, as far as it can be told before the patterns are known."""
        found, per_call = self.found, self.settings.patterns_per_call
        patterns = len(found.patterns) or min(USUAL_PATTERNS, self.settings.most_patterns)
        scans = batches(self._pool, self.settings)
        read = sum(text.tokens for one in scans for text in one.texts) / max(len(scans), 1)
        texts = [*found.texts, *self._beside]
        notes, mean = len(scans) * NOTES_A_SCAN, sum(text.tokens for text in texts) / max(len(texts), 1)
        calls = -(-patterns // per_call)
        rated = len(texts) + min(self.settings.repeat, len(found.texts))
        each = {
            "audit/scan": (len(scans), read, NOTES_A_SCAN * HABIT),
            "audit/cluster": (
                max(notes / MOST_NOTES, 1) + (notes > MOST_NOTES),
                min(notes, MOST_NOTES) * NOTE,
                patterns * HABIT,
            ),
            "audit/define": (patterns, 60 * patterns, 450),
            "audit/rate": (rated * calls, mean + PATTERN * patterns / calls, VERDICT * patterns / calls),
        }
        return [
            forecast(self.engine, step, role, calls=each[step][0],
                     each=(ASKED[step] + each[step][1], each[step][2]), known=known)
            for step, role in STEPS.items()
        ]  # fmt: skip

    async def run(self) -> Findings:
        """Go through all passes and return what they found.

        Raises:
            Waiting: some answers are still to come.
            RunStopped, UserError: the run can't go on.

        """
        found = self.found
        with_kind: dict[str, Any] = {"kind": found.kind}
        scans = batches(self._pool, self.settings)
        found.scanned = await self._pass(
            "scanning", "scans", partial(scan, **with_kind, hints=self.hints), scans, Scanned
        )
        candidates = await self._cluster([seen for one in found.scanned for seen in one.observations])
        kept = chosen(candidates, least_scans=self.settings.least_scans, most=self.settings.most_patterns)
        found.set_aside += kept.dropped
        self._write("set_aside", ({"name": one.name, "description": one.description, "reason": reason,
                                   "observations": one.observations} for one, reason in found.set_aside))  # fmt: skip
        defining = partial(define, others=kept.patterns, **with_kind)
        found.patterns = named(await self._pass("defining", "", defining, kept.patterns, Pattern))
        self._write("patterns", found.patterns)
        await self._rate(with_kind)
        facets = {text.id: text.facets for text in found.texts}
        found.prevalence = prevalence(
            found.patterns, found.rated, facets=facets, reference=found.reference, repeated=found.repeated,
            paired=self.paired,
        )  # fmt: skip
        found.together = together(found.patterns, found.rated)
        self._write("dropped", found.drops)
        return found

    async def _cluster(self, seen: Sequence[Observation]) -> list[Candidate]:
        """Return the distinct candidates in what was reported, and note what was merged into what."""
        candidates = [candidate_of(one) for one in seen]
        embedder = open_embedder(self.settings.embedder, http=self._endpoint())
        merges: list[Merged] = []
        for turn in range(1, MOST_ROUNDS + 1):
            if not candidates:
                break
            parts = await blocks(candidates, embedder, turn)
            known = {one.id: one for one in candidates}
            done = await self._pass(f"sorting, round {turn}", "", sort, parts, Merged)
            if len(done) < len(parts):
                drop = found_drop(self.found.drops, parts)
                todo = "Take a stronger model for `auditor`, or fewer scans; what is answered is kept."
                raise UserError(f"the notes of the scans could not be sorted: {drop}.", todo=todo)
            merges += done
            self.found.set_aside += [
                (known[name], "found to be no pattern when it was sorted") for one in done for name in one.set_aside
            ]
            candidates = [one for part in done for one in part.candidates]
            if len(parts) == 1:
                break
        self._write("merges", (
            {"into": made.id, "name": made.name, "from": sources, "scans": scans_of(made)}
            for one in merges for made, sources in zip(one.candidates, one.sources, strict=True)
        ))  # fmt: skip
        return candidates

    def _endpoint(self) -> Any:
        name = self.settings.embedder
        return self.engine.endpoint(name) if "/" in name and not name.startswith("local/") else None

    async def _rate(self, with_kind: dict[str, Any]) -> None:
        found, settings = self.found, self.settings
        self._write("texts", ({"id": one.id, "trait": one.trait, "asked": one.asked, "text": one.text,
                               "facets": one.facets} for one in found.texts))  # fmt: skip
        if not found.patterns:
            return
        rating = partial(rate, **with_kind, patterns=found.patterns, per_call=settings.patterns_per_call)
        found.rated = await self._pass("rating", "matches", rating, found.texts, Rated)
        if self._beside:
            found.reference = await self._pass("rating the reference", "reference", rating, self._beside, Rated)
        again = found.texts[: settings.repeat]
        found.repeated = await self._pass("rating again", "repeated", partial(rating, sample=1), again, Rated)

    async def _pass(
        self,
        phase: str,
        name: str,
        recipe: Callable[[In, Ask], Awaitable[Record | Drop]],
        records: Sequence[In],
        kind: type[Out],
    ) -> list[Out]:
        """Return what a recipe makes of the records, in a file of that name if it has one; what it drops is noted.

        Raises:
            Waiting: some records await their answers.

        """
        rows = self._fresh(name) if name else None
        try:
            done = await run_pass(self.engine, self.progress, phase, recipe, records, rows=rows)
        finally:
            if rows:
                rows.close()
        self.found.drops += [one for one in done if isinstance(one, Drop)]
        return [one for one in done if isinstance(one, kind)]

    def _fresh(self, name: str) -> Rows:
        """Return a file to write anew: what it held comes from the ledger again."""
        path = self.folder / f"{name}.jsonl"
        path.unlink(missing_ok=True)
        return Rows(path)

    def _write(self, name: str, rows: Iterable[Record | dict[str, Any]]) -> None:
        file = self._fresh(name)
        file.append(rows)
        file.close()


async def run_pass(
    engine: Engine,
    progress: Progress,
    phase: str,
    recipe: Callable[[In, Ask], Awaitable[Record | Drop]],
    records: Sequence[In],
    *,
    rows: Rows | None = None,
) -> list[Record | Drop]:
    """Return what a recipe makes of each record, in order; what is not dropped is also written to the rows.

    Raises:
        Waiting: some records await their answers.

    """
    progress.phase, progress.want, progress.kept = phase, len(records), 0
    results: list[Record | Drop] = []

    def settle(_: In, result: Record | Drop, __: list[Step]) -> None:
        progress.kept += 1
        results.append(result)
        if rows and not isinstance(result, Drop):
            rows.append([result])

    await engine.run(recipe, records, settle)
    if engine.tally.unsettled:
        raise Waiting
    return results


def found_drop(drops: Sequence[Drop], parts: Sequence[Block]) -> str:
    """Return why a block was dropped."""
    names = {part.id for part in parts}
    return next((drop.reason for drop in drops if drop.id in names), "no reason is known")
