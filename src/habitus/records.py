"""The rows that the stages hand to each other: frozen, typed, and nothing else."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

BLOCK = 5
"""Seats planned in one call: seen together, they come out different from each other."""


class Record(BaseModel):
    """A row that is never changed after it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


class Trait(Record):
    """One disposition that the traits document asks for."""

    id: str = Field(description="a slug that survives re-ordering and edits elsewhere")
    name: str = Field(description="the heading, or the first words of the bullet")
    text: str = Field(description="the passage that describes it, as written")
    reasons: tuple[str, ...] = Field(default=(), description="the sentences that say why")
    section: tuple[str, ...] = Field(default=(), description="the headings above it, outermost first")
    line: int = Field(description="the line of the document where it begins, from 1")
    chunks: tuple[str, ...] = Field(description="`text` in pieces that fit the chunk budget, never cut in a sentence")


class Scenario(Record):
    """The seat of one record in the plan: everything that is settled before a model is asked."""

    id: str
    index: int = Field(description="the position in the plan, from 0")
    trait: str
    chunk: int = Field(description="which of the trait's chunks, from 0")
    domain: str
    form: str = Field(description="the kind of request, such as 'a decision between two options'")
    what: str = Field(description="the occasion on which the trait comes up")
    how: str = Field(description="by what in the answer the trait shows")
    why: str = Field(description="how the reason for the trait reaches the reader")
    voice: str = Field(description="how the person writes")
    length: str = Field(default="", description="how much they write, not counting what they paste")
    person: str = Field(description="a given name to build the person around")
    turns: int = Field(default=1, description="how many times the person writes")
    contrast: bool = Field(default=False, description="the trait looks tempting here but does not apply, or must yield")


class Brief(Record):
    """The seat of one document in the plan: everything that is settled before a model is asked."""

    id: str
    index: int = Field(description="the position in the plan, from 0")
    trait: str
    chunk: int = Field(description="which of the trait's chunks, from 0")
    domain: str
    genre: str = Field(description="a built-in kind of text, or nothing where one is found for the domain")
    found: int | None = Field(description="which of those found for the domain, from 0")
    length: float = Field(description="the place between the shortest and the longest of its kind, from 0 to 1")
    what: str = Field(description="the occasion on which the trait comes up")
    how: str = Field(description="in what the trait shows")
    why: str = Field(description="the route by which the reason reaches the reader, such as 'inferred'")
    stance: str = Field(description="the writer's attitude to the subject, such as 'critical'")
    writer: str = Field(description="who writes it")
    hand: str = Field(description="how its writer writes")
    era: str = Field(description="how it is dated")
    people: tuple[str, ...] = Field(description="given names that it may use")
    contrast: bool = Field(default=False, description="the trait looks called for but does not apply, or must yield")


class Verdict(Record):
    """What a judge found on one criterion."""

    score: int = Field(ge=1, le=5)
    reason: str
    quote: str = ""
    supported: bool = Field(description="the quote occurs in the text that was judged, or none was needed")


class Chat(Record):
    """One kept conversation, in the shape that trainers read."""

    id: str
    trait: str
    messages: tuple[Message, ...]
    meta: dict[str, Any] = Field(default_factory=dict)


class Document(Record):
    """One kept document, in the shape that trainers read."""

    id: str
    trait: str
    text: str
    meta: dict[str, Any] = Field(default_factory=dict)


class PreferencePair(Record):
    """Two answers to one conversation, in the shape that preference trainers read."""

    id: str
    trait: str
    prompt: tuple[Message, ...] = Field(description="the conversation up to the answer")
    chosen: tuple[Message, ...] = Field(description="the answer that shows the trait, as one message")
    rejected: tuple[Message, ...] = Field(description="the answer that does not, as one message")
    meta: dict[str, Any] = Field(default_factory=dict)


class Drop(Record):
    """One record that was not kept, and why."""

    id: str
    trait: str
    step: str
    reason: str
    raw: str = Field(default="", description="the text that caused it, whole")
    meta: dict[str, Any] = Field(default_factory=dict)


Role = Literal["author", "critic", "refiner", "judge", "client", "target", "auditor"]
Level = Literal["no", "broad", "strict"]
PatternKind = Literal["structural", "rhetorical", "behavioural"]


class Observation(Record):
    """One pattern as one scan reported it."""

    id: str = Field(description="the scan's id and a number, such as `scan-003/2`")
    scan: str
    kind: PatternKind
    name: str
    description: str
    count: int = Field(description="in how many of the scan's texts it was said to be")
    of: int = Field(description="how many texts the scan had")
    quotes: tuple[tuple[str, str], ...] = Field(description="(record, words) that were found to occur")


class Pattern(Record):
    """Something that texts of a dataset do over and over, defined so that it can be rated."""

    id: str
    kind: PatternKind
    name: str
    definition: str
    strict: str = Field(description="the test for 'unambiguously present'")
    broad: str = Field(description="the test for 'loosely present'")
    positive: tuple[str, ...] = Field(default=(), description="passages that pass the strict test")
    negative: tuple[str, ...] = Field(default=(), description="passages that come near and fail both")
    scans: tuple[str, ...] = Field(default=(), description="the scans that reported it")
    observations: tuple[str, ...] = Field(default=(), description="what they reported, by id")
    quotes: tuple[tuple[str, str], ...] = Field(default=(), description="(record, words) that showed it")


class Match(Record):
    """What a judge found of one pattern in one text."""

    level: Level
    quote: str = ""
    supported: bool = Field(default=True, description="the quote occurs in the text, or none was needed")


class Rated(Record):
    """One text with what was found in it of each pattern."""

    id: str
    trait: str
    verdicts: dict[str, Match]
