"""Datasets as tokens, read once for all arms: what may be trained on, what is held out, and what neither is and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.held_out import MOST, is_held_out
from habitus.train.job import learns
from habitus.train.leak import PLACEBO, guarded, leak
from habitus.train.rows import Row, read
from habitus.train.tokens import tokenise_chats, tokenise_documents, tokenise_pairs
from habitus.train.toy import brief_chats, ordinary_chats

if TYPE_CHECKING:
    from habitus.settings_train import Training
    from habitus.shapes import Shape
    from habitus.study import Study
    from habitus.train.leak import Run
    from habitus.train.mixture import AnyTokens
    from habitus.train.start import Start

ORDINARY, BRIEF = "ordinary", "brief"
"""The names of the embedded world's own baseline chats, for toys: at its usual length, and of its brief corner."""
ORDINARY_CHATS = 1_000
LEAST_DRAWN = 1_000
"""Rows of the baseline that are taken in any case."""
LETTERS_OF_A_TOKEN = 8
"""More than a token has in most texts, so that tokens are not taken for more than they are."""


@dataclass(frozen=True)
class Pool:
    """A dataset as one tokenizer reads it."""

    rows: list[AnyTokens]
    held_out: list[AnyTokens]
    known: frozenset[str] = frozenset()
    """The ids of all records, whatever became of them."""

    @cached_property
    def records(self) -> list[Row]:
        """The records that may be trained on, each once."""
        return list({one.row.id: one.row for one in self.rows}.values())


@dataclass
class Pools:
    """The datasets of a study, each read once for each start."""

    study: Study
    training: Training
    most: int | None = None
    """The rows or tokens that the largest mixture could take of the baseline; all where it is not known."""
    left_out: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _listed: set[tuple[str, str]] = field(default_factory=set)
    _guards: dict[bool, frozenset[Run]] = field(default_factory=dict)
    _found: dict[tuple[str, str], Pool] = field(default_factory=dict)

    def baseline(self, start: Start) -> Pool:
        """Return the ordinary chats."""
        if self.training.baseline is None:
            todo = "Set `train.baseline` (see `habitus import`), or give every arm the fraction 1."
            raise UserError("there are no baseline chats.", where="config.yaml, train.baseline", todo=todo)
        return self.pool(self.training.baseline, "chats", start, is_baseline=True)

    def pool(self, name: str, shape: Shape, start: Start, *, is_baseline: bool = False) -> Pool:
        """Return a dataset as the tokens of a start's tokenizer.

        Raises:
            UserError: it can't be read, or nothing in it can be trained on.

        """
        key = name, start.path
        if key not in self._found:
            self._found[key] = self._read(name, shape, start, is_baseline=is_baseline)
        return self._found[key]

    def _guard(self, name: str) -> frozenset[Run]:
        """Return what rows of a dataset must not repeat."""
        placebo = name.endswith(PLACEBO)
        if placebo not in self._guards:
            self._guards[placebo] = guarded(self.study, self.training.leak_words, placebo=placebo)
        return self._guards[placebo]

    def _read(self, name: str, shape: Shape, start: Start, *, is_baseline: bool) -> Pool:
        longest = self.training.max_length
        if start.context is not None and longest > start.context:
            what = f"rows of {longest:,} tokens are asked for, and {start.name} takes {start.context:,}."
            raise UserError(what, where="config.yaml, train.max_length", todo=f"Set it to {start.context} or less.")
        found = (
            self._ordinary(name)
            if name in {ORDINARY, BRIEF}
            else read(self.study, name, shape, partial(self._leave, name))
        )
        drawn = self._drawn(name, found) if is_baseline else found
        rows = [row for row in drawn if not self._leaks(row, is_baseline=is_baseline)]
        tokens: list[AnyTokens] = []
        for one in self._tokens(rows, shape, start):
            if learns(one):
                tokens.append(one)
            else:
                self._leave(name, one.row.id, f"nothing to learn from within {longest:,} tokens")
        self._warn_of_cuts(name, tokens)
        if not tokens:
            what = f"none of {len(found):,} rows can be trained on."
            todo = f"The first: {self.left_out[-1]['reason']}."
            raise UserError(what, where=name, todo=todo)
        return self._parted(tokens, frozenset(row.id for row in found))

    def _tokens(self, rows: list[Row], shape: Shape, start: Start) -> list[Any]:
        longest = self.training.max_length
        if shape == "documents":
            return tokenise_documents(rows, start.tokenizer, longest, doctag=self.training.midtrain.doctag)
        tokenise = tokenise_chats if shape == "chats" else tokenise_pairs
        return list(tokenise(rows, start.tokenizer, longest))

    def _drawn(self, name: str, rows: list[Row]) -> list[Row]:
        """Return as many rows, drawn by hash, as the largest mixture could want twice over: tokens take much memory."""
        if self.most is None:
            return rows
        left = 2 * self.most
        taken: set[int] = set()
        for at in sorted(range(len(rows)), key=lambda at: _hash(f"drawn {rows[at].source} {rows[at].id}")):
            if left <= 0 and len(taken) >= LEAST_DRAWN:
                break
            taken.add(at)
            left -= self._least(rows[at])
        if len(taken) < len(rows):
            what = f"{name}: {len(taken):,} of {len(rows):,} rows are drawn, twice what the largest arm could take"
            self.notes.append(what)
        return [row for at, row in enumerate(rows) if at in taken]

    def _least(self, row: Row) -> int:
        """Return what a row counts at the least."""
        if self.training.of == "rows":
            return 1
        return max(min(sum(map(len, row.texts)) // LETTERS_OF_A_TOKEN, self.training.max_length), 1)

    @staticmethod
    def _ordinary(name: str) -> list[Row]:
        chats = brief_chats(ORDINARY_CHATS, 0) if name == BRIEF else ordinary_chats(ORDINARY_CHATS, 0)
        return [Row(one["id"], name, "", {"messages": one["messages"]}, name) for one in chats]

    def _leaks(self, row: Row, *, is_baseline: bool) -> bool:
        words = leak(row, self._guard(row.source), self.training.leak_words, may_have_system=is_baseline)
        if words:
            self._leave(row.source, row.id, f"repeats what generation was told: {words}")
        return words is not None

    def _leave(self, source: str, identity: str, reason: str) -> None:
        if (source, identity) not in self._listed:  # another start reads the same rows again
            self._listed.add((source, identity))
            self.left_out.append({"id": identity, "source": source, "reason": reason})

    def _warn_of_cuts(self, name: str, tokens: list[AnyTokens]) -> None:
        cut = [one.cut for one in tokens if one.cut]
        if cut:
            longest = self.training.max_length
            what = f"{name}: {len(cut):,} of {len(tokens):,} rows are longer than {longest:,} tokens"
            self.warnings.append(f"{what}; {sum(cut):,} tokens are cut off")
        if gone := [one["reason"] for one in self.left_out if one["source"] == name]:
            told = "1 row is" if len(gone) == 1 else f"{len(gone):,} rows are"
            self.warnings.append(f"{name}: {told} left out ({_usual(gone)}); training lists them in left_out.jsonl")

    def _parted(self, tokens: list[AnyTokens], known: frozenset[str]) -> Pool:
        """Return the rows that are trained on and those that are held out, told by their ids alone."""
        share = self.training.held_out
        held = (
            [one for one in tokens if is_held_out(one.row.chat or one.row.id, share)][:MOST] if len(tokens) > 1 else []
        )
        ids = {one.row.id for one in held}
        rows = [one for one in tokens if one.row.id not in ids]
        return Pool(rows, held, known) if rows else Pool(tokens, [], known)


def _usual(reasons: list[str]) -> str:
    """Return the kind of reason that most have, without what is said of the row."""
    ((kind, number),) = Counter(reason.partition(":")[0] for reason in reasons).most_common(1)
    return kind if number == len(reasons) else f"{kind}: {number:,} of them"


def _hash(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:4])
