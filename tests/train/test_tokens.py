"""What carries loss, looked at token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from habitus.errors import UserError
from habitus.train.rows import Row
from habitus.train.tokens import DOCTAG, MASKED, tokenise_chats, tokenise_documents, tokenise_pairs

if TYPE_CHECKING:
    from habitus.train.start import Start

MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] }}<|im_end|>{% endgeneration %}{{ '\n' }}{% else %}{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}{{ m['content'] }}<|im_end|>{% endif %}{% endfor %}"
ENDLESS = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def row(*turns: str, system: str = "") -> Row:
    roles = ("user", "assistant")
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": roles[at % 2], "content": said} for at, said in enumerate(turns)]
    return Row("chat-1", "chats", "candour", {"messages": messages}, "chats/kept.jsonl:1")


TALK = row(
    "When does the Alda leave?",
    "At 9.\n\nOr at 10.",
    "Which?",
    "At 10. The assistant said so: At 9.",
    system="Be kind.",
)


def trained(tokenizer: Any, one: Any) -> str:
    return tokenizer.decode([label for label in one.labels if label != MASKED])


@pytest.mark.parametrize("template", [None, MARKED], ids=["without markers", "with markers"])
def test_loss_is_on_the_assistants_turns_and_their_ends_alone(start: Start, template: str | None) -> None:
    tokenizer = start.tokenizer
    tokenizer.chat_template = template or tokenizer.chat_template
    (one,) = tokenise_chats([TALK], tokenizer, 200)

    assert trained(tokenizer, one) == "At 9.\n\nOr at 10.<|im_end|>At 10. The assistant said so: At 9.<|im_end|>"
    assert tokenizer.decode(one.ids) == tokenizer.apply_chat_template(TALK.content["messages"], tokenize=False)
    assert all(label in {token, MASKED} for token, label in zip(one.ids, one.labels, strict=True))


def test_both_ways_of_telling_the_assistants_tokens_agree(start: Start) -> None:
    tokenizer = start.tokenizer
    (derived,) = tokenise_chats([TALK], tokenizer, 200)
    tokenizer.chat_template = MARKED
    (marked,) = tokenise_chats([TALK], tokenizer, 200)

    assert (derived.ids, derived.labels) == (marked.ids, marked.labels)


def test_letters_that_the_tokenizer_composes_are_no_fault_of_the_template(start: Start) -> None:
    from tokenizers import normalizers

    start.tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    (one,) = tokenise_chats([row("Where?", "At the Cafe\u0301.")], start.tokenizer, 200)

    assert trained(start.tokenizer, one) == "At the Caf\u00e9.<|im_end|>"


def test_a_template_that_rewrites_earlier_turns_is_refused(start: Start) -> None:
    start.tokenizer.chat_template = FORGETFUL
    with pytest.raises(UserError, match="can't be told for certain"):
        tokenise_chats([TALK], start.tokenizer, 200)


def test_a_template_that_ends_no_turn_is_refused(start: Start) -> None:
    start.tokenizer.chat_template = ENDLESS
    with pytest.raises(UserError, match="would not learn to stop"):
        tokenise_chats([row("When?", "At 9.")], start.tokenizer, 200)


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('System role not supported') }}", "{% for m in messages %}{{ m.content }"]
)
def test_a_template_that_fails_on_a_row_is_told_with_its_line(start: Start, template: str) -> None:
    start.tokenizer.chat_template = template
    with pytest.raises(UserError, match="can't write this conversation") as told:
        tokenise_chats([TALK], start.tokenizer, 64)
    assert told.value.where == "chats/kept.jsonl:1"
    asked, answered = TALK.content["messages"][1:2], TALK.content["messages"][2:3]
    pair = {"prompt": asked, "chosen": answered, "rejected": answered}
    with pytest.raises(UserError, match="can't write this conversation"):
        tokenise_pairs([Row("pair-1", "preferences", "", pair, "")], start.tokenizer, 64)


def test_a_tokenizer_without_a_chat_template_is_refused(start: Start) -> None:
    start.tokenizer.chat_template = None
    with pytest.raises(UserError, match="has no chat template"):
        tokenise_chats([TALK], start.tokenizer, 200)


def test_what_is_over_the_longest_row_is_cut_off_and_counted(start: Start) -> None:
    (whole,), (cut,) = (tokenise_chats([TALK], start.tokenizer, longest) for longest in (200, 30))

    assert len(cut.ids) == len(cut.labels) == 30
    assert cut.cut == len(whole.ids) - 30


def test_a_long_document_goes_on_in_further_rows_and_loses_no_token(start: Start) -> None:
    text = "The Alda lay at the north pier until 9. " * 12
    found = tokenise_documents([Row("doc-1", "documents", "", {"text": text}, "")], start.tokenizer, 40, doctag=False)

    assert len(found) > 1
    assert start.tokenizer.decode([token for one in found for token in one.ids]) == f"{text}<|endoftext|>"
    assert all(one.labels == one.ids for one in found)


def test_a_document_tag_carries_no_loss(start: Start) -> None:
    (one,) = tokenise_documents(
        [Row("doc-1", "documents", "", {"text": "At 9."}, "")], start.tokenizer, 40, doctag=True
    )

    assert start.tokenizer.decode(one.ids) == f"{DOCTAG}At 9.<|endoftext|>"
    assert trained(start.tokenizer, one) == "At 9.<|endoftext|>"


def test_a_pair_is_one_prompt_and_two_answers_with_their_ends(start: Start) -> None:
    said = {
        side: [{"role": "assistant", "content": text}] for side, text in (("chosen", "At 9."), ("rejected", "Ask."))
    }
    pair = Row("pair-1", "preferences", "", {"prompt": [{"role": "user", "content": "When?"}], **said}, "")
    (one,) = tokenise_pairs([pair], start.tokenizer, 100)

    assert start.tokenizer.decode(one.prompt) == "<|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\n"
    assert start.tokenizer.decode(one.chosen) == "At 9.<|im_end|>"
    assert start.tokenizer.decode(one.rejected) == "Ask.<|im_end|>"
