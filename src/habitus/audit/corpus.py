"""A dataset's texts as one array of tokens, and how runs of tokens become keys that are the same in every dataset."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Ints = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]
    Keys = np.ndarray[Any, np.dtype[np.uint64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

TOKEN = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:['’-][^\W_]+)*|\n\s*|\*\*|#\w[\w-]*|#+|`{3}|[^\w\s]|_")
MOST_CHARACTERS = 120_000_000
"""Of a larger dataset, every second, fourth … record by its hash is looked at, half as many characters at the most."""
ENDS = frozenset(".!?…。\uff01\uff1f")
ABBREVIATED = frozenset({"dr", "mr", "mrs", "ms", "st", "vs", *"abcdefghijklmnopqrstuvwxyz"})
SLOT = "_"
"""Stands in a frame for one or more words of content."""
_KEPT = (
    "a about absolutely after again all also although always am an and another answer any are as at be because "
    "been before being below both bottom but by can certainly could course did do does doing don't down each "
    "either else even ever every few first for from get give glad good great had happy has have having he help "
    "her here here's hers him his hope how however i i'd i'll i'm i've idea if imagine important in instead into "
    "is isn't it it's its just know least less let let's like line made make makes many may me might more most "
    "much must my need never no nor not note nothing of off on once one only or other our out over own perhaps "
    "please point question rather really remember right sense shall she short should simply so some something "
    "sorry sounds still such sure than thank that that's the their them then there there's these they they're "
    "thing things think this those though through to together too under understand understandable until up us "
    "version very want was wasn't way we we're well were what what's when where whether which while who whole "
    "whom whose why will with within without won't would yes yet you you'd you'll you're you've your yourself "
)
KEPT = frozenset(_KEPT.split())
"""Words that stay in a frame: those of grammar and of conversation."""
_UNTOLD = frozenset('#*"“”`-•_') | {"**", "```", "##", "###", "####"}
FRAME_WORDS = (5, 25)
_BUCKETS = 24
PARTS = (
    ("opening words", 3),
    ("opening words", 5),
    ("opening frame", 0),
    ("closing frame", 0),
    ("frame", 0),
    ("phrase", 2),
    ("phrase", 3),
    ("phrase", 4),
    ("phrase", 5),
    ("name", 1),
)
"""Kinds of patterns, and of how many words they are."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
LONGEST = 256
"""Tokens of one frame; what comes after them is not told apart."""
with np.errstate(over="ignore"):
    POWERS = np.cumprod(np.full(LONGEST, _BASE, np.uint64))


class _Vocabulary(dict[str, int]):
    """Numbers tokens in the order in which they come."""

    def __missing__(self, token: str) -> int:
        self[token] = number = len(self)
        return number


@dataclass(frozen=True)
class Corpus:
    """Texts cut into tokens; the arrays below are per token where nothing else is said."""

    ids: list[str]
    texts: list[str]
    groups: list[str]
    seen: int
    """Records there were; more than `ids` where only a part was looked at."""
    vocabulary: list[str]
    """Tokens by number, as written."""
    tokens: Ints
    starts: Ints
    """Of every record the first token, and after the last the end."""
    document: Ints
    sentence: Ints
    """The number of the sentence, through all records; a line break ends one."""
    at: Ints
    """The positions of words among the tokens."""
    mixed: Keys
    """By token number: a hash of the lower-cased token."""

    @property
    def records(self) -> int:
        """How many records were looked at."""
        return len(self.ids)

    @property
    def words(self) -> int:
        """How many words they have."""
        return len(self.at)

    def table(self, tokens: Iterable[str]) -> Flags:
        """Return by token number whether its lower-cased form is among these."""
        found = np.zeros(len(self.vocabulary), np.bool_)
        found[[number for token in tokens for number in self._spellings.get(token, ())]] = True
        return found

    @cached_property
    def _spellings(self) -> dict[str, list[int]]:
        """The numbers of the tokens that are the same but for capitals."""
        found: dict[str, list[int]] = {}
        for number, token in enumerate(self.vocabulary):
            found.setdefault(lowered(token), []).append(number)
        return found

    def that(self, test: Callable[[str], bool]) -> Flags:
        """Return by token number whether a test holds of it."""
        return np.fromiter(map(test, self.vocabulary), np.bool_, len(self.vocabulary))

    @cached_property
    def frames(self) -> Frames:
        """Every sentence with its words of content left out."""
        return _frames(self)

    def wording(self, kind: str, start: int, stop: int) -> str:
        """Return the pattern of some kind that stands at these tokens, as keys are made from it."""
        tokens = [lowered(self.vocabulary[token]) for token in self.tokens[start:stop]]
        if "frame" not in kind:
            return " ".join(token for token in tokens if token[0].isalnum())
        told = [SLOT if one[0].isalnum() and one not in KEPT else one for one in tokens if not _is_untold(one)]
        return " ".join(one for at, one in enumerate(told) if one != SLOT or told[at - 1 : at] != [SLOT])

    def snippet(self, start: int, stop: int) -> str:
        """Return the text from one token up to another, as it stands in its record."""
        record = int(self.document[start])
        first = int(self.starts[record])
        spans = [one.span() for one in TOKEN.finditer(self.texts[record])]
        return self.texts[record][spans[start - first][0] : spans[min(stop, self.starts[record + 1]) - first - 1][1]]


def lowered(token: str) -> str:
    """Return a token as it is compared."""
    return token.lower().replace("’", "'")


def hashed(token: str) -> int:
    """Return the hash of a token that is the same in every process."""
    return int.from_bytes(blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def key_of(tokens: Iterable[str]) -> int:
    """Return the key of a run of lower-cased tokens, the one that the arrays hold for it."""
    values = np.fromiter((hashed(one) for one in tokens), np.uint64)
    return int((values * POWERS[: len(values)]).sum(dtype=np.uint64))


def gather(texts: Iterable[tuple[str, str, str]], most: float | None = None) -> Corpus:
    """Return the texts in memory and cut into tokens, thinned evenly where they have more than `most` characters."""
    most = MOST_CHARACTERS if most is None else most
    kept: list[tuple[str, str, str]] = []
    seen = characters = rarity = 0
    for one in texts:
        seen += 1
        if not _belongs(one[0], rarity):
            continue
        kept.append(one)
        characters += len(one[1])
        while characters > (most / 2 if rarity else most) and len(kept) > 1 and rarity < 32:  # noqa: PLR2004 - bits of the hash
            rarity += 1
            kept = [one for one in kept if _belongs(one[0], rarity)]
            characters = sum(len(text) for _, text, _ in kept)
    return _cut(kept, seen)


def _belongs(name: str, rarity: int) -> bool:
    return not zlib.crc32(name.encode("utf-8", "surrogatepass")) & ((1 << rarity) - 1)


def _cut(kept: list[tuple[str, str, str]], seen: int) -> Corpus:
    vocabulary = _Vocabulary()
    parts = [np.fromiter(map(vocabulary.__getitem__, TOKEN.findall(text)), np.int32) for _, text, _ in kept]
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    tokens = np.concatenate([*parts, np.zeros(0, np.int32)])
    words = list(vocabulary)
    is_word = np.fromiter((one[0].isalnum() for one in words), np.bool_, len(words))
    document = np.repeat(np.arange(len(parts), dtype=np.int32), np.diff(starts))
    return Corpus(
        ids=[name for name, _, _ in kept],
        texts=[text for _, text, _ in kept],
        groups=[group for _, _, group in kept],
        seen=seen,
        vocabulary=words,
        tokens=tokens,
        starts=starts,
        document=document,
        sentence=_sentences(tokens, document, words),
        at=np.flatnonzero(is_word[tokens]).astype(np.int32),
        mixed=np.fromiter((hashed(lowered(one)) for one in words), np.uint64, len(words)),
    )


def _sentences(tokens: Ints, document: Ints, words: list[str]) -> Ints:
    """Return the number of every token's sentence; the mark that ends one belongs to it."""
    if not len(tokens):
        return np.zeros(0, np.int32)
    is_line = np.fromiter((one[0] == "\n" for one in words), np.bool_, len(words))[tokens]
    ends = np.fromiter((one in ENDS for one in words), np.bool_, len(words))[tokens]
    short = np.fromiter((lowered(one) in ABBREVIATED for one in words), np.bool_, len(words))[tokens]
    ends[1:] &= ~short[:-1]
    begins = is_line
    # of several marks in a row (`?!`, `...`) all belong to the sentence
    begins[1:] |= (ends[:-1] & ~ends[1:]) | (document[1:] != document[:-1])
    return np.cumsum(begins, dtype=np.int32)


@dataclass(frozen=True)
class Frames:
    """Sentences as frames: the arrays are per sentence."""

    key: Keys
    start: Ints
    stop: Ints
    words: Ints
    kept: Ints
    """Words of the frame that are no slot."""
    is_first: Flags
    is_last: Flags


def _is_untold(token: str) -> bool:
    return token in _UNTOLD or token[0] == "\n"


def _frames(corpus: Corpus) -> Frames:
    told = np.flatnonzero(~corpus.that(_is_untold)[corpus.tokens]).astype(np.int32)
    token, sentence = corpus.tokens[told], corpus.sentence[told]
    is_word = corpus.that(lambda one: one[0].isalnum())
    is_content = is_word & ~corpus.table(KEPT)
    begins = np.ones(len(told), np.bool_)
    begins[1:] = sentence[1:] != sentence[:-1]
    is_slot = is_content[token]
    is_slot[1:] &= is_slot[:-1] & ~begins[1:]  # a slot that only prolongs the one before it
    first = np.flatnonzero(begins).astype(np.int32)
    place = np.cumsum(~is_slot, dtype=np.int32)
    place -= np.repeat(place[first], np.diff(np.append(first, len(told))))
    value = np.where(is_content, np.uint64(hashed(SLOT)), corpus.mixed)[token]
    value *= POWERS[np.minimum(place, LONGEST - 1, out=place)]
    value[is_slot] = 0
    last = np.append(first[1:], len(told))[: len(first)] - 1
    words, kept = (_summed(flags[token], first) for flags in (is_word, is_word & ~is_content))
    # a sentence without words, such as a line that holds a rule, is nobody's first or last
    spoken = np.flatnonzero(words)
    document = corpus.document[told[first[spoken]]]
    changes, edge = document[1:] != document[:-1], np.ones(min(len(spoken), 1), np.bool_)
    return Frames(
        key=_summed(value, first)[spoken],
        start=told[first][spoken],
        stop=told[last][spoken] + 1,
        words=words[spoken],
        kept=kept[spoken],
        is_first=np.concatenate([edge, changes]),
        is_last=np.concatenate([changes, edge]),
    )


def _summed(values: np.ndarray[Any, Any], first: Ints) -> np.ndarray[Any, Any]:
    """Return the sums of the stretches that begin at these places."""
    kind = np.int32 if values.dtype == np.bool_ else values.dtype
    return np.add.reduceat(values, first, dtype=kind) if len(first) else np.zeros(0, kind)


@dataclass(frozen=True)
class Sightings:
    """Patterns of one kind: `first[i] : first[i + 1]` are the rows of the `i`-th key, one for each record it is in."""

    keys: Keys
    counts: Ints
    first: Ints
    document: Ints
    start: Ints
    stop: Ints


def _runs(corpus: Corpus, kind: str, length: int) -> tuple[Keys, Ints, Ints]:
    """Return key, first token and the one after the last of everything of a kind, in the order of the texts."""
    if "frame" in kind:
        frames = corpus.frames
        low, high = FRAME_WORDS
        is_wanted = {
            "opening frame": frames.is_first & (frames.kept > 1),
            "closing frame": frames.is_last & (frames.kept > 1),
            "frame": (frames.words >= low) & (frames.words <= high) & (frames.kept > 2),  # noqa: PLR2004 - else it says nothing
        }[kind]
        return frames.key[is_wanted], frames.start[is_wanted], frames.stop[is_wanted]
    if kind == "name":
        return _names(corpus)
    at = corpus.at
    count = max(len(at) - length + 1, 0)
    if kind == "opening words":
        document = corpus.document[at]
        is_wanted = document[:count] == document[length - 1 :]
        is_wanted[1:] &= (document[1:] != document[:-1])[: max(count - 1, 0)]
    else:
        sentence = corpus.sentence[at]
        is_wanted = sentence[:count] == sentence[length - 1 :]
    return keys(corpus, at, length)[is_wanted], at[:count][is_wanted], at[length - 1 :][is_wanted] + 1


def keys(corpus: Corpus, at: Ints, length: int) -> Keys:
    """Return the key of every run of so many of the words at these places, wherever one record ends."""
    mixed = corpus.mixed[corpus.tokens[at]]
    count = max(len(at) - length + 1, 0)
    made = np.zeros(count, np.uint64)
    for step in range(length):
        made += mixed[step : step + count] * POWERS[step]
    return made


def _names(corpus: Corpus) -> tuple[Keys, Ints, Ints]:
    """Return the capitalised words that follow a word without a capital."""
    tokens = corpus.tokens
    is_name = corpus.that(lambda one: one.isalpha() and one.istitle() and len(one) > 2)[tokens]  # noqa: PLR2004
    is_lower = corpus.that(lambda one: one[0].islower())[tokens]
    found = np.flatnonzero(is_name[1:] & is_lower[:-1] & (corpus.document[1:] == corpus.document[:-1])) + 1
    return corpus.mixed[tokens[found]] * POWERS[0] if len(found) else np.zeros(0, np.uint64), found, found + 1


def sightings(corpus: Corpus, kind: str, length: int, least: int) -> Sightings:
    """Return the patterns of a kind that at least so many records have."""
    key, start, stop = _runs(corpus, kind, length)
    bucket = (key >> np.uint64(64 - _BUCKETS)).astype(np.int32)
    # most runs are rare, and what shares no bucket with enough others need not be sorted
    row = np.flatnonzero((np.bincount(bucket, minlength=1) >= least)[bucket])
    row = row[np.argsort(key[row], kind="stable")]
    found, document = key[row], corpus.document[start[row]]
    is_new = np.ones(len(row), np.bool_)
    is_new[1:] = found[1:] != found[:-1]
    is_fresh = is_new.copy()
    is_fresh[1:] |= document[1:] != document[:-1]
    number = np.cumsum(is_new) - 1
    counts = np.bincount(number[is_fresh], minlength=1) if len(row) else np.zeros(0, np.int64)
    enough = counts >= least
    chosen = is_fresh & enough[number]
    row = row[chosen]
    counts = counts[enough]
    first = np.concatenate([[0], np.cumsum(counts)])
    return Sightings(found[is_new][enough], counts, first, document[chosen], start[row], stop[row])


def frequencies(corpus: Corpus, kind: str, length: int, wanted: Keys) -> dict[int, int]:
    """Return for some keys, sorted, in how many records they are."""
    return {key: len(records) for key, records in holders(corpus, kind, length, wanted).items()}


def holders(corpus: Corpus, kind: str, length: int, wanted: Keys) -> dict[int, Ints]:
    """Return for some keys, sorted, which records they are in, by their place."""
    nowhere = {int(one): np.zeros(0, np.int64) for one in wanted}
    if not len(wanted):
        return nowhere
    key, start, _ = _runs(corpus, kind, length)
    if not len(key):
        return nowhere
    place = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
    hit = np.flatnonzero(wanted[place] == key)
    pairs = np.unique(place[hit] * corpus.records + corpus.document[start[hit]])
    first = np.searchsorted(pairs // corpus.records, np.arange(1, len(wanted)))
    return dict(zip(map(int, wanted), np.split(pairs % corpus.records, first), strict=True))
