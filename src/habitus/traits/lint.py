"""Whether a traits document is holistic: dispositions with their reasons, weighed against each other, and with ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from habitus.traits.outline import ENOUGH_TO_WRITE_FROM
from habitus.traits.sentences import sentences, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from habitus.records import Trait
    from habitus.traits.document import TraitsDocument

FEWEST_TRAITS = 3
_STEM = 5

_WEIGHS = re.compile(
    r"trade-?offs?|tension|conflict|clash|collide|pull\w* (?:against|apart)|at odds|priorit|precedence|outweigh"
    r"|com(?:es?|ing) (?:first|before)|gives? way|yields?\b|above all",
    re.IGNORECASE,
)
_EXEMPTS = re.compile(
    r"when not to|exception|except\b|unless|limits?\b|out of (?:place|scope)|no place|non-goal"
    r"|(?:does|do|should|need) ?n[o'\u2019]t (?:apply|hold|be)",
    re.IGNORECASE,
)
_EXEMPTING_HEADING = re.compile(r"^#{1,6} .*(?:when not to|exceptions?|limits)", re.IGNORECASE | re.MULTILINE)
_COMMANDS = re.compile(
    r"\b(?:never|always|must|shall|cannot|do not|don['\u2019]t|may not|should not|under no circumstances"
    r"|(?:forbidden|prohibited|required|obliged))\b",
    re.IGNORECASE,
)
_DISPOSED = re.compile(
    r"\b(?:wants?|cares?|prefers?|tends?|notices?|feels?|believes?|enjoys?|likes?|loves?|hopes?|finds?|trusts?|values?"
    r"|would rather|is (?:willing|inclined|curious|ready|glad)|takes?|treats?|looks? for|listens?|understands?)\b",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]+")
_UNTELLING = frozenset(
    ["a", "an", "the", "and", "or", "of", "in", "on", "to", "with", "be", "being", "is", "its", "own"]
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that makes the document hard to write from, and what to do about it."""

    line: int
    trait: str | None
    """The id of the trait it is about, or None where it is about the document."""
    rule: str
    message: str


def lint(document: TraitsDocument) -> list[Finding]:
    """Return what the document lacks, in the order of its lines."""
    found = [*_of_document(document), *_overlaps(document.traits)]
    for trait in document.traits:
        found += _of_trait(trait)
    return sorted(found, key=lambda finding: finding.line)


def _of_document(document: TraitsDocument) -> Iterator[Finding]:
    """Yield what is missing around the traits."""
    count = len(document.traits)
    if count < FEWEST_TRAITS:
        message = (
            f"the document holds {count} trait{'' if count == 1 else 's'}: describe at least {FEWEST_TRAITS}, "
            "so that none is learnt as a habit that fits every question."
        )
        yield Finding(1, None, "few-traits", message)
    if not _WEIGHS.search(document.context):
        message = (
            "nothing says what happens when two traits ask for different things: add a section "
            "'When traits pull against each other', and one on what comes first."
        )
        yield Finding(1, None, "no-trade-offs", message)
    of_traits = any(_EXEMPTING_HEADING.search(trait.text) for trait in document.traits)
    if not of_traits and not _EXEMPTS.search(document.context):
        message = (
            "nothing says where the traits have no place: add a section 'When not to' with the occasions "
            "on which the plain answer is the good one."
        )
        yield Finding(1, None, "no-exceptions", message)


def _of_trait(trait: Trait) -> Iterator[Finding]:
    """Yield what is missing in one trait."""
    length = words(trait.text)
    if length < ENOUGH_TO_WRITE_FROM:
        message = (
            f"'{trait.name}' has {length} word{'' if length == 1 else 's'}: describe how it looks in what the model "
            "does, and what it is not."
        )
        yield Finding(trait.line, trait.id, "too-short", message)
    if not trait.reasons:
        message = f"'{trait.name}' gives no reason: say why it matters and to whom, in the description itself."
        yield Finding(trait.line, trait.id, "no-reasons", message)
    if _is_only_a_rule(trait.text):
        message = (
            f"'{trait.name}' is only a rule: describe the disposition that would lead someone to keep it, "
            "since rules alone are learnt as surface."
        )
        yield Finding(trait.line, trait.id, "only-a-rule", message)


def _is_only_a_rule(text: str) -> bool:
    """Tell whether each sentence commands or forbids, and none says what the model is like."""
    said = [sentence for sentence in sentences(text) if _LETTERS.search(sentence)]
    return bool(said) and not _DISPOSED.search(text) and all(_COMMANDS.search(sentence) for sentence in said)


def _overlaps(traits: tuple[Trait, ...]) -> Iterator[Finding]:
    """Yield each trait whose name has the same words as an earlier one's, endings and small words aside."""
    seen: dict[frozenset[str], Trait] = {}
    for trait in traits:
        letters = (word.casefold() for word in _LETTERS.findall(trait.name))
        stems = frozenset(word[:_STEM] for word in letters if word not in _UNTELLING)
        first = seen.setdefault(stems, trait)
        if first is not trait and stems:
            message = (
                f"'{trait.name}' is near '{first.name}' on line {first.line}: merge the two, "
                "or put what sets them apart into their names."
            )
            yield Finding(trait.line, trait.id, "overlap", message)
