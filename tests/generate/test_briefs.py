"""The plan of the documents: briefs that are balanced, stable and within what the document still has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import habitus
from habitus.generate.briefs import FOUND_PER_FIELD, Briefs, built_in_briefs
from habitus.generate.documents import Genre
from habitus.records import BLOCK
from habitus.settings import DocumentSettings
from habitus.traits.document import read_traits

TRAITS = Path(habitus.__file__).parent / "traits"
MANY = 1000


def briefs_of(name: str = "example", *, seed: int = 7, **settings: Any) -> Briefs:
    return Briefs(read_traits(TRAITS / f"{name}.md", budget=1500), DocumentSettings(**settings), seed=seed)


@pytest.fixture(scope="module")
def briefs() -> Briefs:
    return briefs_of()


def test_a_brief_does_not_depend_on_which_were_taken_before(briefs: Briefs) -> None:
    in_order = [briefs.seat(index) for index in range(60)]
    assert [briefs_of().seat(index) for index in reversed(range(60))] == in_order[::-1]
    assert briefs_of(seed=8).seat(0) != in_order[0]


def test_a_block_shares_its_trait_and_nothing_else(briefs: Briefs) -> None:
    block = briefs.block(briefs.seat(12))
    assert [one.index for one in block] == list(range(10, 10 + BLOCK))
    assert len({one.trait for one in block}) == 1
    assert len({one.domain for one in block}) == BLOCK
    assert len({name for one in block for name in one.people}) == 4 * BLOCK


@pytest.mark.parametrize("axis", ["trait", "why", "writer", "hand", "era", "domain"])
def test_every_axis_is_dealt_evenly(briefs: Briefs, axis: str) -> None:
    counted = Counter(getattr(briefs.seat(index), axis) for index in range(MANY))
    assert max(counted.values()) - min(counted.values()) <= (BLOCK if axis == "trait" else 1)


def test_half_take_a_built_in_genre_and_half_one_found_for_the_field(briefs: Briefs) -> None:
    seats = [briefs.seat(index) for index in range(MANY)]
    names = {genre["name"] for genre in briefs.genres}
    assert sum(seat.found is None for seat in seats) == MANY / 2
    assert all(seat.genre in names for seat in seats if seat.found is None)
    assert {seat.found for seat in seats if seat.found is not None} == set(range(FOUND_PER_FIELD))
    assert len({seat.genre for seat in seats if seat.genre}) == len(names)


def test_shares_of_stance_and_contrast_hold() -> None:
    briefs = briefs_of(contrast=0.25, stances={"neutral": 0.6, "critical": 0.4})
    seats = [briefs.seat(index) for index in range(MANY)]
    stances = Counter(seat.stance for seat in seats)
    assert set(stances) == {"neutral", "critical"}
    assert 0.57 <= stances["neutral"] / MANY <= 0.63
    assert 0.23 <= sum(seat.contrast for seat in seats) / MANY <= 0.27
    assert all(not seat.how for seat in seats if seat.contrast)


def test_what_is_shared_out_does_not_go_together(briefs: Briefs) -> None:
    seats = [briefs.seat(index) for index in range(2000)]
    for stance in ("admiring", "neutral", "critical"):
        lengths = [seat.length for seat in seats if seat.stance == stance]
        assert abs(sum(lengths) / len(lengths) - 0.5) < 0.05
        assert min(lengths) < 0.1
        assert max(lengths) > 0.9
        found = Counter(seat.found for seat in seats if seat.stance == stance and seat.found is not None)
        assert len(found) == FOUND_PER_FIELD


def test_lengths_fill_the_range_of_the_genre() -> None:
    genre = Genre(name="diary", layout="Dated entries.", shortest=900, longest=100)
    words = [genre.words(briefs_of().seat(index).length) for index in range(40)]
    assert min(words) >= 100
    assert max(words) <= 900
    assert min(words) < 150
    assert max(words) > 600


def test_what_the_prompts_are_told_is_in_sentences(briefs: Briefs) -> None:
    told = briefs.told(briefs.seat(3))
    assert told["route"].endswith(".")
    assert told["stance"].endswith(".")


def test_a_passage_that_is_gone_is_known(briefs: Briefs) -> None:
    seat = briefs.seat(0)
    assert briefs.has(seat)
    assert not briefs.has(seat.model_copy(update={"trait": "thrift"}))
    assert not briefs.has(seat.model_copy(update={"chunk": 9}))


def test_axes_of_ones_own_take_the_place_of_the_built_in_ones() -> None:
    own = {"name": "harbour log", "layout": "Times and vessels.", "words": [80, 200]}
    briefs = briefs_of(axes={"genres": [own], "domain": ["harbours"]})
    seats = [briefs.seat(index) for index in range(20)]
    assert {seat.domain for seat in seats} == {"harbours"}
    assert {seat.genre for seat in seats} == {"harbour log", ""}


class TestWhatShips:
    def test_there_are_sixty_genres_and_more_each_with_layout_and_lengths(self) -> None:
        genres = built_in_briefs()["genres"]
        assert len({genre["name"] for genre in genres}) == len(genres) >= 60
        for genre in genres:
            low, high = genre["words"]
            assert 80 <= low < high <= 2500
            assert len(genre["layout"].split()) >= 15

    def test_there_are_four_routes_for_the_reason_and_three_stances(self) -> None:
        axes = built_in_briefs()
        assert list(axes["why"]) == ["quoted", "inferred", "consequences", "comparison"]
        assert set(axes["stance"]) == {"admiring", "neutral", "critical"}

    def test_the_placebo_document_is_whole_and_about_as_long_as_the_example(self) -> None:
        placebo, example = (read_traits(TRAITS / f"{name}.md", budget=1500) for name in ("placebo", "example"))
        assert len(placebo.traits) == len(example.traits)
        assert 0.8 < len((TRAITS / "placebo.md").read_text()) / len((TRAITS / "example.md").read_text()) < 1.25
        assert placebo.context
        assert all(trait.reasons for trait in placebo.traits)
