"""Any dataset as texts to look at: which side of a conversation, which turns, and what is known of each."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from habitus.errors import UserError
from habitus.shapes import Unreadable, shaped
from habitus.sources import lines, open_source
from habitus.stretches import gone_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from habitus.records import Message
    from habitus.shapes import Shape
    from habitus.stretches import Stretch

T = TypeVar("T")
Side = Literal["assistant", "user", "both"]
Turns = Literal["all", "first"]
BETWEEN = "\n\n···\n\n"
"""Stands between two messages of the same side."""
FACETS = ("trait", "domain", "genre", "form", "model", "contrast")
"""What is told of a row besides its text, by which rates are compared."""
LONGEST_ASKED = 1_200
STRETCH = 32 << 20
"""Bytes of a file, or characters of texts, that are gone over at once: a quarter of a gigabyte of memory."""


@dataclass(frozen=True, slots=True)
class View:
    """Which part of the rows is looked at."""

    side: Side = "assistant"
    turns: Turns = "all"
    answer: Literal["chosen", "rejected"] = "chosen"
    """Of a preference pair."""


@dataclass(frozen=True, slots=True)
class Text:
    """What is looked at of one row."""

    id: str
    trait: str
    parts: tuple[str, ...]
    """Its messages, or the document."""
    roles: tuple[str, ...] = ()
    """Who wrote each message, where both sides are looked at."""
    asked: str = ""
    """What the assistant answers, where that is not looked at itself."""
    facets: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All of it, as prompts show it."""
        if not self.roles:
            return BETWEEN.join(self.parts)
        return "\n\n".join(f"[{role}]\n{part}" for role, part in zip(self.roles, self.parts, strict=True))

    @property
    def messages(self) -> Iterator[tuple[str, str, str]]:
        """Yield id, text and trait of every message, as the lexical pass takes them."""
        return ((self.id, part, self.trait) for part in self.parts)

    @property
    def tokens(self) -> float:
        """About how many tokens a prompt needs for it."""
        return (len(self.text) + len(self.asked)) / 4


class Reading:
    """A dataset that is read row by row, and what was met on the way."""

    def __init__(self, given: str, view: View = View(), *, split: str = "train") -> None:  # frozen
        self.source, self.view, self.split = open_source(given, split), view, split
        self.shape: Shape | None = None
        self.digest = ""
        """Of the dataset: of the file or, where there is none, of the rows' ids once all were read."""
        self.rows = self.unread = 0
        self._ids: set[str] = set()
        self.complaint = ""
        """Where the first row that can't be read stands, and what is wrong with it."""

    @property
    def kind(self) -> str:
        """What prompts are told that a text is."""
        return "documents" if self.shape == "documents" else self.view.side

    def __iter__(self) -> Iterator[Text]:
        """Yield what is looked at of the rows that can be read."""
        return (text for text, _ in self.pairs())

    def pairs(self) -> Iterator[tuple[Text, dict[str, Any]]]:
        """Yield the rows that can be read, each as what is looked at and as it stands in the dataset.

        Raises:
            UserError: not one can.

        """
        self.rows = self.unread = 0
        self._ids.clear()
        ids = blake2b(digest_size=16)
        for number, row in enumerate(self.source.rows(), start=1):
            if row is None:
                continue
            self.rows += 1
            try:
                text = self._text(row, number)
                ids.update(f"{text.id}\0".encode("utf-8", "replace"))
                yield text, row
            except Unreadable as problem:
                self.unread += 1
                self.complaint = self.complaint or f"{self.source.at(number)}: {problem}"
        self._ids.clear()  # a hundred megabytes, of a million
        self.digest = self.source.sha256 or f"{self.split} {self.rows} {ids.hexdigest()}"
        if self.unread == self.rows:
            what = f"no row can be read; the first: {self.complaint}" if self.rows else "there is no row in it."
            todo = "Rows have messages, text, chosen and rejected, or prompt and response; see `habitus import`."
            raise UserError(what, where=self.source.given, todo=todo)

    def over(self, work: Callable[[Iterator[Text]], T], address: str | None = None) -> Iterator[T]:
        """Yield what comes of the texts, some after the other and all of them, in their order, once they were read.

        With an address (see `gone_over`), a file of JSON lines is gone over there; anything else, in this process. In a
        file of JSON lines, texts have no ids here: what an id is, depends on the rows before.
        """
        if self.source.file is None:
            return (work(iter(some)) for some in _piles(self))
        part = partial(_worked, work=work, view=self.view, shape=self.shape)
        return gone_over(self.source.file, STRETCH, part, address)

    def over_messages(
        self, work: Callable[[Iterator[tuple[str, str, str]]], T], address: str | None = None
    ) -> Iterator[T]:
        """Yield what comes of the messages of all texts, in the same way."""
        return self.over(partial(_of_messages, work=work), address)

    def _text(self, row: Any, number: int) -> Text:
        self.shape, content = shaped(row, self.shape)
        said_ = _said(content, self.shape, self.view)
        return _looked_at(row, said_, self._id(row, number))

    def _id(self, row: dict[str, Any], number: int) -> str:
        """Return the row's id, or its number; with the number behind it where an earlier row has the same."""
        named = str(number if row.get("id") is None else row["id"])
        named = f"{named}#{number}" if named in self._ids else named
        self._ids.add(named)
        return named


def _worked(stretch: Stretch, work: Callable[[Iterator[Text]], T], view: View, shape: Shape | None) -> T:
    """Return what comes of the texts of a stretch; rows that can't be read were told of when all were."""

    def texts() -> Iterator[Text]:
        for row in lines(stretch.path, stretch.start, stretch.end):
            try:
                if row is not None:
                    found, content = shaped(row, shape)
                    yield _looked_at(row, _said(content, found, view), "")
            except Unreadable:
                continue

    return work(texts())


def _of_messages(texts: Iterator[Text], work: Callable[[Iterator[tuple[str, str, str]]], T]) -> T:
    return work(row for text in texts for row in text.messages)


def _piles(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Yield the texts in lists of about so many characters."""
    pile: list[Text] = []
    size = 0
    for text in texts:
        pile.append(text)
        size += sum(map(len, text.parts))
        if size >= STRETCH:
            yield pile
            pile, size = [], 0
    yield pile


def _said(content: dict[str, Any], shape: Shape, view: View) -> Said:
    found = Said((content["text"],)) if shape == "documents" else said(content, view)
    if not found.parts:
        raise Unreadable("there is nothing of that side in it")
    return found


def _looked_at(row: dict[str, Any], said_: Said, name: str) -> Text:
    trait, facets = row.get("trait"), _facets(row)
    return Text(
        id=name,
        trait=trait if isinstance(trait, str) else facets.get("trait", ""),
        parts=said_.parts,
        roles=said_.roles,
        asked=said_.asked,
        facets=facets,
    )


class Said(NamedTuple):
    """The messages that are looked at, who wrote each where both sides are, and what they answer."""

    parts: tuple[str, ...]
    roles: tuple[str, ...] = ()
    asked: str = ""


def said(content: dict[str, Any], view: View) -> Said:
    """Return what is looked at of a conversation or a preference pair."""
    messages: Sequence[Message] = content.get("messages") or [*content["prompt"], *content[view.answer]]
    if "messages" not in content and view.side == "assistant":
        messages = [one for one in messages if one["role"] != "assistant"] + list(content[view.answer])
    turns = [one for one in messages if one["role"] in {"user", "assistant"}]
    if view.turns == "first":
        last = next((at for at, one in enumerate(turns) if one["role"] == "assistant"), len(turns)) + 1
        turns = turns[:last]
    if view.side == "both":
        return Said(tuple(one["content"] for one in turns), tuple(one["role"] for one in turns))
    own = tuple(one["content"] for one in turns if one["role"] == view.side)
    shown = own[:1] if view.turns == "first" else own
    asked = "\n\n".join(one["content"] for one in turns if one["role"] == "user")
    return Said(shown, asked=shortened(asked, LONGEST_ASKED) if view.side == "assistant" else "")


def _facets(row: dict[str, Any]) -> dict[str, str]:
    """Return what is told of a row, from its columns, its `meta` and the plan in that."""
    meta = row["meta"] if isinstance(row.get("meta"), dict) else {}
    plans = [meta[name] for name in ("scenario", "brief", "plan") if isinstance(meta.get(name), dict)]
    found = {}
    for name in FACETS:
        value = next((place[name] for place in (row, meta, *plans) if place.get(name) not in (None, "")), None)
        if isinstance(value, str | int | bool):
            found[name] = str(value)
    return found


def shortened(text: str, most: int) -> str:
    """Return a text with its middle left out where it is too long."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half].rstrip()} […] {text[-half:].lstrip()}"


def order(seed: int, purpose: str, name: str) -> int:
    """Return the place of a record in an order that depends on the seed, the purpose and its id alone."""
    return int.from_bytes(blake2b(f"{seed}\0{purpose}\0{name}".encode("utf-8", "replace"), digest_size=8).digest())


def drawn(texts: Iterable[Text], seed: int, sizes: dict[str, int]) -> tuple[dict[str, list[Text]], int]:
    """Return a random sample of the texts for each purpose, in random order, and how many texts there are.

    One pass, with the samples alone in memory. Which texts are drawn does not depend on the order of the rows.
    """
    heaps: dict[str, list[tuple[int, int, Text]]] = {purpose: [] for purpose in sizes}
    number = 0
    for number, text in enumerate(texts, start=1):  # the count
        for purpose, most in sizes.items():
            heap, entry = heaps[purpose], (-order(seed, purpose, text.id), -number, text)
            if len(heap) < most:
                heapq.heappush(heap, entry)
            elif most and entry[:2] > heap[0][:2]:
                heapq.heapreplace(heap, entry)
    return {purpose: [text for *_, text in sorted(heap, reverse=True)] for purpose, heap in heaps.items()}, number
