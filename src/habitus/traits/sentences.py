"""Prose in pieces: its sentences, those that give reasons, and chunks that never cut one."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

Span = tuple[int, int]

CHARACTERS_PER_TOKEN = 4

# Inline rules are not needed for line maps. Link definitions stay paragraphs, so that no line is swallowed
# (reading them is also quadratic in the number of definitions).
_MARKDOWN = MarkdownIt("commonmark").disable(["inline", "reference"])

_TITLES = [
    "adm",
    "capt",
    "col",
    "dr",
    "fr",
    "gen",
    "gov",
    "hon",
    "lt",
    "messrs",
    "mr",
    "mrs",
    "ms",
    "prof",
    "sgt",
    "st",
]
_NEVER_END = frozenset([*_TITLES, "approx", "cf", "co", "corp", "dept", "est", "inc", "jr", "ltd", "sr", "viz", "vs"])
_END_BEFORE_CAPITAL = frozenset(["etc", "al", "a.m", "p.m"])
_MONTHS = ["jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"]
_NOT_BEFORE_NUMBER = frozenset([*_MONTHS, "art", "ca", "ch", "eq", "fig", "figs", "no", "nos", "pp", "sec", "vol"])

# Possessive repeats and classes that stop at their own opening mark keep every search below linear.
_CLOSER = r"[\"'\u2019\u201d\u00bb)\]*_`]"
_OPENER = r"[\"'\u2018\u201c\u00ab(\[*_`]"
_END = re.compile(
    rf"(?<![.!?\u2026])[.!?\u2026]++{_CLOSER}*+(?=\s)|[\u3002\uff01\uff1f]++[\u300d\u300f\u201d\u2019\uff09]*+"
)
_SPACE = re.compile(r"[ \t]*+")
_NEXT = re.compile(rf"\s*+{_OPENER}*+")
_WORD_BEFORE = re.compile(r"[^\s(\[\"'\u2018\u201c*_]*$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_ENCLOSED = re.compile(
    r"`[^`\n]+`|\u201c[^\u201c\u201d]{1,400}\u201d|\"[^\"]{1,400}\"|\([^()]{1,400}\)|\[[^\[\]]{1,400}\]"
)
_NEW_LINE_OF_ITS_OWN = re.compile(r"\n[ \t]*+(?=\n|[-*+][ \t]|\d{1,9}[.)][ \t]|\||#{1,6} |>)")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")

_MATTERS = "".join(
    rf"(?<!\b{before} )"
    for before in ("no", "in", "on", "a", "the", "such", "these", "those", "other", "legal", "personal", "subject")
)
_REASON = re.compile(
    "|".join(
        (
            r"\bbecause\b|\bso that\b|\bin order (?:to|that)\b|\blest\b|\bgiven that\b",
            r"(?<!ever )\bsince\b(?! (?:\d|then\b|yesterday\b|last\b))",
            r"\b(?:the|one|another) (?:\w+ )?reasons? (?:is|are|for|why|that|to|it)\b|\balso a (?:\w+ )?reason\b",
            r"\bfor (?:this|that|these|those|two) reasons?\b",
            r"\b(?:that|this|which|here|it)(?:['\u2019]s| is| was) why\b|^\W*why\b",
            r", so (?:that|the|they|it|he|she|we|you|people|a|an|what|their|its|nobody|no|every|each)\b",
            r"\bthe (?:aim|goal|point|purpose|idea)(?: here)? (?:is|of)\b",
            r"\b(?:this|that|which) (?:helps|ensures|prevents|protects|allows|lets)\b",
            r"^\W*to (?:ensure|avoid|prevent|protect|preserve|enable|maximi[sz]e|minimi[sz]e)\b",
            rf"{_MATTERS}\bmatters?\b(?! of\b)",
        )
    ),
    re.IGNORECASE,
)
_WHY = r"[\W_]*(?:why|(?:the )?reasons?|rationale|motivation)\b"
_WHY_HEADING = re.compile(_WHY, re.IGNORECASE)
_WHY_LEAD = re.compile(rf"{_WHY}[^.!?:\n]{{0,40}}[.!?:]", re.IGNORECASE)
_NOT_PROSE = re.compile(r'^!!! \w+(?: "[^"\n]*")?\s*|^\*\*Example\b.*')


def tokens(text: str) -> int:
    """Return about how many tokens a model will count in the text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def words(text: str) -> int:
    """Return how many words the text holds, counting two characters as one where no spaces are written."""
    return len(text.split()) + len(_CJK.findall(text)) // 2


def markdown(text: str) -> list[Token]:
    """Return the block tokens of CommonMark, in time linear in the text; lines end in a line feed."""
    return _MARKDOWN.parse(text)


def sentences(text: str) -> list[str]:
    """Return the sentences of a passage, each with its white space folded."""
    return [" ".join(text[start:end].split()) for start, end in _sentence_spans(text)]


def reasons(text: str) -> tuple[str, ...]:
    """Return the sentences of a Markdown passage that say why, and all of what stands under a "Why"."""
    found: list[str] = []
    why_section = heading = False
    for token in markdown(text):
        if token.type in ("heading_open", "heading_close"):
            heading = token.type == "heading_open"
        elif token.type == "inline" and heading:
            why_section = bool(_WHY_HEADING.match(token.content))
        elif token.type == "inline":
            prose = _NOT_PROSE.sub("", token.content)
            whole = why_section or bool(_WHY_LEAD.match(prose))
            found += [sentence for sentence in sentences(prose) if whole or _REASON.search(sentence)]
    return tuple(found)


def chunks(text: str, budget: int) -> tuple[str, ...]:
    """Return the passage in as few pieces of at most `budget` tokens as can be, even where the borders allow it.

    It is cut between paragraphs, where one alone is too long between its items or sentences; a sentence
    longer than the budget stays whole.
    """
    if tokens(text) <= budget:
        return (text,)
    limit = budget * CHARACTERS_PER_TOKEN
    units = _with_lead_ins(text, _units(text, limit), limit)
    fewest = _pack(text, units, limit, len(text))
    even = _pack(text, units, limit, len(text) / len(fewest))
    packed = even if len(even) == len(fewest) else fewest
    return tuple(text[start:end].strip("\n").rstrip() for start, end in packed)


def _pack(text: str, units: list[Span], limit: int, share: float) -> list[Span]:
    """Join neighbouring units for as long as they fit, closing the n-th piece near n shares of the text."""
    packed: list[Span] = []
    for start, end in units:
        due = (start + end) / 2 > share * len(packed)
        if packed and not due and _size(text, packed[-1][0], end) <= limit:
            packed[-1] = (packed[-1][0], end)
        else:
            packed.append((start, end))
    return packed


def _size(text: str, start: int, end: int) -> int:
    """Return the characters of a span without the white space it ends in."""
    while end > start and text[end - 1].isspace():
        end -= 1
    return end - start


def _units(text: str, limit: int) -> list[Span]:
    """Return the smallest pieces that a chunk may be made of: blocks, and the insides of those too long."""
    starts = list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))
    borders: dict[int, set[int]] = {}
    for token in markdown(text):
        if token.map and token.type != "inline":
            borders.setdefault(token.level, set()).add(starts[token.map[0]])
    by_level = [sorted(borders.get(level, ())) for level in range(max(borders, default=-1) + 1)]
    return list(_divided(text, (0, len(text)), by_level, limit))


def _divided(text: str, span: Span, by_level: list[list[int]], limit: int) -> Iterator[Span]:
    """Yield the span, or where it is too long its parts one level further in, down to sentences."""
    start, end = span
    if _size(text, start, end) <= limit:
        yield span
    elif not by_level:
        for first, last in _sentence_spans(text[start:end]):
            yield start + first, start + last
    else:
        inside = by_level[0][bisect_right(by_level[0], start) : bisect_left(by_level[0], end)]
        for part in pairwise([start, *inside, end]):
            yield from _divided(text, part, by_level[1:], limit)


def _with_lead_ins(text: str, units: list[Span], limit: int) -> list[Span]:
    """Join a heading, a caption or a line that ends in a colon to what it announces, where both fit."""
    joined: list[Span] = []
    for start, end in units:
        if joined and _announces(text[slice(*joined[-1])]) and _size(text, joined[-1][0], end) <= limit:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _announces(unit: str) -> bool:
    """Tell whether a short unit ends as no sentence does."""
    unit = unit.strip()
    return 0 < len(unit) <= 300 and (unit[-1].isalnum() or unit[-1] in ":*_")  # noqa: PLR2004 - a caption's length


def _sentence_spans(text: str) -> list[Span]:
    """Return spans that cover the whole text, each one sentence and the white space after it."""
    own_lines = (match.start() + 1 for match in _NEW_LINE_OF_ITS_OWN.finditer(text))
    ends = sorted(set(chain(own_lines, _sentence_ends(text))))
    spans: list[Span] = []
    for start, end in pairwise([0, *ends, len(text)]):
        if text[start:end].strip():
            spans.append((start, end))
        elif spans:
            spans[-1] = (spans[-1][0], end)
    return [(0, spans[0][1]), *spans[1:]] if spans else []


def _sentence_ends(text: str) -> Iterator[int]:
    """Yield each offset at which a sentence is over."""
    enclosed = [match.span() for match in _ENCLOSED.finditer(text)]
    openings = [start for start, _ in enclosed]
    for mark in _END.finditer(text):
        nearest = bisect_left(openings, mark.end()) - 1
        if nearest >= 0 and mark.end() < enclosed[nearest][1]:
            continue
        space = _SPACE.match(text, mark.end())
        if space and _is_end(text, mark):
            yield space.end()


def _is_end(text: str, mark: re.Match[str]) -> bool:
    """Tell whether the mark ends a sentence; in doubt it does not."""
    opened = _NEXT.match(text, mark.end())
    after = text[opened.end() : opened.end() + 1] if opened else ""
    if after.islower():
        return False
    if text[mark.start()] != "." or text[mark.start() : mark.start() + 2] == "..":
        return True
    before = _WORD_BEFORE.search(text, max(0, mark.start() - 24), mark.start())
    word = before.group().lower() if before else ""
    if word in _END_BEFORE_CAPITAL:
        return after.isupper()
    if word in _NOT_BEFORE_NUMBER:
        return not after.isdigit()
    line_so_far = text[max(0, mark.start() - len(word) - 24) : mark.start() - len(word)].rstrip(" \t")
    numbers_an_item = word.isdigit() and line_so_far[-1:] in ("", "\n")
    return not (word in _NEVER_END or numbers_an_item or _INITIALS.fullmatch(word))
