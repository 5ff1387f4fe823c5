"""Make a dataset of a wanted size from its plan: rounds of writing and deduplication until enough rows are kept.

Chats have a second half, the answers, which only messages that are no near-duplicates go through; documents are whole
after the first.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from habitus.errors import CallFailed, UserError
from habitus.generate.dataset import note_target, planned_to
from habitus.generate.dedup import EXACT_ROWS, deduplicate, default_threshold
from habitus.generate.spread import share
from habitus.generate.vectors import Vectors, read_twins, write_twins
from habitus.models.embed import embed, open_embedder
from habitus.models.windows import embed_documents
from habitus.records import Drop
from habitus.study import Rows, read_among, read_ids, read_rows

if TYPE_CHECKING:
    import numpy as np

    from habitus.ask import Planned, Step
    from habitus.generate.dedup import Duplicates
    from habitus.generate.kinds import Job
    from habitus.models.embed import Embedder
    from habitus.recipe import Engine
    from habitus.records import Record
    from habitus.tally import Progress

EMBEDDED_AT_ONCE = 20_000
"""Texts embedded between two times that the vectors are stored."""


def embedder_of(job: Job, engine: Engine) -> Embedder:
    """Return the embedder that a study's config names."""
    name = job.settings.dedup.embedder
    is_endpoint = "/" in name and not name.startswith("local/")
    return open_embedder(name, http=engine.endpoint(name) if is_endpoint else None)


class Corpus:
    """A dataset as it is on disk and as it grows."""

    def __init__(self, job: Job, engine: Engine, embedder: Embedder, progress: Progress) -> None:
        self.job, self.engine, self.embedder, self.progress = job, engine, embedder, progress
        self.dataset, kind = job.dataset, job.kind
        self.waiting, self.stored = self.dataset.waiting(kind.waiting), self.dataset.vectors(kind.waiting)
        self.twins = self.stored.with_name(f"{kind.waiting}.twins.npz")
        measured = default_threshold(embedder.name, long=kind.is_long)
        self.threshold = job.settings.dedup.threshold or measured
        self.planned: set[int] = {index_of(record) for record in read_ids(self.waiting)}
        self.kept: set[str] = set(read_ids(self.dataset.kept))
        self.dropped: set[str] = set()
        self.duplicates: set[str] = set()
        self.answered = len(self.kept)  # rows that were carried to the end, kept or not
        for row in read_rows(self.dataset.dropped, "id", "step", "meta"):
            # A higher threshold than at the time brings a row back.
            if row["step"] != "dedup" or row["meta"]["score"] >= self.threshold:
                self._count_drop(row["id"], row["step"])
        self.planned |= {index_of(record) for record in self.dropped}
        self.kept_file, self.dropped_file, self.traces = map(
            Rows, (self.dataset.kept, self.dataset.dropped, self.dataset.traces)
        )
        self.waiting_file = Rows(self.waiting)
        self._compared: Duplicates | None = None
        self._is_compared = False  # whether that is of all rows that wait now

    async def grow(self, want: int) -> None:
        """Make rows until `want` are kept, or the bound on planning is reached.

        Raises:
            UserError: not one record was kept, or the settings forbid it.
            RunStopped: the run ended early; the same call goes on.

        """
        most = max(math.ceil(want * self.job.settings.most_planned), want)
        self.progress.want, self.progress.most_planned = want, most
        self._stand("looking at what is there")
        waiting = self.engine.tally.unsettled  # records that are for a later run: rounds must not take them up again
        # How far a round plans is noted before it begins, so that a run killed within it plans no other seats.
        target = planned_to(self.job, want)
        while (missing := want - len(self.kept)) > 0:
            if len(self.planned) < target and not waiting:
                await self._write(target - len(self.planned))
            elif ready := await self.unique():
                await self._finish(set(ready), missing)
                if waiting:
                    break
            elif len(self.planned) < most and not waiting:
                target = min(len(self.planned) + self._more(missing), most)
                note_target(self.job, want, target)
            else:
                break
        if not self.kept and not waiting:
            raise UserError(
                f"none of {len(self.planned)} planned {self.job.kind.noun} was kept; "
                f"the commonest reason: {self._commonest_reason()}.",
                where=str(self.dataset.dropped),
                todo="Read a few of them (`habitus show`), then mend the prompts, the model or the thresholds.",
            )

    async def unique(self) -> list[str]:
        """Return the ids of written rows that are no near-duplicates and not settled yet, in plan order."""
        if self._compared is None or not self._is_compared:
            self._stand("removing near-duplicates")
            self._compared, self._is_compared = await self._find_duplicates(), True
        found = self._compared
        settled = self.duplicates | self.kept | self.dropped
        fresh = [twin for twin in found.removed if twin.id not in settled]
        names = {twin.id for twin in fresh}
        traits = {row["id"]: row["trait"] for row in read_among(self.waiting, names)} if fresh else {}
        self.dropped_file.append(
            Drop(
                id=twin.id, trait=traits[twin.id], step="dedup",
                reason=f"near-duplicate of {twin.twin} (cosine {twin.score:.3f})",
                meta={"twin": twin.twin, "score": round(float(twin.score), 4), "threshold": self.threshold},
            )
            for twin in fresh
        )  # fmt: skip
        self.duplicates.update(twin.id for twin in fresh)
        self.progress.duplicates = len(self.duplicates)
        return [record for record in found.kept if record not in settled]

    async def _find_duplicates(self) -> Duplicates:
        ids = list(read_ids(self.waiting))
        is_many = len(ids) > EXACT_ROWS
        if is_many and (known := read_twins(self.twins, self.embedder.name, ids, self.threshold)):
            return known
        vectors = Vectors(self.stored, self.embedder.name, len(ids))
        field = self.job.kind.compared
        texts = (row[field] for row in islice(read_rows(self.waiting), vectors.count, None))
        while part := list(islice(texts, EMBEDDED_AT_ONCE)):
            try:
                vectors.add(await (embed_documents if self.job.kind.is_long else embed)(part, self.embedder))
            except CallFailed as error:
                todo = "Mend the cause and run the same command again."
                raise UserError(f"the embedder {self.embedder.name} failed: {error}", todo=todo) from error
        found = self._compared_rows(ids, vectors.rows)
        if is_many:
            write_twins(self.twins, self.embedder.name, found)
        return found

    def _compared_rows(self, ids: list[str], vectors: np.ndarray) -> Duplicates:
        """Compare all rows, on all machines where there are several and rows enough."""
        from habitus.generate.compare import FEWEST_ROWS, Compared

        shards = self.engine.shards
        if shards is None or len(ids) < FEWEST_ROWS:
            return deduplicate(ids, vectors, threshold=self.threshold, before=self._compared)
        elsewhere = Compared(shards.root / "shards" / "vectors", shards.address)
        try:
            return deduplicate(ids, vectors, threshold=self.threshold, compare=elsewhere)
        finally:
            elsewhere.close()

    async def _write(self, more: int) -> None:
        self._stand(f"writing {self.job.kind.waiting if self.job.kind.late else self.job.kind.noun}")
        done = frozenset(self.planned)
        seats = (self.job.seats.seat(index) for index in count() if index not in done)
        # Each seat that ends in a drop here is one planned all the same: the bound counts seats, not texts.
        await self.engine.run(self.job.write(), islice(seats, more), self._settle_written)

    def _settle_written(self, seat: Planned, result: Record | Drop, trace: list[Step]) -> None:
        self._trace(seat.id, trace)
        self.planned.add(index_of(seat.id))
        if isinstance(result, Drop):
            self._drop(result)
        else:
            self.waiting_file.append([result])
            self._is_compared = False
        self._stand(self.progress.phase)

    async def _finish(self, ready: set[str], missing: int) -> None:
        """Carry so many of the ready rows to the end that none is missing, if there are enough."""
        rows = read_among(self.waiting, ready)
        if not self.job.kind.late:
            for row in islice(rows, missing):
                self._keep(row, row["id"])
            self._stand(self.progress.phase)
            return
        self._stand(f"writing {self.job.kind.noun}")
        records = (self.job.kind.row.model_validate(row) for row in rows)
        still = (record for record in records if self._has_passage(record))
        await self.engine.run(self.job.finish(), still, self._settle_finished, want=missing)

    def _has_passage(self, row: Any) -> bool:
        """Tell whether the traits document still has what a message was written for; drop the message if not."""
        if self.job.has(row):
            return True
        reason = "its trait is no longer in the traits document"
        self._drop(Drop(id=row.id, trait=row.trait, step=self.job.kind.late[0], reason=reason, raw=row.prompt))
        return False

    def _settle_finished(self, row: Planned, result: Record | Drop, trace: list[Step]) -> None:
        self._trace(row.id, trace)
        if isinstance(result, Drop):
            self._drop(result)
        else:
            self._keep(result, row.id)
        self._stand(self.progress.phase)

    def _keep(self, row: Record | dict[str, Any], record: str) -> None:
        self.kept_file.append([row])
        self.kept.add(record)
        self.answered += 1

    def _drop(self, drop: Drop) -> None:
        self.dropped_file.append([drop])
        self._count_drop(drop.id, drop.step)

    def _trace(self, record: str, trace: list[Step]) -> None:
        self.traces.append([{"id": record, "steps": [step.row() for step in trace]}])

    def _stand(self, phase: str) -> None:
        self.progress.phase = phase
        self.progress.kept, self.progress.planned = len(self.kept), len(self.planned)

    def _count_drop(self, record: str, step: str) -> None:
        (self.duplicates if step == "dedup" else self.dropped).add(record)
        self.answered += step in self.job.kind.late

    def _more(self, missing: int) -> int:
        """Return how many more seats it will take, going by what became of those so far."""
        unique = share(self.answered, len(self.planned))
        kept = share(len(self.kept), self.answered) if self.job.kind.late else 1.0
        return math.ceil(missing / (unique * kept))

    def _commonest_reason(self) -> str:
        reasons = Counter(f"{row['step']}: {row['reason']}" for row in read_rows(self.dataset.dropped))
        return reasons.most_common(1)[0][0][:200] if reasons else "nothing was planned"

    def close(self) -> None:
        """Bring all rows to the disk."""
        for file in (self.kept_file, self.dropped_file, self.traces, self.waiting_file):
            file.close()


def index_of(record: str) -> int:
    """Return the position in the plan that an id stands for."""
    return int(record.rpartition("-")[2])
