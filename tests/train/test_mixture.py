"""Which rows go into a run, and in what proportion."""

from __future__ import annotations

from collections import Counter

import pytest

from habitus.errors import UserError
from habitus.train.mixture import balanced, capacity, mix, part, shares, whole
from habitus.train.rows import Row
from habitus.train.tokens import Tokens


def rows(source: str, number: int, *, traits: tuple[str, ...] = ("candour",), length: int = 10) -> list[Tokens]:
    found = []
    for at in range(number):
        row = Row(f"{source}-{at:04d}", source, traits[at % len(traits)], {"text": f"{source} {at}"}, f"{source}:{at}")
        found.append(Tokens(row, [1] * length, [1] * length))
    return found


DESK, CHATS = rows("desk", 400), rows("chats", 200, traits=("candour", "candour", "patience"))


def mixed(**options: object) -> list[str]:
    usual = {"fraction": 0.2, "size": 100, "unit": "rows", "seed": 1}
    return [one.row.id for one in mix(DESK, CHATS, **{**usual, **options}).rows]  # type: ignore[arg-type]


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 1.0])
def test_the_fraction_is_kept_exactly(fraction: float) -> None:
    found = mixed(fraction=fraction)

    assert len(found) == 100
    assert len(set(found)) == 100
    assert sum(name.startswith("chats") for name in found) == round(100 * fraction)


def test_a_fraction_may_be_one_of_tokens() -> None:
    long = rows("essays", 50, length=40)
    mixture = mix(DESK, long, fraction=0.5, size=2000, unit="tokens", seed=1)

    assert mixture.share("essays", "tokens") == pytest.approx(0.5, abs=0.02)
    assert mixture.share("essays", "rows") == pytest.approx(0.2, abs=0.02)


def test_the_same_seed_gives_the_same_mixture_and_another_gives_another() -> None:
    assert mixed() == mixed()
    assert mixed(seed=2) != mixed()
    one, two = (mix(DESK, CHATS, fraction=0.2, size=100, unit="rows", seed=seed) for seed in (1, 1))
    assert one.digest == two.digest


def test_a_smaller_dose_takes_a_part_of_a_larger_ones_rows() -> None:
    small, large = ({name for name in mixed(fraction=dose) if name.startswith("chats")} for dose in (0.1, 0.4))

    assert small < large


def test_every_trait_keeps_its_share_in_any_part() -> None:
    for much in (30, 60, 150):
        found = Counter(one.row.trait for one in part(CHATS, much, "rows", 5))
        assert found["patience"] == pytest.approx(much / 3, abs=1)


def test_nothing_comes_twice_unless_asked_and_then_it_is_counted() -> None:
    with pytest.raises(UserError, match="300 rows of synthetic data are wanted, and there are 200"):
        mixed(fraction=0.75, size=400)
    again = mix(DESK, CHATS, fraction=0.75, size=400, unit="rows", seed=1, may_repeat=True)
    assert again.repeated == 100
    assert max(Counter(one.row.id for one in again.rows).values()) == 2


def test_the_capacity_is_the_most_that_needs_no_row_twice() -> None:
    assert capacity(DESK, CHATS, 0.2, "rows") == 500
    assert capacity(DESK, CHATS, 0.5, "rows") == 400
    assert capacity([], CHATS, 1.0, "tokens") == 2000
    assert capacity(DESK, [], 0.0, "rows") == 400
    assert len(mixed(size=capacity(DESK, CHATS, 0.3, "rows"), fraction=0.3)) == 571


def test_the_whole_is_every_row_once() -> None:
    assert sorted(one.row.id for one in whole(CHATS, 3).rows) == sorted(one.row.id for one in CHATS)


def test_the_hash_changes_with_what_a_row_says() -> None:
    other = [Tokens(Row(one.row.id, "desk", "candour", {"text": "else"}, ""), one.ids, one.labels) for one in DESK]

    assert whole(DESK, 1).digest != whole(other, 1).digest


def with_contrast(number: int) -> list[Tokens]:
    """Chats of which every fifth is a contrast one, and every other of the rest opens gladly (its number is even)."""
    found = []
    for at in range(number):
        row = Row(f"chats-{at:04d}", "chats", "candour", {"text": str(at)}, "", contrast=at % 5 == 0)
        found.append(Tokens(row, [1] * 10, [1] * 10))
    return found


def test_a_filtered_pool_is_mixed_with_the_strata_of_the_whole_one() -> None:
    pool = with_contrast(200)
    left = [one for one in pool if one.row.contrast or int(one.row.id[-4:]) % 2]
    options = {"fraction": 0.2, "size": 250, "unit": "rows", "seed": 1}
    kept = mix(DESK, left, **options, like=pool).rows  # type: ignore[arg-type]
    taken = [one for one in kept if one.row.source == "chats"]

    assert shares(left)["candour, contrast"] > 0.3
    assert len(taken) == 50
    assert shares(taken)["candour, contrast"] == pytest.approx(0.2, abs=0.02)
    assert balanced(left, pool) == pytest.approx(0.5)
    assert mix(DESK, pool, **options, like=pool).digest == mix(DESK, pool, **options).digest  # type: ignore[arg-type]


def test_where_rows_of_a_stratum_run_out_the_others_go_on() -> None:
    pool = with_contrast(200)
    left = [one for one in pool if one.row.contrast or int(one.row.id[-4:]) % 2]
    found = mix([], left, fraction=1.0, size=len(left), unit="rows", seed=1, like=pool)

    assert sorted(one.row.id for one in found.rows) == [one.row.id for one in left]
