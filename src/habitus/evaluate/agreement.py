"""A judge held against labels: how far the verdicts in a log agree with what somebody else said of the same samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError, nearest
from habitus.evaluate.material import rows_of
from habitus.evaluate.results import read_arm
from habitus.evaluate.statistics import alpha, confusion, kappa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.runs import Order

_NOT_MEASURES = frozenset({"id", "epoch", "note"})


@dataclass(frozen=True)
class Agreement:
    """How far verdicts and labels agree on one measure."""

    title: str
    pairs: tuple[tuple[float, float], ...]
    """The label and the verdict of each sample that has both."""
    unread: int
    """Labelled samples without a verdict."""

    @property
    def values(self) -> list[float]:
        """Every value that either gave."""
        return sorted({value for pair in self.pairs for value in pair})

    @property
    def kappa(self) -> float:
        """Cohen's kappa with quadratic weights."""
        return kappa(*self._sides, self.values)

    @property
    def alpha(self) -> float:
        """Krippendorff's alpha, scores taken as an interval scale."""
        return alpha(self._sides, "interval")

    @property
    def table(self) -> list[list[int]]:
        """How often each label (down) met each verdict (across)."""
        return [[int(count) for count in row] for row in confusion(*self._sides, self.values)]

    @property
    def _sides(self) -> tuple[list[float], list[float]]:
        return [label for label, _ in self.pairs], [verdict for _, verdict in self.pairs]


def agreements(order: Order, one: Eval, labels: Path) -> list[Agreement]:
    """Return how far an arm's newest log of an eval agrees with labels: rows of `id`, `epoch` (or 1), and measures.

    Raises:
        UserError: there is no log, or a row names a measure or a sample that there is not.

    """
    result = read_arm(order.folder, order.arm, order.target).get(one.name)
    if result is None:
        todo = f"Run it: habitus evaluate {order.study.root} --arm {order.arm} --eval {one.name}"
        raise UserError(f"there is no log of '{one.name}'.", where=str(order.folder), todo=todo)
    measures = {measure.key: measure for measure in one.all_measures(result)}
    verdicts = {(row.id, row.epoch): row.values for row in result.rows}
    rows: list[dict[str, Any]] = []
    for where, row in rows_of(str(labels), "id"):
        for key in row.keys() - _NOT_MEASURES - measures.keys():
            todo = f"There are: {', '.join(measures)}."
            raise UserError(f"no measure '{key}'.{nearest(key, measures)}", where=where, todo=todo)
        if _sample(row) not in verdicts:
            raise UserError(f"the log has no sample '{row['id']}'.", where=where)
        rows.append(row)
    keys = [key for key in measures if any(key in row for row in rows)]
    return [_agreement(measures[key].title, key, rows, verdicts) for key in keys]


def _sample(row: Mapping[str, Any]) -> tuple[str, int]:
    return str(row["id"]), int(row.get("epoch", 1))


def _agreement(
    title: str, key: str, rows: Sequence[Mapping[str, Any]], verdicts: Mapping[tuple[str, int], Mapping[str, float]]
) -> Agreement:
    """Return how far labels and verdicts agree on one measure."""
    both = [(float(row[key]), verdicts[_sample(row)].get(key, math.nan)) for row in rows if row.get(key) is not None]
    pairs = tuple(pair for pair in both if not math.isnan(pair[1]))
    return Agreement(title, pairs, len(both) - len(pairs))
