"""Which rows of a dataset an arm takes: without those of a pattern, or contrast, or a list, or as many at random."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError, nearest
from habitus.study import read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.settings_train import Selection
    from habitus.study import Study
    from habitus.train.pool import Pool
    from habitus.train.rows import Row

LEVELS = {"broad": {"broad", "strict"}, "strict": {"strict"}}
"""The verdicts that count from a level on."""
ADVICE = "Rate every row and not a sample, or write the filtered dataset with `habitus audit filter` and train on that."


def left_out(study: Study, wanted: Selection, pool: Pool) -> set[str]:
    """Return the ids of the rows to be trained on that a selection leaves out, other than at random.

    Raises:
        UserError: the audit has no such pattern, has not judged all rows, or a list names a row that is not there.

    """
    here = {row.id for row in pool.records}
    to_judge = here - unjudged(study, str(wanted.data), pool) if wanted.without else set()
    by_pattern = _of_patterns(study, wanted, to_judge) if wanted.without else set()
    contrast = set() if wanted.contrast else {row.id for row in pool.records if row.contrast}
    return here & (contrast | by_pattern | _listed(study, wanted, pool.known))


def unjudged(study: Study, data: str, pool: Pool) -> set[str]:
    """Return the ids of the rows to be trained on that the audit's judge was given and could not rate."""
    folder = study.root / "audit" / data
    if not (folder / "dropped.jsonl").exists() or not (folder / "matches.jsonl").exists():
        return set()
    rated = {row["id"] for row in read_rows(folder / "matches.jsonl", "id")}
    dropped = {row["id"] for row in read_rows(folder / "dropped.jsonl", "id")}
    return {row.id for row in pool.records} & dropped - rated


def thinned(rows: Sequence[Row], number: int, seed: int) -> set[str]:
    """Return the ids of so many rows, drawn at random.

    Raises:
        UserError: there are not so many.

    """
    if number > len(rows):
        what = f"{number:,} rows are to be left out at random, and there are {len(rows):,}."
        raise UserError(what, where="config.yaml, as_many_as", todo="Compare arms on the same dataset.")
    return set(random.Random(f"{seed} thinned").sample(sorted(row.id for row in rows), number))


def _of_patterns(study: Study, wanted: Selection, here: set[str]) -> set[str]:
    path = study.root / "audit" / str(wanted.data) / "matches.jsonl"
    if not path.exists():
        todo = f"Audit it first, or give `without_ids: FILE`. (There would be {path.name} in {path.parent}.)"
        raise UserError("this dataset's patterns have not been rated.", where=str(path), todo=todo)
    found: set[str] = set()
    judged: set[str] = set()
    patterns: set[str] = set()
    for row in read_rows(path, "id", "verdicts"):
        if row["verdicts"].keys() >= set(wanted.without):
            judged.add(row["id"])
        patterns |= row["verdicts"].keys()
        if any(_is_there(row["verdicts"].get(name), LEVELS[wanted.level]) for name in wanted.without):
            found.add(row["id"])
    if unknown := next((name for name in wanted.without if name not in patterns), None):
        there = f"There are {', '.join(sorted(patterns))}." if patterns else "It has none."
        raise UserError(
            f"no pattern '{unknown}' in this audit.{nearest(unknown, patterns)}", where=str(path), todo=there
        )
    if missing := len(here - judged):
        what = f"{missing:,} of {len(here):,} rows have not been rated, so it is not known which of them to leave out."
        raise UserError(what, where=str(path), todo=ADVICE)
    return found


def _is_there(verdict: dict[str, Any] | None, levels: set[str]) -> bool:
    """Tell whether a verdict is positive and its quotation was found."""
    return verdict is not None and verdict.get("level") in levels and verdict.get("supported", True)


def _listed(study: Study, wanted: Selection, known: frozenset[str]) -> set[str]:
    if wanted.without_ids is None:
        return set()
    path = study.root / wanted.without_ids
    if not path.is_file():
        raise UserError("there is no such list of ids.", where=str(path), todo="The path is relative to the study.")
    found = {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
    if stray := sorted(found - known):
        what = f"{len(stray):,} of the ids are of no row, such as '{stray[0]}'."
        raise UserError(what, where=str(path), todo=f"List ids of {wanted.data}, one a line.")
    return found
