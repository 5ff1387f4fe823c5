"""Rows as token ids and labels: loss on what the assistant says, and on nothing else, verified on the tokens."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from habitus.train.rows import Row

    Tokenizer = Any

MASKED = -100
"""The label of a token without loss."""
DOCTAG = "<DOCTAG>"
RARE = 0.1
"""The share of turns up to which a token that they end with may stand there by chance, as where they are cut off."""


@dataclass(frozen=True)
class Tokens:
    """One row as a model sees it."""

    row: Row
    ids: list[int]
    labels: list[int]
    cut: int = 0
    """Tokens beyond the longest row that is trained on."""

    @property
    def trained(self) -> int:
        """How many tokens carry loss."""
        return sum(label != MASKED for label in self.labels)


@dataclass(frozen=True)
class PairTokens:
    """One preference pair as a model sees it."""

    row: Row
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    cut: int = 0

    @property
    def ids(self) -> list[int]:
        """All tokens that are computed for it."""
        return [*self.prompt, *self.chosen, *self.prompt, *self.rejected]

    @property
    def trained(self) -> int:
        """How many tokens carry loss."""
        return len(self.chosen) + len(self.rejected)


def tokenise_chats(rows: Iterable[Row], tokenizer: Tokenizer, longest: int) -> list[Tokens]:
    """Return chats with labels on the assistant's turns alone, the token that ends each turn included.

    Raises:
        UserError: the tokenizer has no chat template, or one that refuses a row or whose answers can't be told from
            the rest.

    """
    mask = _masker(tokenizer)
    found = []
    for row in rows:
        with _written(row):
            found.append(_cut(row, *_verified(row, *mask(row.content["messages"]), tokenizer), longest))
    return found


@contextmanager
def _written(row: Row) -> Generator[None]:
    """Tell it of a row where the chat template fails or refuses, as some do when there is a system prompt."""
    from jinja2 import TemplateError

    try:
        yield
    except TemplateError as error:
        what = f"this model's chat template can't write this conversation ({error})."
        todo = "Delete the row or its system prompt, or mend the template in a local copy of the model."
        raise UserError(what, where=row.place, todo=todo) from error


def tokenise_documents(rows: Iterable[Row], tokenizer: Tokenizer, longest: int, *, doctag: bool) -> list[Tokens]:
    """Return documents with loss on every token but the tag; one that is too long goes on in further rows."""
    tag = tokenizer(DOCTAG, add_special_tokens=False)["input_ids"] if doctag else []
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    found: list[Tokens] = []
    for row in rows:
        ids = [*tokenizer(row.content["text"])["input_ids"], *end]
        room = longest - len(tag)
        for start in range(0, len(ids), room):
            part = ids[start : start + room]
            found.append(Tokens(row, [*tag, *part], [*([MASKED] * len(tag)), *part]))
    return found


def tokenise_pairs(rows: Iterable[Row], tokenizer: Tokenizer, longest: int) -> list[PairTokens]:
    """Return pairs as prompt and two answers; what is over the longest is cut off the answers."""
    require_template(tokenizer)
    found = []
    for row in rows:
        with _written(row):
            prompt = render(tokenizer, row.content["prompt"], answering=True)
            sides = [_answer(row, side, prompt, tokenizer) for side in ("chosen", "rejected")]
        ids = sides[0][0]
        if sides[1][0] != ids:
            raise _unreadable(row, "the two answers are read after different prompts")
        room = max(longest - len(ids), 0)
        cut = sum(max(len(answer) - room, 0) for _, answer in sides)
        found.append(PairTokens(row, ids, sides[0][1][:room], sides[1][1][:room], cut))
    return found


def turn_ends(rows: Iterable[Tokens | PairTokens], tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that end the trained turns; what comes once in a while is a row that was cut off."""
    special = _special(tokenizer)
    parts = [part for one in rows for part in _answers(one)]
    found = Counter(next((token for token in part[:-3:-1] if token in special), None) for part in parts)
    return [end for end, number in found.items() if end is not None and number > RARE * len(parts)]


def _answers(one: Tokens | PairTokens) -> list[list[int]]:
    """Return the stretches of tokens with loss."""
    if isinstance(one, PairTokens):
        return [one.chosen, one.rejected]
    return [list(part) for has_loss, part in groupby(one.labels, lambda label: label != MASKED) if has_loss]


def _special(tokenizer: Tokenizer) -> set[int]:
    return {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}


def render(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], *, answering: bool = False) -> str:
    """Return a conversation as the text that the model reads."""
    return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answering)


def require_template(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that does not say how a conversation is written."""
    if not tokenizer.chat_template:
        raise UserError(
            "this model's tokenizer has no chat template, so it is not said how a conversation is written.",
            where=str(tokenizer.name_or_path),
            todo="Begin with a model that has one, or put a chat_template.jinja into a local copy of it.",
        )


def _masker(tokenizer: Tokenizer) -> Callable[[list[dict[str, str]]], tuple[list[int], list[int]]]:
    """Return the way by which this tokenizer's answers are told from the rest."""
    from trl.chat_template_utils import (
        get_training_chat_template,
        has_generation_markers,
        is_chat_template_stop_token_trained,
    )

    require_template(tokenizer)
    template = (
        None if has_generation_markers(tokenizer.chat_template) else _known(get_training_chat_template, tokenizer)
    )
    marked = template or tokenizer.chat_template
    if has_generation_markers(marked) and is_chat_template_stop_token_trained(tokenizer, chat_template=marked):
        return lambda messages: _by_markers(messages, tokenizer, marked)
    return lambda messages: _by_prefixes(messages, tokenizer)


def _known(get_template: Callable[[Any], str | None], tokenizer: Tokenizer) -> str | None:
    """Return TRL's training version of a template; None where it knows none."""
    try:
        return get_template(tokenizer)
    except ValueError:
        return None


def _by_markers(messages: list[dict[str, str]], tokenizer: Tokenizer, template: str) -> tuple[list[int], list[int]]:
    told = tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids = list(told["input_ids"])
    return ids, [one if flag else MASKED for one, flag in zip(ids, told["assistant_masks"], strict=True)]


def _by_prefixes(messages: list[dict[str, str]], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return ids and labels by rendering the conversation up to each answer and up to its end."""
    whole = render(tokenizer, messages)
    spans = []
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(tokenizer, messages[:at], answering=True)
        after = render(tokenizer, messages[: at + 1]).rstrip()
        if not (whole.startswith(before) and whole.startswith(after) and len(after) > len(before)):
            return [], []
        spans.append((len(before), len(after)))
    told = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids = told["input_ids"]
    labels = [MASKED] * len(ids)
    for at, (start, end) in enumerate(told["offset_mapping"]):
        if any(first <= start and end <= last for first, last in spans) and end > start:
            labels[at] = ids[at]
    return ids, labels


def _verified(row: Row, ids: list[int], labels: list[int], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return ids and labels after checking that the tokens with loss are the answers, whole, in order and ended."""
    said = [one["content"].strip() for one in row.content["messages"] if one["role"] == "assistant"]
    stretches = [list(part) for has_loss, part in groupby(labels, lambda one: one != MASKED) if has_loss]
    if len(stretches) != len(said):
        raise _unreadable(row, f"{len(said)} answers were found as {len(stretches)}")
    special, normal = _special(tokenizer), _normaliser(tokenizer)
    for answer, part in zip(said, stretches, strict=True):
        spelt = tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if answer not in spelt and normal(answer) not in normal(spelt):
            raise _unreadable(row, "the tokens with loss do not spell the answer")
        if not special.intersection(part[-2:]):
            raise _unreadable(row, "no token that ends the turn carries loss, so the model would not learn to stop")
    return ids, labels


def _normaliser(tokenizer: Tokenizer) -> Callable[[str], str]:
    """Return what this tokenizer does to a text before it reads it, such as composing letters and their accents."""
    core = getattr(tokenizer, "backend_tokenizer", None)
    found = getattr(core, "normalizer", None)
    return found.normalize_str if found is not None else str


def _answer(row: Row, side: str, prompt: str, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the tokens of the prompt and of an answer to it, read as one text."""
    whole = render(tokenizer, [*row.content["prompt"], *row.content[side]]).rstrip()
    if not whole.startswith(prompt):
        raise _unreadable(row, "the prompt is written differently when its answer follows")
    told = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    first = next((at for at, (_, end) in enumerate(told["offset_mapping"]) if end > len(prompt)), len(whole))
    return told["input_ids"][:first], told["input_ids"][first:]


def _cut(row: Row, ids: list[int], labels: list[int], longest: int) -> Tokens:
    return Tokens(row, ids[:longest], labels[:longest], max(len(ids) - longest, 0))


def _unreadable(row: Row, problem: str) -> UserError:
    return UserError(
        f"with this chat template the assistant's tokens can't be told for certain: {problem}.",
        where=row.place,
        todo="Begin with a model whose template marks them ({% generation %}), or mend the template.",
    )
