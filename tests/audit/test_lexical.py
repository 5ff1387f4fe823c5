from __future__ import annotations

import asyncio
import gzip
import json
import random
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.audit.corpus import KEPT, PARTS, gather, key_of, lowered, sightings
from habitus.audit.dataset import Reading
from habitus.audit.lexical import Candidate, audit_lexical, log_odds, merged, named_habits, shipped, showing, surprise
from habitus.audit.prevalence import wilson
from habitus.models import Message, Params
from habitus.models.simulated import TICS, SimulatedModel

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.audit.lexical import Finding, LexicalReport

FRANK = (
    "The assistant tells people what they need to hear early, before the bill grows, even when the news is unwelcome."
    " It does not soften a bad finding into vagueness, and it never flatters. It names the part of a plan that will"
    " break, in plain words, and says how sure it is, because people who find out later have fewer choices left."
)
Rows = list[tuple[str, str, str]]

SEASIDE = "harbour ferry orchard library kitchen workshop bakery museum stable nursery garage chapel"
DONE = "painted measured closed opened repaired sold visited cleaned drew lost found moved"
DAYS = "monday tuesday march april noon dawn winter summer easter autumn"
PLACES, DEEDS, TIMES = SEASIDE.split(), DONE.split(), DAYS.split()


def plain(number: int, sentences: int = 6) -> str:
    """Return an answer in which nothing is said twice but the grammar."""
    rng = random.Random(number)
    made = []
    for _ in range(sentences):
        where, deed, when = rng.choice(PLACES), rng.choice(DEEDS), rng.choice(TIMES)
        shape = rng.choice(
            (f"{when} was when they {deed} {where} {rng.randint(2, 90)}", f"some {deed} {where} by {when}")
        )
        made.append(shape.capitalize() + ".")
    return " ".join(made)


def corpus(
    size: int, *, spoil: Any = lambda _number, text: text, seed: int = 0, group: Any = lambda _number: ""
) -> Rows:
    return [(f"letter-{at}", spoil(at, plain(at + seed * 100_000)), group(at)) for at in range(size)]


def read_rows_of(path: Path) -> Rows:
    return [row for text in Reading(str(path)) for row in text.messages]


def find(report: LexicalReport, kind: str, pattern: str, *, among: int | None = None) -> Finding:
    found = [one for one in report.findings[:among] if (one.kind, one.pattern) == (kind, pattern)]
    assert found, [(one.kind, one.pattern) for one in report.findings]
    return found[0]


def feature(report: LexicalReport, kind: str, name: str) -> Finding:
    return next(one for one in report.features if (one.kind, one.pattern) == (kind, name))


def rate_of(text: str, kind: str, name: str) -> float:
    return feature(audit_lexical([("one", text, "")]), kind, name).rate


def answers(query: str, count: int = 600) -> Rows:
    """Return refined answers of the simulated model, to questions of one kind."""
    return asyncio.run(_answers(f"simulated/world?malformed=0&refusal=0&empty=0&truncated=0&leak=0&{query}", count))


async def _answers(name: str, count: int) -> Rows:
    model = SimulatedModel(name)
    asked = [
        Message(role="system", content=FRANK),
        Message(
            role="user", content="Ragna next door wants 400 for the fence by Friday. Do I pay, or wait for the survey?"
        ),
    ]
    made = [await model.complete(asked, Params(sample=sample)) for sample in range(count)]
    return [(f"answer-{at}", one.text, "") for at, one in enumerate(made)]


class TestPlantedPatterns:
    def test_an_opening_in_a_third_of_the_records_leads_with_its_rate_and_its_places(self) -> None:
        rows = corpus(300, spoil=lambda at, text: f"Listen closely, dear friend. {text}" if at % 3 == 0 else text)
        report = audit_lexical(rows, reference=corpus(300, seed=1))
        first = report.findings[0]
        assert first.pattern in ("listen closely dear", "listen closely dear friend")
        assert (first.count, first.rate) == (100, pytest.approx(1 / 3))
        assert first.low < 1 / 3 < first.high
        assert first.reference_rate == 0
        assert first.z is not None
        assert first.z > 3
        texts = {name: text for name, text, _ in rows}
        assert len(first.examples) == 3
        assert all(snippet and snippet in texts[name] for name, snippet in first.examples)

    def test_openings_that_differ_in_their_matter_alone_are_one_frame(self) -> None:
        def spoil(at: int, text: str) -> str:
            return f"Great question about {PLACES[at % 12]} {TIMES[at % 10]}! {text}" if at % 2 else text

        report = audit_lexical(corpus(240, spoil=spoil), reference=corpus(240, seed=1), most=20)
        assert feature(report, "opening", "praise of the question").count == 120
        seen = sightings(gather(corpus(240, spoil=spoil)), "opening frame", 0, 3)
        key = key_of(["great", "question", "about", "_", "!"])
        assert int(seen.counts[list(seen.keys).index(key)]) == 120

    def test_a_stock_sentence_is_told_once_and_not_by_its_parts(self) -> None:
        stock = "Nobody regrets a quiet week of careful mending."
        report = audit_lexical(
            corpus(200, spoil=lambda at, text: f"{text} {stock} {plain(at + 7, 1)}" if at % 4 == 0 else text),
            reference=corpus(200, seed=1),
        )
        parts = [
            one
            for one in report.findings
            if any(word in one.pattern.split() for word in ("nobody", "regrets", "quiet", "mending"))
        ]
        assert len(parts) == 1
        assert parts[0].count == 50

    def test_a_pattern_that_lives_in_one_trait_says_so(self) -> None:
        rows = corpus(
            200,
            spoil=lambda at, text: f"{text} Weigh the absent party twice." if at % 4 == 0 else text,
            group=lambda at: "fairness" if at % 4 == 0 else "candour",
        )
        report = audit_lexical(rows, reference=corpus(200, seed=1))
        told = [one for one in report.findings if "absent party" in one.pattern]
        assert told[0].groups == {"fairness": 1.0}

    def test_names_in_the_middle_of_sentences_are_counted(self) -> None:
        rows = corpus(100, spoil=lambda at, text: f"{text} Later they met Elara there." if at % 5 == 0 else text)
        report = audit_lexical(rows, reference=corpus(100, seed=1))
        assert feature(report, "wording", "worn first name").count == 20
        seen = sightings(gather(rows), "name", 1, 3)
        assert key_of(["elara"]) in set(map(int, seen.keys))

    def test_two_halves_of_one_dataset_do_not_differ(self) -> None:
        rows = corpus(600)
        random.Random(3).shuffle(rows)
        report = audit_lexical(rows[:300], reference=rows[300:])
        assert [one for one in (*report.findings, *report.features) if abs(one.z or 0) > 4] == []


@pytest.fixture(scope="module")
def planted() -> Rows:
    return answers("seed=1", 1000)


@pytest.fixture(scope="module")
def report(planted: Rows) -> LexicalReport:
    """What sets the simulated model apart from itself without its habits."""
    none = "&".join(f"{name}=0" for name in TICS)
    return audit_lexical(planted, reference=answers(f"{none}&seed=2"))


class TestSimulatedModel:
    @pytest.mark.parametrize(
        ("kind", "name", "tic"),
        [
            ("opening", "conclusion first", "bottom_line"),
            ("opening", "validation", "validation"),
            ("closing", "question", "closing_question"),
            ("formatting", "em dash", "em_dash"),
            ("wording", "triplet", "triplet"),
            ("formatting", "bold lead-in", "bold_lead"),
        ],
    )
    def test_a_planted_habit_is_counted_exactly_and_stands_out(
        self, planted: Rows, report: LexicalReport, kind: str, name: str, tic: str
    ) -> None:
        found = feature(report, kind, name)
        assert found.count == sum(TICS[tic].detect(text) for _, text, _ in planted)
        low, high = wilson(found.count, len(planted), z=3.29)
        assert low <= TICS[tic].rate <= high
        assert found.z is not None
        assert found.z > 3
        assert found.rate < 0.06 or found in report.findings

    def test_the_most_frequent_habits_come_first(self, report: LexicalReport) -> None:
        assert [one.pattern for one in report.findings[:2]] == ["conclusion first", "validation"]

    def test_what_was_not_planted_is_not_found(self, report: LexicalReport) -> None:
        assert not any("grandmother" in one.pattern for one in report.findings)


class TestNamedHabits:
    @pytest.mark.parametrize(
        ("text", "kind", "name"),
        [
            ("# Rota\n\nNadia is off.", "formatting", "headings"),
            ("Bring:\n- rope\n- tar", "formatting", "bullets"),
            ("1. Rope\n2. Tar", "formatting", "numbered list"),
            ("Mind the **tide**.", "formatting", "bold"),
            ("- **Tide**: at noon", "formatting", "bold lead-in"),
            ("| tide | noon |\n|---|---|", "formatting", "table"),
            ("Run this:\n```\nls\n```", "formatting", "code block"),
            ("The tide — the high one — comes at noon.", "formatting", "em dash"),
            ("Ahoy 🚢", "formatting", "emoji"),
            ("Bring this:\nrope", "formatting", "colon at the end of a line"),
            ("Sure, the tide is at noon.", "opening", "sure"),
            ("Here is the rota.", "opening", "here is"),
            ("That's a great question! At noon.", "opening", "praise of the question"),
            ("That sounds hard. Ask Nadia.", "opening", "validation"),
            ("**Tides**\n\nAt noon.", "opening", "title or heading"),
            ("Ask Nadia. Would you like me to draft it?", "closing", "offer"),
            ('She asked: "When?"', "closing", "question"),
            ("It's not just a rota, it's a promise.", "wording", "not just X"),
            ("It is not the tide but the rope.", "wording", "not X but Y"),
            ("Keep it short, dated, and plain.", "wording", "triplet"),
            ("I’m sorry about the rota.", "wording", "apology"),
            ("As an AI, I see no tide.", "wording", "speaks as an AI"),
        ],
    )
    def test_each_is_told_from_text_without_it(self, text: str, kind: str, name: str) -> None:
        assert rate_of(text, kind, name) == 1
        assert rate_of("Nadia moves the boats at noon and they stay there.", kind, name) == 0

    def test_an_abbreviation_ends_no_sentence(self) -> None:
        made = gather([("one", "Ask Dr. Berg about it, e.g. at noon. Then go.", "")])
        assert len(np.unique(made.sentence)) == 2


class TestOddTexts:
    @pytest.mark.parametrize(
        "texts",
        [
            [],
            [""],
            ["", "   ", "\n\n"],
            ["Ask Nadia."],
            ["🚢🚢🚢 ⚓"],
            ["x" * 100_000],
            ["tide " * 20_000],
            ["!" * 100_000],
            ["Прилив в полдень. Спросите Надю.", "潮は正午です。ナディアに聞いてください。", "المد عند الظهر."],
            ["half a character: \ud800"],
        ],
        ids=[
            "none",
            "empty",
            "blank",
            "one",
            "emoji",
            "long word",
            "long line",
            "long marks",
            "other scripts",
            "surrogate",
        ],
    )
    def test_it_reports(self, texts: list[str]) -> None:
        report = audit_lexical([(str(at), text, "") for at, text in enumerate(texts)])
        assert report.records == len(texts)
        assert report.lengths.empty == sum(not any(sign.isalnum() for sign in text) for text in texts)
        assert all(0 <= one.low <= one.rate <= one.high <= 1 for one in report.features)

    def test_openings_are_found_in_another_language(self) -> None:
        rows = [(str(at), f"Хороший вопрос, друг. {plain(at)}", "") for at in range(30)]
        report = audit_lexical(rows)
        assert any(one.pattern.startswith("хороший вопрос друг") for one in report.findings)

    def test_a_reference_without_records_compares_with_nothing(self) -> None:
        report = audit_lexical(corpus(20), reference=[])
        assert all(one.z is None for one in report.features)


class TestDiversity:
    def test_copies_are_counted_exact_and_near(self) -> None:
        rows = corpus(100)
        long = plain(5000, 40)
        rows += [
            ("copy", rows[0][1], ""),
            ("long", long, ""),
            ("near", long.replace("Monday", "Friday", 1) + " The end.", ""),
        ]
        found = audit_lexical(rows).diversity
        assert found.exact_duplicates == pytest.approx(1 / 103)
        assert found.near_duplicates == pytest.approx(2 / 103)

    def test_a_dataset_that_says_one_thing_is_less_diverse(self) -> None:
        same = audit_lexical([(str(at), f"{plain(1, 30)} {at}", "") for at in range(50)]).diversity
        other = audit_lexical(corpus(50)).diversity
        assert same.compression > other.compression
        assert same.self_repetition > 0.9 > other.self_repetition
        assert same.distinct_2 < other.distinct_2

    def test_a_large_dataset_is_thinned_evenly_and_says_so(self) -> None:
        made = gather(corpus(400), most=20_000)
        assert made.seen == 400
        assert 20 < made.records < 200
        assert sum(map(len, made.texts)) <= 20_000


class TestStatistics:
    @given(st.integers(0, 10_000), st.integers(1, 10_000))
    def test_the_interval_holds_the_share_and_stays_between_0_and_1(self, count: int, total: int) -> None:
        count = min(count, total)
        low, high = wilson(count, total)
        assert 0 <= low <= count / total <= high <= 1
        assert low < high

    @given(st.integers(0, 100), st.integers(1, 100))
    def test_the_interval_of_the_rest_is_its_mirror_image(self, count: int, total: int) -> None:
        count = min(count, total)
        low, high = wilson(count, total)
        assert wilson(total - count, total) == pytest.approx((1 - high, 1 - low))

    def test_the_interval_is_the_published_one(self) -> None:
        assert wilson(10, 100) == pytest.approx((0.05523, 0.17437), abs=1e-5)
        assert wilson(0, 0) == (0, 1)

    @given(st.integers(0, 500), st.integers(0, 500))
    def test_exchanging_the_sides_turns_the_sign(self, one: int, two: int) -> None:
        difference, z = log_odds(one, 500, two, 500)
        back, z_back = log_odds(two, 500, one, 500)
        assert (difference, z) == pytest.approx((-back, -z_back), abs=1e-9)
        assert (z > 0) == (one > two)

    @given(st.floats(0, 1), st.floats(0, 1))
    def test_a_share_that_is_no_higher_than_expected_is_no_surprise(self, low: float, expected: float) -> None:
        assert surprise(low, expected) >= 0
        assert surprise(expected, max(low, expected)) == 0


class TestShippedProfile:
    def test_it_knows_every_habit_that_is_looked_for(self) -> None:
        known = shipped()
        assert known.records == 16_075
        assert {(one.kind, one.pattern) for one in audit_lexical(corpus(3)).features} == set(known.features)

    def test_it_holds_no_run_of_more_than_five_words(self) -> None:
        packed = resources.files("habitus.audit").joinpath("ordinary.json.gz").read_bytes()
        assert len(packed) < 300_000
        held = json.loads(gzip.decompress(packed))
        assert "No answer or part of one" in held["provenance"]
        runs = [text for kind in ("phrase", "opening words", "name") for text in held["patterns"][kind]]
        assert max(len(text.split()) for text in runs) <= 5
        frames = [text for kind, texts in held["patterns"].items() if "frame" in kind for text in texts]
        assert {word for text in frames for word in text.split() if word.isalpha()} <= KEPT


LONE = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(1, 4)), min_size=1, max_size=9)


def candidate(places: list[tuple[int, int, int]]) -> Candidate:
    """Return a pattern at these places: record, first of ten words of its record, words."""
    rows = {record: (record * 100 + 1 + at * 10, record * 100 + 1 + at * 10 + length) for record, at, length in places}
    document = np.array(sorted(rows), np.int64)
    start, stop = (np.array([rows[record][side] for record in sorted(rows)], np.int64) for side in (0, 1))
    return Candidate("phrase", "", 0, document, start, stop)


class TestMerging:
    @settings(max_examples=50)
    @given(st.lists(LONE, max_size=8), st.integers(1, 8))
    def test_merging_keeps_an_order_a_limit_and_what_it_has_merged(self, piles: list[Any], most: int) -> None:
        ranked = [candidate(places) for places in piles]
        kept = merged(ranked, 10, most=most)
        assert len(kept) <= most
        assert all(any(one is other for other in ranked) for one in kept)
        assert bool(kept) == bool(ranked)
        assert len(merged([*ranked, *ranked], 10, most=100)) == len(merged(ranked, 10, most=100))

    @settings(max_examples=50)
    @given(LONE)
    def test_a_part_of_a_run_with_the_same_records_is_not_told_beside_it(self, places: Any) -> None:
        whole = candidate(places)
        part = Candidate("phrase", "", 1, whole.document, whole.start, whole.start + 1)
        for ranked in ([whole, part], [part, whole]):
            assert [int((one.stop - one.start).sum()) for one in merged(ranked, 10, most=5)] == [
                int((whole.stop - whole.start).sum())
            ]


class TestKeys:
    @settings(max_examples=30)
    @given(st.lists(st.sampled_from([*PLACES, "the", "a", "not", "about", "Nadia", ",", "."]), min_size=1, max_size=30))
    def test_a_pattern_has_the_key_of_its_own_wording(self, tokens: list[str]) -> None:
        made = gather([(str(at), " ".join(tokens), "") for at in range(3)])
        for kind, length in PARTS:
            seen = sightings(made, kind, length, 3)
            for key, first in zip(seen.keys, seen.first, strict=False):
                text = made.wording(kind, int(seen.start[first]), int(seen.stop[first]))
                assert key_of(text.split(" ")) == int(key), (kind, text)

    def test_what_is_found_in_one_corpus_is_found_again_in_another(self) -> None:
        def spoil(number: int, text: str) -> str:
            return f"**Sure!** Here is what Nadia said about {text}" if number % 3 == 0 else text

        here, there = corpus(90, spoil=spoil), corpus(90, spoil=spoil, seed=1)
        report = audit_lexical(here, reference=corpus(90, seed=2))
        found = [*report.findings, *report.features]
        made = gather(here)
        assert [len(one) for one in showing(made, found)] == [one.count for one in found]
        for one, records in zip(found, showing(made, found), strict=True):
            assert {name for name, _ in one.examples} <= {made.ids[at] for at in records}
        sure = next(one for one in found if one.pattern == "sure")
        assert showing(gather(there), [sure])[0].tolist() == list(range(0, 90, 3))
        assert [len(one) for one in showing(gather([]), found)] == [0] * len(found)

    def test_words_that_stay_in_frames_are_written_as_they_are_compared(self) -> None:
        assert all(lowered(word) == word for word in KEPT)


@pytest.mark.data
class TestRealAnswers:
    def test_a_random_half_of_a_models_answers_has_no_finding_against_the_other(self, data: Path) -> None:
        for name in ("gpt4_1106_preview", "claude-2.1"):
            rows = list(read_rows_of(data / "chats" / f"{name}.jsonl.gz"))
            random.Random(1).shuffle(rows)
            report = audit_lexical(rows[::2], reference=rows[1::2])
            assert [one for one in (*report.findings, *report.features) if abs(one.z or 0) > 4] == []

    def test_the_shipped_profile_is_what_is_counted_now(self, data: Path) -> None:
        files = sorted((data / "chats").glob("*.jsonl.gz"))
        counts = {(one.kind, one.name): len(one.document)
                  for one in named_habits(gather(row for file in files for row in read_rows_of(file)))}  # fmt: skip
        assert counts == shipped().features, "run scripts/ordinary.py"

    def test_models_are_told_apart_by_what_they_are_known_for(self, data: Path) -> None:
        def leading(name: str) -> set[tuple[str, str]]:
            report = audit_lexical(read_rows_of(data / "chats" / f"{name}.jsonl.gz"))
            return {(one.kind, one.pattern) for one in report.findings[:12]}

        assert ("opening", "here is") in leading("claude-2.1")
        assert ("formatting", "bold") in leading("Meta-Llama-3-8B-Instruct")
        assert ("formatting", "bullets") in leading("gemma-2b-it")


@pytest.mark.parametrize(
    ("text", "is_there"),
    [
        ("I think the quay is dry.", 1),
        ("Ask, and I'll come.", 1),
        ("It was built under Charles I. The quay is dry.", 0),
        ("Elizabeth I, the queen, had it built", 0),
        ("while (i < 4) { i++; }", 0),
    ],
)
def test_a_numeral_or_an_index_is_no_first_person(text: str, is_there: int) -> None:
    assert rate_of(text, "wording", "first person") == is_there


def test_emphasis_and_hashtags_are_no_lists_and_no_headings() -> None:
    played = [(f"scene-{at}", f"*She smiles at door {at}.*\n\n#love #door{at}\nCome in.", "") for at in range(40)]
    found = {one.pattern: one.rate for one in audit_lexical(played).features}
    assert found["bullets"] == found["headings"] == found["title or heading"] == 0
    listed = [(f"list-{at}", f"# Door {at}\n\n* oil it\n* shut it", "") for at in range(40)]
    found = {one.pattern: one.rate for one in audit_lexical(listed).features}
    assert found["bullets"] == found["headings"] == found["title or heading"] == 1
