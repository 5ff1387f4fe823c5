"""An audit as it lies on disk, opened again to be marked or to filter by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from habitus.audit.dataset import Reading, View
from habitus.errors import UserError, nearest
from habitus.records import Pattern, Rated
from habitus.study import Study, read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Audited:
    """The folder of an audit that is through."""

    folder: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `rates.json` says.

        Raises:
            UserError: there is none.

        """
        path = self.folder / "rates.json"
        try:
            return orjson.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            todo = "Name the folder that `habitus audit DATA --model …` ends with, such as NAME.audit/audit/NAME."
            raise UserError("there is no finished audit here.", where=str(self.folder), todo=todo) from error

    @property
    def study(self) -> Study:
        """The study, or the folder of its own, that the audit belongs to."""
        return Study(self.folder.resolve().parent.parent)

    @cached_property
    def patterns(self) -> list[Pattern]:
        """The patterns that were rated."""
        return [Pattern.model_validate(row) for row in read_rows(self.folder / "patterns.jsonl")]

    @cached_property
    def rated(self) -> list[Rated]:
        """The texts with the judge's verdicts."""
        return [Rated.model_validate(row) for row in read_rows(self.folder / "matches.jsonl")]

    @cached_property
    def texts(self) -> dict[str, str]:
        """The rated texts, by id."""
        return {row["id"]: row["text"] for row in read_rows(self.folder / "texts.jsonl")}

    def chosen(self, names: Sequence[str]) -> tuple[Pattern, ...]:
        """Return the patterns of these ids.

        Raises:
            UserError: there is none of one of them.

        """
        known = {one.id: one for one in self.patterns}
        for name in names:
            if name not in known:
                what = f"no pattern '{name}'.{nearest(name, known)}"
                raise UserError(what, where=str(self.folder), todo=f"There are: {', '.join(known) or 'none'}.")
        return tuple(known[name] for name in dict.fromkeys(names))

    def reading(self) -> Reading:
        """Return the dataset that was audited, to be read again.

        Raises:
            UserError: it has changed since.

        """
        about = self.summary["dataset"]
        view = View(about["side"], about["turns"], about["answer"])
        found = Reading(about["given"], view, split=about["split"])
        for _ in found:  # to its end, where the digest of what lies on a hub is known
            pass
        if found.digest != about["digest"]:
            what = "this dataset has changed since the audit."
            raise UserError(what, where=about["given"], todo="Run the audit again, then filter.")
        return found
