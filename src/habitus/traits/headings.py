"""What the wording of a heading tells: the name a reader sees, and what kind of text stands below it."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["trait", "traits", "context", "facet", "front", "back"]
"""One trait, a list of them, what holds for all of them, a part of the trait above, an introduction, an appendix."""

_WEIGHED = (
    "(?:trade-?offs?|priorit(?:y|ies)|precedence|tensions?|conflicts?|exceptions?|limits?|limitations|scope"
    "|non-goals?|caveats?)"
)
_LEADING = "(?:(?:the|its|our|on|about|known|hard|handling|resolving|managing|balancing|weighing|order of) )*"
_JOINED = "(?:, and |, | and | or | & | ?/ ?)(?:the |order of )?"
_QUALIFIED = "(?:(?:the|our|its|core|general|key|main|guiding|basic|central|desired|character) )*"
_THE_TRAITS = (
    "(?:(?:the|these|its|our|two|this|all) )*"
    "(?:traits?|values|principles|virtues|dispositions|qualities|them|they|it|document)"
)
_PHRASES: dict[Kind, tuple[str, ...]] = {
    "context": (
        rf"{_LEADING}{_WEIGHED}(?:{_JOINED}{_WEIGHED})*(?: (?:between|among|of|to|in|for) {_THE_TRAITS})?",
        rf"(?:when|if|how|where|which) {_THE_TRAITS}\b.*",
        r".*\b(?:levels? of authority|hierarchy|order of (?:importance|precedence))\b.*",
        r"when not to\b.*",
        r"what (?:comes first|wins|yields|gives way)\b.*",
        r"where (?:this|these) (?:does|do|stops?|ends?)\b.*",
        "out of scope",
    ),
    "facet": (
        r"why\b.*",
        r"(?:the )?(?:reasons?|rationale|motivation)(?: (?:for|why|behind)\b.*)?",
        "(?:counter-?)?examples?|illustrations?|in practice|signs|commentary|notes?",
        r"what (?:it|this) (?:looks? like|is not|isn't|means|is)\b.*",
        r"how (?:it|this) (?:looks?|shows?|feels?)\b.*",
        "do|don't|dos and don'ts",
    ),
    "traits": (
        rf"{_QUALIFIED}(?:traits?|values|principles|dispositions|virtues|qualities|commitments)(?: (?:of|we|to)\b.*)?",
        rf"{_QUALIFIED}character",
    ),
    "front": (
        "overview|intro(?:duction)?|preamble|preface|foreword|background|summary|purpose|about(?: this document)?",
        "(?:structure|purpose) of (?:the|this) document",
        r"how to (?:read|use) (?:it|this)\b.*",
    ),
    "back": (
        "definitions?|glossary|terms|terminology|notation|change ?log|(?:version )?history|acknowledge?ments?",
        "references|bibliography|sources|further reading|licen[cs]e|credits|authors?|footnotes",
        r"(?:table of )?contents|appendi(?:x|ces)\b.*",
    ),
}
_KINDS = {kind: re.compile("|".join(phrases)) for kind, phrases in _PHRASES.items()}

_ANCHOR = re.compile(r" ?\{[:#.][^{}]*\}$")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_EMPHASIS = re.compile(r"[*`]|(?<!\w)_++|(?<!_)_++(?!\w)")
_NUMBERING = re.compile(
    r"(?:(?:trait|value|principle|part|section|chapter) (?:\d+|[ivx]+|[a-z]) ?[:.\u2013\u2014-]"
    r"|\d+[.)]|\d+(?:\.\d+)+\.?|[ivx]+\.) ",
    re.IGNORECASE,
)


def heading_name(content: str) -> str:
    """Return a heading as a reader sees it, without anchor, links, emphasis and numbering."""
    plain = " ".join(content.split())
    name = _EMPHASIS.sub("", _LINK.sub(r"\1", _ANCHOR.sub("", plain)))
    numbering = _NUMBERING.match(name)
    return name[numbering.end() if numbering else 0 :].strip(" :") or plain


def heading_kind(name: str) -> Kind:
    """Return what stands below a heading of this name: a trait, unless the wording says otherwise."""
    wording = name.lower().replace("\u2019", "'")
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(wording)), "trait")
