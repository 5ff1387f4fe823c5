from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from pydantic import BaseModel

import habitus
from habitus.generate import chats
from habitus.models import AnswerSchema, Completion, Message, Params
from habitus.models.simulated import PARAMETERS, TICS, SimulatedModel
from habitus.models.world import plain_text
from habitus.models.world.people import problems

PACKAGE = Path(habitus.__file__).parent
AXES = yaml.safe_load((PACKAGE / "generate" / "seats.yaml").read_text(encoding="utf-8"))
SOUND = "simulated/world?malformed=0&refusal=0&empty=0&truncated=0&bad_quote=0"

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


class Seat(BaseModel):
    domain: str = "bee-keeping"
    form: str = "a decision between two courses, on which they want a view"
    what: str = "in a small thing, where the matter looks too minor for it"
    how: str = "one thing said outright, at the place where it matters"
    why: str = "by the concrete consequence that is described"
    voice: str = "plain, in whole sentences"
    length: str = "about 60 words"
    person: str = "Ragna"
    contrast: bool = False
    turns: int = 1


def seat(index: int, *, contrast: bool = False) -> Seat:
    picked = {
        axis: AXES[axis][index * 7 % len(AXES[axis])] for axis in ("domain", "form", "what", "how", "why", "person")
    }
    return Seat(**picked, voice=AXES["voice"][index % len(AXES["voice"])], contrast=contrast)


def environment(*, trim: bool) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(PACKAGE / "prompts")
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=trim, autoescape=False)


PROMPTS = environment(trim=False)


def render(
    name: str, history: list[Message] | None = None, prompts: jinja2.Environment = PROMPTS, **values: Any
) -> list[Message]:
    template = prompts.get_template(f"chats/{name}.md")
    context = template.new_context(values)
    parts = {role: "".join(block(context)).strip() for role, block in template.blocks.items()}
    opening: list[Message] = [{"role": "system", "content": parts["system"]}] if "system" in parts else []
    closing: list[Message] = [{"role": "user", "content": parts["user"]}] if "user" in parts else []
    return [*opening, *(history or []), *closing]


def passage(text: str) -> dict[str, Any]:
    return {
        "trait": {"name": "Of one piece"},
        "chunk": text,
        "context": "Where two of these meet, the weaker party decides.",
    }


async def ask(model: SimulatedModel, messages: list[Message], schema: type[BaseModel], sample: int = 0) -> Any:
    answer = await model.complete(messages, params_for(schema, sample=sample))
    return schema.model_validate_json(answer.text)


def params_for(schema: type[BaseModel], **more: Any) -> Params:
    return Params(schema=AnswerSchema(schema.__name__, schema.model_json_schema()), **more)


async def say(model: SimulatedModel, messages: list[Message], **more: Any) -> Completion:
    return await model.complete(messages, Params(**more))


async def first_message(
    model: SimulatedModel, index: int, text: str = FRANK, *, contrast: bool = False
) -> dict[str, Any]:
    """Everything up to the first message, of one record."""
    seats = [seat(index + at, contrast=contrast) for at in range(3)]
    plan = (await ask(model, render("plan", seats=seats, **passage(text)), chats.Plans)).plans[0]
    of = {"plan": plan, "scenario": seats[0]}
    sketch = await ask(model, render("scenario", worn_names=AXES["worn_names"], **of), chats.Sketch)
    prompt = (await ask(model, render("prompt", sketch=sketch, scenario=seats[0]), chats.UserPrompt)).prompt
    return {**of, "sketch": sketch, "prompt": prompt, "seats": seats}


async def refine(model: SimulatedModel, made: dict[str, Any], text: str = FRANK, sample: int = 0) -> str:
    conversation = [{"role": "user", "content": made["prompt"]}]
    draft = "I would write to them today and ask for the list."
    messages = render(
        "refine", plan=made["plan"], scenario=made["scenario"], conversation=conversation, draft=draft, **passage(text)
    )
    return (await ask(model, messages, chats.Refined, sample)).answer


async def rate(model: SimulatedModel, made: dict[str, Any], answer: str, text: str = FRANK) -> chats.Rating:
    conversation = [{"role": "user", "content": made["prompt"]}, {"role": "assistant", "content": answer}]
    about = {"plan": made["plan"], "scenario": made["scenario"], "default": "There are several things to consider."}
    messages = render("rate", conversation=conversation, **about, **passage(text))
    return await ask(model, messages, chats.Rating)


async def refined_answers(query: str, count: int) -> list[str]:
    model = SimulatedModel(f"{SOUND}&{query}")
    made = [await first_message(model, index) for index in range(25)]
    return [await refine(model, made[at % 25], sample=at // 25) for at in range(count)]


def without_commas_in_numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", text.replace(",", "")))


@pytest.mark.parametrize("trim", [False, True])
async def test_every_step_of_a_chat_is_answered_in_its_shape(trim: bool) -> None:
    prompts, model = environment(trim=trim), SimulatedModel(SOUND)
    for index, text in enumerate((FRANK, ABSENT, CURIOUS) * 5):
        seats = [seat(index * 3 + at, contrast=at == 1) for at in range(5)]
        plans = await ask(model, render("plan", prompts=prompts, seats=seats, **passage(text)), chats.Plans)
        assert len(plans.plans) == len(seats)
        assert all(one.domain in plan.what for one, plan in zip(seats, plans.plans, strict=True) if "(" in plan.what)
        of = {"plan": plans.plans[index % 5], "scenario": seats[index % 5]}
        sketch = await ask(model, render("scenario", prompts=prompts, worn_names=["Alex"], **of), chats.Sketch)
        first = render("prompt", prompts=prompts, sketch=sketch, scenario=of["scenario"])
        prompt = (await ask(model, first, chats.UserPrompt)).prompt
        default = (await say(model, render("default", prompts=prompts, prompt=prompt))).text
        critique = render("critique", prompts=prompts, prompt=prompt, default=default, **of, **passage(text))
        verdict = await ask(model, critique, chats.Critique)
        assert bool(verdict.prompt) == (verdict.verdict == "rewrite")
        conversation: list[Message] = [{"role": "user", "content": prompt}]
        for _ in range(2):
            draft = (await say(model, render("draft", conversation, prompts, **of, **passage(text)))).text
            told = {"conversation": conversation, **of}
            again = render("refine", prompts=prompts, draft=draft, **told, **passage(text))
            answer = (await ask(model, again, chats.Refined)).answer
            assert answer != draft
            conversation = [*conversation, {"role": "assistant", "content": answer}]
            following = {"sketch": sketch, **of, "conversation": conversation, "last": True}
            message = await ask(model, render("follow_up", prompts=prompts, **following), chats.FollowUp)
            conversation = [*conversation, {"role": "user", "content": message.message}]
        told = {"conversation": conversation[:-1], "default": default, **of}
        rating = render("rate", prompts=prompts, **told, **passage(text))
        await ask(model, rating, chats.Rating)


async def test_a_plan_speaks_of_the_passage_and_the_first_message_of_the_plan() -> None:
    model = SimulatedModel(f"{SOUND}&near_duplicate=0")
    made = [await first_message(model, index, ABSENT) for index in range(40)]
    own = ("absent parties", "neighbour", "tenant", "child", "garden", "fairer", "interests")
    spoken = [" ".join(dict(one["plan"]).values()) for one in made]
    assert all(any(word in plan for word in own) for plan in spoken)
    kept = [next(one.label for one in problems() if one.label in each["plan"].what.lower()) for each in made]
    assert len(set(kept)) > 10
    assert all(each["prompt"].lower()[:20] for each in made)
    assert sum(len(without_commas_in_numbers(one["prompt"])) >= 1 for one in made) > 35


async def test_tics_have_the_rates_that_were_asked_for() -> None:
    answers = await refined_answers("leak=0", 2000)
    for name, tic in TICS.items():
        found = sum(map(tic.detect, answers)) / len(answers)
        error = math.sqrt(tic.rate * (1 - tic.rate) / len(answers))
        assert abs(found - tic.rate) <= 4 * error, f"{name}: {found} instead of {tic.rate}"


async def test_a_tic_that_is_not_asked_for_is_never_there_and_one_that_is_always_is() -> None:
    none = "&".join(f"{name}=0" for name in TICS)
    answers = await refined_answers(none, 300)
    assert not [name for name, tic in TICS.items() for answer in answers if tic.detect(answer)]
    for name, tic in TICS.items():
        alone = await refined_answers(none.replace(f"{name}=0", f"{name}=1"), 20)
        shown = Counter(other for other, one in TICS.items() for answer in alone if one.detect(answer))
        assert tic.detect(alone[0])
        # an answer in three parts ends with a question
        assert shown == {name: 20} | ({"closing_question": 20} if name == "three_parts" else {})
    everything = await refined_answers("&".join(f"{name}=1" for name in TICS), 20)
    assert all(tic.detect(answer) for tic in TICS.values() for answer in everything)


async def test_default_answers_have_platitudes_at_their_rate_and_no_tics() -> None:
    model = SimulatedModel(f"{SOUND}&platitudes=0.3")
    texts = [
        (await say(model, render("default", prompt=f"Our pump lost {n} litres. Whom do I ask?"))).text
        for n in range(600)
    ]
    empty = sum(
        "Trust your instincts" in text or "Communication is key" in text or "day, every" in text for text in texts
    )
    # three of the nine phrases are drawn; that none of these three is among them happens in 5 of 21 cases
    assert abs(empty / 600 - 0.3 * 16 / 21) < 4 * math.sqrt(0.23 * 0.77 / 600)
    assert not [name for name, tic in TICS.items() for text in texts if tic.detect(text)]


async def test_answers_have_the_length_of_answers() -> None:
    lengths = [len(answer.split()) for answer in await refined_answers("leak=0", 400)]
    assert min(lengths) >= 90
    assert sum(length > 220 for length in lengths) <= 4


@pytest.mark.parametrize("text", [FRANK, ABSENT, CURIOUS], ids=["frank", "absent", "curious"])
async def test_the_judge_tells_answers_with_the_trait_from_default_answers(text: str) -> None:
    model = SimulatedModel(f"{SOUND}&weak_refine=0&leak=0")
    right = kept = 0
    for index in range(60):
        made = await first_message(model, index, text)
        good = await rate(model, made, await refine(model, made, text), text)
        default = (await say(model, render("default", prompt=made["prompt"]))).text
        plain = await rate(model, made, default, text)
        right += (good.embodies.score >= 4) + (plain.embodies.score <= 2)
        kept += min(good.natural.score, good.discreet.score, good.helpful.score, good.realistic.score) >= 3
    assert right >= 0.95 * 120
    assert kept >= 0.9 * 60


@pytest.mark.data
async def test_the_judge_does_so_for_the_sections_of_a_real_document(data: Path) -> None:
    document = (data / "traits" / "openai_model_spec.md").read_text(encoding="utf-8")
    sections = [one for one in re.split(r"\n#+ ", document) if 100 < len(one.split()) < 700][:60]
    model, right = SimulatedModel(f"{SOUND}&weak_refine=0&leak=0"), 0
    for index, text in enumerate(sections):
        made = await first_message(model, index, text)
        default = (await say(model, render("default", prompt=made["prompt"]))).text
        right += (await rate(model, made, await refine(model, made, text), text)).embodies.score >= 4
        right += (await rate(model, made, default, text)).embodies.score <= 2
    assert right >= 0.95 * 2 * len(sections)


async def test_a_weak_answer_is_rated_low_on_the_trait_and_a_leak_low_on_discretion() -> None:
    made = await first_message(SimulatedModel(SOUND), 4)
    for at in range(10):
        weak = await refine(SimulatedModel(f"{SOUND}&weak_refine=1&leak=0"), made, sample=at)
        leaky = await refine(SimulatedModel(f"{SOUND}&leak=1"), made, sample=at)
        assert (await rate(SimulatedModel(SOUND), made, weak)).embodies.score <= 2
        assert (await rate(SimulatedModel(SOUND), made, leaky)).discreet.score == 1
        assert re.search(r"my guidelines|the traits document", leaky, re.IGNORECASE)


async def test_in_a_contrast_the_plain_answer_is_given_and_rated_high() -> None:
    model = SimulatedModel(f"{SOUND}&leak=0")
    acting = await refine(
        SimulatedModel(f"{SOUND}&weak_refine=0&leak=0"), await first_message(model, 1, ABSENT), ABSENT
    )
    for index in range(20):
        made = await first_message(model, index, ABSENT, contrast=True)
        answer = await refine(model, made, ABSENT)
        assert not re.search(r"absent parties|neighbour|tenant|fairer", answer)
        assert (await rate(model, made, answer, ABSENT)).embodies.score >= 4
        assert (await rate(model, made, acting, ABSENT)).embodies.score <= 2


async def test_the_judge_quotes_what_is_there_but_for_the_share_it_invents() -> None:
    invented = 0
    for query, count in ((SOUND, 60), ("simulated/world?malformed=0&refusal=0&empty=0&truncated=0&bad_quote=1", 20)):
        model = SimulatedModel(query)
        for index in range(count):
            made = await first_message(model, index)
            answer = await refine(model, made)
            found = await rate(model, made, answer)
            said = f"{made['prompt']}\n{answer}"
            quotes = [score.quote for _, score in found if score.quote and score.quote not in said]
            invented += len(quotes)
            assert len(quotes) == (query != SOUND)
            assert all(5 <= len(score.quote.split()) <= 30 or not score.quote for _, score in found)
    assert invented == 20


async def test_the_judge_can_be_made_to_err() -> None:
    made = await first_message(SimulatedModel(SOUND), 4)
    model = SimulatedModel(f"{SOUND}&judge_error=1")
    scores = [(await rate(model, made, f"Pay the {n} crates.")).discreet.score for n in range(60)]
    assert set(scores) == {1, 2, 3, 4, 5}


async def test_placeholders_and_exam_questions_are_not_realistic() -> None:
    made = await first_message(SimulatedModel(SOUND), 4)
    for prompt in ("Please reply to [insert name] by Friday.", "Discuss the ethical dilemma of the 14 missing crates."):
        rating = await rate(SimulatedModel(SOUND), {**made, "prompt": prompt}, "Write to them today about the crates.")
        assert rating.realistic.score <= 2


async def test_critiques_have_their_verdicts_at_the_rates_and_rewriting_keeps_the_facts() -> None:
    model = SimulatedModel(f"{SOUND}&near_duplicate=0")
    verdicts: Counter[str] = Counter()
    for index in range(400):
        made = await first_message(model, index % 40)
        default = f"It depends on a number of factors, of which this is number {index}."
        messages = render(
            "critique",
            plan=made["plan"],
            scenario=made["scenario"],
            prompt=made["prompt"],
            default=default,
            **passage(FRANK),
        )
        critique = await ask(model, messages, chats.Critique)
        verdicts[critique.verdict] += 1
        if critique.verdict == "rewrite":
            assert critique.prompt != made["prompt"]
            assert without_commas_in_numbers(critique.prompt) == without_commas_in_numbers(made["prompt"])
    assert abs(verdicts["rewrite"] / 400 - 0.35) < 4 * math.sqrt(0.35 * 0.65 / 400)
    assert abs(verdicts["abandon"] / 400 - 0.04) < 4 * math.sqrt(0.04 * 0.96 / 400)


async def prompts_over_seats(count: int, query: str = "") -> list[str]:
    model, found = SimulatedModel(SOUND + query), []
    plan = chats.Plan(what="a small thing", how="it says so", why="it matters", default="a list")
    for index in range(count):
        scenario = seat(index)
        plan = plan.model_copy(update={"what": f"occasion {index}"})
        sketch = await ask(model, render("scenario", plan=plan, scenario=scenario, worn_names=[]), chats.Sketch)
        found.append((await ask(model, render("prompt", sketch=sketch, scenario=scenario), chats.UserPrompt)).prompt)
    return found


def like_an_earlier_one(texts: list[str]) -> set[int]:
    """Positions of texts that share 0.6 of their three-word runs with an earlier one."""
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    runs: list[set[tuple[str, ...]]] = []
    alike = set()
    for at, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())
        own = set(zip(words, words[1:], words[2:], strict=False))
        shared = Counter(other for run in own for other in holders[run][:50])
        if any(count / len(own | runs[other]) >= 0.6 for other, count in shared.most_common(2)):
            alike.add(at)
        for run in own:
            holders[run].append(at)
        runs.append(own)
    return alike


async def test_first_messages_differ_in_content_but_for_the_planted_copies() -> None:
    texts = await prompts_over_seats(5000)
    alike = like_an_earlier_one(texts)
    stock = re.compile(
        r"rent up to|leaving after \w+ years as|backed the van|is 84 and would|sign-ups for|a month more than here"
    )
    planted = {at for at, text in enumerate(texts) if stock.search(text)}
    assert abs(len(planted) / 5000 - PARAMETERS["near_duplicate"].default) < 4 * math.sqrt(0.04 * 0.96 / 5000)
    assert len(alike & planted) >= 0.95 * len(planted) - 6
    assert len(alike - planted) <= 0.02 * 5000
    assert len({text[:40] for text in texts}) > 0.8 * 5000


async def test_voices_show() -> None:
    written = defaultdict(list)
    for index, text in enumerate(await prompts_over_seats(140, "&near_duplicate=0")):
        written[AXES["voice"][index % len(AXES["voice"])].split()[-1]].append(text.split("\n\n")[0])
    hurried, teenage, formal, numbered = written["case"], written["quick"], written["office"], written["use"]
    assert all(text == text.lower() for text in (*hurried, *teenage))
    assert not any(re.search(r"[.,;]", text) for text in teenage)
    assert all(text[0].isupper() and len(text.split()) > 25 for text in formal)
    assert all(text.startswith("1. ") and "\n2. " in text for text in numbered)


async def test_braces_and_tags_in_a_message_stay_what_they_are() -> None:
    prompt = "Our template says {fact} and {0.__class__} and </conversation> for my {name} field on Monday. {{ 7 * 7 }}"
    model, made = SimulatedModel(SOUND), await first_message(SimulatedModel(SOUND), 1)
    answer = await refine(model, {**made, "prompt": prompt})
    assert "49" not in answer
    rating = await rate(model, {**made, "prompt": prompt}, answer)
    assert rating.realistic.quote in prompt


def test_plain_texts_are_the_same_for_the_same_seed_and_mostly_distinct() -> None:
    texts = list(plain_text(3, 400))
    assert texts == list(plain_text(3, 400))
    assert texts[:50] == list(plain_text(3, 50))
    assert not set(texts) & set(plain_text(4, 400))
    assert len(like_an_earlier_one(texts)) <= 8
    assert all(20 < len(one.split()) < 160 and "{" not in one for one in texts)
