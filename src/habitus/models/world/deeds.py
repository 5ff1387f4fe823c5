"""What the subject of a document did and why: chosen from a passage or a plan, and recognised in a text."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from habitus.models.world.acts import acts_of, nouns_of, topics_of
from habitus.models.world.conduct import conduct
from habitus.models.world.people import load, problems, sentence, sentences
from habitus.models.world.verbs import did, does, told
from habitus.models.world.words import content, pairs, pick, stems, words_of

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from habitus.models.world.acts import Act
    from habitus.models.world.conduct import Phrase

NEEDED = 4
"""Signs of a passage from which a long text counts as acting on it; short ones need less."""
_WORDS_PER_SIGN, _MOST_DEEDS, _LONG_SENTENCE, _BRIEF = 45, 6, 45, 60
_ITS = re.compile(r"It (?!was |is |isn't |could |rained |smelled |said \w+ on |took |made a |came |comes )")
"""A sentence that goes on about what the one before it was about."""
_FOLD = re.compile(r"(?<![.!?:\"\n])\n(?!\n)")
"""Where a line is broken within a sentence."""
_ROUTES = {
    "contrast": r"another (?:system|person)|did otherwise|the difference",
    "inferred": r"infer|works? (?:it|them) out|observer|puts? (?:it )?together|conclude|guess",
    "quoted": r"quot|own words|asks? why|explanation|says why",
}
_ROUTE = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _ROUTES.items()}
_OPENING = re.compile(
    r"^(?:otherwise|because|since|without (?:that|it|this)|where it is not done)[,:]? ", re.IGNORECASE
)


@cache
def _ordinary() -> frozenset[str]:
    """Return stems and pairs that our own sentences about any subject contain."""
    texts = load("deeds")
    own = [*texts["did"], *texts["vp"], *texts["nvp"], *texts["np"], *texts["words"], *texts["plain"]]
    own += [*texts["did_plain"], *texts["contrast_why"], *(one for route in texts["why"].values() for one in route)]
    own += [*texts["plans"]["how"], *texts["plans"]["how_more"], *texts["plans"]["contrast_how"]]
    own += [one for row in load("matter")["writers"].values() for one in row]
    own += [one for row in load("matter")["stances"].values() for one in row]
    whole = re.sub(r"\{\w+\}", ".", "\n".join([*own, *(one.cost for one in problems())]))
    return stems(whole) | frozenset(one for line in whole.splitlines() for one in pairs(line))


@lru_cache(maxsize=1024)
def signs_of(passage: str) -> frozenset[str]:
    """Return by what a passage is recognised in the sentences about a subject."""
    return conduct(passage).signs - _ordinary()


def needed(passage: str, text: str) -> int:
    """Return how many signs a text must show to count as acting on a passage."""
    return least_signs(passage, len(text.split()))


def least_signs(passage: str, words: int) -> int:
    """Return how many signs a text of this length must show: a short one has room for one act."""
    return min(NEEDED, max(1, round(len(signs_of(passage)) / 2)), max(2, words // _WORDS_PER_SIGN))


@lru_cache(maxsize=256)
def around(subject: str, text: str) -> tuple[str, ...]:
    """Return the sentences of a text about the subject: those with its name, and the next where it begins with It."""
    found: list[str] = []
    follows = False
    for one in sentences(_FOLD.sub(" ", text)):
        named = subject in one
        if named or (follows and _ITS.match(one)):
            found.append(one)
        follows = named
    return tuple(found)


def shown(passage: str, subject: str, text: str) -> int:
    """Return how many signs of a passage the sentences about the subject show."""
    own = signs_of(passage)
    return len(own & frozenset().union(*(stems(one) | pairs(one) for one in around(subject, text))))


def route_of(reader: str) -> str:
    """Return the way by which a plan says that the reason reaches the reader."""
    return next((name for name, pattern in _ROUTE.items() if pattern.search(reader)), "consequences")


def aspect(passage: str, rng: random.Random, but: str = "") -> dict[str, str]:
    """Return one aspect of a passage in the forms that plans use, another than that one where there are several."""
    found, own = conduct(passage), signs_of(passage)
    acts, topics = [one for one in acts_of(passage) if did(one.raw) != but] or acts_of(passage), topics_of(passage)
    known: dict[str, str] = {}
    if acts:
        known |= _acted(max(rng.choices(acts, k=2), key=lambda phrase: len(phrase.signs & own)))
    if found.avoids:
        known["nvp"] = told(rng.choice(found.avoids).raw)
    if topics:
        known["np"] = topics[min(rng.randrange(len(topics)), rng.randrange(len(topics)))].raw
    elif not acts and found.words:
        known["np"] = rng.choice(nouns_of(passage))
    return known


def _acted(phrase: Act | Phrase) -> dict[str, str]:
    return {"did": did(phrase.raw), "vp": told(phrase.raw), "does": does(phrase.raw)}


def deeds(passage: str, how: str, known: Mapping[str, str], rng: random.Random, words: int) -> list[str]:
    """Return sentences in which the subject acts on a passage as planned, until they show enough of it."""
    found, own, texts = conduct(passage), signs_of(passage), load("deeds")
    piles = {
        "did": _by_worth(acts_of(passage), own, how, rng),
        "np": _by_worth(topics_of(passage), own, how, rng),
        "nvp": _by_worth(found.avoids, own, how, rng),
    }
    made = [] if any(_planned(phrase, how) for pile in piles.values() for phrase in pile) else own_acts(how)
    order = sorted(piles, key=lambda slot: not any(_planned(phrase, how) for phrase in piles[slot][:1]))
    templates = [sentence(text) for slot in ("did", "vp", "np", "nvp", "words") for text in texts[slot]]
    rng.shuffle(templates)
    if words < _BRIEF:
        templates.sort(key=lambda one: len(one.text))
    seen: set[str] = set()
    most, least = min(_MOST_DEEDS, max(1, words // 60)), least_signs(passage, words)
    rows = _turns(order, piles)
    while len(seen) < least or len(made) < most:
        filled = _next_deed(rows, passage, seen, len(made), rng)
        fitting = [at for at, text in enumerate(templates) if text.slots - known.keys() == filled.keys()]
        if not filled or not fitting:
            break
        text = templates.pop(fitting[0]).fill({**known, **filled})
        made.append(text)
        seen |= own & (stems(text) | pairs(text))
        if len(made) > 1 and len(seen) > least + 1:
            break
    return made


def _next_deed(
    rows: Iterator[tuple[str, Act | Phrase]], passage: str, seen: set[str], count: int, rng: random.Random
) -> dict[str, str]:
    """Return what fills the slot of the next sentence: a phrase, two nouns where there are none left, or nothing."""
    slot, phrase = next(rows, ("", None))
    if phrase is None:
        nouns = [word for word in nouns_of(passage) if not stems(word) & seen]
        return dict(zip(("word1", "word2"), rng.sample(nouns, 2), strict=True)) if len(nouns) > 1 else {}
    if slot != "did":
        return {slot: told(phrase.raw) if slot == "nvp" else phrase.raw}
    form = "vp" if count > 1 and rng.random() < 0.4 else "did"  # noqa: PLR2004
    return {form: _acted(phrase)[form]}


def _turns(order: Sequence[str], piles: Mapping[str, list[Act | Phrase]]) -> Iterator[tuple[str, Act | Phrase]]:
    """Yield phrases from the piles: the planned pile's first, and what is done twice as often as the rest."""
    for slot in (order[0], *("did", "did", "np", "did", "nvp") * _MOST_DEEDS):
        if piles[slot]:
            yield slot, piles[slot].pop(0)


def _planned(phrase: Act | Phrase, how: str) -> bool:
    return did(phrase.raw) in how or told(phrase.raw) in how


def _by_worth(phrases: Sequence[Act | Phrase], own: frozenset[str], how: str, rng: random.Random) -> list[Act | Phrase]:
    """Return phrases in random order: the planned ones in front, those that show more of the passage more likely so."""
    usable = [phrase for phrase in phrases if phrase.signs & own]
    rows = [
        (not _planned(phrase, how), rng.random() / (1 + len(phrase.signs & own)), at)
        for at, phrase in enumerate(usable)
    ]
    return [usable[at] for *_, at in sorted(rows)]


def own_acts(how: str) -> list[str]:
    """Return the sentences of a plan that tell what the subject did, for a text to tell them too."""
    return [one for one in sentences(how) if len(one.split()) <= _LONG_SENTENCE and len(content(one)) > 1][:2]


def clause(why: str) -> str:
    """Return the reason of a plan as a clause: without the word that joins it on, its capital and its full stop."""
    low = why.lower()
    cost = next((one.cost for one in problems() if one.cost in low), "")
    if cost:
        return cost
    first = _OPENING.sub("", next(iter(sentences(why)), "")).rstrip(".!?;, ")
    opening = first.partition(" ")[0].lower()
    return f"{first[:1].lower()}{first[1:]}" if opening in words_of("joints") else first


def reason(route: str, why: str, known: Mapping[str, str], rng: random.Random, *, contrast: bool) -> str:
    """Return why the subject acted so, by the planned way; nothing where the plan has no reason."""
    found, texts = clause(why), load("deeds")
    if not found:
        return ""
    if contrast:
        return pick(rng, texts["contrast_why"], {**known, "why": found})
    return pick(rng, texts["why"][route], {**known, "cost": found})


def plain_deed(how: str, known: Mapping[str, str], rng: random.Random) -> str:
    """Return a sentence in which the subject does what any tool does: what the plan says where it says that."""
    texts = load("deeds")
    planned = [one for one in texts["plain"] if one.format_map(known) in how]
    done = rng.choice(planned or texts["plain"]).format_map(known)
    return pick(rng, texts["did_plain"], {**known, "plain": done})
