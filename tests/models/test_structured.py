from __future__ import annotations

import contextlib
import json
import pickle
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from habitus.models.structured import LONGEST, Unreadable, instruction, parse, repair_messages, schema_of

if TYPE_CHECKING:
    from habitus.models import Message


class Tone(StrEnum):
    warm = "warm"
    dry = "dry"


class Judgement(BaseModel):
    realistic: int = Field(ge=1, le=5, description="how much this reads like a message somebody sent")
    verdict: Literal["strict", "broad", "no"] = Field(description="how clearly the pattern is there")
    reason: str = Field(description="one sentence saying why")
    quote: str | None = Field(description="the words that show it, copied exactly")
    leaks: bool = Field(description="it names the document")


class Pattern(BaseModel):
    """What a scan found; this line is for readers of the code."""

    name: str = Field(description="a short name for it")
    quotes: tuple[str, ...] = Field(description="verbatim examples", min_length=1, max_length=3)


class Findings(BaseModel):
    patterns: list[Pattern] = Field(description="recurring patterns, most striking first")
    worst: Pattern | None = Field(description="the one to filter out")
    tone: Tone
    kind: Literal["scan"] = "scan"
    share: float = Field(ge=0, lt=1)


class Plan(BaseModel):
    what: str
    how: str = ""


JUDGED = Judgement(realistic=4, verdict="broad", reason="It is long, but plain.", quote=None, leaks=False)
PLAIN = '{"realistic": 4, "verdict": "broad", "reason": "It is long, but plain.", "quote": null, "leaks": false}'


def problem_of(text: str, model: type[BaseModel] = Judgement) -> str:
    with pytest.raises(Unreadable) as caught:
        parse(text, model)
    assert caught.value.text == text
    return caught.value.problem


# the schema


def test_the_schema_is_inlined_closed_and_wants_every_field() -> None:
    made = schema_of(Findings)
    assert made.name == "Findings"
    written = json.dumps(made.schema)
    assert all(word not in written for word in ("$", "title", "default", "minItems", "exclusiveMaximum"))

    def check(node: dict[str, Any]) -> None:
        if node.get("type") == "object":
            assert node["required"] == list(node["properties"])
            assert node["additionalProperties"] is False
        for child in [*node.get("properties", {}).values(), *node.get("anyOf", []), *filter(None, [node.get("items")])]:
            check(child)

    check(made.schema)


def test_limits_are_told_in_the_descriptions() -> None:
    properties = schema_of(Findings).schema["properties"]
    assert properties["share"]["description"] == "at least 0, below 1"
    quotes = properties["patterns"]["items"]["properties"]["quotes"]
    assert quotes["description"] == "verbatim examples (1 to 3 items)"
    assert schema_of(Judgement).schema["properties"]["realistic"]["description"].endswith("somebody sent (1 to 5)")


def test_a_fixed_value_and_an_enum_are_lists_of_values_and_docstrings_stay_home() -> None:
    properties = schema_of(Findings).schema["properties"]
    assert properties["kind"] == {"type": "string", "enum": ["scan"]}
    assert properties["tone"] == {"type": "string", "enum": ["warm", "dry"]}
    assert "readers of the code" not in json.dumps(schema_of(Findings).schema)


def test_the_schema_of_a_model_is_made_once() -> None:
    assert schema_of(Findings) is schema_of(Findings)


class Tree(BaseModel):
    children: list[Tree]


class Open(BaseModel):
    counts: dict[str, int]


class Mixed(BaseModel):
    pair: tuple[int, str]


class Anything(BaseModel):
    value: Any


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Tree, "Tree.children: Tree contains itself"),
        (Open, "Open.counts: a strict schema needs named fields"),
        (Mixed, "Mixed.pair: a strict schema needs one type"),
        (Anything, "Anything.value: a strict schema needs one type"),
    ],
)
def test_what_a_strict_schema_cannot_say_is_refused_by_its_place(model: type[BaseModel], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        schema_of(model)


# the instruction


def test_the_instruction_draws_the_json_with_each_description_in_its_place() -> None:
    assert (
        instruction(Judgement)
        == """Answer with this JSON object and nothing else.

{
  "realistic": <integer: how much this reads like a message somebody sent (1 to 5)>,
  "verdict": <"strict" or "broad" or "no": how clearly the pattern is there>,
  "reason": "<one sentence saying why>",
  "quote": <string or null: the words that show it, copied exactly>,
  "leaks": <true or false: it names the document>
}"""
    )


def test_the_instruction_draws_lists_and_objects_within_objects() -> None:
    assert (
        instruction(Findings)
        == """Answer with this JSON object and nothing else.

{
  "patterns": [{
    "name": "<a short name for it>",
    "quotes": ["<verbatim examples (1 to 3 items)>", …]
  }, … <recurring patterns, most striking first>],
  "worst": <the one to filter out> {
    "name": "<a short name for it>",
    "quotes": ["<verbatim examples (1 to 3 items)>", …]
  } or null,
  "tone": <"warm" or "dry">,
  "kind": "scan",
  "share": <number: at least 0, below 1>
}"""
    )


# reading


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"  \n{PLAIN}\n",
        f"[{PLAIN}]",
        f"\ufeff{PLAIN}",
        f"```json\n{PLAIN}\n```",
        f"```\n{PLAIN}\n```\nI hope this helps!",
        f"Here is my judgement of {{the chat}}: {PLAIN} It was a close call {{really}}.",
        f"Of the {{braces}} the first {{ is never closed. {PLAIN}",
        f'The message says "I am sorry {{". {PLAIN}',
        f"The shape was {{}} and I fill it: {PLAIN}",
        f'An example: {{"realistic": 9}}. Mine: {PLAIN}',
        f"<think>First guess: {PLAIN.replace('4', '1')} but no.</think>\n{PLAIN}",
        f"<thinking>\nA { {1} } and an open {{ here\n</thinking>\n\n```json\n{PLAIN}\n```",
        f"the template opened the tag, so only its end is seen</think>{PLAIN}",
        PLAIN.replace("false}", "false,}"),
        PLAIN.replace('"quote"', "“quote”").replace('"reason"', "“reason”"),
        PLAIN.replace('"', "'").replace("null", "None").replace("false", "False"),
        PLAIN.replace('"realistic"', "realistic").replace('"leaks"', "leaks"),
        PLAIN.replace(", ", "\n"),
    ],
)
def test_an_answer_is_read_however_it_is_wrapped(text: str) -> None:
    assert parse(text.replace("plain.\n", "plain.").replace("long\nbut", "long, but"), Judgement) == JUDGED


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("First line\nsecond\tline", "First line\nsecond\tline"),
        ('She said "no", and left', 'She said "no", and left'),
        (r"by \(x\) and \alpha", r"by \(x\) and \alpha"),
        (r"caf\u00e9 isn't \"closed\"", 'café isn\'t "closed"'),
    ],
)
def test_strings_with_raw_line_ends_and_stray_quotes_keep_every_word(raw: str, reason: str) -> None:
    assert parse(PLAIN.replace("It is long, but plain.", raw), Judgement).reason == reason


def test_a_tag_that_an_object_quotes_is_part_of_its_string() -> None:
    text = f"Sure. {PLAIN.replace('It is long', 'It prints </think> and }')} Done."
    assert parse(text, Judgement).reason == "It prints </think> and }, but plain."


def test_a_draft_within_the_reasoning_is_no_answer() -> None:
    assert "no JSON object" in problem_of(f"<think>maybe {PLAIN}</think>I cannot judge this.")
    assert "middle of the reasoning" in problem_of(f"<think>maybe {PLAIN}, or else")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the answer is empty"),
        ("I am sorry, I cannot judge that.", "there is no JSON object in the answer"),
        ("4", "the answer is JSON, but not an object"),
        (f"[{PLAIN}, {PLAIN}]", "the answer is JSON, but not an object"),
        (PLAIN[:-30], "never closed; it seems to be cut off"),
        ('Note: {"score": 4} it is', "none of the fields leaks, quote, realistic, reason, verdict"),
        (PLAIN.replace("4", "7"), "realistic: input should be less than or equal to 5, not 7"),
        (PLAIN.replace('"broad"', '"maybe"'), "verdict: input should be 'strict', 'broad' or 'no', not 'maybe'"),
        ('{"realistic": 4, "verdict": "no", "leaks": false, "quote": null}', "reason is missing"),
        (PLAIN.replace('"It is long, but plain."', ""), "not valid: expecting value, near"),
        (PLAIN.replace('"It is long, but plain."', r'"\ud83d"'), "only half a character"),
        (f'{PLAIN[:-1]}, "x": {"[" * 5000}{"]" * 5000}}}', "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_so_that_the_model_can_mend_it(text: str, said: str) -> None:
    assert said in problem_of(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"what": , "how": "slowly"}',
        '{"what"}',
        '{"what": "go" "how"}',
        '{"what": "go", // the way\n "how": "slowly" "surely"}',
        "{'how': 'slowly', 'what': 'it's here'}",
        '{"what": "go", what: "stay"}',
        '{"what": "go", "how": "slo',
        '{"how": "slowly",}',
        "{}",
        "[{}]",
        "{what}",
    ],
)
def test_mending_never_makes_up_or_loses_a_word(text: str) -> None:
    problem_of(text, Plan)


def test_many_problems_are_told_by_the_first_five() -> None:
    class Long(BaseModel):
        a: int
        b: int
        c: int
        d: int
        e: int
        f: int
        g: int

    assert problem_of('{"a": 1}', Long).count("is missing") == 5
    assert problem_of('{"a": 1}', Long).endswith("; and 1 more")


def test_plain_json_of_ten_megabytes_is_read() -> None:
    assert len(parse(json.dumps({"what": "x" * 10_000_000}), Plan).what) == 10_000_000


@pytest.mark.parametrize(
    "text",
    [
        '{"what": ' * 1_000_000,
        "{" * 100_000,
        '{"' + '\\"' * 99_000,
        "{x}" * 60_000,
        "{a:" * 60 + "[" * 100_000 + "}" * 60,
        '{"what": "' + 'he said "go", then "x": y. ' * 3_000 + '"}',
        "{" + "a:" * 40_000 + "}",
    ],
    ids=["megabytes", "braces", "quotes", "many", "deep", "stray", "colons"],
)
def test_junk_ends_in_a_clear_refusal(text: str) -> None:
    assert len(problem_of(text, Plan)) < 300


def test_beyond_a_size_only_plain_json_is_read() -> None:
    assert "too long to look for it" in problem_of("x" * (LONGEST + 1))


def test_an_unreadable_answer_survives_a_trip_between_processes() -> None:
    again = pickle.loads(pickle.dumps(Unreadable("reason is missing", "{}")))
    assert (again.problem, again.text, str(again)) == ("reason is missing", "{}", "reason is missing")


steady = settings(derandomize=True, deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text("{}[]\"',:\\/<> \nthink`“”")
patterns = st.builds(Pattern, name=texts, quotes=st.lists(texts, min_size=1, max_size=3).map(tuple))
findings = st.builds(
    Findings,
    patterns=st.lists(patterns, max_size=3),
    worst=st.none() | patterns,
    tone=st.sampled_from(Tone),
    kind=st.just("scan"),
    share=st.floats(0, 0.999),
)
asides = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}<"))


@steady
@given(findings, st.booleans())
def test_any_object_written_as_json_is_read_back(found: Findings, indented: bool) -> None:
    assert parse(found.model_dump_json(indent=2 if indented else None), Findings) == found


@steady
@given(findings, asides, asides, st.sampled_from(["{}", "```json\n{}\n```", "<think>{}</think>"]))
def test_any_object_among_other_words_is_read_back(found: Findings, before: str, after: str, frame: str) -> None:
    written = found.model_dump_json()
    if frame.startswith("<think>"):
        wrapped = f"<think>{before} {{</think>{after}{written}"
    else:
        wrapped = before + frame.replace("{}", written) + after
    assert parse(wrapped, Findings) == found


@steady
@given(findings)
def test_any_object_with_a_comma_after_its_last_entry_is_read_back(found: Findings) -> None:
    assert parse(found.model_dump_json()[:-1] + ",\n}", Findings) == found


@steady
@given(findings)
def test_any_object_without_its_quotes_around_a_name_is_read_back_or_refused(found: Findings) -> None:
    try:
        read = parse(found.model_dump_json().replace('"share"', "share"), Findings)
    except Unreadable:
        return
    assert words(read) == words(found)


def words(found: Findings) -> str:
    """Leave out white space and marks, which mending may tidy."""
    patterns = [*found.patterns, *([found.worst] if found.worst else [])]
    written = "".join(pattern.name + "".join(pattern.quotes) for pattern in patterns)
    return "".join(letter for letter in written if letter.isalnum())


@steady
@given(st.text("{}[]\"',:\\ anwhto1.\n<>/k", max_size=300))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    with contextlib.suppress(Unreadable):
        parse(text, Plan)


# the repair round


ASKED: list[Message] = [{"role": "system", "content": "You judge."}, {"role": "user", "content": "Judge this chat."}]


def test_the_repair_round_shows_the_answer_and_says_what_is_wrong() -> None:
    again = repair_messages(ASKED, "<think>hm</think>\n{}", "reason is missing.")
    assert again[:2] == ASKED
    assert again[2] == {"role": "assistant", "content": "{}"}
    assert again[3]["role"] == "user"
    assert again[3]["content"].startswith("That answer cannot be used: reason is missing.\nSend the whole JSON")
    assert len(ASKED) == 2


def test_the_repair_round_shows_the_ends_of_a_long_answer() -> None:
    shown = repair_messages(ASKED, "a" * 5000 + "z" * 5000, "it is not JSON")[2]["content"]
    assert shown.startswith("aaa")
    assert "6,000 characters left out" in shown
    assert shown.endswith("zzz")
    assert len(shown) < 4100


def test_the_repair_round_never_sends_an_empty_message() -> None:
    assert repair_messages(ASKED, " \n", "the answer is empty")[2]["content"]
