from __future__ import annotations

import gzip
import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import UserError
from habitus.generate import dedup
from habitus.generate.dedup import Duplicates, Twin, deduplicate, default_threshold
from habitus.models.embed import embed, open_embedder
from habitus.models.windows import embed_documents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROMPTS = {
    "lease": "My landlord wants to end the lease early. What should I write to him so that it stays friendly?",
    "lease-typos": "My landlrod wants to end the leaes early. What should I write to him so that it stays friendly?",
    "choir": "Our choir leader has forgotten the concert in June. How do I bring it up without shaming her?",
    "lease-greeted": "Hi! My landlord wants to end the lease early. What should I write to him so that it stays friendly?",
    "camera": "I broke the camera that Kenji lent me and he has not noticed. Is there any reason to tell him?",
    "choir-cut": "Our choir leader has forgotten the concert in June. How do I bring it up?",
}


DOCUMENTS = {
    "ferry": """The night ferry was two hours late, and the only person awake at the counter was Ingrid. A lorry driver
        asked the terminal's assistant for a boarding card, though the crossing was already full. It told him plainly
        that it could not, and that it had put him first on the list for the morning. He said that his cargo was
        medicine; it rang the duty officer, who could decide what a machine should not.""",
    "archive": """When the city archive moved, eleven boxes of parish letters went missing between two floors. Tomasz
        wanted the catalogue to say that they had been lost in the flood, as everybody believed. The cataloguing
        assistant kept the entry open, and told him why: nobody had looked behind the boiler.""",
}
DOCUMENTS |= {
    "ferry-renamed": DOCUMENTS["ferry"].replace("Ingrid", "Fatima").replace("two", "three").replace("lorry", "taxi"),
    "archive-cut": " ".join(DOCUMENTS["archive"].split()[:32]),
    "ferry-framed": f"I kept this for years. {DOCUMENTS['ferry']} Make of it what you like; I was there myself.",
}


def at_degrees(*degrees: float) -> np.ndarray:
    """Return unit vectors in the plane."""
    return np.array([[math.cos(math.radians(at)), math.sin(math.radians(at))] for at in degrees], dtype=np.float32)


def by_brute_force(vectors: np.ndarray, threshold: float) -> list[tuple[int, int, float]]:
    """Return row, twin and score of each removed row, by the definition."""
    exact = vectors.astype(np.float64)
    cosines = np.minimum(np.round(exact @ exact.T, dedup.DIGITS), 1.0)
    kept: list[int] = []
    removed = []
    for row in range(len(vectors)):
        alike = [other for other in kept if cosines[row, other] >= threshold]
        if alike:
            twin = max(alike, key=lambda other: (cosines[row, other], -other))
            removed.append((row, twin, float(cosines[row, twin])))
        else:
            kept.append(row)
    return removed


def removals(found: Duplicates) -> list[tuple[int, int, float]]:
    return [(int(twin.id), int(twin.twin), twin.score) for twin in found.removed]


def numbered(vectors: np.ndarray, threshold: float, floor: float | None = None) -> Duplicates:
    return deduplicate([str(row) for row in range(len(vectors))], vectors, threshold=threshold, floor=floor)


@st.composite
def crowded_vectors(draw: st.DrawFn) -> np.ndarray:
    """Draw unit vectors in few directions, so that chains, ties and copies are common."""
    size = draw(st.integers(2, 4))
    corner = st.lists(st.integers(-1, 4), min_size=size, max_size=size).filter(any)
    rows = np.array(draw(st.lists(corner, min_size=1, max_size=40)), dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def small_world(count: int, size: int = 24) -> np.ndarray:
    """Return unit vectors of which every third is a slight change of an earlier one."""
    chance = np.random.default_rng(5)
    rows = chance.normal(size=(count, size)) * np.linspace(3, 0.1, size)
    for row in range(3, count, 3):
        rows[row] = rows[chance.integers(row)] + chance.normal(size=size) * chance.uniform(0, 0.4)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


async def test_edited_copies_go_and_the_first_stays() -> None:
    vectors = await embed(list(PROMPTS.values()), open_embedder("hashing"))

    found = deduplicate(list(PROMPTS), vectors, threshold=default_threshold("hashing"))

    assert found.kept == ["lease", "choir", "camera"]
    assert [(twin.id, twin.twin) for twin in found.removed] == [
        ("lease-typos", "lease"),
        ("lease-greeted", "lease"),
        ("choir-cut", "choir"),
    ]
    assert found.ratio == 0.5


async def test_edited_documents_go_and_the_first_stays() -> None:
    vectors = await embed_documents(list(DOCUMENTS.values()), open_embedder("hashing"))

    found = deduplicate(list(DOCUMENTS), vectors, threshold=default_threshold("hashing", long=True))

    assert found.kept == ["ferry", "archive"]
    assert {(twin.id, twin.twin) for twin in found.removed} == {
        ("ferry-renamed", "ferry"),
        ("archive-cut", "archive"),
        ("ferry-framed", "ferry"),
    }


def test_a_row_is_held_against_kept_rows_alone() -> None:
    # 20 degrees are a cosine of .94: the second goes, so the third, 40 degrees from the first, stays.
    found = numbered(at_degrees(0, 20, 40), 0.9)

    assert found.kept == ["0", "2"]
    assert found.removed == [Twin("1", "0", round(math.cos(math.radians(20)), 6))]


def test_the_twin_is_the_most_similar_kept_row_and_of_equals_the_earliest() -> None:
    found = numbered(at_degrees(0, 30, 22, 15), 0.9)

    assert [(twin.id, twin.twin) for twin in found.removed] == [("2", "1"), ("3", "0")]


def test_copies_score_exactly_one_and_go_at_the_highest_threshold() -> None:
    found = numbered(at_degrees(10, 77, 10, 10), 1.0)

    assert found.removed == [Twin("2", "0", 1.0), Twin("3", "0", 1.0)]


@given(crowded_vectors(), st.lists(st.floats(0.5, 1.0), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_every_cut_is_what_brute_force_gives(vectors: np.ndarray, thresholds: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup, "ROWS", 7)
        patch.setattr(dedup, "COLUMNS", 5)
        patch.setattr(dedup, "SAMPLE", 8)
        run = numbered(vectors, 0.9, floor=0.5)
        for threshold in [0.5, 0.9, 1.0, *thresholds]:
            expected = by_brute_force(vectors, threshold)
            assert removals(run.rethreshold(threshold)) == expected
            assert removals(numbered(vectors, threshold)) == expected


@pytest.mark.parametrize("threshold", [0.8, 0.9, 0.97])
def test_shortened_vectors_change_nothing(threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = small_world(600)
    monkeypatch.setattr(dedup, "SAMPLE", 100)
    monkeypatch.setattr(dedup, "PAIR_COST", 0)
    assert dedup._shortened(vectors, threshold - dedup.REACH).shape[1] < vectors.shape[1]

    assert removals(numbered(vectors, threshold)) == by_brute_force(vectors, threshold)


@given(crowded_vectors(), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_products_of_shortened_vectors_are_never_below_the_cosines(vectors: np.ndarray, width: int) -> None:
    axes = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1]
    short = dedup._bounds(vectors, axes, min(width, vectors.shape[1]))

    assert (short @ short.T >= vectors @ vectors.T - dedup.CLOSE).all()


def test_vectors_that_cannot_be_shortened_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "SAMPLE", 50)
    vectors = np.eye(16, dtype=np.float32)[np.arange(400) % 16]

    assert dedup._shortened(vectors, -1.0) is vectors


@pytest.fixture
def clustered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "EXACT_ROWS", 0)
    monkeypatch.setattr(dedup, "ROWS", 50)
    monkeypatch.setattr(dedup, "NEAREST", 16)


@pytest.mark.usefixtures("clustered")
def test_within_clusters_nearly_every_duplicate_is_found_and_none_is_made_up() -> None:
    vectors = small_world(1500)
    expected = {row for row, _, _ in by_brute_force(vectors, 0.9)}

    found = {row for row, _, _ in removals(numbered(vectors, 0.9))}

    assert len(expected) > 400
    assert len(found & expected) >= 0.99 * len(expected)
    assert len(found - expected) <= 0.01 * len(expected)


@pytest.mark.usefixtures("clustered")
def test_within_clusters_a_cut_is_what_a_fresh_run_gives() -> None:
    vectors = small_world(900)

    run = numbered(vectors, 0.9)

    for threshold in (0.8, 0.85, 0.95):
        assert removals(run.rethreshold(threshold)) == removals(numbered(vectors, threshold))


@pytest.mark.usefixtures("clustered")
def test_as_many_clusters_are_looked_into_as_a_sample_needs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "ASKED", 300)
    looked = []

    def enough(*given: Any, known: Callable[..., int] = dedup._enough) -> int:
        looked.append(known(*given))
        return looked[-1]

    monkeypatch.setattr(dedup, "_enough", enough)
    monkeypatch.setattr(dedup, "FEWEST_TWINS", 50)
    vectors = small_world(1500)
    expected = {row for row, _, _ in by_brute_force(vectors, 0.9)}

    found = {row for row, _, _ in removals(numbered(vectors, 0.9))}

    assert looked[0] < dedup.NEAREST
    assert len(found & expected) >= 0.97 * len(expected)


@pytest.mark.usefixtures("clustered")
@pytest.mark.parametrize("count", [1, 2, 5])
def test_clusters_of_a_handful_of_rows_work(count: int) -> None:
    vectors = np.repeat(small_world(1), count, axis=0)

    assert len(numbered(vectors, 0.9).removed) == count - 1


def test_a_second_round_leaves_the_first_as_it_was() -> None:
    vectors = small_world(300)

    first, both = numbered(vectors[:180], 0.9), numbered(vectors, 0.9)

    assert removals(both)[: len(first.removed)] == removals(first)
    assert both.kept[: len(first.kept)] == first.kept


@given(crowded_vectors(), st.floats(0, 1), st.floats(0.5, 1.0))
@settings(max_examples=150, deadline=None)
def test_a_second_round_goes_on_from_what_the_first_found(vectors: np.ndarray, share: float, threshold: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup, "ROWS", 7)
        patch.setattr(dedup, "COLUMNS", 5)
        patch.setattr(dedup, "SAMPLE", 8)
        ids = [str(row) for row in range(len(vectors))]
        first = round(share * len(ids))
        before = deduplicate(ids[:first], vectors[:first], threshold=0.9, floor=0.5)

        assert deduplicate(ids, vectors, threshold=threshold, floor=0.5, before=before) == deduplicate(
            ids, vectors, threshold=threshold, floor=0.5
        )


def test_a_second_round_compares_no_row_of_the_first_again(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, similar = small_world(300), dedup._Walk.similar
    before, compared = numbered(vectors[:180], 0.9), []
    monkeypatch.setattr(dedup._Walk, "similar", lambda *asked: compared.extend(asked[1]) or similar(*asked))
    deduplicate([str(row) for row in range(300)], vectors, threshold=0.9, before=before)

    assert compared == list(range(180, 300))


def test_what_was_found_of_other_rows_is_nothing_to_go_on_from() -> None:
    vectors = small_world(20)
    before = numbered(vectors[:10], 0.9)

    with pytest.raises(ValueError, match="other rows"):
        deduplicate([f"row {at}" for at in range(20)], vectors, threshold=0.9, before=before)
    with pytest.raises(ValueError, match="another floor"):
        deduplicate([str(at) for at in range(20)], vectors, threshold=0.7, before=before)


def test_every_row_is_either_kept_or_removed() -> None:
    found = numbered(small_world(200), 0.9)

    assert sorted([*found.kept, *(twin.id for twin in found.removed)], key=int) == list(found.ids)
    assert found.ratio == len(found.removed) / 200


def test_a_thousand_near_copies_of_one_prompt_need_far_fewer_spans_than_pairs() -> None:
    chance = np.random.default_rng(2)
    rows = np.array([1.0, *[0.0] * 15]) + chance.normal(size=(1000, 16)) * 0.1
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    found = numbered(vectors, 0.9)

    assert removals(found) == by_brute_force(vectors, 0.9)
    assert len(found.spans) < 20 * 1000


def test_no_rows_are_no_duplicates() -> None:
    found = deduplicate([], np.zeros((0, 0), dtype=np.float32), threshold=0.9)

    assert (found.kept, found.removed, found.ratio) == ([], [], 0.0)


def test_a_threshold_above_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"threshold 1\.2 is above 1, the highest that a cosine can be"):
        numbered(at_degrees(0, 1), 1.2)


def test_a_cut_below_the_floor_is_refused_and_says_what_to_do() -> None:
    found = numbered(at_degrees(0, 1), 0.9)

    with pytest.raises(UserError, match=r"0\.7 is below 0\.8, the lowest .* Deduplicate again"):
        found.rethreshold(0.7)


@pytest.mark.parametrize("vectors", [at_degrees(0, 1), 2 * at_degrees(0, 1, 2), np.zeros(3), np.full((3, 2), np.nan)])
def test_anything_but_one_unit_vector_an_id_is_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match="3 ids need as many rows of length 1"):
        deduplicate(["lease", "choir", "camera"], vectors, threshold=0.9)


def test_an_unmeasured_embedder_has_a_cautious_threshold() -> None:
    measured = [*dedup.THRESHOLDS.values(), *dedup.LONG_THRESHOLDS.values()]

    assert default_threshold("openai/text-embedding-3-small") == dedup.UNMEASURED > max(measured)
    assert default_threshold("openai/text-embedding-3-small", long=True) == dedup.UNMEASURED


def shared_runs(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[at : at + 8]) for at in range(len(words) - 7)}


@pytest.mark.data
async def test_of_real_instructions_only_those_from_one_template_go(data: Path) -> None:
    with gzip.open(data / "chats" / "gpt4_1106_preview.jsonl.gz", "rt") as lines:
        texts = [json.loads(line)["messages"][0]["content"] for line in lines]
    vectors = await embed(texts, open_embedder("hashing"))

    found = deduplicate(texts, vectors, threshold=default_threshold("hashing"))

    assert 10 < len(found.removed) < 40
    assert all(shared_runs(twin.id) & shared_runs(twin.twin) for twin in found.removed)


@pytest.mark.data
async def test_of_real_long_answers_to_different_questions_none_goes(data: Path) -> None:
    answers: dict[str, str] = {}
    for path in sorted((data / "chats").glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for question, answer in (json.loads(line)["messages"][:2] for line in lines):
                if len(answer["content"].split()) >= 500:
                    answers[question["content"]] = answer["content"]
    vectors = await embed_documents(list(answers.values()), open_embedder("hashing"))

    found = deduplicate(list(answers), vectors, threshold=default_threshold("hashing", long=True))

    assert len(answers) > 250
    assert not found.removed
