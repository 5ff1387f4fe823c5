"""The outline of a traits document: which of its lines describe a trait, and which stand around the traits."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from habitus.traits.headings import heading_kind, heading_name
from habitus.traits.sentences import markdown, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ENOUGH_TO_WRITE_FROM = 12
"""Words below which a description says too little to make a scenario of."""
_SUBSTANTIAL = 40
"""Words from which what a heading says before its subheadings is a trait of its own."""
_CLEARLY_A_LIST = 3
_LONGEST_SETEXT = 12
_FIRST_WORDS = 8
_LONGEST_OPENING = 400

Role = Literal["preamble", "context", "trait"]

_MARKER = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]*(?:\[[ xX]\][ \t]+)?")
_BOLD_LEAD = re.compile(r"(\*\*|__)(?P<name>[^*_\n]{1,80})(?:(?<=[.:!?])\1|\1(?=\s*+(?:[:.\u2013\u2014-]|$)|[ \t]*\n))")
_WORD = r"[^\s:.!?*\u2013\u2014]+"
_PLAIN_LEAD = re.compile(rf"(?P<name>{_WORD}(?: {_WORD}){{0,4}})(?::| [\u2013\u2014-])\s")
_END_OF_CLAUSE = re.compile(r"[,;:.!?](?:\s|$)")


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of lines and what it is to the document."""

    role: Role
    name: str
    section: tuple[str, ...]
    line: int
    text: str


@dataclass(slots=True, eq=False)
class _Section:
    """A heading, the lines that are its own, and the headings below it."""

    name: str
    level: int
    line: int
    start: int
    end: int
    below: list[_Section] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The line after everything below the heading."""
        return self.below[-1].last if self.below else self.end


def outline(lines: list[str]) -> tuple[str, list[Passage]]:
    """Return the title (empty if there is none) and the passages, which between them hold every line.

    The headings below the title are the traits; without any, the bullets are; without those, a lone heading is.
    """
    source = _Source(lines)
    top = source.root
    lone = top.below[0] if len(top.below) == 1 else None
    title = lone.name if lone else ""
    before = source.passage("preamble", top.start, top.end) if lone else []
    top = lone or top
    below = [passage for section in top.below for passage in source.walk(section, ())]
    listed = source.bullets(top.start, top.end, ())
    if _traits(below) == 1 and _traits(listed) >= _CLEARLY_A_LIST:
        below = [source.whole("context", section, section.last) for section in top.below]
    elif _traits(below):
        listed = source.passage("preamble", top.start, top.end)
    elif lone and source.text(lone.start, lone.end) and _traits(listed) <= 1:
        return title, [*before, *source.walk(lone, ())]
    return title, [*before, *listed, *below]


def _traits(passages: list[Passage]) -> int:
    """Return how many of the passages describe a trait."""
    return sum(passage.role == "trait" for passage in passages)


class _Source:
    """The document's lines with what the parser found in them."""

    def __init__(self, lines: list[str]) -> None:
        tokens = markdown("\n".join(lines))
        rules = {token.map[0] for token in tokens if token.type == "hr" and token.level == 0 and token.map}
        self.lines = ["" if number in rules else line for number, line in enumerate(lines)]
        self.lists = list(_lists(tokens))
        self.root = _tree(tokens, len(lines))

    def text(self, start: int, end: int) -> str:
        """Return the lines as written, without blank ones around them."""
        while start < end and not self.lines[start].strip():
            start += 1
        return "\n".join(self.lines[start:end]).rstrip()

    def passage(self, role: Role, start: int, end: int) -> list[Passage]:
        """Return the lines as a nameless passage, or nothing where they are blank."""
        text = self.text(start, end)
        return [Passage(role, "", (), start + 1, text)] if text else []

    def whole(self, role: Role, section: _Section, end: int) -> Passage:
        """Return the section down to a line, under its heading."""
        return _headed(role, section, self.text(section.start, end))

    def walk(self, section: _Section, above: tuple[str, ...]) -> list[Passage]:
        """Return the passages of a section, its subsections included.

        What hangs below a trait only to explain or to limit it belongs to the trait.
        """
        kind = heading_kind(section.name)
        if kind in ("context", "back"):
            return [self.whole("context" if kind == "context" else "preamble", section, section.last)]
        kinds = [heading_kind(inner.name) for inner in section.below]
        under, walked = (*above, section.name), section.below
        if kind == "traits" and self._is_list(section):
            own = self.bullets(section.start, section.end, under)
        elif kind in ("trait", "traits") and set(kinds) <= {"facet", "context"}:
            return self._leaf(section, above)
        else:
            walked = [inner for inner, of_kind in zip(section.below, kinds, strict=True) if of_kind != "facet"]
            facets = [inner for inner, of_kind in zip(section.below, kinds, strict=True) if of_kind == "facet"]
            own = self._preface(section, facets, above)
        found = [passage for inner in walked for passage in self.walk(inner, under)]
        if not own and not _traits(found):
            own = [_headed("preamble", section, "")]
        return own + found

    def _leaf(self, section: _Section, above: tuple[str, ...]) -> list[Passage]:
        """Return the one trait that a heading describes, or those that it only gathers as bullets."""
        if not section.below and self._is_list_of_led_items(section):
            return self.bullets(section.start, section.end, (*above, section.name))
        text = self.text(section.start, section.last)
        return [Passage("trait", section.name, above, section.line + 1, text or section.name)]

    def _preface(self, section: _Section, facets: list[_Section], above: tuple[str, ...]) -> list[Passage]:
        """Return what a heading says before its subheadings: enough for a trait, or an introduction to them."""
        own = [
            self.text(section.start, section.end),
            *(self.whole("trait", facet, facet.last).text for facet in facets),
        ]
        text = "\n\n".join(part for part in own if part)
        if heading_kind(section.name) == "trait" and words(text) >= _SUBSTANTIAL:
            return [Passage("trait", section.name, above, section.line + 1, text)]
        return [_headed("preamble", section, text)] if text else []

    def _is_list(self, section: _Section) -> bool:
        """Tell whether the section's own lines hold one list of several items."""
        inside = self._lists_in(section.start, section.end)
        return len(inside) == 1 and len(inside[0]) > 2  # noqa: PLR2004 - two items and the end

    def _is_list_of_led_items(self, section: _Section) -> bool:
        """Tell whether there is nothing but a list, and each item names a trait and describes it."""
        if not self._is_list(section):
            return False
        [bounds] = self._lists_in(section.start, section.end)
        if self.text(section.start, bounds[0]) or self.text(bounds[-1], section.end):
            return False
        items = [self._item(start, end) for start, end in pairwise(bounds)]
        leads = [_lead(item) for item in items]
        named = all(lead and heading_kind(lead) == "trait" for lead in leads)
        return named and all(words(item) >= ENOUGH_TO_WRITE_FROM for item in items)

    def _lists_in(self, start: int, end: int) -> list[list[int]]:
        """Return those of the outermost lists that begin between two lines."""
        return self.lists[bisect_left(self.lists, [start]) : bisect_left(self.lists, [end])]

    def bullets(self, start: int, end: int, section: tuple[str, ...]) -> list[Passage]:
        """Return each item of the lists between two lines as a trait; what follows the first list is context."""
        passages: list[Passage] = []
        role: Role = "preamble"
        for bounds in self._lists_in(start, end):
            passages += self.passage(role, start, bounds[0])
            for first, after in pairwise(bounds):
                text = self._item(first, after)
                if text:
                    passages.append(Passage("trait", _lead(text) or _first_words(text), section, first + 1, text))
            start, role = bounds[-1], "context"
        return passages + self.passage(role, start, end)

    def _item(self, start: int, end: int) -> str:
        """Return a list item without its marker and indentation."""
        marker = _MARKER.match(self.lines[start])
        width = marker.end() if marker else 0
        rest = (line[min(width, len(line) - len(line.lstrip(" \t"))) :] for line in self.lines[start + 1 : end])
        return "\n".join([self.lines[start][width:], *rest]).strip("\n").rstrip()


def _lists(tokens: list[Token]) -> Iterator[list[int]]:
    """Yield for each outermost list the lines on which its items begin, and the line after it."""
    bounds: list[int] = []
    end = 0
    for token in tokens:
        if token.level == 0 and token.map and token.type.endswith("_list_open"):
            bounds, end = [], token.map[1]
        elif token.level == 1 and token.map and token.type == "list_item_open":
            bounds.append(token.map[0])
        elif token.level == 0 and token.type.endswith("_list_close"):
            yield [*bounds, end]


def _tree(tokens: list[Token], length: int) -> _Section:
    """Return the headings as a tree, under a root that owns what comes before the first."""
    root = _Section("", 0, 0, 0, length)
    path, newest = [root], root
    for token, inline in pairwise(tokens):
        if token.type != "heading_open" or token.level or not token.map or not _is_heading(token, inline.content):
            continue
        level, line = int(token.tag[1]), token.map[0]
        newest.end = line
        newest = _Section(heading_name(inline.content), level, line, token.map[1], length)
        while path[-1].level >= level:
            path.pop()
        path[-1].below.append(newest)
        path.append(newest)
    return root


def _is_heading(token: Token, content: str) -> bool:
    """Tell a heading from an empty one, and from a paragraph with a rule drawn right under it."""
    prose = token.markup == "-" and ("\n" in content or len(content.split()) > _LONGEST_SETEXT)
    return bool(heading_name(content)) and not prose


def _headed(role: Role, section: _Section, text: str) -> Passage:
    """Return a passage that begins with its section's heading."""
    heading = f"{'#' * section.level} {section.name}"
    return Passage(role, section.name, (), section.line + 1, f"{heading}\n\n{text}".rstrip())


def _lead(text: str) -> str:
    """Return the words that an item puts before its description, or nothing."""
    lead = _BOLD_LEAD.match(text) or _PLAIN_LEAD.match(text)
    return lead["name"].strip(" .:;,\u2013\u2014-") if lead else ""


def _first_words(text: str) -> str:
    """Return the opening of an item, up to the end of its first clause."""
    plain = heading_name(text[:_LONGEST_OPENING].split("\n\n", 1)[0])
    opening = " ".join(plain.split()[:_FIRST_WORDS])
    clause = _END_OF_CLAUSE.split(opening, maxsplit=1)[0]
    return clause if " " in clause.strip() else opening.rstrip(" ,;:.!?")
