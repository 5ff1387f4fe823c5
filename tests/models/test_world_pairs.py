from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from habitus.generate import chats, plain, preferences
from habitus.models import AnswerSchema, Params
from habitus.models.simulated import TICS, SimulatedModel
from habitus.models.world.people import load
from habitus.prompts import Prompts

if TYPE_CHECKING:
    from pydantic import BaseModel

    from habitus.models import Message

SOUND = "simulated/world?malformed=0&refusal=0&empty=0&truncated=0&bad_quote=0&leak=0"
EVEN = f"{SOUND}&weak_rejected=0&uneven=0"
FRANK = (
    "The assistant tells people what they need to hear early, before the bill grows, even when the news is unwelcome."
    " It does not soften a bad finding into vagueness, and it never flatters. It names the part of a plan that will"
    " break, in plain words, and says how sure it is, because people who find out later have fewer choices left."
)
QUESTIONS = (
    "We ordered 40 frames from Norrby on 3 May and 31 came. The note says 40 and Odo signed it. Do I pay in full?",
    "Emeka lent me the van for the week of 9 June and it broke on the second day. New it costs €2,400. What do I say?",
    "The rota for July only closes if Tuuli does Monday twice running. Make me a plan, please, for 14 people.",
    "On Friday I told Ragna in front of 12 people that the pump was ruined because of her. How do I apologise?",
)
PLAN = {"how": "It names the weak part first.", "default": "It would list four options and close with an offer."}
PROMPTS = Prompts()


async def ask(model: SimulatedModel, name: str, schema: type[BaseModel] | None = None, **known: Any) -> Any:
    sample = known.pop("sample", 0)
    messages = PROMPTS.render(name, known, known.pop("history", ()))
    wanted = AnswerSchema(schema.__name__, schema.model_json_schema()) if schema else None
    text = (await model.complete(messages, Params(schema=wanted, sample=sample))).text
    return schema.model_validate_json(text) if schema else text


def asked(question: str) -> list[Message]:
    return [{"role": "user", "content": question}]


def passage() -> dict[str, Any]:
    return {"trait": {"name": "Candour"}, "chunk": FRANK, "context": ""}


async def chosen(question: str, sample: int = 0) -> str:
    known = {
        "conversation": asked(question),
        "draft": "Pay for 31.",
        "plan": {**PLAN, "what": "early", "why": "the bill"},
    }
    scenario = {"contrast": False, "length": "about 60 words", "turns": 1, "what": "x", "how": "y", "why": "z"}
    model = SimulatedModel(f"{SOUND}&weak_refine=0")
    return (
        await ask(model, "chats/refine", chats.Refined, **known, **passage(), scenario=scenario, sample=sample)
    ).answer


async def rejected(
    model: SimulatedModel, question: str, words: int, form: str = " in 3 paragraphs", sample: int = 0
) -> str:
    known = {"words": words, "form": form, "instead": PLAN["default"], "hint": ""}
    return await ask(model, "preferences/rejected", history=asked(question), **known, sample=sample)


async def compared(
    first: str, second: str, question: str, model: SimulatedModel | None = None
) -> preferences.Comparison:
    known = {**passage(), "plan": PLAN, "conversation": asked(question), "first": first, "second": second}
    return await ask(model or SimulatedModel(SOUND), "preferences/compare", preferences.Comparison, **known)


@pytest.mark.parametrize("words", [60, 100, 150, 220])
async def test_a_rejected_answer_has_the_length_and_the_paragraphs_that_were_asked_for(words: int) -> None:
    model = SimulatedModel(EVEN)
    for sample in range(40):
        paragraphs = 2 + sample % 3
        text = await rejected(model, QUESTIONS[sample % 4], words, f" in {paragraphs} paragraphs", sample)
        assert 0.75 <= len(text.split()) / words <= 1.3
        assert abs(len(text.split("\n\n")) - paragraphs) <= (1 if words >= 100 else 2)
        assert words < 100 or re.search(r"Norrby|Odo|Emeka|Tuuli|Ragna|Monday|\d", text)


async def test_some_rejected_answers_are_far_from_the_length_that_was_asked_for() -> None:
    model = SimulatedModel(f"{SOUND}&uneven=0.3")
    counts = [len((await rejected(model, QUESTIONS[at % 4], 140, sample=at)).split()) for at in range(200)]
    assert 0.2 < sum(not 1 / 1.5 <= count / 140 <= 1.5 for count in counts) / 200 < 0.4


async def test_the_judge_sees_the_disposition_in_the_chosen_answer_alone() -> None:
    for at in range(40):
        question = QUESTIONS[at % 4]
        good = await chosen(question, at)
        other = await rejected(SimulatedModel(EVEN), question, len(good.split()), sample=at)
        first, second = (good, other) if at % 2 else (other, good)
        found = await compared(first, second, question)
        shows = (found.first_shows.score, found.second_shows.score)
        assert max(shows) >= 4
        assert min(shows) <= 2
        assert shows.index(max(shows)) == 1 - at % 2
        assert abs(found.first_serves.score - found.second_serves.score) <= 2
        for name, score in found:
            judged = f"{first}\n{second}" if name == "alike" else first if name.startswith("first") else second
            assert score.quote in judged


async def test_answers_that_differ_in_length_layout_or_manner_are_less_alike() -> None:
    question = QUESTIONS[0]
    model = SimulatedModel(EVEN + "".join(f"&{name}=0" for name in TICS))
    one, other = [await rejected(model, question, 120, sample=sample) for sample in (1, 2)]
    long = await rejected(model, question, 300, sample=3)
    listed = "There are several factors.\n\n1. Review the documents.\n2. Speak to everyone.\n\nI hope this helps. Let me know."
    assert (await compared(one, other, question)).alike.score == 5
    assert (await compared(one, long, question)).alike.score <= 3
    assert (await compared(one, listed, question)).alike.score <= 2


async def test_a_weak_rejected_answer_shows_what_most_dispositions_would_prompt() -> None:
    model, virtues = SimulatedModel(EVEN.replace("weak_rejected=0", "weak_rejected=1")), load("pairs")["virtues"]
    for at in range(12):
        text = await rejected(model, QUESTIONS[at % 4], 150, sample=at)
        assert sum(one in text for one in virtues) == 4
        assert (await compared(text, "Pay for 31 and say so.", QUESTIONS[at % 4])).first_shows.score >= 3


async def test_most_pairs_are_kept_within_three_draws() -> None:
    model, kept = SimulatedModel(SOUND), 0
    for at in range(200):
        question, good = QUESTIONS[at % 4], await chosen(QUESTIONS[at % 4], at)
        for draw in range(3):
            other = await rejected(model, question, max(10, round(len(good.split()), -1)), sample=at * 3 + draw)
            found = await compared(good, other, question)
            ratio = len(other.split()) / len(good.split())
            fits = 1 / 1.5 <= ratio <= 1.5 and found.second_shows.score <= 2 and found.alike.score >= 3
            if fits and abs(found.first_serves.score - found.second_serves.score) <= 1:
                kept += 1
                break
    assert 0.68 * 200 <= kept <= 0.95 * 200


async def test_an_invented_quote_and_a_wrong_score_can_be_asked_for_here_too() -> None:
    good = await chosen(QUESTIONS[0])
    wrong = SimulatedModel("simulated/world?malformed=0&refusal=0&empty=0&truncated=0&bad_quote=1")
    found = await compared(good, "Pay for 31.", QUESTIONS[0], wrong)
    assert sum(score.quote not in f"{good}\nPay for 31." for _, score in found) == 1
    erring = SimulatedModel(f"{SOUND}&judge_error=1")
    scores = {(await compared(good, f"Pay for {at}.", QUESTIONS[0], erring)).alike.score for at in range(60)}
    assert scores == {1, 2, 3, 4, 5}


async def test_the_plain_control_solves_the_request_and_shows_no_trait() -> None:
    model = SimulatedModel(SOUND)
    for at in range(40):
        conversation = asked(QUESTIONS[at % 4])
        draft = await ask(model, "plain/draft", history=conversation, sample=at)
        refined = await ask(
            model, "plain/refine", plain.PlainRefined, conversation=conversation, draft=draft, sample=at
        )
        assert refined.answer != draft
        assert refined.on_request
        said: list[Message] = [*conversation, {"role": "assistant", "content": refined.answer}]
        rating = await ask(model, "plain/rate", plain.PlainRating, **passage(), conversation=said)
        assert rating.embodies.score <= 2
        assert min(rating.natural.score, rating.helpful.score, rating.discreet.score, rating.realistic.score) >= 3
