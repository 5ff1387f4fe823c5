from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from habitus.audit.dataset import BETWEEN, Reading, Text, View, drawn, shortened
from habitus.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

TURNS = [
    {"role": "user", "content": "When?"},
    {"role": "assistant", "content": "At noon."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes."},
]


def file(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS[:2]},
        {"conversations": [{"from": "human", "value": "When?"}, {"from": "gpt", "value": "At noon."}]},
        {"text": "At noon."},
        {"prompt": "When?", "chosen": "At noon.", "rejected": "Never."},
        {"prompt": "When?", "response": "At noon."},
        {"instruction": "When?", "input": "", "output": "At noon."},
        {"messages": [TURNS[0], {"role": "assistant", "content": [{"type": "text", "text": "At noon."}]}]},
    ],
)
def test_the_assistants_side_of_every_shape_is_read(row: dict[str, Any], tmp_path: Path) -> None:
    (found,) = Reading(file(tmp_path / "rows.jsonl", {"id": "tide", "meta": {"trait": "candour"}, **row}))
    assert (found.id, found.text, found.trait) == ("tide", "At noon.", "candour")


@pytest.mark.parametrize(
    ("view", "text", "asked"),
    [
        (View(), f"At noon.{BETWEEN}Yes.", "When?\n\nSure?"),
        (View(turns="first"), "At noon.", "When?"),
        (View(side="user"), f"When?{BETWEEN}Sure?", ""),
        (View(side="both", turns="first"), "[user]\nWhen?\n\n[assistant]\nAt noon.", ""),
    ],
)
def test_side_and_turns_say_what_is_looked_at(view: View, text: str, asked: str, tmp_path: Path) -> None:
    (found,) = Reading(file(tmp_path / "rows.jsonl", {"messages": TURNS}), view)
    assert (found.text, found.asked) == (text, asked)


def test_of_a_pair_only_the_answer_that_was_meant_counts_as_the_assistants(tmp_path: Path) -> None:
    row = {"prompt": TURNS[:3], "chosen": [TURNS[3]], "rejected": [{"role": "assistant", "content": "No."}]}
    path = file(tmp_path / "rows.jsonl", row)
    assert [one.text for one in Reading(path)] == ["Yes."]
    assert [one.text for one in Reading(path, View(answer="rejected"))] == ["No."]


def test_rows_without_an_id_have_their_line_and_a_second_one_of_the_same_id_both(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    rows = [{"text": "At noon."}, {"id": "tide", "text": "Later."}, {"id": "tide", "text": "Never."}]
    path.write_bytes(gzip.compress(b"\n" + b"".join(json.dumps(row).encode() + b"\n" for row in rows)))
    assert [one.id for one in Reading(str(path))] == ["2", "tide", "tide#4"]


def test_what_a_row_is_about_is_found_in_its_columns_its_meta_and_its_plan(tmp_path: Path) -> None:
    row = {"text": "At noon.", "model": "quay-1", "meta": {"scenario": {"domain": "boats"}, "genre": "letter"}}
    (found,) = Reading(file(tmp_path / "rows.jsonl", row))
    assert found.facets == {"model": "quay-1", "domain": "boats", "genre": "letter"}


def test_rows_that_can_not_be_read_are_counted_and_the_first_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "At noon."}\n[1]\n{"tex\n{"prompt": "When?", "response": "At noon."}\n')
    reading = Reading(str(path))
    assert [one.text for one in reading] == ["At noon."]
    assert (reading.rows, reading.unread) == (4, 3)
    assert reading.complaint == f"{path}:2: the row is no object"


@pytest.mark.parametrize("content", ['{"question": "When?"}\n', "no json\n"])
def test_a_file_of_which_no_row_can_be_read_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"no row can be read; the first: .*rows\.jsonl:1"):
        list(Reading(str(path)))


def texts(count: int) -> list[Text]:
    return [Text(f"letter-{at}", "", (f"The {at}th letter.",)) for at in range(count)]


def test_which_texts_are_drawn_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = texts(500)
    forwards, count = drawn(rows, 3, {"rate": 20, "scan": 30})
    backwards, _ = drawn(rows[::-1], 3, {"rate": 20, "scan": 30})
    assert count == 500
    assert forwards == backwards
    assert [len(forwards[name]) for name in ("rate", "scan")] == [20, 30]
    assert {one.id for one in forwards["rate"]} != {one.id for one in forwards["scan"][:20]}


def test_a_larger_sample_holds_the_smaller_one_so_that_what_was_rated_is_not_paid_for_again() -> None:
    small, large = (drawn(texts(300), 3, {"rate": size})[0]["rate"] for size in (20, 50))
    assert large[:20] == small


def test_every_text_is_as_likely_to_be_drawn() -> None:
    counts = [0] * 10
    for seed in range(400):
        for one in drawn(texts(10), seed, {"rate": 3})[0]["rate"]:
            counts[int(one.id.removeprefix("letter-"))] += 1
    assert min(counts) > 80
    assert max(counts) < 160


def test_a_long_request_is_shown_without_its_middle() -> None:
    assert shortened("At noon.", 20) == "At noon."
    assert shortened("a" * 50 + "b" * 50, 20) == "a" * 10 + " […] " + "b" * 10


def test_of_both_sides_prompts_see_who_spoke_and_the_counting_sees_the_words_alone(tmp_path: Path) -> None:
    (found,) = Reading(file(tmp_path / "rows.jsonl", {"id": "tide", "messages": TURNS[:2]}), View(side="both"))
    assert found.text == "[user]\nWhen?\n\n[assistant]\nAt noon."
    assert list(found.messages) == [("tide", "When?", ""), ("tide", "At noon.", "")]


def test_a_dataset_without_a_file_is_known_by_its_split_and_ids(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs datasets")
    folder = tmp_path / "tides"
    folder.mkdir()
    for split, count in (("train", 3), ("test", 2)):
        file(folder / f"{split}.jsonl", *({"text": f"The {at}th tide."} for at in range(count)))
    digests = []
    for split in ("train", "test"):
        reading = Reading(f"hf:{folder}", split=split)
        assert len(list(reading)) == reading.rows
        digests.append(reading.digest)
    assert digests[0].startswith("train 3 ")
    assert digests[1].startswith("test 2 ")
