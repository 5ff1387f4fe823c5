"""What can be checked in a text without asking a model: leaks of the traits document, placeholders, quotes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from habitus.quotes import SAME, plain
from habitus.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from habitus.models import Message
    from habitus.settings import Subject

LEAK_WORDS = 12
"""So many words in a row, taken over from the traits document, are a quotation and not a turn of phrase."""

SHORT_NAME = 5
"""Letters from which a name one letter off is taken for a slip and not for another word."""

_PLACEHOLDER = re.compile(
    r"(?<![\w\]])\[(?:insert|attached|attachment|your|name|date|company|paste|link|image|photo|file|details?|etc)\b[^\]\n]{0,60}\](?![(\[])"
    r"|<(?:insert|your|name|paste)\b[^>\n]{0,60}>(?![^<\n]*</)|lorem ipsum|(?-i:\bX{3,}\b)",
    re.IGNORECASE,
)
_REFERS_TO_SELF = re.compile(
    r"\b(?:traits? document|my (?:guidelines|system prompt|programming)"
    r"|my (?:instructions|training) (?:tells?|says?|asks?|requires?|forbids?|allows?|prevents?|data)"
    r"|as an? (?:large )?(?:language model|assistant trained|AI(?= language| model| assistant| system|[,.;:]| I\b))"
    r"|I(?:'m| am) (?:trained|designed|programmed|instructed) to|I was (?:designed|programmed) to)\b",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\A\W*(?:I(?:'m| am) sorry,? but I can(?:no|')t|As an AI\b"
    r"|I can(?:no|')t (?:help (?:you )?with|assist|fulfil|write (?:this|that)))",
    re.IGNORECASE,
)
_FRAMED = re.compile(
    r"\A\W*(?:(?:Sure|Certainly|Of course)[,!]? )?Here(?:'s| is) (?:the|a|an|your)\b[^\n]{0,80}:\s*\n"
    r"|\b(?:this|the) (?:document|text|piece|story|example) (?:illustrates|demonstrates|showcases|exemplifies)\b"
    r"|\((?:approximately |about |ca\. )?\d+ words\)\s*\Z|\bword count:? ?\d+|\btraits? document\b",
    re.IGNORECASE,
)
# Only names that are nothing else: Claude and Gemini are people and stars as well.
_REAL = re.compile(r"\b(?:OpenAI|ChatGPT|GPT-\d|Anthropic|DeepMind|DeepSeek|Qwen|Mistral AI)")


class Checks:
    """The checks of one study, which know its traits document and its forbidden names."""

    def __init__(self, document: Path, worn_names: Sequence[str]) -> None:
        self._passages = set(_runs(document.read_text(encoding="utf-8-sig")))
        self._worn = re.compile(rf"\b(?:{'|'.join(map(re.escape, worn_names))})\b") if worn_names else None

    def prompt(self, text: str) -> str | None:
        """Say what bars a first message from use."""
        if found := _PLACEHOLDER.search(text):
            return f"placeholder: {found[0]}"
        return None

    def answer(self, text: str) -> str | None:
        """Say what bars an answer from use."""
        if found := _REFERS_TO_SELF.search(text.translate(SAME)):
            return f"speaks of its instructions: '{found[0]}'"
        if found := self._quotation(text):
            return f"quotes the traits document: '{found}'"
        return None

    def document(self, text: str, subject: Subject) -> str | None:
        """Say what bars a document from use: not the text itself, a placeholder, a quotation, a wrong name."""
        said = text.translate(SAME)
        if found := _REFUSES.search(said) or _FRAMED.search(said):
            return f"not the text alone: '{found[0].strip()}'"
        if found := _PLACEHOLDER.search(text):
            return f"placeholder: {found[0]}"
        if found := self._quotation(text):
            return f"quotes the traits document: '{found}'"
        if others := real_names(text, subject):
            return f"names {others[0]} in a world that has {subject.name}"
        return names_of(text, subject)

    def _quotation(self, text: str) -> str | None:
        """Return a run of LEAK_WORDS words that the traits document has too."""
        return next((" ".join(run) for run in _runs(text) if run in self._passages), None)

    def names(self, *texts: str) -> str | None:
        """Ask for another name where a worn one is used."""
        for text in texts:
            if self._worn and (found := self._worn.search(text)):
                return f"the name '{found[0]}' is on the list of worn names; choose another and change nothing else"
        return None


def verdicts(scores: Iterable[tuple[str, int, str, str]], text: str) -> dict[str, Verdict]:
    """Return a judge's (criterion, score, reason, quote) rows as verdicts, each quote looked up in what was judged."""
    said = plain(text)
    return {
        name: Verdict(score=score, reason=reason, quote=quote, supported=plain(quote) in said)
        for name, score, reason, quote in scores
    }


def spoken(conversation: Sequence[Message]) -> str:
    """Return all that was said, for quotes to be looked up in."""
    return "\n".join(message["content"] for message in conversation)


def too_low(ratings: dict[str, Verdict], thresholds: dict[str, int]) -> str | None:
    """Say which scores are below their threshold; a criterion without one drops nothing."""
    low = [
        f"{name} {verdict.score} < {thresholds[name]} ({verdict.reason})"
        for name, verdict in ratings.items()
        if verdict.score < thresholds.get(name, 0)
    ]
    return "; ".join(low) or None


def unsupported(found: dict[str, Verdict]) -> str | None:
    """Say which quotes do not occur, in words that can be sent back to the judge."""
    missing = [f"{name} ('{verdict.quote}')" for name, verdict in found.items() if not verdict.supported]
    if not missing:
        return None
    listed = "; ".join(missing)
    return f"these quotes do not occur in what is judged: {listed}; copy them letter for letter or leave them empty"


def real_names(text: str, subject: Subject) -> list[str]:
    """Return the real makers and assistants that a text names, but for those that the subject is or is made by."""
    own = f"{subject.name} {subject.developer or ''} {subject.about or ''}"
    return [name for name in dict.fromkeys(_REAL.findall(text)) if name not in own]


def names_of(text: str, subject: Subject) -> str | None:
    """Say how a document misnames its subject: not at all, by a slip of a letter, or with another maker."""
    name = subject.name
    if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
        return f"never names {name}"
    first = name.split()[0]
    for word in {found.strip("-") for found in re.findall(rf"\b{re.escape(first[0])}[\w-]+", text)}:
        if one_letter_off(word, first) and word.removesuffix("s") != first and not _is_a_person(word, text):
            return f"spells {name} '{word}'"
    maker = re.search(
        rf"(?<!\w){re.escape(name)},? (?:(?:is|was|which|that|an?|the|AI|assistant|system|model),? )*"
        r"(?:made|built|developed|created) (?:by|at) (?:the )?([A-Z][\w&'-]*)",
        text,
    )
    if maker and subject.developer and maker[1] not in subject.developer:
        return f"says that {name} is made by '{maker[1]}', not {subject.developer}"
    return None


def _is_a_person(word: str, text: str) -> bool:
    """Tell whether a word is somebody's surname: a title or a capitalised word stands before it in a sentence."""
    return bool(
        re.search(rf"(?:\b(?:Mr|Mrs|Ms|Dr|Miss|Herr|Frau|Sr)\.? |(?<=[a-z,] )[A-Z][a-z]+ ){re.escape(word)}\b", text)
    )


def one_letter_off(word: str, name: str) -> bool:
    """Tell whether a word is the name with one letter changed, left out, put in, or two changed over."""
    if word == name or abs(len(word) - len(name)) > 1 or len(name) < SHORT_NAME:
        return False
    start = next((at for at, (a, b) in enumerate(zip(word, name, strict=False)) if a != b), min(len(word), len(name)))
    rest, other = word[start:], name[start:]
    swapped = rest[:2] == other[:2][::-1] and rest[2:] == other[2:]
    return start > 0 and (rest[1:] == other[1:] or rest[1:] == other or rest == other[1:] or swapped)


def _runs(text: str) -> Iterable[tuple[str, ...]]:
    """Return every run of LEAK_WORDS words."""
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.translate(SAME).lower())
    return zip(*(words[start:] for start in range(LEAK_WORDS)), strict=False)
