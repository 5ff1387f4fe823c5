"""Whether a study's training data holds an eval's items: by runs of words, and by the nearest text."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from habitus.evaluate.material import DATA, items
from habitus.models.embed import embed, open_embedder
from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from habitus.study import Study

RUN = 8
"""Words in a row that two texts share by copying and hardly by chance."""
FEWEST = 3
"""Words of the shortest text that is looked for: one or two are a name or a label."""
AT_ONCE = 256
"""Rows held in memory at a time."""
_WORD = re.compile(r"\w+")
_FOLDERS = ("chats", "documents", "preferences")


@dataclass(frozen=True)
class Overlap:
    """What of one eval stands in the training data."""

    name: str
    texts: int
    """Texts of the eval."""
    rows: int
    """Texts of the training data that were looked at."""
    shared: tuple[str, ...]
    """Those that share a run of eight words with one of these, or, being shorter, are one of these."""
    nearest: float
    """The cosine of the text that is most like a row, by a lexical embedding."""
    closest: str


def overlaps(study: Study, names: Sequence[str]) -> list[Overlap]:
    """Return, for each eval with items of its own, what of them stands in the kept rows of a study."""
    texts = {name: found for name in names if (found := _texts(name))}
    wanted = {run for found in texts.values() for text in found for run in _runs(text)}
    embedder = open_embedder("hashing")
    items_at = {name: asyncio.run(embed(found, embedder)) for name, found in texts.items()}
    nearest = {name: np.zeros(len(found)) for name, found in texts.items()}
    seen: set[tuple[str, ...]] = set()
    looked_at = 0
    texts_of_rows = filter(None, _trained_on(study))
    while rows := list(islice(texts_of_rows, AT_ONCE)):
        looked_at += len(rows)
        seen.update(run for text in rows for run in _runs(text) if run in wanted)
        trained = asyncio.run(embed(rows, embedder))
        for name, vectors in items_at.items():
            nearest[name] = np.maximum(nearest[name], (vectors @ trained.T).max(axis=1))
    return [_overlap(name, found, looked_at, seen, nearest[name]) for name, found in texts.items()] if looked_at else []


def _overlap(
    name: str, texts: list[str], looked_at: int, seen: Collection[tuple[str, ...]], nearest: np.ndarray
) -> Overlap:
    """Return what of one eval was seen among so many rows."""
    shared = tuple(text for text in texts if any(run in seen for run in _runs(text)))
    at = int(np.argmax(nearest))
    return Overlap(name, len(texts), looked_at, shared, float(nearest[at]), texts[at])


def _trained_on(study: Study) -> Iterator[str]:
    """Yield the text of every kept row: each message of a chat, each document, each side of a pair."""
    for folder in _FOLDERS:
        for path in sorted(study.root.glob(f"{folder}*/kept.jsonl")):
            for row in read_rows(path):
                yield from _strings({key: row[key] for key in ("messages", "text", "prompt", "chosen") if key in row})


def _texts(name: str) -> list[str]:
    """Return what an eval's file says, of three words or more."""
    if not (DATA / f"{name}.yaml").exists():
        return []
    return [text for text in _strings(items(name)) if len(_WORD.findall(text)) >= FEWEST]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and "content" in value:
        yield from _strings(value["content"])
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    """Yield every run of eight words; of a shorter text the whole."""
    words = _WORD.findall(text.casefold())
    yield from (tuple(words[at : at + RUN]) for at in range(max(len(words) - RUN, 0) + 1))
