"""Judge calibration: what people say of texts that the judge has rated, held against its verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from habitus.audit.dataset import order
from habitus.audit.prevalence import Agreement, Rate, agreement, corrected, flags, rate_of
from habitus.errors import UserError, nearest
from habitus.files import read_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from habitus.records import Level, Pattern, Rated

YES, NO = frozenset({"y", "yes", "broad", "strict"}), frozenset({"n", "no"})
"""What a mark may be; one by three levels is also held against the strict test."""
LARGEST_MB = 100
BY_LEVEL = frozenset({"no", "broad", "strict"})


@dataclass(frozen=True, slots=True)
class Mark:
    """What a person says of one pattern in one text."""

    id: str
    pattern: str
    mark: str


@dataclass(frozen=True, slots=True)
class PatternAgreement:
    """How far judge and person agree on one pattern; agreement and kappa as they would be over all rated texts."""

    id: str
    name: str
    level: Level
    agreement: Agreement
    confusion: dict[str, int]
    judged: Rate
    corrected: Rate
    """The rate with the judge's errors taken out."""


def read_marks(path: Path, patterns: Sequence[Pattern], rated: Sequence[Rated]) -> list[Mark]:
    """Return the marks in a file of the form `{"marks": [{"id": …, "pattern": …, "mark": "y"}, …]}`.

    Marks that are still empty are passed over.

    Raises:
        UserError: the file is of no such form, or speaks of a text or pattern that was not rated.

    """
    try:
        whole = orjson.loads(
            read_whole(path, most=LARGEST_MB, todo="Make one with --draw.").removeprefix(b"\xef\xbb\xbf")
        )
        rows = whole["marks"] if isinstance(whole, dict) else whole
        found = [Mark(_word(row["id"]), _word(row["pattern"]), _word(row["mark"] or "").lower()) for row in rows]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        todo = 'Marks are {"marks": [{"id": …, "pattern": …, "mark": "y" or "n"}, …]}; --draw makes such a file.'
        raise UserError(f"this is no file of marks ({error}).", where=str(path), todo=todo) from error
    known, texts = [one.id for one in patterns], {one.id for one in rated}
    for number, one in enumerate(found, start=1):
        where = f"{path}, mark {number}"
        if one.pattern not in known:
            raise UserError(f"no pattern '{one.pattern}'.{nearest(one.pattern, known)}", where=where)
        if one.id not in texts:
            raise UserError(f"the text '{one.id}' was not rated.", where=where, todo="Mark texts of this audit.")
        if one.mark and one.mark not in YES | NO:
            raise UserError(f"'{one.mark}' is no mark.", where=where, todo="Write y or n, or no, broad, strict.")
    if not any(one.mark for one in found):
        raise UserError("nothing is marked yet.", where=str(path), todo='Put "y" or "n" behind each "mark".')
    return [one for one in found if one.mark]


def _word(value: Any) -> str:
    """Return an id or a mark as text; TypeError where it is neither text nor number."""
    if not isinstance(value, str | int | float):
        raise TypeError(f"a {type(value).__name__} where a text should be")
    return str(value)


def agree(patterns: Sequence[Pattern], rated: Sequence[Rated], marks: Sequence[Mark]) -> list[PatternAgreement]:
    """Return how far judge and marks agree on each pattern: by the broad test and, where marks tell, by the strict."""
    rows = []
    for pattern in patterns:
        own = {one.id: one.mark for one in marks if one.pattern == pattern.id}
        if not own:
            continue
        rows.append(_held(pattern, "broad", rated, {name: mark in YES for name, mark in own.items()}))
        if set(own.values()) <= BY_LEVEL:
            rows.append(_held(pattern, "strict", rated, {name: mark == "strict" for name, mark in own.items()}))
    return rows


def levels_of(pattern: str, rated: Sequence[Rated]) -> dict[str, Level]:
    """Return the level that the judge gave each text; one without words that occur is none."""
    found = {one.id: one.verdicts[pattern] for one in rated if pattern in one.verdicts}
    return {name: match.level if match.supported else "no" for name, match in found.items()}


def _held(pattern: Pattern, level: Level, rated: Sequence[Rated], marks: dict[str, bool]) -> PatternAgreement:
    judged = flags(pattern.id, rated, level)
    levels = levels_of(pattern.id, rated)
    pairs = [(judged[name], mark) for name, mark in marks.items()]
    sizes, marked = Counter(levels.values()), Counter(levels[name] for name in marks)
    weights = [sizes[levels[name]] / marked[levels[name]] for name in marks]
    cells = {"both": (True, True), "judge alone": (True, False), "person alone": (False, True),
             "neither": (False, False)}  # fmt: skip
    return PatternAgreement(
        id=pattern.id,
        name=pattern.name,
        level=level,
        agreement=agreement(pairs, weights),
        confusion={name: pairs.count(cell) for name, cell in cells.items()},
        judged=rate_of(sum(judged.values()), len(judged)),
        corrected=corrected(levels, marks),
    )


def to_mark(
    patterns: Sequence[Pattern], rated: Sequence[Rated], texts: dict[str, str], number: int, seed: int
) -> dict[str, Any]:
    """Return so many texts of each pattern for a person to mark, without the judge's verdicts.

    About a third each are texts in which the judge found it by the strict test, by the broad one alone, and not, as far
    as there are so many; in random order.
    """
    rows: list[dict[str, Any]] = []
    for pattern in patterns:
        levels = levels_of(pattern.id, rated)
        drawn = sorted(levels, key=lambda name, pattern=pattern: order(seed, f"mark {pattern.id}", name))
        chosen = [name for level in ("strict", "broad") for name in
                  [one for one in drawn if levels[one] == level][: number // 3]]  # fmt: skip
        chosen += [name for name in drawn if levels[name] == "no"][: number - len(chosen)]
        chosen.sort(key=lambda name, pattern=pattern: order(seed, pattern.id, name))
        rows += [{"id": name, "pattern": pattern.id, "mark": "", "text": texts[name]} for name in chosen]
    told = {one.id: {"name": one.name, "definition": one.definition, "broad": one.broad, "strict": one.strict}
            for one in patterns}  # fmt: skip
    return {"how": "Put y or n behind each mark (or no, broad, strict).", "patterns": told, "marks": rows}
