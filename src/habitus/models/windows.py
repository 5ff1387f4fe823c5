"""Long texts as unit vectors, one a text, whose cosine is about the share that two texts have in common.

By hashing: the whole text, as runs of words. By a model, which reads too little for a long text and finds any two of
them alike: windows on a text, its longest sentences, each embedded and brought to where only near copies are near.
"""

from __future__ import annotations

import asyncio
import functools
import re
import textwrap
from itertools import accumulate
from typing import TYPE_CHECKING

from habitus.models.embed import Hashing, embed, mixed, np, unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.models.embed import Embedder

AT_ONCE = 256  # texts
WINDOWS = 16  # of a text
SIGNS = 300  # of a window; a sentence that is longer counts as several
COLUMNS = 1024
SHARPNESS = 0.15  # at which sentences of cosine 1, .9, .8, .5, 0 come to 1, .51, .26, .04, 0
END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")  # noqa: RUF001  # of a sentence


async def embed_documents(texts: Sequence[str], embedder: Embedder) -> np.ndarray:
    """Return a float32 array of shape (texts, columns) whose rows have length 1, whatever the length of the texts.

    Raises:
        UserError: the embedder gave too few vectors, or one that has no direction.

    """
    if isinstance(embedder, Hashing):
        return await embed(texts, Hashing(phrases=True))
    parts = [await _embed_windows(texts[at : at + AT_ONCE], embedder) for at in range(0, len(texts), AT_ONCE)]
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def windows(text: str) -> list[str]:
    """Return the longest WINDOWS different sentences, each of up to SIGNS characters; never an empty list."""
    pieces = dict.fromkeys(piece for sentence in END.split(text) for piece in textwrap.wrap(sentence, SIGNS))
    return sorted(pieces, key=len, reverse=True)[:WINDOWS] or [text]


async def _embed_windows(texts: Sequence[str], embedder: Embedder) -> np.ndarray:
    chosen = [windows(text) for text in texts]
    pieces = [piece for of_text in chosen for piece in of_text]
    vectors = await embed(pieces, embedder)
    weights = np.array([max(1, len(piece)) for piece in pieces], dtype=np.float32)
    starts = [0, *accumulate(map(len, chosen[:-1]))]
    return unit_rows(await asyncio.to_thread(_pooled, vectors, weights, starts), texts, embedder.name)


def _pooled(vectors: np.ndarray, weights: np.ndarray, starts: list[int]) -> np.ndarray:
    """Return for each text the weighted sum of its windows' waves."""
    return np.add.reduceat(np.sin(vectors @ _waves(vectors.shape[1])) * weights[:, None], starts, axis=0)


@functools.cache
def _waves(size: int) -> np.ndarray:
    """Return COLUMNS random directions, the same in every process.

    The mean product of the sines of x and y along them is e^(-1/s) sinh(cosine/s), with s the SHARPNESS.
    """
    bits = mixed(np.arange(size * COLUMNS, dtype=np.uint64)) & np.uint64(1)
    return np.where(bits, 1, -1).reshape(size, COLUMNS).astype(np.float32) / np.float32(SHARPNESS**0.5)
