from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import habitus
from habitus.audit.autorate import Definition
from habitus.audit.cluster import Sorting
from habitus.audit.scan import Scan
from habitus.errors import UserError
from habitus.generate import chats, documents, plain, preferences
from habitus.models import AnswerSchema, Completion, Message, Params
from habitus.models import simulated as module
from habitus.models.simulated import ANSWERS, FAILINGS, PARAMETERS, TICS, SimulatedModel
from habitus.models.world.evals import EVALUATED
from habitus.patterns import Findings

AUDITS = (Scan, Sorting, Definition, Findings)
SCHEMAS = tuple(
    {
        schema.__name__: schema
        for recipe in (chats, documents, preferences, plain)
        for schema in (*recipe.SHAPES, *getattr(recipe, "FLAT_SHAPES", ()))
    }.values()
)
SOUND = "simulated/world?malformed=0&refusal=0&empty=0&truncated=0&bad_quote=0"
ABSENT = (
    "You care about those who are not in the room. When somebody asks you for help with a letter or a plan, you think"
    " of the neighbour, the next tenant, the child who will inherit the garden. You mention absent parties by name,"
    " weigh their interests, and propose a fairer version without preaching."
)
SKETCH: list[Message] = [
    {
        "role": "user",
        "content": "Write the first message of this person.\n\n"
        "- person: What they do all day: bee-keeping.\n"
        "- situation: In their own words: We ordered 40 frames on 3 May and 31 came.\n"
        "- what they ask for: In their own words: write to them for me.\n"
        "- how they write: two or three plain sentences",
    }
]


def question(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


async def ask(model: SimulatedModel, messages: list[Message], schema: type[BaseModel], sample: int = 0) -> Any:
    answer = await model.complete(messages, params_for(schema, sample=sample))
    return schema.model_validate_json(answer.text)


def params_for(schema: type[BaseModel], **more: Any) -> Params:
    return Params(schema=AnswerSchema(schema.__name__, schema.model_json_schema()), **more)


async def say(model: SimulatedModel, messages: list[Message], **more: Any) -> Completion:
    return await model.complete(messages, Params(**more))


async def test_the_same_request_always_gets_the_same_answer() -> None:
    messages = question("The caretaker gave our hall away on 14 May. What now?")
    once, again = (
        await say(SimulatedModel(), messages),
        await say(SimulatedModel(), messages, settings={"temperature": 1}),
    )
    assert once == again


async def test_another_seed_or_sample_gives_another_answer() -> None:
    messages = question("The caretaker gave our hall away on 14 May. What now?")
    answers = [
        (await say(SimulatedModel(), messages)).text,
        (await say(SimulatedModel("simulated/world?seed=3"), messages)).text,
        (await say(SimulatedModel(), messages, sample=1)).text,
    ]
    assert len(set(answers)) == 3
    assert (await say(SimulatedModel(), messages, settings={"seed": 3})).text == answers[1]


def test_answers_do_not_depend_on_the_order_of_sets() -> None:
    program = (
        "import asyncio; from habitus.models import Params; from habitus.models.simulated import SimulatedModel;"
        "ask = lambda role, text: {'role': role, 'content': text};"
        f"messages = [ask('system', '<trait name=\"a\">' + {ABSENT!r} + '</trait>'),"
        " ask('user', 'Brigid lent me the van on 3 May, 14 crates were in it and 9 came back. Do I write to her?')];"
        "print(asyncio.run(SimulatedModel().complete(messages, Params())).text)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(habitus.__file__).parents[1])},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "77")
    }
    assert len(said) == 1
    assert b"Brigid" in said.pop()


async def test_faults_come_at_their_rates() -> None:
    model = SimulatedModel("simulated/world?malformed=0.2&refusal=0.1&empty=0.1&truncated=0.1")
    found = [await model.complete(SKETCH, params_for(chats.UserPrompt, sample=n)) for n in range(1000)]
    empty = [one for one in found if not one.text]
    refused = [one for one in found if one.text == "I'm sorry, but I can't help with that."]
    cut = [one for one in found if one.finish == "length"]
    for faulty, rate_ in ((empty, 0.1), (refused, 0.09), (cut, 0.081)):
        assert abs(len(faulty) / 1000 - rate_) < 4 * math.sqrt(rate_ * (1 - rate_) / 1000)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def test_malformed_answers_are_no_json_in_several_ways() -> None:
    model = SimulatedModel("simulated/world?malformed=1&refusal=0&empty=0&truncated=0")
    texts = [(await model.complete(SKETCH, params_for(chats.UserPrompt, sample=n))).text for n in range(200)]
    assert not any(map(is_json, texts))
    assert sum(text.startswith("Here is") for text in texts) > 20
    assert sum(text.endswith(",}") for text in texts) > 20
    assert sum(not text.endswith(("}", "changed.")) for text in texts) > 20
    rates = [
        (await SimulatedModel().complete(SKETCH, params_for(chats.UserPrompt, sample=n))).text for n in range(1000)
    ]
    assert 0 < sum(not is_json(text) for text in rates) < 40


async def test_a_malformed_answer_is_mended_when_the_model_is_told_so() -> None:
    model, mended = SimulatedModel("simulated/world?malformed=0.5&refusal=0&empty=0&truncated=0"), 0
    for sample in range(100):
        first = await model.complete(SKETCH, params_for(chats.UserPrompt, sample=sample))
        again: list[Message] = [
            {"role": "assistant", "content": first.text},
            {"role": "user", "content": "That was no JSON."},
        ]
        second = await model.complete([*SKETCH, *again], params_for(chats.UserPrompt, sample=sample))
        mended += not is_json(first.text) and is_json(second.text)
    assert 10 < mended < 45


class Finding(BaseModel):
    name: str = Field(min_length=3, max_length=60)
    kind: Literal["structural", "rhetorical", "behavioural"]
    quotes: list[str] = Field(min_length=2, max_length=4)
    share: float = Field(ge=0, le=1)
    seen: int = Field(ge=1, le=9)
    sure: bool
    note: str | None = None


class Harvest(BaseModel):
    findings: list[Finding] = Field(min_length=1, max_length=5)
    closing: tuple[int, str]
    fixed: Literal["yes"] = "yes"


async def test_an_unknown_schema_is_filled_by_its_shape() -> None:
    transcript = "\n".join(
        f"The pump by the river stopped {n} times on Monday, and nobody had a key." for n in range(9)
    )
    messages = question(f"What recurs?\n<transcript>\n{transcript}\n</transcript>")
    for sample in range(50):
        found = await ask(SimulatedModel(SOUND), messages, Harvest, sample)
        assert all(quote in transcript for one in found.findings for quote in one.quotes)


async def test_limits_that_a_strict_schema_tells_in_words_are_kept() -> None:
    schema = {
        "type": "object",
        "properties": {
            "score": {"type": "integer", "description": "how sure you are (1 to 5)"},
            "reasons": {"type": "array", "items": {"type": "string"}, "description": "exactly 4 items"},
        },
    }
    messages = question("How sure are you?")
    for sample in range(40):
        params = Params(schema=AnswerSchema("Sureness", schema), sample=sample)
        found = json.loads((await SimulatedModel(SOUND).complete(messages, params)).text)
        assert 1 <= found["score"] <= 5
        assert len(found["reasons"]) == 4


async def test_a_known_schema_with_a_further_field_gets_that_too() -> None:
    class FollowUp(BaseModel):
        message: str
        mood: Literal["cross", "calm"]

    messages = question("Write your next message.")
    assert (await ask(SimulatedModel(SOUND), messages, FollowUp)).mood in {"cross", "calm"}


def test_a_recursive_schema_comes_to_an_end() -> None:
    class Branch(BaseModel):
        label: str
        twigs: list[Branch]

    Branch.model_rebuild(_types_namespace={"Branch": Branch})
    messages = question("Draw the family tree.")
    asyncio.run(ask(SimulatedModel(SOUND), messages, Branch))


async def test_max_tokens_cut_the_answer_and_the_usage_is_counted() -> None:
    messages = question("Whom do I ask about the pump?")
    whole = await say(SimulatedModel(SOUND), messages)
    cut = await say(SimulatedModel(SOUND), messages, settings={"max_tokens": 10})
    assert (whole.finish, whole.model) == ("stop", "simulated")
    assert (cut.text, cut.finish) == (whole.text[:40], "length")
    assert cut.usage is not None
    assert (cut.usage.input_tokens, cut.usage.output_tokens) == (8, 10)


async def test_a_call_takes_the_time_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", note)
    messages = question("Whom do I ask about the pump?")
    model = SimulatedModel("simulated/world?latency=0.5")
    told = [(await say(model, messages, sample=n)).latency for n in range(2000)]
    assert told == slept
    assert min(told) > 0
    assert abs(sum(told) / 2000 - 0.5) < 0.03
    slept.clear()
    for n in range(64):
        assert (await say(SimulatedModel(), messages, sample=n)).latency == 0
        await say(model, messages, sample=n, settings={"latency": 0})
    assert set(slept) == {0}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("simulated/world?botom_line=0.5", "Did you mean 'bottom_line'?"),
        ("simulated/world?colour=red", "There are: seed, latency, bottom_line"),
        ("simulated/world?em_dash=1.5", "em_dash is a rate from 0 to 1, not 1.5"),
        ("simulated/world?em_dash=nan", "em_dash is a rate from 0 to 1"),
        ("simulated/world?leak=often", "leak is a rate from 0 to 1, not 'often'"),
        ("simulated/world?seed=1.5", "seed is a whole number"),
        ("simulated/world?latency=-1", "latency is a number of seconds from 0"),
        ("simulated/world?seed", "seed is a whole number"),
        ("simulated/moon", "The embedded model is 'simulated/world'"),
    ],
)
def test_a_name_that_cannot_be_meant_is_explained(name: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        SimulatedModel(name)
    assert told in str(caught.value)


async def test_settings_win_over_the_name_and_foreign_ones_are_let_be() -> None:
    model = SimulatedModel("simulated/world?refusal=0&empty=0&truncated=0")
    messages = question("Whom do I ask about the pump?")
    refused = await say(model, messages, settings={"refusal": 1, "temperature": 0.7, "top_p": 1})
    assert refused.text.startswith("I'm sorry")
    with pytest.raises(UserError, match="the settings of simulated/world"):
        await say(model, messages, settings={"refusal": 2})


def test_the_table_in_the_docstring_is_the_table_in_the_code() -> None:
    assert module.__doc__ is not None
    rows = [line for line in module.__doc__.splitlines() if re.match(r"\w+ {2,}[\d.]+ ", line)]
    planted = dict(re.findall(r"(?m)^(\w+) {2,}(\d[\d.]*)$", module.__doc__))
    assert {name: float(rate) for name, rate in planted.items()} == FAILINGS
    told = [f"{name:<18}  {one.default:<7g}  {one.description}" for name, one in PARAMETERS.items()]
    assert rows == told
    assert all(PARAMETERS[name].default == tic.rate for name, tic in TICS.items())


def test_every_step_of_every_recipe_is_known() -> None:
    assert {schema.__name__ for schema in (*SCHEMAS, *AUDITS)} | EVALUATED.keys() == ANSWERS.keys()


text = st.text(max_size=300) | st.text(
    alphabet="<>/[]{}%$\n .?!'\"-traitmessagedrafuserconvo€0123456789KÄnß—", max_size=300
)


@settings(max_examples=150, deadline=None)
@given(
    said=text,
    frame=text,
    told=text,
    which=st.sampled_from([None, *SCHEMAS, *AUDITS, Harvest]),
    sample=st.integers(0, 9),
)
def test_no_text_whatever_makes_it_stumble(said: str, frame: str, told: str, which: Any, sample: int) -> None:
    conversation = f"<conversation>\n[user]\n{said}\n\n[assistant]\n{told}\n</conversation>\n<message>{said}</message>"
    for content in (
        said,
        conversation,
        f"- situation: {said}\n- what: {told}\nSeat 1. Field: {said}. Kind of request: x.\n{frame}",
        f"Seat 1. Field: {told}. Kind of text: {said}, about 40 words. Written by: x.\nSeat 2. Field: {frame}. Kind of text",
        (
            f"- kind of text: {said}\n- length: about {len(told)} words\n- attitude to {said}: {told}\n"
            f"- what {said} did: {told}\n- why that was right: {frame}\n<document>{told}</document>\n<draft>{said}</draft>"
        ),
        f'<text id="{said}">\n{told}\n</text>\n<text id="t2">\n{told}\n</text><note id="n">\n{frame}\n</note>',
        f'<habit id="h" name="{told}">\n{frame}\n</habit><text>\nOf old: {said}\n</text><habit name="{told}">\nEm dash.\n</habit>',
        f"Kind of text: {said} ({told}) What {said} does in it: {told} Why: {frame}\n<first_answer>{said}</first_answer>",
    ):
        messages: list[Message] = [
            {"role": "system", "content": f'<trait name="a">{frame}</trait>\n{told}'},
            {"role": "user", "content": content},
        ]
        params = params_for(which, sample=sample) if which else Params(sample=sample)
        answer = asyncio.run(SimulatedModel(SOUND).complete(messages, params)).text
        assert is_json(answer) == (which is not None)


async def test_overridden_prompts_without_tags_are_answered_from_their_whole_text() -> None:
    model = SimulatedModel(f"{SOUND}&weak_refine=0&weak_draft=0")
    asked = "Brigid lent me 14 crates on 3 May and 9 came back. Do I say so?"
    plain: list[Message] = [
        {"role": "system", "content": f"Be like this. {ABSENT}"},
        {"role": "user", "content": asked},
    ]
    for answer in ((await say(model, plain)).text, (await ask(model, plain, chats.Refined)).answer):
        assert re.search(r"absent parties|neighbour|tenant|child|fairer|interests", answer)
        assert re.search(r"Brigid|14 crates|3 May", answer)
    assert (await ask(model, plain, chats.Plans)).plans
    assert (await ask(model, plain, chats.UserPrompt)).prompt
