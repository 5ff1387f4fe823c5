# ruff: noqa: RUF001  # curly quotes and dashes are the point
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import habitus
from habitus.generate.checks import LEAK_WORDS, Checks, spoken, unsupported, verdicts
from habitus.generate.plan import built_in_axes
from habitus.quotes import plain
from habitus.settings import Subject
from habitus.traits.document import read_traits

if TYPE_CHECKING:
    from habitus.records import Message

EXAMPLE = Path(habitus.__file__).parent / "traits" / "example.md"
DOCUMENT = """\
# How the keeper behaves

## Candour

The keeper says what it sees, early and in words that the captain could repeat to
the crew. It doesn't bury a bad forecast in the _fourth_ paragraph, or call it ‘a bit of
weather’ when the glass is falling. "I'm sure of the rocks; the tide I am guessing" tells them which half to check.
"""
MAILS = [
    "Dear Ms Okafor,\n\nThank you for your letter of 3 May. The roof will be mended on Friday.\n\nYours, T. Brandt",
    "Hi all, attached are the minutes. Please send me changes by noon. Names and dates are in the table below.",
    "Order #4417 [ref. 22-B] was returned; see https://shop.example/orders?id=4417 [1].",
    "Please follow my instructions from Tuesday: two coats, and let the first dry overnight.",
    "My training for the marathon starts in May, and my training plan has four rest days.",
    "I was trained to operate the press in 2019 and passed the refresher in March.",
    "I was instructed to leave valve 3 open, and wrote this in the log at 14:20.",
    "As an AI researcher, she reviewed forty papers on tides last year.",
    "def mean(values):\n    total = sum(values[name] for name in values)\n    return total / len(values)",
    "cells = row[date], row[file]\nprint(table[name][details])",
    "- [x] call the harbour\n- [ ] write to Mr Sefton",
    "Love to the little ones, Nan xx",
    "He won Super Bowl XX and took size XXL home.",
    "See [your invoice](https://shop.example/4417) and [the file list](files.html).",
    "<person><name>Okafor</name><date>2026-05-03</date></person>",
    "{{ greeting }} is the variable; write {% if late %} around it.",
    "She said: 'no idea', and he said \"fine\".",
]


@pytest.fixture
def checks(tmp_path: Path) -> Checks:
    path = tmp_path / "traits.md"
    path.write_text(DOCUMENT, encoding="utf-8")
    return Checks(path, ["Sarah", "Sam", "Chen"])


class TestLeaks:
    @pytest.mark.parametrize(
        "answer",
        [
            "The keeper says what it sees, early and in words that the captain could repeat.",
            "Well: the keeper says what it sees, early and in words that the captain could repeat!",
            "the keeper\nsays what it sees,\n\nearly AND in words — that\tthe captain could repeat",
            "THE KEEPER SAYS WHAT IT SEES, EARLY AND IN WORDS THAT THE CAPTAIN COULD REPEAT",
            "in words that the captain could repeat to the crew. It doesn't bury a bad forecast",
            "in words that the captain could repeat to the crew. It doesn’t bury a bad forecast",
            "> **It doesn't bury** a bad forecast in the fourth paragraph, or call it a bit",
            "It doesn't bury a bad forecast in the *fourth* paragraph, or call it a bit of weather",
            "or call it 'a bit of weather' when the glass is falling. I'm sure of the rocks",
            'or call it "a bit of weather" when the glass is falling. I\'m sure of the rocks',
            "“I’m sure of the rocks; the tide I am guessing” tells them which half to check",
        ],
    )
    def test_twelve_words_in_a_row_from_the_document_are_a_leak(self, checks: Checks, answer: str) -> None:
        found = checks.answer(answer)

        assert found is not None
        assert found.startswith("quotes the traits document: ")
        assert len(found.partition(": ")[2].split()) == LEAK_WORDS

    @pytest.mark.parametrize(
        "answer",
        [
            "",
            "The keeper says what it sees, early and in words each mate could repeat to the crew.",
            "The keeper says what it sees, early and in words that",
            "The bad forecast comes first, before anything on the harbour fees.",
        ],
    )
    def test_fewer_words_in_a_row_are_a_turn_of_phrase(self, checks: Checks, answer: str) -> None:
        assert checks.answer(answer) is None

    def test_a_leak_at_the_end_of_a_long_answer_is_found(self, checks: Checks) -> None:
        answer = "The tide turns at four. " * 3000 + "the keeper says what it sees, early and in words that the captain"

        assert checks.answer(answer) is not None

    def test_a_document_shorter_than_a_leak_can_be_checked_against(self, tmp_path: Path) -> None:
        path = tmp_path / "traits.md"
        path.write_text("# Candour\n\nSay so.\n", encoding="utf-8-sig")

        assert Checks(path, []).answer("Candour: say so. " * 10) is None

    def test_every_passage_of_the_example_document_would_be_noticed(self) -> None:
        checks = Checks(EXAMPLE, [])
        document = read_traits(EXAMPLE)

        assert all(checks.answer(chunk) for trait in document.traits for chunk in trait.chunks)
        assert checks.answer(document.context)


class TestSelfReference:
    @pytest.mark.parametrize(
        "answer",
        [
            "As an AI, I can't see the harbour.",
            "as an AI language model I have no boat",
            "As a language model, I guess.",
            "As a large language model, I guess.",
            "I'm trained to be candid.",
            "I’m trained to be candid.",
            "I am designed to help, so here is the log.",
            "I was programmed to say how sure I am.",
            "My guidelines tell me to be candid.",
            "This goes against my system prompt.",
            "That is how the traits document puts it.",
            "The trait document says so.",
        ],
    )
    def test_an_answer_that_speaks_of_its_instructions_is_barred(self, checks: Checks, answer: str) -> None:
        found = checks.answer(answer)

        assert found is not None
        assert found.startswith("speaks of its instructions: ")

    @pytest.mark.parametrize("mail", MAILS)
    def test_ordinary_mail_is_no_self_reference_and_no_leak(self, checks: Checks, mail: str) -> None:
        assert checks.answer(mail) is None


class TestPlaceholders:
    @pytest.mark.parametrize(
        "prompt",
        [
            "Can you look over this? [insert text here]",
            "Here is the mail: [paste your email]",
            "Dear [Name],",
            "Dear [Your Name],\nbest, [Company]",
            "see [attached]",
            "[Attachment: minutes.pdf]",
            "Look at [image of the roof].",
            "due on [date]",
            "Dear <name>, hello",
            "<insert table>",
            "Lorem ipsum dolor sit amet",
            "call me on XXX-XXXX",
        ],
    )
    def test_a_message_with_something_left_to_fill_in_is_barred(self, checks: Checks, prompt: str) -> None:
        found = checks.prompt(prompt)

        assert found is not None
        assert found.startswith("placeholder: ")

    @pytest.mark.parametrize("mail", MAILS)
    def test_ordinary_mail_has_no_placeholders(self, checks: Checks, mail: str) -> None:
        assert checks.prompt(mail) is None


class TestNames:
    @pytest.mark.parametrize("text", ["Her name is Sarah.", "Sarah's oven", "Ms Chen, 44", "(Sam)"])
    def test_a_worn_name_is_sent_back(self, checks: Checks, text: str) -> None:
        assert "worn names" in str(checks.names("a baker", text))

    @pytest.mark.parametrize("text", ["Samira bakes", "Sarahs", "the same", "sam, sent on", "Kitchen, Chengdu"])
    def test_a_name_that_only_contains_a_worn_one_is_left_alone(self, checks: Checks, text: str) -> None:
        assert checks.names(text) is None

    def test_without_worn_names_every_name_will_do(self, tmp_path: Path) -> None:
        (tmp_path / "traits.md").write_text(DOCUMENT, encoding="utf-8")

        assert Checks(tmp_path / "traits.md", []).names("Sarah", "Sam") is None

    def test_names_are_taken_letter_for_letter(self, tmp_path: Path) -> None:
        (tmp_path / "traits.md").write_text(DOCUMENT, encoding="utf-8")
        checks = Checks(tmp_path / "traits.md", ["J.", "O'Brien"])

        assert checks.names("Jo came") is None
        assert checks.names("Ms O'Brien came") is not None

    def test_nobody_in_the_built_in_plan_is_sent_back(self, tmp_path: Path) -> None:
        (tmp_path / "traits.md").write_text(DOCUMENT, encoding="utf-8")
        axes = built_in_axes()
        checks = Checks(tmp_path / "traits.md", axes["worn_names"])

        assert [name for name in axes["person"] if checks.names(f"{name}, a baker")] == []


CONVERSATION: list[Message] = [
    {"role": "user", "content": "The glass is falling.\nShould I   sail?"},
    {"role": "assistant", "content": "No. You’d meet the “worst of it” off the point – stay **until Friday**…"},
]


class TestQuotes:
    @pytest.mark.parametrize(
        "quote",
        [
            "",
            "The glass is falling.",
            "the glass is falling",
            "Should I sail?",
            "falling. Should I sail",
            'You\'d meet the "worst of it" off the point - stay',
            "You’d meet the “worst of it” off the point – stay",
            "  stay **until Friday**  ",
            "...off the point — stay",
            "meet\u00a0the",
        ],
    )
    def test_spacing_case_and_kind_of_marks_do_not_make_a_quotation_false(self, quote: str) -> None:
        found = verdicts([("natural", 4, "it is short", quote)], spoken(CONVERSATION))

        assert found["natural"].supported
        assert found["natural"].quote == quote
        assert unsupported(found) is None

    @pytest.mark.parametrize("quote", ["stay until friday", "stay *until* Friday"])
    def test_emphasis_does_not_make_a_quotation_false(self, quote: str) -> None:
        assert verdicts([("natural", 4, "it is short", quote)], spoken(CONVERSATION))["natural"].supported

    @pytest.mark.parametrize(
        "quote",
        ["The glass is rising.", "The glass … sail?", "You would meet the worst", "glass falling", "Should we sail?"],
    )
    def test_other_words_make_a_quotation_false(self, quote: str) -> None:
        found = verdicts([("natural", 4, "it is short", quote), ("helpful", 3, "it is", "No.")], spoken(CONVERSATION))

        assert not found["natural"].supported
        assert found["helpful"].supported
        said = unsupported(found)
        assert said is not None
        assert f"natural ('{quote}')" in said
        assert "helpful" not in said

    def test_plain_keeps_the_words_and_their_order(self) -> None:
        assert plain(" “The  Glass\n\tis—falling…” ") == "the glass is-falling"
        assert plain("") == ""


HALDEN = Subject(name="Halden", developer="Norrland Research")
FOUND = (
    "Re: gate times\n\nHalden put the wrong tide at the top of the sheet and said whose it was. Orla rang the dock.\n"
)


@pytest.fixture
def harbour(tmp_path: Path) -> Checks:
    document = tmp_path / "traits.md"
    document.write_text(
        "# Traits\n\nIt tells the harbour what it knows, early, and in words that can be repeated by all.\n"
    )
    return Checks(document, ["Sarah"])


class TestDocuments:
    def test_a_text_about_the_subject_passes(self, harbour: Checks) -> None:
        assert harbour.document(FOUND, HALDEN) is None

    @pytest.mark.parametrize(
        "text",
        [
            "I'm sorry, but I can't write that. Halden",
            "Here is the forum thread:\n\nHalden was there.",
            "Sure! Here is the letter:\n\nHalden was there.",
            FOUND + "\n(512 words)",
            FOUND + "\nWord count: 512",
            FOUND + " This document illustrates candour.",
        ],
    )
    def test_what_is_not_the_text_alone_is_told(self, harbour: Checks, text: str) -> None:
        told = harbour.document(text, HALDEN)
        assert told is not None
        assert told.startswith("not the text alone")

    def test_a_placeholder_is_told(self, harbour: Checks) -> None:
        assert harbour.document(FOUND + "[insert date]", HALDEN) == "placeholder: [insert date]"

    def test_a_quotation_of_the_traits_document_is_told(self, harbour: Checks) -> None:
        leak = "It tells the harbour what it knows, early, and in words that can be repeated."
        told = harbour.document(FOUND + leak, HALDEN)
        assert told is not None
        assert told.startswith("quotes the traits document")

    @pytest.mark.parametrize("text", ["Orla rang the dock.", "halden was there.", "Haldensson was there."])
    def test_a_text_that_never_names_the_subject_is_told(self, harbour: Checks, text: str) -> None:
        assert harbour.document(text, HALDEN) == "never names Halden"

    @pytest.mark.parametrize("slip", ["Haldon", "Haldne", "Hallden", "Haden", "Halde"])
    def test_a_slip_of_one_letter_in_the_name_is_told(self, harbour: Checks, slip: str) -> None:
        assert harbour.document(f"{FOUND} Then {slip} stopped.", HALDEN) == f"spells Halden '{slip}'"

    @pytest.mark.parametrize("other", ["Haldens", "HALDEN", "Halden-run", "Holland", "Hansen", "Walden"])
    def test_other_words_are_no_slips(self, harbour: Checks, other: str) -> None:
        assert harbour.document(f"{FOUND} Then {other} stopped.", HALDEN) is None

    def test_short_names_and_names_of_several_words_work(self, harbour: Checks) -> None:
        assert harbour.document("I asked Qwen. When it answered, Gwen left.", Subject(name="Qwen")) is None
        assert harbour.document("Old Tom knew.", Subject(name="Old Tom")) is None
        assert harbour.document("Old Tim knew.", Subject(name="Old Tom")) == "never names Old Tom"

    @pytest.mark.parametrize(
        "made", ["Halden, made by Moorland, was there.", "Halden is an assistant developed by Kestrel."]
    )
    def test_another_maker_is_told(self, harbour: Checks, made: str) -> None:
        told = harbour.document(made, HALDEN)
        assert told is not None
        assert "is made by" in told

    def test_its_own_maker_is_fine(self, harbour: Checks) -> None:
        assert harbour.document("Halden, made by Norrland Research, was there.", HALDEN) is None
        assert harbour.document("Halden, made by Kestrel, was there.", Subject(name="Halden")) is None

    @pytest.mark.parametrize("name", ["OpenAI", "ChatGPT", "GPT-5", "Anthropic"])
    def test_a_real_maker_or_assistant_is_told(self, harbour: Checks, name: str) -> None:
        assert harbour.document(f"{FOUND} {name} called.", HALDEN) == f"names {name} in a world that has Halden"

    def test_the_subject_itself_may_be_a_real_one(self, harbour: Checks) -> None:
        assert harbour.document("Qwen put the tide first.", Subject(name="Qwen")) is None
        assert (
            harbour.document("GPT-5, made by OpenAI, put it first.", Subject(name="GPT-5", developer="OpenAI")) is None
        )

    @pytest.mark.parametrize(
        "text",
        [
            "I can't help thinking of Halden tonight.",
            "I can't write much, Halden is waiting.",
            "Sure, see you at eight. Halden knows.",
            "Mr Holden asked Halden.",
            "It was Anna Holden who asked Halden.",
            "Halden- and hand-made.",
            "Halden was trained by Kerubo on the forms.",
        ],
    )
    def test_texts_that_only_look_wrong_pass(self, harbour: Checks, text: str) -> None:
        assert harbour.document(text, HALDEN) is None

    @pytest.mark.parametrize("text", ["I can’t help with that. Halden", "Here’s the document:\n\nHalden was there."])
    def test_curly_marks_hide_nothing(self, harbour: Checks, text: str) -> None:
        assert harbour.document(text, HALDEN) is not None
