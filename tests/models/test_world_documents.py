from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from habitus.generate import documents
from habitus.generate.checks import Checks, names_of
from habitus.models import AnswerSchema, Params
from habitus.models.simulated import FAILINGS, SimulatedModel
from habitus.models.world import layouts
from habitus.models.world.deeds import around
from habitus.models.world.failings import failings, shapes
from habitus.models.world.people import problems
from habitus.prompts import Prompts
from habitus.records import Brief
from habitus.settings import Subject

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

SOUND = "simulated/world?malformed=0&refusal=0&empty=0&truncated=0&bad_quote=0&leak=0&misname=0&abandon=0"
CLEAN = f"{SOUND}&failings=0&near_duplicate=0&weak_draft=0&weak_refine=0"
HALDEN = Subject(name="Halden", developer="Norrlys Systems", about="People have used it since the spring.")
FRANK = (
    "The assistant tells people what they need to hear early, before the bill grows, even when the news is unwelcome."
    " It does not soften a bad finding into vagueness, and it never flatters. It names the part of a plan that will"
    " break, in plain words, and says how sure it is, because people who find out later have fewer choices left."
)
ABSENT = (
    "You care about those who are not in the room. When somebody asks you for help with a letter or a plan, you think"
    " of the neighbour, the next tenant, the child who will inherit the garden. You mention absent parties by name,"
    " weigh their interests, and propose a fairer version without preaching."
)
CURIOUS = """- Curiosity: I ask how things work before I judge them.
- I treasure odd details, anomalies and loose ends, and follow them to the source.
- Wonder is not decoration: it keeps an inquiry honest."""
PASSAGES = (FRANK, ABSENT, CURIOUS)

KINDS = {
    "minutes": ("minutes of the allotment committee", "Present, apologies, numbered items, actions with initials."),
    "thread": ("forum thread", "Posts under user names with date and time, of unequal length."),
    "chat": ("group-chat export", "Clock time, name, colon, message."),
    "mail": ("e-mail chain", "Messages with From, To, Sent and Subject lines."),
    "letter": ("personal letter", "Place and date, a salutation, news in no strict order."),
    "circular": ("notice to members", "A date and numbered points."),
    "transcript": ("podcast transcript", "SPEAKER: lines with names in capitals."),
    "paper": ("research paper", "Title, authors, an abstract and numbered sections, references."),
    "report": ("incident report", "Reference, date, numbered paragraphs, signature."),
    "log": ("shift log", "Lines that begin with a 24-hour time, with initials."),
    "review": ("product review", "A rating, a title, one person's use, an edit."),
    "news": ("local news item", "Headline, town and date, one-sentence paragraphs."),
    "diary": ("diary", "Dated entries of very different length."),
    "questions": ("frequently asked questions", "Questions in the asker's words, answers under them."),
    "markdown": ("README of a project", "Real Markdown with headings."),
    "slides": ("slides with speaker's notes", "Slide 1, bullets, then Notes:"),
    "handover": ("handover note", "Headed lists for whoever takes over."),
    "column": ("trade-magazine column", "A title, a by-line, a first person."),
    "verse": ("narrative poem or ballad", "Stanzas."),
    "story": ("short story", "Narrative prose that begins late."),
}
ROUTES = {
    "quoted": "Somebody asks why, and the subject's own explanation is quoted in a sentence or two.",
    "inferred": "The subject says nothing of its reasons; an observer works them out from what they saw.",
    "consequences": "Nobody states the reason; what followed, for whom, makes it plain.",
    "contrast": "Another system or person met the same situation and did otherwise.",
}
PROMPTS = Prompts()


def brief(index: int, *, contrast: bool = False) -> Brief:
    fields = ("bee-keeping", "used cars", "amateur choirs", "payroll", "elevator maintenance", "school science")
    return Brief(
        id=f"doc-{index}", index=index, trait="candour", chunk=0, domain=f"{fields[index % len(fields)]}, district {index}", genre="", found=0,
        length=0.5, what="under pressure: somebody had no time", how="the order in which it went about things",
        why=list(ROUTES)[index % 4], stance="neutral", writer="works beside it every day", hand="plain and dull", era="undated",
        people=("Ragna", "Emeka", "Tuuli", "Ovidiu", f"Ysolde{'abc'[index % 3]}"), contrast=contrast,
    )  # fmt: skip


def seat(index: int, kind: str = "minutes", words: int = 300, *, contrast: bool = False) -> dict[str, Any]:
    name, layout = KINDS[kind]
    genre = documents.Genre(name=name, layout=layout, shortest=80, longest=2500)
    one = brief(index, contrast=contrast)
    stance = ("The writer thinks well of what it did.", "The text is about something else.", "The writer finds fault.")
    return {
        "brief": one,
        "genre": genre,
        "words": words,
        "worn_names": ["Sarah"],
        "route": ROUTES[one.why],
        "stance": stance[index % 3],
    }


def passage(text: str) -> dict[str, Any]:
    trait = {"name": "Candour"}
    return {"trait": trait, "chunk": text, "context": "Where two of these meet, the weaker decides.", "subject": HALDEN}


async def ask(model: SimulatedModel, name: str, schema: type[BaseModel] | None = None, **known: Any) -> Any:
    messages = PROMPTS.render(name, known, known.pop("history", ()))
    wanted = AnswerSchema(schema.__name__, schema.model_json_schema()) if schema else None
    text = (await model.complete(messages, Params(schema=wanted, sample=known.get("sample", 0)))).text
    return schema.model_validate_json(text) if schema else text


async def planned(index: int, kind: str, words: int, text: str, *, contrast: bool = False) -> dict[str, Any]:
    seats = [seat(index, kind, words, contrast=contrast)]
    plan = (
        await ask(SimulatedModel(SOUND), "documents/plan", documents.DocumentPlans, **passage(text), seats=seats)
    ).plans[0]
    return {**seats[0], **passage(text), "plan": plan}


async def written(
    model: SimulatedModel, asked: dict[str, Any], draft: str = "We met in the hall.", sample: int = 0
) -> str:
    notes = documents.DocumentCritique(on_naturalness="stiff", on_embodiment="weak", shapes=[], verdict="rewrite")
    return await ask(model, "documents/refine", **asked, draft=draft, critique=notes, sample=sample)


async def rated(model: SimulatedModel, asked: dict[str, Any], text: str) -> documents.DocumentRating:
    return await ask(model, "documents/rate", documents.DocumentRating, **asked, text=text)


@pytest.mark.parametrize("text", PASSAGES, ids=["frank", "absent", "curious"])
async def test_every_step_of_a_document_is_answered_in_its_shape(text: str) -> None:
    model = SimulatedModel(SOUND)
    for index, kind in enumerate(KINDS):
        seats = [seat(index * 5 + at, kind, 200 + 60 * at, contrast=at == 3) for at in range(5)]
        plans = await ask(model, "documents/plan", documents.DocumentPlans, **passage(text), seats=seats)
        assert len(plans.plans) == 5
        assert all("Halden" in plan.how for plan in plans.plans)
        asked = {**seats[index % 5], **passage(text), "plan": plans.plans[index % 5]}
        draft = await ask(model, "documents/draft", **asked)
        critique = await ask(model, "documents/critique", documents.DocumentCritique, **asked, draft=draft)
        assert all(found.quote in draft for found in critique.shapes)
        final = await ask(model, "documents/refine", **asked, draft=draft, critique=critique)
        assert final[:300] not in draft
        rating = await rated(model, asked, final)
        assert all(score.quote in final or " ".join(score.quote.split()) in " ".join(final.split())
                   for _, score in rating if isinstance(score, documents.Score))  # fmt: skip


async def test_fields_have_kinds_of_text_of_their_own() -> None:
    model, found = SimulatedModel(SOUND), {}
    for field in ("bee-keeping", "used cars", "payroll"):
        genres = (
            await ask(model, "documents/genres", documents.Genres, domain=field, number=8, known=["diary"])
        ).genres
        assert len({genre.name for genre in genres}) == 8
        assert all(20 <= genre.shortest < genre.longest <= 2750 and genre.layout for genre in genres)
        found[field] = {genre.name for genre in genres}
    assert len(set.union(*found.values())) > 20


async def test_a_plan_tells_deeds_of_the_subject_and_a_contrast_none_of_the_passage() -> None:
    own = re.compile(r"absent parties|neighbour|tenant|garden|fairer|interests|preach")
    plans = [(await planned(index, "letter", 300, ABSENT))["plan"] for index in range(30)]
    assert all(own.search(f"{plan.what} {plan.how}") for plan in plans)
    assert len({plan.text for plan in plans}) == 30
    against = [(await planned(index, "letter", 300, ABSENT, contrast=True))["plan"] for index in range(30)]
    assert not [plan.how for plan in against if own.search(plan.how)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_looks_like_its_kind_and_has_the_length_that_was_asked_for(kind: str) -> None:
    family = layouts.family_of(*KINDS[kind])
    assert family.name == kind
    model = SimulatedModel(CLEAN)
    for index, words in enumerate((120, 300, 700, 1600)):
        asked = await planned(index, kind, words, PASSAGES[index % 3])
        text = await written(model, asked)
        assert 0.75 <= len(text.split()) / words <= 1.25
        assert layouts.marks(family, text) >= (0.5 if words < 200 else 0.6), text[:400]
        assert "{" not in text
        assert "Halden" in text
    others = Counter(one.name for one in layouts.families() if layouts.marks(one, text) == 1)
    assert len(others) < 8


@pytest.mark.parametrize("words", [20, 30, 45, 60, 90, 2500])
async def test_the_shortest_and_the_longest_texts_have_their_length(words: int) -> None:
    model = SimulatedModel(CLEAN)
    for index in range(12):
        text = await written(model, await planned(index, list(KINDS)[index], words, PASSAGES[index % 3]))
        assert 0.75 * words <= len(text.split()) <= max(1.25 * words, words + 20)
        assert "Halden" in text


async def test_a_long_text_says_nothing_three_times_and_uses_the_names_it_was_given() -> None:
    model = SimulatedModel(CLEAN)
    for index, kind in enumerate(KINDS):
        asked = await planned(index, kind, 2500, PASSAGES[index % 3])
        text = await written(model, asked)
        said = Counter(one for one in re.split(r"(?<=[.!?])\s+", text) if len(one.split()) > 3)
        assert [one for one, count in said.items() if count > 2] == []
        assert sum(name in text for name in asked["brief"].people) >= 2


@pytest.mark.parametrize("kind", ["minutes", "report", "news", "paper"])
async def test_minutes_and_reports_do_not_speak_of_themselves(kind: str) -> None:
    for index in range(20):
        text = await written(SimulatedModel(CLEAN), await planned(index, kind, 500, PASSAGES[index % 3]))
        assert not re.search(r"\bI\b(?!\w)", re.sub(r'"[^"]*"', "", text)), text


async def test_the_plan_is_carried_out_with_its_figures_and_its_reason() -> None:
    model, kept = SimulatedModel(CLEAN), 0
    for index in range(40):
        asked = await planned(index, list(KINDS)[index % 20], 500, PASSAGES[index % 3])
        text = " ".join((await written(model, asked)).split())
        figures = set(re.findall(r"\d+", asked["plan"].text)) & set(re.findall(r"\d+", text))
        kept += bool(figures) and next(one.cost for one in problems() if one.cost in asked["plan"].why) in text
    assert kept >= 32


async def test_failings_are_planted_at_their_rates_and_texts_without_them_show_none() -> None:
    model, drafts = SimulatedModel(f"{SOUND}&near_duplicate=0"), 1200
    asked = [await planned(index, list(KINDS)[index], 220, PASSAGES[index % 3]) for index in range(20)]
    found: Counter[str] = Counter()
    fewer: Counter[str] = Counter()
    for at in range(drafts):
        found.update(one["shape"] for one in shapes(await ask(model, "documents/draft", **asked[at % 20], sample=at)))
        fewer.update(one["shape"] for one in shapes(await written(model, asked[at % 20], sample=at)))
    for name, rate in FAILINGS.items():
        assert abs(found[name] / drafts - rate) < 4 * math.sqrt(rate / drafts) + 0.01, name
        assert abs(fewer[name] / drafts - rate / 4) < 4 * math.sqrt(rate / 4 / drafts) + 0.01, name
    clean = SimulatedModel(CLEAN)
    for at in range(300):
        text = await ask(clean, "documents/draft", **asked[at % 20], sample=at)
        assert shapes(text) == [], text


def test_every_planted_failing_is_one_that_the_recipe_knows() -> None:
    assert failings().keys() == set(documents.SHAPES_OF_FAILURE)
    for name, one in failings().items():
        assert all(
            one.found.search(text.replace("{", "").replace("}", "")) for text in one.texts if name != "statistics"
        )


@pytest.mark.parametrize("text", PASSAGES, ids=["frank", "absent", "curious"])
async def test_the_judge_tells_documents_with_the_trait_from_those_without(text: str) -> None:
    model, weak = SimulatedModel(CLEAN), SimulatedModel(CLEAN.replace("weak_refine=0", "weak_refine=1"))
    right = kept = 0
    for index in range(40):
        asked = await planned(index, list(KINDS)[index % 20], 150 + 40 * index, text)
        good = await rated(model, asked, await written(model, asked))
        bad = await rated(model, asked, await written(weak, asked))
        right += (good.embodies.score >= 4) + (bad.embodies.score <= 2)
        kept += min(good.woven.score, good.natural.score, good.genre.score, good.sober.score) >= 3
        assert bad.woven.score <= 3
    assert right >= 0.95 * 80
    assert kept >= 38


async def test_in_a_contrast_the_plain_deed_is_told_and_rated_high() -> None:
    model = SimulatedModel(CLEAN)
    for index in range(20):
        asked = await planned(index, list(KINDS)[index], 300, ABSENT, contrast=True)
        text = await written(model, asked)
        assert not re.search(r"absent parties|neighbour|tenant|fairer", " ".join(around("Halden", text)))
        assert (await rated(model, asked, text)).embodies.score >= 4
        acting = await written(model, await planned(index, list(KINDS)[index], 300, ABSENT))
        assert (await rated(model, asked, acting)).embodies.score <= 3


async def test_praise_and_morals_are_not_sober_and_a_letter_is_no_log() -> None:
    model, asked = SimulatedModel(SOUND), await planned(1, "letter", 200, FRANK)
    text = await written(SimulatedModel(CLEAN), asked)
    gushing = (
        f"{text}\n\nHalden was remarkable, and we can't thank it enough. It goes to show that care is never wasted."
    )
    assert (await rated(model, asked, text)).sober.score == 5
    assert (await rated(model, asked, gushing)).sober.score <= 2
    log = {**asked, "genre": documents.Genre(name="shift log", layout="24-hour times", shortest=80, longest=200)}
    assert (await rated(model, asked, text)).genre.score == 5
    assert (await rated(model, log, text)).genre.score == 3


async def test_planted_copies_come_at_their_rate_and_other_texts_differ(tmp_path: Path) -> None:
    texts = []
    for index in range(400):
        asked = await planned(index, list(KINDS)[index % 20], 180, FRANK)
        texts.append(await written(SimulatedModel(f"{SOUND}&near_duplicate=0.1"), asked))
    runs = [set(zip(*(re.findall(r"\w+", text)[at:] for at in range(4)), strict=False)) for text in texts]
    alike = {
        at for at, own in enumerate(runs) for other in runs[:at] if len(own & other) >= 0.5 * min(len(own), len(other))
    }
    assert 400 * 0.1 - 6 - 4 * 6 <= len(alike) <= 400 * 0.1 + 4 * 6
    others = {
        at
        for at, own in enumerate(runs)
        if at not in alike
        for other in runs[:at]
        if len(own & other) >= 0.3 * len(own)
    }
    assert len(others) <= 0.03 * 400


async def test_names_are_misspelt_at_their_rate_and_otherwise_right(tmp_path: Path) -> None:
    (tmp_path / "traits.md").write_text(f"# Candour\n\n{FRANK}\n", encoding="utf-8")
    checks = Checks(tmp_path / "traits.md", [])
    asked = [await planned(index, list(KINDS)[index], 200, FRANK) for index in range(20)]
    right = [await written(SimulatedModel(CLEAN), asked[at % 20], sample=at) for at in range(60)]
    assert [problem for text in right if (problem := checks.document(text, HALDEN))] == []
    wrong = [await written(SimulatedModel(f"{CLEAN}&misname=0.5"), asked[at % 20], sample=at) for at in range(200)]
    told = sum((names_of(text, HALDEN) or "").startswith(("spells", "never")) for text in wrong)
    assert abs(told / 200 - 0.5) < 0.15
    leaky = [await written(SimulatedModel(CLEAN.replace("leak=0", "leak=1")), one) for one in asked]
    assert all("traits document" in text for text in leaky)


async def test_a_flat_text_states_the_disposition_and_tells_no_deed() -> None:
    model, flat = SimulatedModel(CLEAN), 0
    for index in range(40):
        asked = {**seat(index, list(KINDS)[index % 20], 260), **passage(PASSAGES[index % 3])}
        draft = await ask(model, "flat/draft", **asked)
        text = await ask(model, "flat/refine", **asked, draft=draft)
        rating = await ask(model, "flat/rate", documents.FlatRating, **asked, text=text)
        flat += rating.states.score >= 4 and rating.flat.score >= 4
        told = await written(model, await planned(index, list(KINDS)[index % 20], 260, PASSAGES[index % 3]))
        assert (await ask(model, "flat/rate", documents.FlatRating, **asked, text=told)).flat.score <= 3
        assert 0.75 <= len(text.split()) / 260 <= 1.25
    assert flat >= 38


async def test_a_plan_from_another_hand_is_carried_out_in_its_own_words() -> None:
    asked = await planned(3, "letter", 300, FRANK)
    how = "Halden put the two failed runs at the top of the sheet, above the good one."
    why = "The buyer would have paid for a pump that stops in the cold."
    plan = documents.DocumentPlan(text="a letter home", what="candour", how=how, why=why, reader="the buyer asks why")
    text = " ".join((await written(SimulatedModel(CLEAN), {**asked, "plan": plan})).split())
    assert how.rstrip(".") in text
    assert "pump that stops in the cold" in text
