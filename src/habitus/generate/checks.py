"""What can be checked in a text without asking a model: leaks of the traits document, placeholders, quotes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from habitus.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from habitus.models import Message

LEAK_WORDS = 12
"""So many words in a row, taken over from the traits document, are a quotation and not a turn of phrase."""

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
_SAME = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00a0": " "})  # noqa: RUF001


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
        if found := _REFERS_TO_SELF.search(text.translate(_SAME)):
            return f"speaks of its instructions: '{found[0]}'"
        if found := next((run for run in _runs(text) if run in self._passages), None):
            return f"quotes the traits document: '{found}'"
        return None

    def names(self, *texts: str) -> str | None:
        """Ask for another name where a worn one is used."""
        for text in texts:
            if self._worn and (found := self._worn.search(text)):
                return f"the name '{found[0]}' is on the list of worn names; choose another and change nothing else"
        return None


def verdicts(scores: Iterable[tuple[str, int, str, str]], conversation: Sequence[Message]) -> dict[str, Verdict]:
    """Return a judge's (criterion, score, reason, quote) rows as verdicts, each quote looked up in the conversation."""
    said = plain("\n".join(message["content"] for message in conversation))
    return {
        name: Verdict(score=score, reason=reason, quote=quote, supported=plain(quote) in said)
        for name, score, reason, quote in scores
    }


def unsupported(found: dict[str, Verdict]) -> str | None:
    """Say which quotes do not occur, in words that can be sent back to the judge."""
    missing = [f"{name} ('{verdict.quote}')" for name, verdict in found.items() if not verdict.supported]
    if not missing:
        return None
    listed = "; ".join(missing)
    return f"these quotes do not occur in the conversation: {listed}; copy them letter for letter or leave them empty"


def plain(text: str) -> str:
    """Return a text without the differences that do not make a quotation false: spacing, case, kind of quote marks."""
    text = " ".join(re.sub(r"[*_`]", "", text.translate(_SAME)).lower().split())
    return text.strip(" \"'.*_…")


def _runs(text: str) -> Iterable[str]:
    """Yield every run of LEAK_WORDS words."""
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.translate(_SAME).lower())
    return (" ".join(words[at : at + LEAK_WORDS]) for at in range(len(words) - LEAK_WORDS + 1))
