"""The traits document: Markdown in, traits out."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from habitus.errors import UserError, nearest
from habitus.records import Trait
from habitus.traits.outline import Passage, outline
from habitus.traits.sentences import chunks, reasons

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_MB = 5
_LONGEST_SLUG = 48
_LONGEST_PARENT = 30
_HASH = 8
_DANGLING = frozenset(
    ["a", "an", "and", "as", "by", "for", "from", "in", "of", "on", "or", "that", "the", "to", "with"]
)

_APOSTROPHE = re.compile(r"['\u2019`]")
_NOT_A_WORD = re.compile(r"[\W_]+")
_KEY = re.compile(r"[A-Za-z_][\w .-]*:")


@dataclass(frozen=True)
class TraitsDocument:
    """What a traits document holds: every line of it is in a trait, in `context` or in `preamble`."""

    path: Path
    title: str
    """The one heading that stands over all others; without one, the file's name."""
    traits: tuple[Trait, ...]
    context: str
    """The sections on trade-offs, priorities, exceptions and the like, which go along with every chunk."""
    preamble: str
    """What introduces the traits, and what is no disposition: overview, definitions, changelog."""
    digest: str
    """The first 12 hexadecimal digits of the SHA-256 of the file."""

    def trait(self, trait_id: str) -> Trait:
        """Return the trait of this id.

        Raises:
            UserError: the document has no such trait.

        """
        for trait in self.traits:
            if trait.id == trait_id:
                return trait
        ids = [trait.id for trait in self.traits]
        some = ", ".join(ids[:12]) + (", …" if len(ids) > 12 else "")  # noqa: PLR2004 - about two lines of a terminal
        todo = f"Its traits are {some}.{nearest(trait_id, ids)}"
        raise UserError(f"the document has no trait '{trait_id}'.", where=str(self.path), todo=todo)


def read_traits(path: Path, *, budget: int = 1500) -> TraitsDocument:
    """Return the traits of a Markdown file, each in chunks of at most about `budget` tokens.

    Raises:
        UserError: the file cannot be read as text, or holds no traits.

    """
    data = _read(path)
    title, passages = outline(_lines(path, data))
    found = [passage for passage in passages if passage.role == "trait"]
    if not found:
        todo = "Give each trait a heading ('## Candour') with a paragraph below it, or a bullet ('- **Candour.** …')."
        raise UserError("no traits found.", where=str(path), todo=todo)
    return TraitsDocument(
        path=path,
        title=title or " ".join(_NOT_A_WORD.split(path.stem)).strip() or path.name,
        traits=tuple(_trait(passage, trait_id, budget) for passage, trait_id in zip(found, _ids(found), strict=True)),
        context="\n\n".join(passage.text for passage in passages if passage.role == "context"),
        preamble="\n\n".join(passage.text for passage in passages if passage.role == "preamble"),
        digest=hashlib.sha256(data).hexdigest()[:12],
    )


def _trait(passage: Passage, trait_id: str, budget: int) -> Trait:
    return Trait(
        id=trait_id,
        name=passage.name,
        text=passage.text,
        reasons=reasons(passage.text),
        section=passage.section,
        line=passage.line,
        chunks=chunks(passage.text, budget),
    )


def _read(path: Path) -> bytes:
    """Return the bytes of a file that may be a traits document."""
    where = str(path)
    try:
        if path.is_dir():
            inside = ", ".join(sorted(child.name for child in path.glob("*.md"))[:5])
            todo = f"Name the file itself{f', such as {inside}' if inside else ''}."
            raise UserError("this is a folder, and a traits document is one Markdown file.", where=where, todo=todo)
        if path.exists() and not path.is_file():
            raise UserError("this is no regular file.", where=where, todo="Name a Markdown file.")
        size = path.stat().st_size
        if size > _LARGEST_MB * 1_000_000:
            todo = "A traits document is prose written for the purpose; take out what is pasted in, or split the file."
            what = f"the file has {size / 1e6:.1f} MB, and at most {_LARGEST_MB} MB are read."
            raise UserError(what, where=where, todo=todo)
        return path.read_bytes()
    except FileNotFoundError:
        siblings = [child.name for child in path.parent.glob("*.md")]
        todo = f"Write one, or start from the example that `habitus init` makes.{nearest(path.name, siblings)}"
        raise UserError("there is no such file.", where=where, todo=todo) from None
    except OSError as error:
        todo = "Check the path and its permissions."
        raise UserError(f"the file cannot be read ({error.strerror or error}).", where=where, todo=todo) from None


def _lines(path: Path, data: bytes) -> list[str]:
    """Return the lines of a text in UTF-8, with those of its front matter blanked."""
    where, todo = str(path), "Save it as UTF-8."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError("the file is in UTF-16.", where=where, todo=todo)
    if b"\0" in data:
        what = f"this is no text: byte {data.index(0)} is NUL."
        raise UserError(what, where=where, todo="Export the document as Markdown, in UTF-8.")
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8."
        raise UserError(what, where=f"{where}:{line}", todo=todo) from None
    if not text.strip():
        todo = "Write the traits in it, or start from the example that `habitus init` makes."
        raise UserError("the file is empty.", where=where, todo=todo)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    after = _front_matter(lines)
    return [""] * after + lines[after:]


def _front_matter(lines: list[str]) -> int:
    """Return how many lines the YAML block at the top takes up."""
    if lines[0].rstrip() != "---" or not any(_KEY.match(line) for line in lines[1:2]):
        return 0
    return next((number + 1 for number, line in enumerate(lines) if number and line.rstrip() in ("---", "...")), 0)


def _slug(name: str, longest: int) -> str:
    """Return the name in lower case with hyphens, cut at a word."""
    plain = unicodedata.normalize("NFKC", _APOSTROPHE.sub("", name)).casefold()
    slug = _NOT_A_WORD.sub("-", plain).strip("-")
    if len(slug) <= longest:
        return slug
    kept = slug[: longest + 1].split("-")[:-1]
    while kept and kept[-1] in _DANGLING:
        kept.pop()
    return "-".join(kept) or slug[:longest]


def _ids(passages: list[Passage]) -> list[str]:
    """Return an id for each trait that depends on nothing but what it, and its namesakes, are called and say.

    Namesakes all take their parent heading's slug along; only those that share it too are told apart by
    a hash of what they say, and only word-for-word copies by a number.
    """
    candidates = [_candidates(passage) for passage in passages]
    rank = [0] * len(passages)
    while True:
        ids = [names[level] for names, level in zip(candidates, rank, strict=True)]
        times = Counter(ids)
        clashing = [seat for seat, one in enumerate(ids) if times[one] > 1 and rank[seat] < len(candidates[seat]) - 1]
        if not clashing:
            return _numbered(ids)
        for seat in clashing:
            rank[seat] += 1


def _candidates(passage: Passage) -> list[str]:
    """Return the ids a trait may have, the plainest first."""
    slug = _slug(passage.name, _LONGEST_SLUG) or "trait"
    parent = _slug(passage.section[-1], _LONGEST_PARENT) if passage.section else ""
    named = f"{parent}-{slug}" if parent else slug
    content = "\n".join([*passage.section, passage.name, passage.text]).encode()
    return [slug, named, f"{named}-{hashlib.sha256(content).hexdigest()[:_HASH]}"]


def _numbered(ids: list[str]) -> list[str]:
    """Return the ids with copies numbered from the second on."""
    taken = set(ids)
    seen: Counter[str] = Counter()
    unique = []
    for one in ids:
        seen[one] += 1
        numbered = one
        while seen[one] > 1 and numbered in taken:
            numbered = f"{one}-{seen[one]}"
            seen[one] += numbered in taken
        taken.add(numbered)
        unique.append(numbered)
    return unique
