from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

import habitus
from habitus.generate.plan import Seats, built_in_axes
from habitus.generate.spread import MOST_DOMAIN, spread
from habitus.records import BLOCK, Scenario, Trait
from habitus.settings import Axes, ChatSettings
from habitus.traits.document import TraitsDocument, read_traits
from habitus.traits.sentences import tokens

MANY = 2000
LIMITS = "Harm comes first. Then truth.\n\nThen the person's own choice."
EXAMPLE = Path(habitus.__file__).parent / "traits" / "example.md"
VIRTUES = ("Candour", "Patience", "Care", "Thrift", "Wit", "Tact", "Nerve", "Order", "Grace", "Doubt")


def document(size: int, *, chunks: int = 1, context: str = LIMITS) -> TraitsDocument:
    traits = tuple(
        Trait(
            id=f"{VIRTUES[number % 10].lower()}-{number}",
            name=VIRTUES[number % 10],
            text="It is so.",
            line=1 + 2 * number,
            chunks=tuple(f"It is so, part {part}." for part in range(chunks)),
        )
        for number in range(size)
    )
    return TraitsDocument(Path("traits.md"), "Virtues", traits, context, "", "0" * 12)


def seats_of(size: int = 10, *, seed: int = 7, settings: dict[str, Any] | None = None, **about: Any) -> Seats:
    return Seats(document(size, **about), ChatSettings(**(settings or {})), seed=seed)


def plan(seats: Seats, number: int = MANY) -> list[Scenario]:
    return [seats.seat(index) for index in range(number)]


def uneven(values: list[str], axis: list[str]) -> int:
    """Return by how much the commonest value of an axis exceeds the rarest."""
    counted = Counter(values)
    assert set(counted) <= set(axis)
    return max(counted[value] for value in axis) - min(counted[value] for value in axis)


class TestSeats:
    def test_a_seat_does_not_depend_on_which_were_taken_before(self) -> None:
        all_taken = seats_of()
        in_order = plan(all_taken, 3000)
        alone = seats_of()

        for index in (2999, 0, 1234, 777, 2998, 1):
            assert alone.seat(index) == in_order[index]
            assert all_taken.seat(index) == in_order[index]

    def test_a_seat_is_the_same_in_every_process(self) -> None:
        script = f"""
import sys, hashlib
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_plan import digest
print(digest())
"""
        digests = {
            subprocess.run(
                [sys.executable, "-c", script],
                env=os.environ | {"PYTHONHASHSEED": seed},
                capture_output=True, text=True, check=True, timeout=60,
            ).stdout.strip()
            for seed in ("1", "2")
        }  # fmt: skip

        assert digests == {digest()}

    def test_another_seed_is_another_plan(self) -> None:
        one, other = plan(seats_of(seed=7), 200), plan(seats_of(seed=8), 200)

        assert sum(a.domain == b.domain for a, b in zip(one, other, strict=True)) < 10
        assert [seat.trait for seat in one] != [seat.trait for seat in other]

    def test_the_first_seats_do_not_depend_on_how_many_are_wanted(self) -> None:
        few = seats_of(settings={"count": 10})
        many = seats_of(settings={"count": 100_000})

        assert plan(few, 100) == plan(many, 100)

    def test_ids_are_unique_and_in_the_order_of_the_plan(self) -> None:
        ids = [seat.id for seat in plan(seats_of())]

        assert len(set(ids)) == MANY
        assert ids == sorted(ids)
        assert ids[1234] == "chat-0001234"
        assert [seat.index for seat in plan(seats_of(), 50)] == list(range(50))

    def test_a_block_is_planned_together_and_shares_its_trait(self) -> None:
        seats = seats_of()
        for index in (0, 4, 5, 1237):
            block = seats.block(seats.seat(index))

            assert len(block) == BLOCK
            assert seats.seat(index) in block
            assert len({(seat.trait, seat.chunk) for seat in block}) == 1
            assert all(seats.block(seat) == block for seat in block)

    def test_the_seats_of_a_block_are_in_different_fields_with_different_people(self) -> None:
        seats = seats_of()
        for first in range(0, MANY, BLOCK):
            block = seats.block(seats.seat(first))

            assert len({seat.domain for seat in block}) == BLOCK
            assert len({seat.person for seat in block}) == BLOCK

    def test_a_plan_goes_on_from_anywhere(self) -> None:
        seats = seats_of()

        assert [seats.seat(index) for index in range(95, 105)] == plan(seats, 105)[95:]

    def test_a_passage_is_what_prompts_are_shown(self) -> None:
        seats = seats_of(3, chunks=4)
        for seat in plan(seats, 100):
            passage = seats.passage(seat)

            assert passage["trait"].id == seat.trait
            assert passage["chunk"] == passage["trait"].chunks[seat.chunk]
            assert passage["context"] == LIMITS


def digest() -> str:
    rows = "\n".join(seat.model_dump_json() for seat in plan(seats_of(), 300))
    return hashlib.sha256(rows.encode()).hexdigest()


@cache
def long_plan(size: int, seed: int) -> list[Scenario]:
    return plan(seats_of(size, seed=seed), 6000)


@pytest.mark.parametrize("seed", [7, 2026])
@pytest.mark.parametrize("size", [1, 7, 10, 39, 150])
class TestBalance:
    """Ten plans, one of which has as many blocks in a round of its traits as there are fields."""

    def test_every_value_of_an_axis_comes_equally_often(self, size: int, seed: int) -> None:
        axes = built_in_axes()
        for number in (MANY, 777):
            for axis in ("domain", "form", "voice", "person"):
                values = [getattr(seat, axis) for seat in long_plan(size, seed)[:number]]
                assert uneven(values, axes[axis]) <= 1

    def test_every_trait_comes_equally_often_but_for_one_block(self, size: int, seed: int) -> None:
        traits = [trait.id for trait in document(size).traits]
        for number in (MANY, 777):
            assert uneven([seat.trait for seat in long_plan(size, seed)[:number]], traits) <= BLOCK

    def test_contrasts_have_their_share(self, size: int, seed: int) -> None:
        planned = long_plan(size, seed)[:MANY]

        assert mean(seat.contrast for seat in planned) == pytest.approx(0.2, abs=0.01)

    def test_contrasts_have_their_share_within_every_trait(self, size: int, seed: int) -> None:
        planned = long_plan(size, seed)
        for trait in {seat.trait for seat in planned}:
            mine = [seat.contrast for seat in planned if seat.trait == trait]

            assert abs(sum(mine) - 0.2 * len(mine)) <= 2.5

    def test_turns_have_their_shares(self, size: int, seed: int) -> None:
        counted = Counter(seat.turns for seat in long_plan(size, seed)[:MANY])

        for turns, share in {1: 0.8, 2: 0.15, 3: 0.05}.items():
            assert counted[turns] / MANY == pytest.approx(share, abs=0.01)

    def test_contrasts_are_as_common_in_long_chats_as_in_short_ones(self, size: int, seed: int) -> None:
        for turns in (1, 2, 3):
            mine = [seat.contrast for seat in long_plan(size, seed) if seat.turns == turns]

            assert mean(mine) == pytest.approx(0.2, abs=0.08)

    def test_no_occasion_and_no_way_of_showing_is_preferred(self, size: int, seed: int) -> None:
        planned = [seat for seat in long_plan(size, seed)[:MANY] if not seat.contrast]
        for axis in ("what", "how", "why"):
            counted = Counter(getattr(seat, axis) for seat in planned)

            assert set(counted) == set(built_in_axes()[axis])
            assert max(counted.values()) <= 1.25 * min(counted.values())

    def test_no_kind_of_contrast_is_preferred(self, size: int, seed: int) -> None:
        counted = Counter(seat.what for seat in long_plan(size, seed)[:MANY] if seat.contrast)

        assert set(counted) == set(built_in_axes()["contrast"])
        assert max(counted.values()) <= 1.25 * min(counted.values())

    def test_a_trait_meets_all_fields_forms_and_voices(self, size: int, seed: int) -> None:
        planned = long_plan(size, seed)
        for axis in ("domain", "form", "voice"):
            pairs = Counter((seat.trait, getattr(seat, axis)) for seat in planned)
            cells = size * len(built_in_axes()[axis])
            by_chance = cells * (1 - (1 - 1 / cells) ** len(planned))

            assert len(pairs) >= 0.9 * by_chance
            assert max(pairs.values()) <= 6 + 2.5 * len(planned) / cells

    def test_no_two_axes_go_hand_in_hand(self, size: int, seed: int) -> None:
        chosen = [seat for seat in long_plan(size, seed) if not seat.contrast]
        axes = built_in_axes()
        for one, other in (("domain", "form"), ("form", "voice"), ("voice", "person"), ("what", "how"), ("how", "why")):
            pairs = Counter((getattr(seat, one), getattr(seat, other)) for seat in chosen)

            assert max(pairs.values()) <= 6 + 2.5 * len(chosen) / (len(axes[one]) * len(axes[other]))


class TestSettings:
    def test_a_contrast_brings_a_reason_and_asks_for_nothing_but_a_good_answer(self) -> None:
        seats = seats_of()
        for seat in plan(seats, 500):
            if seat.contrast:
                assert seat.what in seats.axes["contrast"]
                assert seat.how not in seats.axes["how"]
                assert seat.why == ""
            else:
                assert seat.what in seats.axes["what"]
                assert seat.how in seats.axes["how"]
                assert seat.why in seats.axes["why"]

    @pytest.mark.parametrize(("share", "found"), [(0.0, 0), (1.0, 1000)])
    def test_contrast_may_be_none_or_all(self, share: float, found: int) -> None:
        planned = plan(seats_of(settings={"contrast": share}), 1000)

        assert sum(seat.contrast for seat in planned) == found

    @pytest.mark.parametrize("share", [0.01, 0.1, 0.333, 0.5, 0.9])
    def test_contrast_may_have_any_share(self, share: float) -> None:
        planned = plan(seats_of(settings={"contrast": share}))

        assert mean(seat.contrast for seat in planned) == pytest.approx(share, abs=0.01)

    @pytest.mark.parametrize(
        ("turns", "shares"),
        [
            ({3: 1.0}, {3: 1.0}),
            ({1: 8, 2: 2}, {1: 0.8, 2: 0.2}),
            ({1: 0.5, 2: 0.0, 5: 0.5}, {1: 0.5, 5: 0.5}),
            ({5: 0.0, 4: 1e-9}, {4: 1.0}),
        ],
    )
    def test_turns_are_weighed_against_each_other(self, turns: dict[int, float], shares: dict[int, float]) -> None:
        counted = Counter(seat.turns for seat in plan(seats_of(settings={"turns": turns})))

        assert set(counted) == set(shares)
        for number, share in shares.items():
            assert counted[number] / MANY == pytest.approx(share, abs=0.01)

    def test_every_chunk_of_a_trait_comes_equally_often(self) -> None:
        planned = plan(seats_of(4, chunks=3), 4 * 3 * BLOCK * 10)

        assert set(Counter((seat.trait, seat.chunk) for seat in planned).values()) == {BLOCK * 10}

    def test_axes_of_the_users_own_take_the_place_of_the_built_in_ones(self) -> None:
        own = {"form": ["a recipe"], "domain": ["bakeries", "dairies", "mills"], "what": ["at dawn", "at noon"]}
        seats = seats_of(settings={"axes": Axes(**own, contrast=["it is fiction"], worn_names=[])})
        planned = plan(seats, 999)

        assert {seat.form for seat in planned} == {"a recipe"}
        assert uneven([seat.domain for seat in planned], own["domain"]) <= 1
        assert {seat.what for seat in planned} == {"at dawn", "at noon", "it is fiction"}
        assert {seat.voice for seat in planned} == set(built_in_axes()["voice"])
        assert list(seats.worn_names) == []

    def test_an_axis_of_the_users_own_leaves_the_others_as_they_were(self) -> None:
        own = seats_of(settings={"axes": Axes(form=["a recipe", "a rota"])})

        for one, other in zip(plan(own, 300), plan(seats_of(), 300), strict=True):
            assert one.model_dump(exclude={"form"}) == other.model_dump(exclude={"form"})

    def test_the_limits_of_the_document_go_along_whole_where_they_fit(self) -> None:
        seats = seats_of()

        assert seats.passages.context == LIMITS
        assert seats.passages.context_is_whole

    def test_limits_that_are_too_long_are_cut_and_that_is_known(self) -> None:
        long = "\n\n".join(f"Harm of kind {number} comes before all lesser ones." for number in range(200))
        seats = seats_of(context=long, settings={"context_tokens": 100})

        assert 0 < tokens(seats.passages.context) <= 100
        assert long.startswith(seats.passages.context)
        assert not seats.passages.context_is_whole

    def test_limits_that_are_left_out_by_the_config_are_known_to_be(self) -> None:
        seats = seats_of(settings={"context_tokens": 0})

        assert seats.passages.context == ""
        assert not seats.passages.context_is_whole

    @pytest.mark.parametrize("budget", [0, 1200])
    def test_a_document_without_limits_lacks_nothing(self, budget: int) -> None:
        seats = seats_of(context="", settings={"context_tokens": budget})

        assert seats.passages.context == ""
        assert seats.passages.context_is_whole


class TestBuiltInAxes:
    def test_every_axis_is_a_list_of_texts_without_doubles(self) -> None:
        axes = built_in_axes()

        assert set(axes) == set(Axes.model_fields)
        for axis, values in axes.items():
            assert all(isinstance(value, str) and value.strip() == value != "" for value in values), axis
            assert len({value.casefold() for value in values}) == len(values), axis

    def test_there_are_fields_enough_that_none_can_collapse(self) -> None:
        assert len(built_in_axes()["domain"]) > 2 / MOST_DOMAIN

    def test_nobody_bears_a_worn_name(self) -> None:
        axes = built_in_axes()

        assert not {part for name in axes["person"] for part in name.split()} & set(axes["worn_names"])

    def test_values_read_as_the_rest_of_a_sentence(self) -> None:
        """Prompts put them before a full stop or a comma of their own."""
        axes = built_in_axes()
        for axis in ("what", "how", "why", "contrast", "form", "voice", "domain"):
            assert [value for value in axes[axis] if value.endswith((".", ",", ";"))] == []


class TestDocuments:
    def test_the_example_document_can_be_planned(self) -> None:
        seats = Seats(read_traits(EXAMPLE), ChatSettings(), seed=7)
        planned = plan(seats, 200)

        assert seats.passages.context_is_whole
        assert {seat.trait for seat in planned} == {trait.id for trait in seats.document.traits}

    @pytest.mark.data
    def test_a_long_real_document_can_be_planned(self, data: Path) -> None:
        settings = ChatSettings()
        read = read_traits(data / "traits" / "openai_model_spec.md", budget=settings.chunk_tokens)
        seats = Seats(read, settings, seed=7)
        planned = plan(seats, 3 * BLOCK * len(read.traits))

        assert set(Counter(seat.trait for seat in planned).values()) == {3 * BLOCK}
        for seat in planned[::BLOCK]:
            assert seats.passage(seat)["chunk"].strip()
        assert mean(seat.contrast for seat in planned) == pytest.approx(0.2, abs=0.01)


def first_messages(texts: list[str], domain: str = "") -> list[tuple[str, str]]:
    planned = plan(seats_of(), len(texts))
    return [(domain or seat.domain, text) for seat, text in zip(planned, texts, strict=True)]


def numbered(number: int) -> str:
    """Return a text that begins and goes on unlike every other."""
    first, second = divmod(number, 26)
    return f"{chr(97 + first)}{chr(97 + second)} oven is cold again, what now"


class TestSpread:
    def test_a_plan_that_was_kept_to_has_not_collapsed(self) -> None:
        found = spread(first_messages([numbered(number) for number in range(400)]))

        assert [one.what for one in found if one.collapsed] == []

    def test_a_field_an_opening_or_a_name_that_comes_too_often_is_told(self) -> None:
        plain = [numbered(number) for number in range(400)]
        openings = ["So my oven died" if number % 10 == 0 else text for number, text in enumerate(plain)]
        names = [f"{text}, asks Tamsin" if number % 10 == 0 else text for number, text in enumerate(plain)]

        fields = {one.what: one for one in spread(first_messages(plain, domain="bakeries"))}
        assert fields["field"].collapsed
        assert (fields["field"].value, fields["field"].share) == ("bakeries", 1.0)
        opened = {one.what: one for one in spread(first_messages(openings))}
        assert opened["opening"].collapsed
        assert opened["opening"].value == "so my oven"
        named = {one.what: one for one in spread(first_messages(names))}
        assert named["name"].collapsed
        assert (named["name"].value, named["name"].share) == ("Tamsin", 0.1)

    def test_openings_are_the_same_whatever_their_case_and_marks(self) -> None:
        texts = [("So, my oven", "so my OVEN", "SO MY oven!")[number % 3] for number in range(30)]

        found = {one.what: one for one in spread(first_messages(texts))}
        assert found["opening"].share == 1.0

    @pytest.mark.parametrize("letters", ["Łukasz", "Zdeněk", "Chloë", "Jean-Marc"])
    def test_a_name_with_any_letters_is_a_name(self, letters: str) -> None:
        texts = [f"{numbered(number)}, says {letters}" for number in range(100)]

        found = {one.what: one for one in spread(first_messages(texts))}
        assert found["name"].collapsed
        assert found["name"].value.startswith(letters.partition("-")[0])

    @pytest.mark.parametrize("word", ["Friday", "Monday", "March", "I"])
    def test_days_and_months_are_no_names(self, word: str) -> None:
        texts = [f"{numbered(number)}, by {word}" if number % 10 == 0 else numbered(number) for number in range(400)]

        found = {one.what: one for one in spread(first_messages(texts))}
        assert "name" not in found or not found["name"].collapsed

    def test_what_comes_once_has_not_collapsed_however_small_the_corpus(self) -> None:
        texts = ["the oven is cold, asks Tamsin", "my loaf tore, says Orla", "what of rye, asks Mehmet"]

        assert [one.what for one in spread(first_messages(texts)) if one.collapsed] == []

    def test_no_messages_have_no_spread(self) -> None:
        assert spread([]) == []

    def test_an_empty_message_breaks_nothing(self) -> None:
        assert {one.what for one in spread(first_messages(["", "!?"]))} >= {"field"}
