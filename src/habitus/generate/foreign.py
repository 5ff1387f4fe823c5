"""Any dataset without its near-duplicates: read a row at a time, with only embeddings in memory."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from habitus.errors import UserError
from habitus.generate.dedup import deduplicate, default_threshold
from habitus.generate.vectors import Vectors
from habitus.models.embed import embed
from habitus.models.windows import embed_documents
from habitus.shapes import Unreadable, shaped
from habitus.sources import Broken
from habitus.study import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from habitus.generate.dedup import Compare, Twin
    from habitus.models.embed import Embedder
    from habitus.shapes import Shape
    from habitus.sources import Source
    from habitus.tally import Progress

Part = Literal["rows", "messages"]
"""What of a row is compared: all of it, or the first message of the user."""
AT_ONCE = 2_000
"""Texts in memory at a time, and embedded between two times that the embeddings are stored."""
LONGEST = 2_000_000
"""Characters of a row that are compared: a few hundred thousand words."""
SAME = 0.9995
"""A cosine that is 1 where it is printed."""


@dataclass
class Foreign:
    """A dataset, and what is known of it once it was read."""

    source: Source
    part: Part
    shape: Shape | None = None
    """Of the first row that can be read."""
    unread: int = 0
    complaint: str = ""
    """Where the first row that can't be read stands, and what is wrong with it."""
    numbers: list[int] = field(default_factory=list)
    """Where the rows that can be read stand, from 1."""
    digest: str = ""
    """Of all that is compared."""

    def look(self) -> None:
        """Read it once, to its end.

        Raises:
            UserError: there is nothing in it to compare.

        """
        digest = blake2b(digest_size=16)
        for number, _, text in self.rows():
            if isinstance(text, Unreadable):
                self.unread += 1
                self.complaint = self.complaint or f"{self.source.at(number)}: {text}"
            else:
                self.numbers.append(number)
                digest.update(f"{number}\0{text}\0".encode("utf-8", "replace"))
        self.digest = digest.hexdigest()
        if not self.numbers:
            what = f"no row can be read; the first: {self.complaint}" if self.unread else "there is no row in it."
            todo = "Rows have messages, text, chosen and rejected, or prompt and response; see `habitus import`."
            raise UserError(what, where=self.source.given, todo=todo)

    def rows(self) -> Iterator[tuple[int, Any, str | Unreadable]]:
        """Yield each row with its number, and what is compared of it, or why it can't be."""
        for number, row in enumerate(self.source.rows(), start=1):
            if row is None:  # an empty line
                continue
            try:
                yield number, row, self._text(row)
            except Unreadable as problem:
                yield number, row, problem

    def texts(self) -> Iterator[str]:
        """Yield what is compared of the rows that can be read."""
        return (text for _, _, text in self.rows() if isinstance(text, str))

    def _text(self, row: Any) -> str:
        self.shape, content = shaped(row, self.shape)
        return compared(content, self.part)[:LONGEST]


def compared(content: dict[str, Any], part: Part) -> str:
    """Return what is compared of a row in our shape; what systems and tools say is often the same in all rows.

    Raises:
        Unreadable: there is nothing of that kind in it.

    """
    if "text" in content:
        if part == "messages":
            raise Unreadable("a document has no message of a user")
        return content["text"]
    messages = content.get("messages") or [*content["prompt"], *content["chosen"], *content["rejected"]]
    of_user = [one["content"] for one in messages if one["role"] == "user"]
    if part == "rows":
        return "\n\n".join(one["content"] for one in messages if one["role"] in {"user", "assistant"})
    if not of_user:
        raise Unreadable("there is no message of the user")
    return of_user[0]


@dataclass
class Sifting:
    """A dataset on its way through the comparison."""

    data: Foreign
    embedder: Embedder
    folder: Path
    """Where embeddings stay, for another threshold, and what is kept and removed."""
    threshold: float | None = None
    """None for the measured one of the embedder."""
    kept: int = 0
    removed: int = 0
    same: int = 0
    """Of those, the ones at a cosine of 1."""

    @property
    def cut(self) -> float:
        """The cosine from which the later row goes."""
        return self.threshold or default_threshold(self.embedder.name, long=self.data.part == "rows")

    @property
    def outcome(self) -> Path:
        """The folder of the rows, told by how they were compared."""
        return self.folder / f"{self._name}-{self.cut:g}"

    @property
    def _name(self) -> str:
        return f"{self.data.part}-{self.embedder.name.strip('/').replace('/', '-')}"

    async def embeddings(self, progress: Progress) -> Vectors:
        """Embed the rows, from where an earlier run left off."""
        data = self.data
        progress.want = len(data.numbers)
        vectors = Vectors(self.folder / f"{self._name}.npz", f"{self.embedder.name} {data.digest}", len(data.numbers))
        texts = islice(data.texts(), vectors.count, None)
        embedded = embed_documents if data.part == "rows" else embed
        progress.kept = vectors.count
        while part := list(islice(texts, AT_ONCE)):
            vectors.add(await embedded(part, self.embedder))
            progress.kept = vectors.count
            await asyncio.sleep(0)
        return vectors

    def write(self, vectors: Vectors, compare: Compare | None = None) -> None:
        """Compare the rows and write those that stay and those that go; the folder is there only once all are whole.

        Raises:
            UserError: the dataset has changed meanwhile, or holds what JSON has no place for.

        """
        ids = [str(number) for number in self.data.numbers]
        found = deduplicate(ids, vectors.rows, threshold=self.cut, floor=self.cut, compare=compare)
        fresh = self.outcome.with_name(f"{self.outcome.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            self._sort({int(twin.id): twin for twin in found.removed}, fresh)
            fresh.rename(self.outcome)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _sort(self, twins: dict[int, Twin], folder: Path) -> None:
        names: dict[int, Any] = dict.fromkeys(int(twin.twin) for twin in twins.values())
        digest = blake2b(digest_size=16)
        paths = [folder / f"{name}.jsonl" for name in ("kept", "removed", "unread")]
        with paths[0].open("wb") as kept, paths[1].open("wb") as removed, paths[2].open("wb") as unread:
            for number, row, text in self.data.rows():
                if isinstance(text, Unreadable):
                    raw = row.raw if isinstance(row, Broken) else row
                    unread.write(self._line({"row": number, "reason": str(text), "raw": raw}, number))
                    continue
                digest.update(f"{number}\0{text}\0".encode("utf-8", "replace"))
                if number in names:
                    names[number] = row.get("id")
                if twin := twins.get(number):
                    earlier = int(twin.twin)
                    why = {"row": number, "twin": earlier, "twin_id": names[earlier], "cosine": twin.score}
                    removed.write(self._line({**row, "removed": why}, number))
                    self.removed += 1
                    self.same += twin.score >= SAME
                else:
                    kept.write(self._line(row, number))
                    self.kept += 1
        if digest.hexdigest() != self.data.digest:
            todo = "Run the same command again."
            raise UserError("this dataset changed while it was read.", where=self.data.source.given, todo=todo)
        if not self.data.unread:
            paths[2].unlink()

    def _line(self, row: dict[str, Any], number: int) -> bytes:
        try:
            return encode(row)
        except TypeError as error:
            what = f"a row holds what JSON has no place for ({error})."
            todo = "Leave such columns out of the dataset."
            raise UserError(what, where=self.data.source.at(number), todo=todo) from error
