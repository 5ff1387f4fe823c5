from __future__ import annotations

from typing import Any

import pytest

from habitus.shapes import Unreadable, recognise

ASKED = {"role": "user", "content": "How hot for rye?"}
SAID = {"role": "assistant", "content": "230 °C."}
BADLY = {"role": "assistant", "content": "Hot."}
MORE = {"role": "user", "content": "And then?"}
SYSTEM = {"role": "system", "content": "You bake."}


def messages(row: dict[str, Any]) -> list[dict[str, str]]:
    shape, content, _ = recognise(row)
    assert shape == "chats"
    return content["messages"]


def pair(row: dict[str, Any]) -> tuple[Any, Any, Any]:
    shape, content, _ = recognise(row)
    assert shape == "preferences"
    return content["prompt"], content["chosen"], content["rejected"]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "How hot for rye?"}, {"from": "gpt", "value": "230 °C."}]},
        {"conversation": [{"from": "User", "value": "How hot for rye?"}, {"from": "chatgpt", "value": "230 °C."}]},
        {"messages": [ASKED, SAID]},
        {"messages": [ASKED | {"name": "Zoë", "tool_calls": None}, SAID | {"weight": 1}]},
        {"messages": [ASKED, {"role": "assistant", "content": [{"type": "text", "text": "230 °C."}]}]},
        {"messages": [{"role": "system", "content": ""}, ASKED, SAID]},
        {"prompt": "How hot for rye?", "response": "230 °C."},
        {"prompt": "How hot for rye?", "completion": "230 °C."},
        {"prompt": "How hot for rye?", "output": "230 °C."},
        {"prompt": "How hot for rye?", "answer": "230 °C."},
        {"prompt": [ASKED], "completion": [SAID]},
        {"instruction": "How hot for rye?", "input": "", "output": "230 °C."},
        {"instruction": "How hot for rye?", "output": "230 °C.", "text": "### Instruction: How hot for rye?"},
        {"prompt": "\n\nHuman: How hot for rye?\n\nAssistant:", "response": "230 °C."},
    ],
)
def test_conversations_of_many_makes_become_messages(row: dict[str, Any]) -> None:
    assert messages(row) == [ASKED, SAID]


@pytest.mark.parametrize(
    "row",
    [
        {"system": "You bake.", "conversations": [{"from": "human", "value": "How hot for rye?"}, {"from": "gpt", "value": "230 °C."}]},
        {"conversations": [{"from": "system", "value": "You bake."}, {"from": "human", "value": "How hot for rye?"}, {"from": "gpt", "value": "230 °C."}]},
        {"system": "Ignored, for there is one in it.", "messages": [SYSTEM, ASKED, SAID]},
        {"system": "You bake.", "prompt": "How hot for rye?", "response": "230 °C."},
        {"system": "You bake.", "instruction": "How hot for rye?", "output": "230 °C."},
    ],
)  # fmt: skip
def test_a_system_prompt_comes_first_wherever_it_stood(row: dict[str, Any]) -> None:
    assert messages(row) == [SYSTEM, ASKED, SAID]


def test_the_input_of_an_instruction_follows_it() -> None:
    row = {"instruction": "Convert to metric.", "input": "450 °F", "output": "232 °C"}

    assert messages(row)[0]["content"] == "Convert to metric.\n\n450 °F"


def test_parts_of_a_message_stand_on_lines_of_their_own() -> None:
    parts = [{"type": "text", "text": "How hot"}, "for rye?"]

    assert messages({"messages": [{"role": "user", "content": parts}, SAID]})[0]["content"] == "How hot\nfor rye?"


def test_text_is_a_document() -> None:
    assert recognise({"text": "Minutes of the society."})[:2] == ("documents", {"text": "Minutes of the society."})


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "How hot for rye?", "chosen": "230 °C.", "rejected": "Hot."},
        {"prompt": [ASKED], "chosen": [SAID], "rejected": [BADLY]},
        {"prompt": "How hot for rye?", "chosen": [ASKED, SAID], "rejected": [ASKED, BADLY]},
        {"prompt": [ASKED], "chosen": [ASKED, SAID], "rejected": [ASKED, BADLY]},
        {"chosen": [ASKED, SAID], "rejected": [ASKED, BADLY]},
        {"chosen": "\n\nHuman: How hot for rye?\n\nAssistant: 230 °C.", "rejected": "\n\nHuman: How hot for rye?\n\nAssistant: Hot."},
        {"prompt": "\n\nHuman: How hot for rye?\n\nAssistant:", "chosen": " 230 °C.".strip(), "rejected": "Hot."},
    ],
)  # fmt: skip
def test_pairs_of_many_makes_are_parted_after_the_last_shared_turn(row: dict[str, Any]) -> None:
    assert pair(row) == ([ASKED], [SAID], [BADLY])


def test_longer_conversations_are_parted_where_they_part() -> None:
    row = {"chosen": [SYSTEM, ASKED, SAID, MORE, SAID], "rejected": [SYSTEM, ASKED, SAID, MORE, BADLY]}

    assert pair(row) == ([SYSTEM, ASKED, SAID, MORE], [SAID], [BADLY])


def test_turns_that_both_answers_share_go_to_the_prompt() -> None:
    row = {"prompt": "How hot for rye?", "chosen": [SAID, MORE, SAID], "rejected": [SAID, MORE, BADLY]}

    assert pair(row) == ([ASKED, SAID, MORE], [SAID], [BADLY])


def test_the_system_prompt_of_a_pair_comes_first() -> None:
    row = {"system": "You bake.", "prompt": "How hot for rye?", "chosen": "230 °C.", "rejected": "Hot."}

    assert pair(row)[0] == [SYSTEM, ASKED]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({}, "there are: none"),
        ({"question": "Rye?", "reply": "Yes."}, r"there are: question, reply"),
        ({"messages": []}, "'messages' is no list"),
        ({"messages": "Rye?"}, "'messages' is no list"),
        ({"messages": ["Rye?"]}, "a message is no object"),
        ({"messages": [ASKED]}, "no message of the assistant"),
        ({"messages": [ASKED, {"role": "critic", "content": "Bad."}]}, "role 'critic'"),
        ({"messages": [ASKED, {"content": "Bad."}]}, "role None"),
        ({"messages": [ASKED, {"role": "assistant", "content": ""}]}, "message of the assistant is empty"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, "is no text"),
        ({"messages": [ASKED, SAID | {"tool_calls": [{"name": "oven"}]}]}, "calls tools"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, SAID]}, "'image_url'"),
        ({"prompt": "", "response": "230 °C."}, "'prompt' is empty"),
        ({"prompt": "Rye?", "response": 230}, "'response' is no text"),
        ({"text": " \n"}, "the text is empty"),
        ({"text": 7}, "'text' is no text"),
        ({"prompt": "Rye?", "chosen": "Yes.", "rejected": "Yes."}, "are the same"),
        ({"chosen": "Yes.", "rejected": "No."}, "share no turn"),
        ({"chosen": [ASKED, SAID, MORE, SAID], "rejected": [ASKED, BADLY, MORE, SAID]}, "part before the last answer"),
        ({"chosen": [ASKED, SAID], "rejected": [ASKED]}, "part before the last answer"),
        ({"chosen": "\n\nHuman: \n\nAssistant: Hm.", "rejected": "\n\nHuman: \n\nAssistant: Oh."}, "user is empty"),
    ],
)
def test_what_can_not_be_read_says_why(row: dict[str, Any], told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        recognise(row)


def test_a_column_without_a_value_is_as_if_it_were_not_there() -> None:
    row = {"messages": None, "chosen": None, "rejected": None, "prompt": "How hot for rye?", "response": "230 °C."}

    assert messages(row) == [ASKED, SAID]
