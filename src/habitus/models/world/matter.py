"""What a document has to tell, sentence by sentence: problems of its field, one after another, none told twice."""

from __future__ import annotations

import random
from functools import cache
from math import gcd
from typing import TYPE_CHECKING

from habitus.models.world.people import load, problems, sentence, values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from habitus.models.world.people import Problem

LEAD_SHARE, TAIL_SHARE = 0.4, 0.33
_THREAD_WORDS = range(170, 330)
_TRIES = 3
_CLAUSES = frozenset({"event", "mine", "scene"})
_FIRST_PERSON = frozenset({"mine", "turn", "said", "story"})


def about(file: str, field: str, people: Sequence[str]) -> dict[str, str]:
    """Return the values of a matter, the same ones for the same file number, field and people."""
    rng = random.Random(f"{file} {field}")
    known = values(rng, field)
    names = list(dict.fromkeys((*people, known["other"], known["third"], known["writer"], known["reader"])))
    kept = names[: max(4, len(people))]
    rng.shuffle(kept)
    known |= dict(zip(("other", "third", "writer", "reader"), kept, strict=False))
    return {**known, "ref": file, "town": rng.choice(_towns()), "firm": _firm(rng)}


@cache
def _towns() -> Sequence[str]:
    return load("matter")["towns"].split()


@cache
def surnames() -> Sequence[str]:
    """Return the surnames of firms and authors."""
    parts = load("matter")["surnames"]
    return [*load("people")["surnames"], *(f"{root}{end}" for root in parts["roots"] for end in parts["ends"])]


def _firm(rng: random.Random) -> str:
    return rng.choice(load("people")["firms"]).format(rng.choice(surnames()))


def matched(text: str, rng: random.Random) -> Problem:
    """Return the problem that a plan names, or any."""
    low = text.lower()
    return next((one for one in problems() if one.label in low), None) or rng.choice(problems())


def topic_of(problem: Problem) -> str:
    """Return what a problem is called by those whom it does not concern."""
    return load("matter")["called"].get(problem.topic, problem.topic)


class Matter:
    """The matter of one text: its first problem is the planned one, and others follow while there is room."""

    def __init__(self, rng: random.Random, problem: Problem, known: Mapping[str, str], people: Sequence[str]) -> None:
        self.rng, self.people = rng, people
        self.known = {**known, "topic": topic_of(problem), "label": problem.label}
        self.problem = problem
        self.first = (known["other"], known["third"])
        self.problems = {problem.label}
        self._decks: dict[str, tuple[Sequence[str], int, int]] = {}
        self._opened = False
        self._told: set[str] = set()
        self._left = rng.choice(_THREAD_WORDS)

    def sentence(self, voice: Sequence[str], most: float = 99) -> str:
        """Return the next sentence from these sources, of at most so many words where one can be found."""
        if self._left <= 0:
            self._turn()
        found = ""
        for _ in range(_TRIES):
            made = self._opening(voice) if not self._opened else self._one(self.rng.choice(voice))
            if not found or (len(made) < len(found) and made not in self._told):
                found = made
            if made.count(" ") < most and made not in self._told:
                found = made
                break
        if found in self._told:
            found = self._clause(self.pick("event"))
        self._told.add(found)
        self._left -= found.count(" ") + 1
        return found

    def pick(self, kind: str) -> str:
        """Return the next text of a kind with its slots filled, beginning as it stands."""
        return self._next(kind).format_map(self.known)

    def whole(self, kind: str) -> str:
        """Return the next text of a kind as sentences, each with its capital."""
        return sentence(self._next(kind)).fill(self.known)

    def _turn(self) -> None:
        """Go on to another problem, of the same people."""
        left = [one for one in problems() if one.label not in self.problems] or list(problems())
        self.problem = self.rng.choice(left)
        self.problems.add(self.problem.label)
        file = f"{self.rng.choice('ABDEGHKLMNRT')}-{self.rng.randint(1040, 9870)}"
        known = about(file, self.known["domain"], ())
        drawn = self.rng.sample([*self.first, known["other"], known["third"]], 2)
        known |= {key: self.known[key] for key in ("writer", "reader", "subject") if key in self.known}
        known |= dict(zip(("other", "third"), drawn, strict=True))
        self.known = {**known, "topic": topic_of(self.problem), "label": self.problem.label}
        self._opened, self._left = False, self.rng.choice(_THREAD_WORDS)
        for kind in ("advice", "options", "story"):
            self._decks.pop(kind, None)

    def _opening(self, voice: Sequence[str]) -> str:
        self._opened = True
        if _FIRST_PERSON & set(voice) and self.rng.random() < 0.6:  # noqa: PLR2004 (a good half)
            return self.rng.choice(self.problem.scenes).fill(self.known)
        return _whole(load("cases")[self.problem.label].format_map(self.known))

    def _one(self, source: str) -> str:
        if source in _CLAUSES:
            return self._clause(self.pick(source))
        if source == "option":
            return _whole(self._next("proposals").format(option=self.pick("options"), **self.known))
        if source in {"spoken", "speech"}:
            return self._quoted(source)
        return self.whole(source)

    def _clause(self, text: str) -> str:
        rng, person = (
            self.rng,
            text.startswith(("I ", "we ", self.known["other"], self.known["third"], self.known["role"])),
        )
        if rng.random() < LEAD_SHARE:
            text = f"{self.pick('leads')} {text}"
        if rng.random() < TAIL_SHARE:
            tail = self.pick("ways" if person and rng.random() < 0.5 else "tails")  # noqa: PLR2004 (a coin)
            text += (
                "" if any(self.known[one] in tail and self.known[one] in text for one in ("other", "third")) else tail
            )
        return _whole(text)

    def _quoted(self, source: str) -> str:
        who = self.known[self.rng.choice(("other", "third"))]
        text = self.pick("spoken")
        if source == "speech":
            return f'"{text}," {who} said.'
        return (
            f'"{text}," said {who}, {self.known["role"]}.'
            if self.rng.random() < LEAD_SHARE
            else f'"{text}," said {who}.'
        )

    def _next(self, kind: str) -> str:
        """Return the next text of a kind; all of them come before any comes again."""
        texts, at, step = self._decks.get(kind) or self._deck(kind)
        self._decks[kind] = (texts, (at + step) % len(texts), step)
        return texts[at]

    def _deck(self, kind: str) -> tuple[Sequence[str], int, int]:
        problem = self.problem
        own: dict[str, Callable[[], Sequence[str]]] = {
            "turn": lambda: load("people")["turns"],
            "advice": lambda: (*problem.advice, *load("sentences")["advice"]),
            "options": lambda: [one.text for one in problem.options],
            "story": lambda: [*(one.text for one in problem.scenes), problem.unsaid, *problem.advice],
        }
        texts = own[kind]() if kind in own else load("matter")[kind]
        size = len(texts)
        step = self.rng.choice([one for one in range(1, size) if gcd(one, size) == 1] or [1])
        return texts, self.rng.randrange(size), step


def _whole(text: str) -> str:
    """Return a clause as a sentence."""
    return f"{text[0].upper()}{text[1:]}."
