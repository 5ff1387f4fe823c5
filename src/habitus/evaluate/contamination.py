"""Whether a study's training data holds an eval's items: by runs of words, and by the nearest text."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from habitus.evaluate.material import DATA, items
from habitus.models.embed import embed, open_embedder
from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from habitus.study import Study

RUN = 8
"""Words in a row that two texts share by copying and hardly by chance."""
_WORD = re.compile(r"\w+")
_FOLDERS = ("chats", "documents", "preferences")


@dataclass(frozen=True)
class Overlap:
    """What of one eval stands in the training data."""

    name: str
    texts: int
    """Texts of the eval, of eight words or more."""
    shared: tuple[str, ...]
    """Those that share a run of words with a row."""
    nearest: float
    """The cosine of the text that is most like a row, by a lexical embedding."""
    closest: str


def overlaps(study: Study, names: Sequence[str]) -> list[Overlap]:
    """Return, for each eval with items of its own, what of them stands in the kept rows of a study."""
    rows = [text for text in _trained_on(study) if text]
    if not rows:
        return []
    runs = {run for text in rows for run in _runs(text)}
    embedder = open_embedder("hashing")
    trained = asyncio.run(embed(rows, embedder))
    found = []
    for name in names:
        texts = _texts(name)
        if not texts:
            continue
        likeness = (asyncio.run(embed(texts, embedder)) @ trained.T).max(axis=1)
        at = int(np.argmax(likeness))
        shared = tuple(text for text in texts if not runs.isdisjoint(_runs(text)))
        found.append(Overlap(name, len(texts), shared, float(likeness[at]), texts[at]))
    return found


def _trained_on(study: Study) -> Iterator[str]:
    """Yield the text of every kept row: each message of a chat, each document, each side of a pair."""
    for folder in _FOLDERS:
        for path in sorted(study.root.glob(f"{folder}*/kept.jsonl")):
            for row in read_rows(path):
                yield from _strings({key: row[key] for key in ("messages", "text", "prompt", "chosen") if key in row})


def _texts(name: str) -> list[str]:
    """Return what an eval's file says, of eight words or more."""
    if not (DATA / f"{name}.yaml").exists():
        return []
    return [text for text in _strings(items(name)) if len(_WORD.findall(text)) >= RUN]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}
