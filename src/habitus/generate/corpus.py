"""Make a chats dataset of a wanted size: rounds of first messages, deduplication, answers, until enough are kept."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from habitus.errors import UserError
from habitus.generate.chats import ANSWER_STEPS, Prompt, write_chat, write_prompt
from habitus.generate.checks import Checks
from habitus.generate.dataset import checked
from habitus.generate.dedup import deduplicate, default_threshold
from habitus.generate.plan import share
from habitus.models.embed import embed, open_embedder
from habitus.records import Drop
from habitus.study import Rows, read_rows

if TYPE_CHECKING:
    from habitus.ask import Step
    from habitus.generate.dedup import Duplicates
    from habitus.recipe import Engine
    from habitus.records import Record, Scenario
    from habitus.study import Dataset, Study


@dataclass
class Progress:
    """Where a run stands, for the terminal."""

    phase: str = "starting"
    want: int = 0
    kept: int = 0
    planned: int = 0
    most_planned: int = 0
    duplicates: int = 0
    notes: list[str] = field(default_factory=list)


class Corpus:
    """The chats of a study, as they are on disk and as they grow."""

    def __init__(self, study: Study, engine: Engine, progress: Progress) -> None:
        self.study, self.engine, self.progress = study, engine, progress
        self.settings = study.config.chats
        self.dataset: Dataset = study.dataset("chats")
        self.seats = checked(study)
        self.checks = Checks(study.traits, self.seats.worn_names)
        name = self.settings.dedup.embedder
        is_endpoint = "/" in name and not name.startswith("local/")
        self.embedder = open_embedder(name, http=engine.endpoint(name) if is_endpoint else None)
        self.threshold = self.settings.dedup.threshold or default_threshold(name)
        self.planned: set[int] = {index_of(row["id"]) for row in read_rows(self.dataset.prompts)}
        self.kept: set[str] = {row["id"] for row in read_rows(self.dataset.kept)}
        self.dropped: set[str] = set()
        self.duplicates: set[str] = set()
        self.answered = len(self.kept)  # prompts whose answers were made, kept or not
        for row in read_rows(self.dataset.dropped):
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
        fresh = [twin for twin in found.removed if twin.id not in self.duplicates]
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
        self.progress.duplicates = len(found.removed)
        return [record for record in found.kept if record not in self.kept and record not in self.dropped]

    async def _find_duplicates(self) -> Duplicates:
        import numpy as np

        ids = [row["id"] for row in read_rows(self.dataset.prompts)]
        name = self.embedder.name
        vectors = np.zeros((0, 0), dtype=np.float32)
        if self.dataset.vectors.exists():
            with np.load(self.dataset.vectors) as stored:
                if str(stored["embedder"]) == name and len(stored["vectors"]) <= len(ids):
                    vectors = stored["vectors"]
        if len(vectors) < len(ids):
            texts = [row["prompt"] for row in read_rows(self.dataset.prompts)][len(vectors) :]
            fresh = await embed(texts, self.embedder)
            vectors = np.concatenate([vectors, fresh]) if len(vectors) else fresh
            with self.dataset.vectors.open("wb") as file:
                np.savez(file, vectors=vectors, embedder=np.array(name))
        return deduplicate(ids, vectors, threshold=self.threshold)

    async def _write_prompts(self, more: int) -> None:
        self._stand("writing prompts")
        done = frozenset(self.planned)
        seats = (self.seats.seat(index) for index in count() if index not in done)
        recipe = partial(write_prompt, seats=self.seats, checks=self.checks)
        # Each seat that ends in a drop here is one planned all the same: the bound counts seats, not messages.
        taken = (seat for seat, _ in zip(seats, range(more), strict=False))
        await self.engine.run(recipe, taken, self._settle_prompt)

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
        prompts = (Prompt.model_validate(row) for row in read_rows(self.dataset.prompts) if row["id"] in ready)
        thresholds = self.settings.thresholds.model_dump()
        recipe = partial(write_chat, seats=self.seats, checks=self.checks, thresholds=thresholds)
        await self.engine.run(recipe, prompts, self._settle_chat, want=missing)

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
        reasons = [f"{row['step']}: {row['reason']}" for row in read_rows(self.dataset.dropped)]
        return max(set(reasons), key=reasons.count)[:200] if reasons else "nothing was planned"

    def close(self) -> None:
        """Bring all rows to the disk."""
        for file in (*self.files, self.prompt_file):
            file.close()


def index_of(record: str) -> int:
    """Return the position in the plan that an id stands for."""
    return int(record.rpartition("-")[2])
