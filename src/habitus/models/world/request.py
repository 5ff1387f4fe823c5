"""What the embedded model is asked, found in the words of the request and nowhere else."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from habitus.models import AnswerSchema, Message

_INSTRUCTION = "Answer with this JSON object"
_TRAIT = re.compile(r"<trait\b[^>]*>(.*?)</trait>", re.DOTALL)
_DATA = re.compile(
    r"<(trait|limits|message|default_answer|draft|document|conversation|first_answer|second_answer)\b[^>]*>.*?</\1>",
    re.DOTALL,
)
_CONTRAST = re.compile(r"\*contrast\*|contrast case|no business showing|case for a plain|case in which the disposition")
_SUBJECT = re.compile(
    r"attitude to ([^\n]{1,80}?): |(?:The name is|It is called) ([^\n]{1,80}?), spelled so"
    r"|(?:^|[.:!?] |\n)([^\s.:](?:[^.:\n]|\.(?=\S)){0,80}?) is an AI system"
    r"|world of these texts there is ([^\n]{1,80}?)\. "
)
_DEVELOPER = re.compile(r" is an AI system made by (.+?)\.(?:\s|$)")
_LENGTH = re.compile(r"- length: about (\d+)(?:\.\d+)? words")
_TURN = re.compile(r"^\[(user|assistant)(?:, message \d+)?\]$", re.MULTILINE)
_LONG_SYSTEM = 40
"""Words from which a system message without a trait tag is taken for a passage about how to be."""


@dataclass(frozen=True)
class Request:
    """One request, its rates, and the source of every random choice made for it."""

    messages: list[Message]
    schema: AnswerSchema | None
    rates: Mapping[str, float]
    digest: bytes
    sample: int = 0
    """Which of several draws of the same request this is."""

    def stream(self, purpose: str) -> random.Random:
        """Return random numbers that depend on the request and the purpose alone."""
        return random.Random(blake2b(self.digest + purpose.encode(), digest_size=8).digest())

    @cached_property
    def text(self) -> str:
        """Everything that was sent, without the description of the JSON that is wanted."""
        whole = "\n\n".join(message["content"] for message in self.messages)
        return whole.rsplit(_INSTRUCTION, 1)[0] if self.schema else whole

    @cached_property
    def system(self) -> str:
        """The system messages."""
        return "\n\n".join(message["content"] for message in self.messages if message["role"] == "system")

    @cached_property
    def last_user(self) -> str:
        """The user message that is to be answered."""
        said = [message["content"] for message in self.messages if message["role"] == "user"]
        return said[-1].rsplit(_INSTRUCTION, 1)[0].strip() if said else ""

    @cached_property
    def passage(self) -> str:
        """The traits passage, or a long system message where no passage is marked, or nothing."""
        if found := _TRAIT.findall(self.text):
            return "\n\n".join(one.strip() for one in found)
        return self.system if len(self.system.split()) >= _LONG_SYSTEM else ""

    @cached_property
    def frame(self) -> str:
        """The request without the material it hands over: the words of whoever asks."""
        return _DATA.sub("", self.text)

    @cached_property
    def contrast(self) -> bool:
        """Whether the trait is to be left out of this conversation."""
        return bool(_CONTRAST.search(self.frame))

    @cached_property
    def subject(self) -> str:
        """The name of the AI system that a document is about, or `the assistant` where none is told."""
        found = _SUBJECT.search(self.frame)
        return next((name for name in found.groups() if name), "").strip() if found else "the assistant"

    @cached_property
    def developer(self) -> str:
        """Who made the subject, or nothing."""
        found = _DEVELOPER.search(self.frame)
        return found[1].strip() if found else ""

    @cached_property
    def length(self) -> int:
        """The words that a text is to have, or 0 where nothing is said of it."""
        found = _LENGTH.search(self.frame)
        return int(found[1]) if found else 0

    def tag(self, name: str) -> str:
        """Return what stands between `<name>` and `</name>`, or the user's whole message where there is no such tag."""
        opening = self.text.find(f"<{name}>")
        closing = self.text.rfind(f"</{name}>")
        if opening < 0 or closing < opening:
            return self.last_user
        return self.text[opening + len(name) + 2 : closing].strip()

    def line(self, *labels: str) -> str:
        """Return what follows the first of these labels in a list such as `- person: …`, or nothing."""
        for label in labels:
            start = self.frame.find(f"- {label}: ")
            if start >= 0:
                rest = self.frame[start + len(label) + 4 :]
                return re.split(r"\n- |\n\n|\n</", rest, maxsplit=1)[0].strip()
        return ""

    def after(self, *leads: str) -> str:
        """Return what follows the first of these leads up to the end of its line, or nothing."""
        for lead in leads:
            start = self.frame.find(lead)
            if start >= 0:
                return self.frame[start + len(lead) :].split("\n", 1)[0].strip()
        return ""

    @cached_property
    def conversation(self) -> list[tuple[str, str]]:
        """The turns so far as (role, text), from the marked conversation or else from the messages themselves."""
        if "<conversation>" in self.text:
            parts = _TURN.split(self.tag("conversation"))
            turns = [(role, said.strip()) for role, said in zip(parts[1::2], parts[2::2], strict=True)]
            return turns or [("user", parts[0].strip())]
        if self.schema:
            return [("user", self.last_user)]
        return [(message["role"], message["content"]) for message in self.messages if message["role"] != "system"]

    def said_by(self, role: str) -> list[str]:
        """Return the messages of one side of the conversation."""
        return [said for who, said in self.conversation if who == role]
