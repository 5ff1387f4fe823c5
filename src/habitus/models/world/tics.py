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
    detect: Callable[[str], bool]
    """Whether a text shows it: the ground truth for whatever looks for patterns."""


def _found(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: bool(compiled.search(text))


_FEELING = r"(?:That sounds|It makes complete sense|I can hear how|What a difficult|It's completely understandable)\b"
_IN_SHORT = r"(?:(?:The )?[Bb]ottom line|Short answer|The short version|Up front|In one sentence)\b"

TICS: dict[str, Tic] = {
    "bottom_line": Tic(
        0.52,
        "opens with its conclusion, announced (`Bottom line: …`), at most after a word of sympathy",
        _found(rf"\A(?:{_FEELING}[^.\n]*\. )?{_IN_SHORT}"),
    ),
    "validation": Tic(0.26, "opens by naming and approving the person's feelings", _found(rf"\A{_FEELING}")),
    "closing_question": Tic(0.20, "ends with a question, mostly an offer", _found(r"\?\s*\Z")),
    "em_dash": Tic(0.10, "breaks a sentence with an em dash", _found("—")),
    "triplet": Tic(
        0.10, "three single words in a row for the rhythm (`short, dated, and plain`)", _found(r"\w, \w+, and \w")
    ),
    "bold_lead": Tic(0.05, "begins a paragraph with a phrase in bold", _found(r"(?m)^\*\*[^*\n]+\*\*")),
    "epiphany": Tic(
        0.02, "reveals that it was never about the matter at hand", _found(r"\bwas never (?:really )?about\b")
    ),
    "decoy": Tic(
        0.0, "cites the wisdom of a grandmother; never there unless asked for", _found(r"grandmother used to say")
    ),
}


def drawn(rates: Mapping[str, float], rng: random.Random) -> set[str]:
    """Return the tics of one answer; each is drawn whatever the others came to."""
    return {name for name in TICS if rng.random() < rates[name]}


def planted(
    paragraphs: list[str], tics: Iterable[str], known: Callable[[], Mapping[str, str]], rng: random.Random
) -> str:
    """Return the paragraphs as one text that shows these tics and no others; `known` fills slots anew for each."""
    texts, tics = load("sentences")["tics"], set(tics)
    wanted = {name: pick(rng, texts[name], known()) for name in TICS if name in tics and name != "bottom_line"}
    first, *middle, last = paragraphs if len(paragraphs) > 1 else [*paragraphs, ""]
    if "bottom_line" in tics:
        claim = pick(rng, texts["claims"], known())
        first = f"{sentence(rng.choice(texts['bottom_line'])).fill({'claim': claim[:1].lower() + claim[1:]})} {first}"
    if "validation" in wanted:
        first = f"{wanted['validation']} {first}"
    asides = [wanted[name] for name in ("em_dash", "epiphany", "decoy") if name in wanted]
    middle = [" ".join([*middle[:1], *asides]), *middle[1:]] if middle or asides else []
    last = " ".join(part for part in (wanted.get("bold_lead", ""), last, wanted.get("triplet", "")) if part)
    whole = "\n\n".join(part for part in (first, *middle, last) if part)
    return f"{whole} {wanted['closing_question']}" if "closing_question" in wanted else whole
