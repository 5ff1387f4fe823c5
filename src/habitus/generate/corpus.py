"""Make a chats dataset of a wanted size: rounds of first messages, deduplication, answers, until enough are kept."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from habitus.errors import CallFailed, UserError
from habitus.generate.chats import ANSWER_STEPS, Prompt, write_chat, write_prompt
from habitus.generate.checks import Checks
from habitus.generate.dedup import deduplicate, default_threshold
from habitus.generate.plan import share
from habitus.models.embed import embed, open_embedder
from habitus.records import Drop
from habitus.study import Rows, read_rows

if TYPE_CHECKING:
    import numpy as np

    from habitus.ask import Step
    from habitus.generate.dedup import Duplicates
    from habitus.generate.plan import Seats
    from habitus.models.embed import Embedder
    from habitus.recipe import Engine
    from habitus.records import Record, Scenario
    from habitus.study import Dataset, Study

EMBEDDED_AT_ONCE = 20_000
"""First messages embedded between two times that the vectors are stored."""


@dataclass
class Progress:
    """Where a run stands, for the terminal."""

    phase: str = "starting"
    want: int = 0
    kept: int = 0
    planned: int = 0
    most_planned: int = 0
    duplicates: int = 0


def embedder_of(study: Study, engine: Engine) -> Embedder:
    """Return the embedder that a study's config names."""
    name = study.config.chats.dedup.embedder
    is_endpoint = "/" in name and not name.startswith("local/")
    return open_embedder(name, http=engine.endpoint(name) if is_endpoint else None)


class Corpus:
    """The chats of a study, as they are on disk and as they grow."""

    def __init__(self, study: Study, engine: Engine, seats: Seats, embedder: Embedder, progress: Progress) -> None:
        self.study, self.engine, self.progress = study, engine, progress
        self.settings = study.config.chats
        self.dataset: Dataset = study.dataset("chats")
        self.seats = seats
        self.checks = Checks(study.traits, self.seats.worn_names)
        self.embedder = embedder
        self.threshold = self.settings.dedup.threshold or default_threshold(embedder.name)
        self.planned: set[int] = {index_of(row["id"]) for row in read_rows(self.dataset.prompts)}
        self.kept: set[str] = {row["id"] for row in read_rows(self.dataset.kept)}
        self.dropped: set[str] = set()
        self.duplicates: set[str] = set()
        self.answered = len(self.kept)  # prompts whose answers were made, kept or not
        for row in read_rows(self.dataset.dropped):
            # A higher threshold than at the time brings a message back.
            if row["step"] != "dedup" or row["meta"]["score"] >= self.threshold:
                self._count_drop(row["id"], row["step"])
        self.planned |= {index_of(record) for record in self.dropped}
        self.files = [Rows(path) for path in (self.dataset.kept, self.dataset.dropped, self.dataset.traces)]
        self.prompt_file = Rows(self.dataset.prompts)

    async def grow(self, want: int) -> None:
        """Make chats until `want` are kept, or the bound on planning is reached.

        Raises:
            UserError: not one record was kept, or the settings forbid it.
            RunStopped: the run ended early; the same call goes on.

        """
        most = max(math.ceil(want * self.settings.most_planned), want)
        self.progress.want, self.progress.most_planned = want, most
        self._stand("looking at what is there")
        waiting = self.engine.tally.unsettled  # records that are for a later run: rounds must not take them up again
        while (missing := want - len(self.kept)) > 0:
            ready = await self.unique()
            more = min(self._more(len(ready), missing), most - len(self.planned))
            if more > 0 and not waiting:
                await self._write_prompts(more)
            elif ready:
                await self._write_chats(set(ready), missing)
                if waiting:
                    break
            else:
                break
        if not self.kept and not waiting:
            raise UserError(
                f"no chat was kept of {len(self.planned)} planned; the commonest reason: {self._commonest_reason()}.",
                where=str(self.dataset.dropped),
                todo="Read a few of them (`habitus show`), then mend the prompts, the model or the thresholds.",
            )

    async def unique(self) -> list[str]:
        """Return the ids of first messages that are no near-duplicates and have no answers yet, in plan order."""
        self._stand("removing near-duplicate prompts")
        found = await self._find_duplicates()
        settled = self.duplicates | self.kept | self.dropped
        fresh = [twin for twin in found.removed if twin.id not in settled]
        traits = {row["id"]: row["trait"] for row in read_rows(self.dataset.prompts)} if fresh else {}
        self.files[1].append(
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
        import numpy as np

        ids = [row["id"] for row in read_rows(self.dataset.prompts)]
        vectors = self._stored_vectors()
        if len(vectors) > len(ids):
            vectors = vectors[:0]
        texts = (row["prompt"] for row in islice(read_rows(self.dataset.prompts), len(vectors), None))
        while part := list(islice(texts, EMBEDDED_AT_ONCE)):
            try:
                fresh = await embed(part, self.embedder)
            except CallFailed as error:
                todo = "Mend the cause and run the same command again."
                raise UserError(f"the embedder {self.embedder.name} failed: {error}", todo=todo) from error
            vectors = np.concatenate([vectors, fresh]) if len(vectors) else fresh
            self._store_vectors(vectors)
        return deduplicate(ids, vectors, threshold=self.threshold)

    def _stored_vectors(self) -> np.ndarray:
        """Return the embeddings that are on disk and of today's embedder."""
        import numpy as np

        try:
            with self.dataset.vectors.open("rb") as file, np.load(file) as stored:
                if str(stored["embedder"]) == self.embedder.name:
                    return stored["vectors"]
        except (FileNotFoundError, BadZipFile, KeyError, ValueError, EOFError):
            pass  # none yet, or not whole: they are made again
        return np.zeros((0, 0), dtype=np.float32)

    def _store_vectors(self, vectors: np.ndarray) -> None:
        import numpy as np

        fresh = self.dataset.vectors.with_suffix(".npz.new")
        with fresh.open("wb") as file:
            np.savez(file, vectors=vectors, embedder=np.array(self.embedder.name))
        fresh.replace(self.dataset.vectors)

    async def _write_prompts(self, more: int) -> None:
        self._stand("writing prompts")
        done = frozenset(self.planned)
        seats = (self.seats.seat(index) for index in count() if index not in done)
        recipe = partial(write_prompt, seats=self.seats, checks=self.checks)
        # Each seat that ends in a drop here is one planned all the same: the bound counts seats, not messages.
        await self.engine.run(recipe, islice(seats, more), self._settle_prompt)

    def _settle_prompt(self, scenario: Scenario, result: Record | Drop, trace: list[Step]) -> None:
        self._trace(scenario.id, trace)
        self.planned.add(scenario.index)
        if isinstance(result, Drop):
            self._drop(result)
        else:
            self.prompt_file.append([result])
        self._stand(self.progress.phase)

    async def _write_chats(self, ready: set[str], missing: int) -> None:
        self._stand("writing chats")
        rows = (Prompt.model_validate(row) for row in read_rows(self.dataset.prompts) if row["id"] in ready)
        prompts = (prompt for prompt in rows if self._has_seat(prompt))
        thresholds = self.settings.thresholds.model_dump()
        recipe = partial(write_chat, seats=self.seats, checks=self.checks, thresholds=thresholds)
        await self.engine.run(recipe, prompts, self._settle_chat, want=missing)

    def _has_seat(self, prompt: Prompt) -> bool:
        """Tell whether the document still has what a message was written for; drop the message if not."""
        if self.seats.has(prompt.scenario):
            return True
        reason = "its trait is no longer in the traits document"
        self._drop(Drop(id=prompt.id, trait=prompt.trait, step="chats/draft", reason=reason, raw=prompt.prompt))
        return False

    def _settle_chat(self, prompt: Prompt, result: Record | Drop, trace: list[Step]) -> None:
        self._trace(prompt.id, trace)
        if isinstance(result, Drop):
            self._drop(result)
        else:
            self.files[0].append([result])
            self.kept.add(prompt.id)
            self.answered += 1
        self._stand(self.progress.phase)

    def _drop(self, drop: Drop) -> None:
        self.files[1].append([drop])
        self._count_drop(drop.id, drop.step)

    def _trace(self, record: str, trace: list[Step]) -> None:
        self.files[2].append([{"id": record, "steps": [asdict(step) for step in trace]}])

    def _stand(self, phase: str) -> None:
        self.progress.phase = phase
        self.progress.kept, self.progress.planned = len(self.kept), len(self.planned)

    def _count_drop(self, record: str, step: str) -> None:
        (self.duplicates if step == "dedup" else self.dropped).add(record)
        self.answered += step in ANSWER_STEPS

    def _more(self, ready: int, missing: int) -> int:
        """Return how many more scenarios it will take, going by what became of those so far."""
        unique = share(self.answered + ready, len(self.planned))
        kept = share(len(self.kept), self.answered)
        return math.ceil((missing - ready * kept) / (unique * kept))

    def _commonest_reason(self) -> str:
        reasons = Counter(f"{row['step']}: {row['reason']}" for row in read_rows(self.dataset.dropped))
        return reasons.most_common(1)[0][0][:200] if reasons else "nothing was planned"

    def close(self) -> None:
        """Bring all rows to the disk."""
        for file in (*self.files, self.prompt_file):
            file.close()


def index_of(record: str) -> int:
    """Return the position in the plan that an id stands for."""
    return int(record.rpartition("-")[2])
