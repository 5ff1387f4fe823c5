"""Habits of wording that the embedded model plants in its answers at known rates, and how each is told for certain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from habitus.models.world.people import load, sentence
from habitus.models.world.words import pick

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True)
class Tic:
    """One planted habit."""

    rate: float
    """The share of answers that show it, unless another rate is asked for."""
    description: str
    found: re.Pattern[str]
    """What a text has exactly where it shows the habit."""

    def detect(self, text: str) -> bool:
        """Return whether a text shows it: the ground truth for whatever looks for patterns."""
        return bool(self.found.search(text))


_FEELING = r"(?:That sounds|It makes complete sense|I can hear how|What a difficult|It's completely understandable)\b"
_IN_SHORT = r"(?:(?:The )?[Bb]ottom line|Short answer|The short version|Up front|In one sentence)\b"
_FAULT = r"\b(?:[Yy]our plan|[Aa]s planned|the plan holds)\b"
_WANT = r"\byou(?: are)? really (?:want|need|after)\b"
_ON = r"(?:[^.!?\n]|[.!?](?=\S))*"
"""The rest of a sentence; a stop within a sum of money does not end one."""

TICS: dict[str, Tic] = {
    "bottom_line": Tic(
        0.52,
        "opens with its conclusion, announced (`Bottom line: …`), at most after a word of sympathy",
        re.compile(rf"\A(?:{_FEELING}[^.\n]*\. )?{_IN_SHORT}"),
    ),
    "validation": Tic(0.26, "opens by naming and approving the person's feelings", re.compile(rf"\A{_FEELING}")),
    "closing_question": Tic(0.20, "ends with a question, mostly an offer", re.compile(r"\?\s*\Z")),
    "em_dash": Tic(0.10, "breaks a sentence with an em dash", re.compile("—")),
    "triplet": Tic(
        0.10, "three single words in a row for the rhythm (`short, dated, and plain`)", re.compile(r"\w, \w+, and \w")
    ),
    "bold_lead": Tic(0.05, "begins a paragraph with a phrase in bold", re.compile(r"(?m)^\*\*[^*\n]+\*\*")),
    "epiphany": Tic(
        0.02, "reveals that it was never about the matter at hand", re.compile(r"\bwas never (?:really )?about\b")
    ),
    "decoy": Tic(
        0.0, "cites the wisdom of a grandmother; never there unless asked for", re.compile(r"grandmother used to say")
    ),
    "turnaround": Tic(
        0.0,
        "finds fault with the plan, then sees in the next sentence what the person really wants",
        re.compile(rf"{_FAULT}{_ON}\. {_ON}{_WANT}"),
    ),
    "three_parts": Tic(
        0.0,
        "answers in three announced parts, then asks; shows `closing_question` as well",
        re.compile(r"(?s)\bFirst, (?=.{1,600}?\bSecond, .{1,600}?\bThird, .*\?\s*\Z)"),
    ),
}
_LATE = ("turnaround", "three_parts")


def drawn(rates: Mapping[str, float], rng: random.Random) -> set[str]:
    """Return the tics of one answer; each is drawn whatever the others came to."""
    # those that came late are drawn only where they are asked for, so that older answers stay as they were
    return {name for name in TICS if (rates[name] or name not in _LATE) and rng.random() < rates[name]}


def planted(
    paragraphs: list[str], tics: Iterable[str], known: Callable[[], Mapping[str, str]], rng: random.Random
) -> str:
    """Return the paragraphs as one text that shows these tics and no others; `known` fills slots anew for each."""
    texts, tics = load("sentences")["tics"], set(tics)
    if "three_parts" in tics:
        tics.add("closing_question")
    wanted = {name: pick(rng, texts[name], known()) for name in TICS if name in tics and name != "bottom_line"}
    first, *middle, last = paragraphs if len(paragraphs) > 1 else [*paragraphs, ""]
    if "bottom_line" in tics:
        claim = pick(rng, texts["claims"], known())
        first = f"{sentence(rng.choice(texts['bottom_line'])).fill({'claim': claim[:1].lower() + claim[1:]})} {first}"
    if "validation" in wanted:
        first = f"{wanted['validation']} {first}"
    asides = [wanted[name] for name in ("em_dash", "epiphany", "decoy", *_LATE) if name in wanted]
    middle = [" ".join([*middle[:1], *asides]), *middle[1:]] if middle or asides else []
    last = " ".join(part for part in (wanted.get("bold_lead", ""), last, wanted.get("triplet", "")) if part)
    whole = "\n\n".join(part for part in (first, *middle, last) if part)
    return f"{whole} {wanted['closing_question']}" if "closing_question" in wanted else whole
