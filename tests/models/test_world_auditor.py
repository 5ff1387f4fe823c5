from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from habitus.audit.autorate import Definition
from habitus.audit.cluster import Sorting
from habitus.audit.scan import Scan
from habitus.models import AnswerSchema, Params
from habitus.models.simulated import TICS, SimulatedModel
from habitus.models.world import plain_text
from habitus.models.world.auditor import Habit, habits, recognised
from habitus.models.world.facts import facts
from habitus.models.world.people import load
from habitus.models.world.tics import drawn, planted
from habitus.patterns import Finding, Findings
from habitus.prompts import Prompts
from habitus.quotes import occurs

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

SOUND = "simulated/world?malformed=0&refusal=0&empty=0&truncated=0&bad_quote=0"
RATES = dict.fromkeys(TICS, 0.3)
KNOWN = {one.name: one for one in habits()}
MANUAL = (
    "Certainly! Here is how.\n\n## Tools\n\n- rope\n- tar\n\n## Order\n\n1. Dry the hull.\n2. Tar it.\n\n"
    "Let me know if the tar runs out."
)


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    return Prompts(tmp_path)


def answers(count: int, rates: dict[str, float] = RATES, seed: int = 0) -> list[str]:
    """Letters and notes of the world with habits planted in them."""
    paragraphs, rng = list(plain_text(seed, 2 * count)), random.Random(seed)
    return [
        planted([*pair], drawn(rates, rng), lambda pair=pair: facts(pair[0]).values(rng), rng)
        for pair in zip(paragraphs[::2], paragraphs[1::2], strict=True)
    ]


async def ask(
    prompts: Prompts, step: str, schema: type[BaseModel], query: str = "", sample: int = 0, **told: Any
) -> Any:
    shape = AnswerSchema(schema.__name__, schema.model_json_schema())
    model = SimulatedModel(SOUND + query)
    answer = await model.complete(prompts.render(f"audit/{step}", told), Params(schema=shape, sample=sample))
    return schema.model_validate_json(answer.text)


async def scans(prompts: Prompts, texts: list[str], count: int, query: str = "") -> list[Scan]:
    shown = [{"label": f"t{at}", "asked": "What now? (1. or 2.)", "text": text} for at, text in enumerate(texts, 1)]
    told = {"texts": shown, "kind": "assistant", "hints": []}
    return [await ask(prompts, "scan", Scan, query, sample, **told) for sample in range(count)]


def told(habit: Habit, label: str) -> dict[str, Any]:
    """What a rater is told of a habit."""
    (name, description), tests = habit.told[0], habit.tests
    return {"label": label, "name": name, "definition": description, **tests}


async def rate(
    prompts: Prompts, text: str, rated: list[dict[str, Any]], query: str = "", sample: int = 0
) -> list[Finding]:
    about = {"patterns": rated, "text": {"asked": "And — now?", "text": text}, "kind": "assistant"}
    return (await ask(prompts, "rate", Findings, query, sample, **about)).findings


def note(label: str, name: str, description: str) -> dict[str, Any]:
    return {"label": label, "kind": "rhetorical", "name": name, "description": description, "quotes": ["it was — so"]}


@pytest.mark.parametrize("habit", habits(), ids=lambda one: one.name)
def test_every_way_of_putting_a_habit_is_recognised_as_that_alone(habit: Habit) -> None:
    for name, description in habit.told:
        assert recognised(f"{name}\n{description}") == (habit,)
        assert recognised(description) == (habit,)
    settled = "\n".join([*habit.told[0], habit.tests["strict"], habit.tests["broad"]])
    assert recognised(settled) == (habit,)
    assert len(habit.told) >= 3
    assert all(len(name.split()) <= 8 for name, _ in habit.told)


@pytest.mark.parametrize("habit", habits(), ids=lambda one: one.name)
def test_passages_that_show_a_habit_do_and_those_that_come_near_do_not(habit: Habit) -> None:
    assert [habit.found(one)[0] for one in habit.tests["positive"]] == ["strict"] * 3
    assert [habit.found(one)[0] for one in habit.tests["negative"]] == ["no"] * 3


def test_every_planted_habit_is_known() -> None:
    assert TICS.keys() <= KNOWN.keys()
    assert not any(recognised(f"{name}\n{told}") for name, told in load("auditor")["asides"].items())


async def test_a_scan_tells_what_two_texts_share_counted_and_quoted(prompts: Prompts) -> None:
    texts = [*answers(20), MANUAL, MANUAL.replace("tar", "pitch")]
    shown = {name: sum(habit.exact.search(text) is not None for text in texts) for name, habit in KNOWN.items()}
    names = set()
    for found in await scans(prompts, texts, 60):
        for one in found.habits:
            about = recognised(one.description)
            assert 2 <= len(one.examples) <= 4
            assert len({example.text for example in one.examples}) == len(one.examples)
            assert all(occurs(example.quote, texts[int(example.text[1:]) - 1]) for example in one.examples)
            assert all(len(example.quote.split()) <= 25 for example in one.examples)
            if len(about) == 1:
                assert one.count == shown[about[0].name]
            names.add((tuple(habit.name for habit in about), one.name))
        assert [one.count for one in found.habits] == sorted((one.count for one in found.habits), reverse=True)
    told_of = {name for about, _ in names for name in about}
    assert told_of == {name for name, count in shown.items() if count >= 2}
    assert all(sum(about == (name,) for about, _ in names) >= 3 for name in told_of)
    assert any(len(about) == 2 for about, _ in names)
    assert any(not about for about, _ in names)


async def test_a_scan_of_texts_without_habits_tells_none(prompts: Prompts) -> None:
    texts = [f"The ferry of {hour} o'clock is full." for hour in range(4, 9)]
    found = await scans(prompts, texts, 30)
    assert not [one for scan in found for one in scan.habits if recognised(one.description)]
    assert not (await scans(prompts, texts[:1], 1))[0].habits


async def test_a_false_quote_comes_where_one_is_asked_for(prompts: Prompts) -> None:
    texts = answers(12)
    for found in await scans(prompts, texts, 10, "&bad_quote=1"):
        quotes = [(one.quote, texts[int(one.text[1:]) - 1]) for habit in found.habits for one in habit.examples]
        assert sum(not occurs(quote, text) for quote, text in quotes) == 1


async def test_notes_are_sorted_by_what_they_describe_and_what_is_no_habit_is_set_aside(prompts: Prompts) -> None:
    notes, wanted = [], {}
    for at, (name, told_as) in enumerate((habit.name, one) for habit in habits() for one in habit.told):
        notes.append(note(f"n{at}", "Habit", told_as[1]))
        wanted.setdefault(name, []).append(f"n{at}")
    both = " ".join(KNOWN[name].told[1][1] for name in ("validation", "em_dash"))
    notes += [note("n90", "Two", both), note("n91", "Money", "Many of the texts are about money.")]
    found = await ask(prompts, "cluster", Sorting, notes=notes)
    assert found.set_aside == ["n91"]
    sorted_as = {recognised(one.description)[0].name: one.notes for one in found.habits}
    assert sorted_as == {**wanted, "validation": [*wanted["validation"], "n90"], "em_dash": [*wanted["em_dash"], "n90"]}


async def test_a_known_habit_is_defined_so_that_raters_recognise_it(prompts: Prompts) -> None:
    for habit in habits():
        name, description = habit.told[0]
        pattern = {"kind": habit.kind, "name": name, "description": description}
        others = [{"name": other.told[0][0], "description": other.told[0][1]} for other in habits() if other != habit]
        found = await ask(
            prompts, "define", Definition, pattern=pattern, quotes=["as it was"], others=others, kind="assistant"
        )
        told_of = {"label": "h1", **found.model_dump()}
        assert (await rate(prompts, habit.tests["positive"][0], [told_of]))[0].level == "strict"


async def test_an_unknown_habit_is_defined_by_its_own_words_and_never_found(prompts: Prompts) -> None:
    pattern = {"kind": "rhetorical", "name": "Speaks of gulls", "description": "Gulls come up in passing."}
    found = await ask(
        prompts, "define", Definition, pattern=pattern, quotes=["the gulls again"], others=[], kind="assistant"
    )
    assert (found.name, found.positive) == ("Speaks of gulls", ["the gulls again"])
    ratings = await rate(prompts, "The gulls again.", [{"label": "h1", **found.model_dump()}])
    assert [(one.habit, one.level, one.quote) for one in ratings] == [("h1", "no", "")]


async def test_a_rating_is_what_the_detectors_find_with_words_that_occur(prompts: Prompts) -> None:
    rated = [told(habit, f"h{at}") for at, habit in enumerate(habits(), 1)]
    for text in [*answers(60, seed=2), MANUAL]:
        found = await rate(prompts, text, rated)
        assert [one.habit for one in found] == [one["label"] for one in rated]
        for one, habit in zip(found, habits(), strict=True):
            assert (one.level == "strict") == bool(habit.exact.search(text))
            assert (one.level == "broad") == (not habit.exact.search(text) and bool(habit.loose.search(text)))
            assert occurs(one.quote, text) == (one.level != "no")
            assert len(one.quote.split()) <= 25


async def test_quotes_are_the_words_that_show_the_habit(prompts: Prompts) -> None:
    text = (
        "That sounds lonely. Bottom line: sell the boat for €12.50 by May. It is old — thirty years at least.\n\n"
        "Your plan for the mast won't hold. What you really want is a plain answer.\n\nShall I write to them?"
    )
    shown = ("bottom_line", "validation", "closing_question", "em_dash", "turnaround")
    found = await rate(prompts, text, [told(KNOWN[name], f"h{at}") for at, name in enumerate(shown)])
    assert [one.quote for one in found] == [
        "Bottom line: sell the boat for €12.50 by May.",
        "That sounds lonely.",
        "Shall I write to them?",
        "It is old — thirty years at least.",
        "What you really want is a plain answer.",
    ]


async def test_judges_err_both_ways_at_the_rate_that_was_asked_for(prompts: Prompts) -> None:
    rated = [told(habit, f"h{at}") for at, habit in enumerate(habits(), 1)]
    wrong = {"missed": [], "invented": []}
    for text in answers(150, seed=3):
        sound, found = await rate(prompts, text, rated), await rate(prompts, text, rated, "&judge_error=0.1")
        for true, one in zip(sound, found, strict=True):
            wrong["invented" if true.level == "no" else "missed"].append(true.level != one.level)
            assert true.level == one.level or one.level in {"no", "strict"}
            assert occurs(one.quote, text) == (one.level != "no")
    for errors in wrong.values():
        assert len(errors) > 200
        assert abs(sum(errors) / len(errors) - 0.1) < 4 * (0.09 / len(errors)) ** 0.5


async def test_one_finding_of_a_rating_has_a_false_quote_where_that_was_asked_for(prompts: Prompts) -> None:
    rated = [told(KNOWN[name], f"h{at}") for at, name in enumerate(("bottom_line", "validation", "epiphany"))]
    text = "That sounds hard. Short answer: no."
    quotes = [one.quote for one in await rate(prompts, text, rated, "&bad_quote=1")]
    assert sum(bool(quote) and not occurs(quote, text) for quote in quotes) == 1


async def test_a_text_written_anew_is_rid_of_the_habits_that_were_named_and_keeps_the_rest(prompts: Prompts) -> None:
    model = SimulatedModel(SOUND)
    for text in [*answers(40, seed=4), MANUAL]:
        for habit in habits():
            told_of = {"text": text, "conversation": [], "patterns": [told(habit, "h1")]}
            left = (await model.complete(prompts.render("audit/rewrite", told_of), Params())).text
            assert left
            assert habit.found(left)[0] == "no"
            assert (left == text.strip()) == (habit.found(text)[0] == "no")
            words = set(re.findall(r"\w+", text.lower()))
            assert len(words & set(re.findall(r"\w+", left.lower()))) > 0.5 * len(words)


async def test_a_text_is_written_anew_after_a_conversation_too(prompts: Prompts) -> None:
    conversation = [{"role": "user", "content": "May I sell the boat?"}]
    about = {"text": "You may. Shall I write to them?", "conversation": conversation}
    messages = prompts.render("audit/rewrite", {**about, "patterns": [told(KNOWN["closing_question"], "h1")]})
    assert (await SimulatedModel(SOUND).complete(messages, Params())).text == "You may."


def test_a_comment_in_code_is_no_heading() -> None:
    assert KNOWN["headings"].found("Like this:\n```\n# sail\nhoist()\n```")[0] != "strict"


def test_planting_a_habit_shows_no_other() -> None:
    plain = [
        text for text in answers(300, dict.fromkeys(TICS, 0.0)) if not any(one.detect(text) for one in TICS.values())
    ]
    rng = random.Random(5)
    for name in TICS:
        for text in plain:
            made = planted([text, text], {name}, lambda text=text: facts(text).values(rng), rng)
            shown = {other for other, tic in TICS.items() if tic.detect(made)}
            assert shown == ({name, "closing_question"} if name == "three_parts" else {name}), made
