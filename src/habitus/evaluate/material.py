"""What an eval works with: its items, the prompts, and the traits document it is about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from habitus import __version__
from habitus.errors import UserError
from habitus.prompts import Prompts
from habitus.sources import Broken, open_source
from habitus.traits.document import read_traits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspect_ai.dataset import Sample

    from habitus.traits.document import TraitsDocument

DATA = Path(__file__).parent / "data"
CONTROL = DATA / "control.md"
"""Another document of good qualities, for the control score."""
WHOLE = 100_000
"""Tokens to a chunk: a judge reads a trait as one piece."""


@dataclass(frozen=True)
class Material:
    """The prompts of one eval and, where it is about traits, the document."""

    name: str
    prompts: Prompts
    traits: Path | None

    @property
    def document(self) -> TraitsDocument:
        """The traits document.

        Raises:
            UserError: the eval needs one, and none was named.

        """
        if self.traits is None:
            todo = "Name one: -T traits=FILE, or -T study=FOLDER."
            raise UserError(f"'{self.name}' is about a traits document, and none is named.", todo=todo)
        return read_traits(self.traits, budget=WHOLE)

    def manifest(self, *steps: str, **more: Any) -> dict[str, Any]:
        """Return what a log says of how it was made."""
        about: dict[str, Any] = {
            "habitus": __version__,
            "eval": self.name,
            "prompts": {step: self.prompts.hash(step) for step in steps},
            "items": items_hash(self.name),
        }
        if self.traits is not None:
            about["traits"] = {"file": self.traits.name, "sha256": read_traits(self.traits).digest}
        return about | more


def material(name: str, study: str | None, traits: str | None) -> Material:
    """Return the prompts and the traits document of a study, or the package's prompts and the file that is named."""
    if study is None:
        return Material(name, Prompts(), Path(traits) if traits else None)
    from habitus.study import Study

    opened = Study(Path(study))
    own = opened.prompts if opened.prompts.is_dir() else None
    return Material(name, Prompts(own), Path(traits) if traits else opened.traits)


def rows_of(path: str, *needs: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a user's file, each with where it stands.

    Raises:
        UserError: there is no such file, or a row can't be read or lacks a key that it needs.

    """
    source = open_source(path, "train")
    for at, row in enumerate(source.rows(), start=1):
        if isinstance(row, Broken) or not isinstance(row, dict):
            raise UserError(row.reason if isinstance(row, Broken) else "a row is a JSON object.", where=source.at(at))
        if missing := [key for key in needs if key not in row]:
            raise UserError(f"this row has no `{missing[0]}`.", where=source.at(at))
        yield source.at(at), row


def spread(samples: Sequence[Sample], *keys: str) -> list[Sample]:
    """Return samples in turn from each kind, told by these parts of their metadata: the first few are of many kinds.

    Each kind begins at another place of its own, so that what varies within all of them varies among the first too.
    """
    kinds: dict[tuple[Any, ...], list[Sample]] = {}
    for one in samples:
        kinds.setdefault(tuple((one.metadata or {})[key] for key in keys), []).append(one)
    turned = [found[at % len(found) :] + found[: at % len(found)] for at, found in enumerate(kinds.values())]
    return [one for row in zip_longest(*turned) for one in row if one is not None]


@cache
def items(name: str) -> Any:
    """Return the items of an eval, as its file in `data/` holds them."""
    return yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))


def items_hash(name: str) -> str | None:
    """Return 12 hex digits over an eval's items, or None where it has no file of its own."""
    path = DATA / f"{name}.yaml"
    return sha256(path.read_bytes()).hexdigest()[:12] if path.exists() else None
