"""Make a dataset from kept chats: preference pairs, or the same messages answered without the trait."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

from habitus.errors import UserError
from habitus.generate.chats import Prompt
from habitus.generate.corpus import Corpus, embedder_of
from habitus.generate.dataset import note_target, planned_to, prepare, record_run
from habitus.generate.kinds import PREFERENCES
from habitus.generate.preferences import Kept
from habitus.generate.spread import share
from habitus.records import Chat, Drop
from habitus.study import Rows, read_ids, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from habitus.ask import Step
    from habitus.generate.kinds import Job
    from habitus.recipe import Engine
    from habitus.records import Record
    from habitus.tally import Progress


class Derived:
    """A dataset made from kept chats, as it is on disk and as it grows."""

    def __init__(self, job: Job, engine: Engine, progress: Progress) -> None:
        self.job, self.engine, self.progress = job, engine, progress
        self.dataset = job.dataset
        self.kept = set(read_ids(self.dataset.kept))
        self.most = 0
        self.done = self.kept | set(read_ids(self.dataset.dropped))
        self.kept_file, self.dropped_file, self.traces = map(
            Rows, (self.dataset.kept, self.dataset.dropped, self.dataset.traces)
        )

    async def grow(self, want: int) -> None:
        """Make rows from the chats there are until `want` are kept, and for pairs make more chats where these run out.

        Raises:
            UserError: there are no chats, or not one row was kept.
            RunStopped: the run ended early; the same call goes on.

        """
        self.progress.want = want
        self.most = math.ceil(want * self.job.study.config.preferences.most_planned)
        self.progress.most_planned = self.most if self.job.kind is PREFERENCES else 0
        self._stand("looking at what is there")
        # A run killed while it had chats written goes on with these: it then has the same chats as one undisturbed.
        if (aimed := planned_to(self.job, want)) > self._chats():
            await self._grow_chats(aimed)
        waiting = self.engine.tally.unsettled
        while (missing := want - len(self.kept)) > 0:
            before = len(self.done)
            self._stand(f"writing {self.job.kind.noun}")
            await self.engine.run(self.job.write(), self._fresh(), self._settle, want=missing)
            short = want - len(self.kept)
            if waiting or short <= 0 or (len(self.done) == before and not await self._more_chats(short)):
                break
        if not self.kept and not waiting:
            raise UserError(
                f"none of {len(self.done)} {self.job.kind.noun} was kept.",
                where=str(self.dataset.dropped),
                todo="Read a few of the reasons there, then mend the prompts, the model or the settings.",
            )

    def _fresh(self) -> Iterator[Kept | Prompt]:
        """Yield what is not settled yet, in the order of the chats."""
        if self.job.kind is PREFERENCES:
            fresh = (kept for kept in pairable(self.job) if kept.id not in self.done)
            possible = (kept for kept in fresh if self._has_passage(kept, kept.chat.meta["chunk"]))
            yield from islice(possible, max(self.most - len(self.done), 0))
            return
        chats = set(read_ids(self.job.chats.dataset.kept)) - self.done
        for row in read_rows(self.job.chats.dataset.waiting("prompts")):
            if row["id"] in chats and self._has_passage(prompt := Prompt.model_validate(row), prompt.scenario.chunk):
                yield prompt

    def _has_passage(self, row: Kept | Prompt, chunk: int) -> bool:
        """Tell whether the traits document still has what a chat was written for; drop the row if not."""
        if self.job.seats.passages.has(row.trait, chunk):
            return True
        reason, step = "its trait is no longer in the traits document", next(iter(self.job.kind.steps))
        self._settle(row, Drop(id=row.id, trait=row.trait, step=step, reason=reason), [])
        return False

    async def _more_chats(self, short: int) -> bool:
        """Write as many chats as the missing pairs are likely to take, and tell whether there are more now."""
        left = self.most - len(self.done)
        if self.job.kind is not PREFERENCES or left <= 0:
            return False
        contrast = self.job.chats.settings.contrast
        tries = min(short / share(len(self.kept), len(self.done)), left)
        before = self._chats()
        if before >= math.ceil(self.most / (1 - contrast)):
            return False
        aimed = before + math.ceil(tries / (1 - contrast))
        note_target(self.job, self.progress.want, aimed)
        await self._grow_chats(aimed)
        return self._chats() > before

    def _chats(self) -> int:
        """Return how many chats are kept."""
        return sum(1 for _ in read_ids(self.job.chats.dataset.kept))

    async def _grow_chats(self, want: int) -> None:
        chats = self.job.chats
        embedder = embedder_of(chats, self.engine)
        prepare(chats, self.engine, want, redo=False, go_on=False)
        pairs = self.progress.want
        corpus = Corpus(chats, self.engine, embedder, self.progress)
        try:
            await corpus.grow(want)
        finally:
            corpus.close()
            record_run(chats, self.engine, want)
            self.progress.want, self.progress.most_planned = pairs, self.most
            self._stand(self.progress.phase)

    def _settle(self, row: Kept | Prompt, result: Record | Drop, trace: list[Step]) -> None:
        self.traces.append([{"id": row.id, "steps": [step.row() for step in trace]}])
        self.done.add(row.id)
        if isinstance(result, Drop):
            self.dropped_file.append([result])
        else:
            self.kept_file.append([result])
            self.kept.add(row.id)
        self._stand(self.progress.phase)

    def _stand(self, phase: str) -> None:
        self.progress.phase = phase
        self.progress.kept, self.progress.planned = len(self.kept), len(self.done)

    def close(self) -> None:
        """Bring all rows to the disk."""
        for file in (self.kept_file, self.dropped_file, self.traces):
            file.close()


def pairable(job: Job) -> Iterator[Kept]:
    """Yield the kept chats that can give a pair: those in which the trait shows."""
    for row in read_rows(job.chats.dataset.kept):
        if not row["meta"]["contrast"]:
            number = row["id"].rpartition("-")[2]
            yield Kept(id=f"pair-{number}", index=int(number), trait=row["trait"], chat=Chat.model_validate(row))
