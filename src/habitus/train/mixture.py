"""What an arm is trained on: synthetic rows among baseline ones at a set fraction, seeded, strata as in the pool."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.study import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from habitus.settings_train import Unit
    from habitus.train.tokens import PairTokens, Tokens

    AnyTokens = Tokens | PairTokens


@dataclass(frozen=True)
class Mixture:
    """The rows of one run, as they are trained."""

    rows: tuple[AnyTokens, ...]
    repeated: int = 0
    """Rows that come once more than they are there."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What mixture.jsonl says of each row."""
        return [
            {
                "id": one.row.id, "source": one.row.source, "trait": one.row.trait, "hash": one.row.digest,
                "tokens": len(one.ids), "trained": one.trained, "cut": one.cut,
            }
            for one in self.rows
        ]  # fmt: skip

    @property
    def digest(self) -> str:
        """A hash of which rows there are, what they say, and in what order."""
        return sha256(b"".join(encode(line) for line in self.lines)).hexdigest()[:16]

    def share(self, source: str | None, unit: Unit) -> float:
        """Return the part of the mixture that comes from one source."""
        total = sum(amount(one, unit) for one in self.rows)
        return sum(amount(one, unit) for one in self.rows if one.row.source == source) / max(total, 1)


def amount(one: AnyTokens, unit: Unit) -> int:
    """Return what a row counts."""
    return 1 if unit == "rows" else len(one.ids)


def capacity(baseline: Sequence[AnyTokens], synthetic: Sequence[AnyTokens], fraction: float, unit: Unit) -> int:
    """Return the most that a mixture at this fraction can hold without a row coming twice."""
    have = sum(amount(one, unit) for one in baseline), sum(amount(one, unit) for one in synthetic)
    wanted = 1 - fraction, fraction
    return min(int(there / share + 1e-9) for there, share in zip(have, wanted, strict=True) if share > 0)


def mix(
    baseline: Sequence[AnyTokens],
    synthetic: Sequence[AnyTokens],
    *,
    fraction: float,
    size: int,
    unit: Unit,
    seed: int,
    may_repeat: bool = False,
    like: Sequence[AnyTokens] | None = None,
) -> Mixture:
    """Return a mixture of this size, of which the fraction is synthetic; a smaller fraction takes a part of the same.

    Traits and contrast have the shares among the synthetic rows that they have in `like`, the pool that nothing was
    left out of, as far as there are rows for it.

    Raises:
        UserError: there are too few rows of one kind, and none may come twice.

    """
    wanted = round(size * fraction)
    taken: list[AnyTokens] = []
    repeated = 0
    kinds = (("synthetic", synthetic, wanted, like), ("baseline", baseline, size - wanted, None))
    for name, rows, much, pool in kinds:
        there = sum(amount(one, unit) for one in rows)
        if much > there and not (may_repeat and rows):
            raise UserError(
                f"{much:,} {unit} of {name} data are wanted, and there are {there:,}.",
                where="config.yaml, train.size",
                todo="Lower `size` or `fraction`, bring more rows, or set `repeat: true`.",
            )
        found = list(_taken(_shuffled(rows, seed, pool), much, unit, endless=much > there))
        repeated += max(len(found) - len(rows), 0)
        taken += found
    random.Random(f"{seed} order").shuffle(taken)
    return Mixture(tuple(taken), repeated)


def whole(rows: Sequence[AnyTokens], seed: int) -> Mixture:
    """Return all rows in a seeded order."""
    return Mixture(tuple(_shuffled(rows, seed)))


def part(rows: Sequence[AnyTokens], much: int, unit: Unit, seed: int) -> list[AnyTokens]:
    """Return so much of some rows, stratified over traits and contrast."""
    return list(_taken(_shuffled(rows, seed), much, unit, endless=False))


def shares(rows: Sequence[AnyTokens]) -> dict[str, float]:
    """Return the share of each stratum."""
    found = Counter(one.row.stratum for one in rows)
    return {stratum: number / len(rows) for stratum, number in found.items()}


def balanced(rows: Sequence[AnyTokens], like: Sequence[AnyTokens]) -> float:
    """Return how much of a pool's size what is left of it can come to with the pool's strata; 0 where one is gone."""
    left, whole = (Counter(one.row.stratum for one in some) for some in (rows, like))
    return min((left[stratum] / number for stratum, number in whole.items()), default=0.0)


def _shuffled(rows: Sequence[AnyTokens], seed: int, like: Sequence[AnyTokens] | None = None) -> list[AnyTokens]:
    """Return rows in a seeded order of which every beginning has each stratum at its share of the whole, or of `like`.

    Where rows of a stratum run out, the others go on.
    """
    by_stratum: dict[str, list[AnyTokens]] = {}
    for one in rows:
        by_stratum.setdefault(one.row.stratum, []).append(one)
    there = Counter(one.row.stratum for one in (rows if like is None else like))
    placed: list[tuple[float, int, AnyTokens]] = []
    for stratum, group in sorted(by_stratum.items()):
        rng = random.Random(f"{seed} {stratum}")
        rng.shuffle(group)
        offset = rng.random()
        placed += [((at + offset) / there[stratum], len(placed) + at, one) for at, one in enumerate(group)]
    return [one for _, _, one in sorted(placed, key=lambda place: place[:2])]


def _taken(rows: Sequence[AnyTokens], much: int, unit: Unit, *, endless: bool) -> Iterator[AnyTokens]:
    """Yield rows until they come to so much; of tokens, until one more would lead further away than it brings near."""
    left = much
    for one in chain.from_iterable(repeat(rows)) if endless else rows:
        size = amount(one, unit)
        if left <= 0 or (unit == "tokens" and size > 2 * left):
            return
        yield one
        left -= size
