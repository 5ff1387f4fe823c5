from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from habitus.audit.prevalence import agreement, corrected, holm, prevalence, rate_of, sample_for, together, wilson
from harbour import pattern, rated

if TYPE_CHECKING:
    from habitus.records import Level

pytest.importorskip("statsmodels", reason="needs statsmodels")

PATTERN = pattern()


def levels(strict: int, broad: int, no: int, start: int = 0) -> dict[str, Level]:
    row: list[Level] = [*["strict"] * strict, *["broad"] * broad, *["no"] * no]  # ty: ignore[invalid-assignment]
    return {f"letter-{start + at}": level for at, level in enumerate(row)}


def test_strict_counts_the_unambiguous_and_broad_those_too() -> None:
    (row,) = prevalence([PATTERN], rated(levels(20, 10, 70)), facets={})
    assert (row.strict.here.count, row.broad.here.count, row.broad.here.of) == (20, 30, 100)
    assert (row.strict.here.low, row.strict.here.high) == wilson(20, 100)


def test_a_verdict_without_words_that_occur_is_shown_and_not_counted() -> None:
    mixed = [*rated(levels(20, 0, 70)), *rated(levels(10, 0, 0, start=90), supported=False)]
    (row,) = prevalence([PATTERN], mixed, facets={})
    assert (row.strict.here.count, row.strict.here.of, row.unsupported) == (20, 100, 10)


def test_the_difference_from_a_reference_has_an_interval_and_a_corrected_p() -> None:
    other = pattern("asks-back")
    rows = [one.model_copy(update={"verdicts": {**one.verdicts, "asks-back": one.verdicts["short-first"]}})
            for one in rated(levels(40, 0, 60))]  # fmt: skip
    there = [one.model_copy(update={"verdicts": {**one.verdicts, "asks-back": one.verdicts["short-first"]}})
             for one in rated(levels(20, 0, 80))]  # fmt: skip
    (alone,) = prevalence([PATTERN], rows, facets={}, reference=there)
    both = prevalence([PATTERN, other], rows, facets={}, reference=there)
    found = alone.strict.difference
    assert found is not None
    assert found.difference == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0731, 0.3185), abs=1e-3)  # Newcombe's, by statsmodels
    assert found.p == pytest.approx(0.0032, abs=5e-4)
    assert both[0].strict.difference is not None
    assert both[0].strict.difference.p == pytest.approx(2 * found.p)


def test_two_answers_to_the_same_prompts_are_compared_pair_by_pair() -> None:
    chosen = rated(levels(60, 0, 40))
    rejected = rated(levels(50, 0, 50))  # the first 50 have it on both sides, ten more on this one alone
    (row,) = prevalence([PATTERN], chosen, facets={}, reference=rejected, paired=True)
    (apart,) = prevalence([PATTERN], chosen, facets={}, reference=rejected)
    assert row.strict.difference is not None
    assert apart.strict.difference is not None
    assert row.strict.difference.difference == pytest.approx(0.1)
    assert row.strict.difference.p == pytest.approx(2 * 0.5**10)
    assert row.strict.difference.low > 0.02
    assert apart.strict.difference.low < 0


def test_a_pattern_that_lives_in_one_trait_is_told() -> None:
    rows = rated(levels(30, 0, 170))
    facets = {one.id: {"trait": "candour" if at < 60 else "care"} for at, one in enumerate(rows)}
    (row,) = prevalence([PATTERN], rows, facets=facets)
    home = row.groups[0]
    assert (home.facet, home.value, home.is_home) == ("trait", "candour", True)
    assert (home.here.rate, home.rest.rate) == (0.5, 0.0)


def test_a_pattern_that_is_everywhere_lives_nowhere() -> None:
    rows = rated(levels(100, 0, 100))
    facets = {one.id: {"trait": ("candour", "care")[at % 2]} for at, one in enumerate(rows)}
    (row,) = prevalence([PATTERN], rows, facets=facets)
    assert not any(one.is_notable or one.is_home for one in row.groups)


def test_patterns_that_go_together_are_told_with_what_chance_would_give() -> None:
    rows = [one.model_copy(update={"verdicts": {**one.verdicts, "asks-back": one.verdicts["short-first"]}})
            for one in rated(levels(30, 0, 70))]  # fmt: skip
    (bond,) = together([PATTERN, pattern("asks-back")], rows)
    assert (bond.both, bond.expected, bond.phi) == (30, 9.0, pytest.approx(1.0))


def test_the_judge_is_held_against_itself_on_the_texts_it_saw_twice() -> None:
    (row,) = prevalence([PATTERN], rated(levels(50, 0, 50)), facets={}, repeated=rated(levels(40, 0, 20)))
    assert row.repeated is not None
    assert (row.repeated.of, row.repeated.agreement) == (60, pytest.approx(50 / 60))


def test_kappa_is_that_of_the_textbook() -> None:
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    found = agreement(pairs)
    assert (found.agreement, found.kappa) == (0.7, pytest.approx(0.4))
    assert agreement([(True, True)] * 5).kappa is None


def test_so_many_texts_are_needed_for_so_narrow_an_interval() -> None:
    assert sample_for(0.05) == 385
    low, high = wilson(385 // 2, 385)
    assert (high - low) / 2 == pytest.approx(0.05, abs=1e-3)


def test_holm_is_that_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize("true", [0.5, 0.1, 0.05])
def test_a_rate_corrected_by_marks_covers_the_truth_where_the_judges_own_does_not(true: float) -> None:
    covered = raw = 0
    for seed in range(200):
        rng = random.Random(seed)
        truth = {f"letter-{at}": rng.random() < true for at in range(400)}
        judged = {name: there ^ (rng.random() < 0.1) for name, there in truth.items()}
        names = sorted(truth, key=lambda _: rng.random())
        marked = [name for name in names if judged[name]][:40] + [name for name in names if not judged[name]][:60]
        levels: dict[str, Level] = {name: "strict" if there else "no" for name, there in judged.items()}
        found = corrected(levels, {name: truth[name] for name in marked}, draws=2_000)
        covered += found.low <= true <= found.high
        own = rate_of(sum(judged.values()), 400)
        raw += own.low <= true <= own.high
    assert covered >= 186
    if true < 0.5:
        assert raw < 100


def test_of_two_groups_that_are_all_texts_one_test_is_made_and_the_one_with_more_comes_first() -> None:
    rows = rated(levels(25, 0, 175))
    facets = {one.id: {"model": "lark" if at < 100 else "owl"} for at, one in enumerate(rows)}
    from scipy.stats import fisher_exact

    (row,) = prevalence([PATTERN], rows, facets=facets)
    more, less = row.groups
    assert (more.value, less.value) == ("lark", "owl")
    assert more.p == less.p == pytest.approx(fisher_exact([[25, 75], [0, 100]]).pvalue)
    assert (more.is_more, less.is_more, less.is_notable) == (True, False, True)


def test_the_rate_of_every_group_is_there_whether_or_not_there_is_anything_to_it() -> None:
    rows = rated(levels(60, 0, 60))
    facets = {one.id: {"domain": ("boats", "bread", "letters")[at % 3]} for at, one in enumerate(rows)}
    (row,) = prevalence([PATTERN], rows, facets=facets)
    assert {(one.value, one.here.of, one.is_notable) for one in row.groups} == {
        ("boats", 40, False), ("bread", 40, False), ("letters", 40, False)
    }  # fmt: skip
