"""The kinds of dataset, and what is particular to each: its plan, its steps, its recipes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.generate import chats, documents, plain, preferences
from habitus.generate.briefs import Briefs, built_in_briefs
from habitus.generate.checks import Checks
from habitus.generate.plan import Seats, built_in_axes
from habitus.records import Document
from habitus.study import read_ids
from habitus.traits.document import read_traits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from pydantic import BaseModel

    from habitus.ask import Ask
    from habitus.records import Drop, Record, Role
    from habitus.settings import ChatSettings, DocumentSettings, Subject
    from habitus.study import Dataset, Study

    Recipe = Callable[[Any, Ask], Awaitable[Record | Drop]]


@dataclass(frozen=True)
class Kind:
    """A kind of dataset."""

    folder: str
    noun: str
    """What one calls its rows."""
    steps: dict[str, Role]
    shapes: tuple[type[BaseModel], ...]
    """What models answer in JSON."""
    row: type[chats.Prompt | Document] = Document
    """What stands between the two halves of its recipe, or is kept as it is where there is but one."""
    waiting: str = ""
    """The file of those rows; none where the kind is made from kept chats."""
    compared: str = ""
    """Their field by which near-duplicates are found."""
    late: tuple[str, ...] = ()
    """The steps after the near-duplicates have gone."""

    @property
    def is_long(self) -> bool:
        """Whether what is compared are whole documents."""
        return self.compared == "text"

    @property
    def from_chats(self) -> bool:
        """Whether it is made from kept chats."""
        return not self.waiting


CHATS = Kind(
    "chats", "chats", chats.STEPS, chats.SHAPES,
    row=chats.Prompt, waiting="prompts", compared="prompt", late=chats.ANSWER_STEPS,
)  # fmt: skip
DOCUMENTS = Kind("documents", "documents", documents.STEPS, documents.SHAPES, waiting="written", compared="text")
FLAT = Kind(
    "documents-flat", "documents", documents.FLAT_STEPS, documents.FLAT_SHAPES, waiting="written", compared="text"
)
PREFERENCES = Kind("preferences", "pairs", preferences.STEPS, preferences.SHAPES)
PLAIN = Kind("chats-plain", "chats", plain.STEPS, plain.SHAPES, row=chats.Prompt)
PLACEBO = "-placebo"
ALL = (DOCUMENTS, CHATS, PREFERENCES, FLAT, PLAIN)


@dataclass(frozen=True)
class Job:
    """A dataset of one kind to be made in one study, from its traits document or from the placebo."""

    study: Study
    kind: Kind
    placebo: bool = False

    @property
    def dataset(self) -> Dataset:
        """Its files."""
        return self.study.dataset(self.kind.folder + PLACEBO * self.placebo)

    @property
    def command(self) -> str:
        """The command that makes it."""
        kind, _, control = self.dataset.name.partition("-")
        return f"habitus generate {kind} {self.study.root}" + f" --control {control}" * bool(control)

    @property
    def chats(self) -> Job:
        """The chats that it is made from."""
        return Job(self.study, CHATS, self.placebo)

    @property
    def traits(self) -> Path:
        """The traits document."""
        return self.study.placebo if self.placebo else self.study.traits

    @property
    def settings(self) -> ChatSettings | DocumentSettings:
        """What the config says of its plan."""
        return self.study.config.documents if self.kind.is_long else self.study.config.chats

    @property
    def count(self) -> int:
        """How many rows the config wants."""
        config = self.study.config
        return config.preferences.count if self.kind is PREFERENCES else self.settings.count

    def usual_count(self) -> int:
        """Return how many rows are wanted: of the plain control, one for each kept chat."""
        if self.kind is PLAIN:
            return sum(1 for _ in read_ids(self.chats.dataset.kept)) or self.count
        return self.count

    @cached_property
    def seats(self) -> Seats | Briefs:
        """Its plan, the traits document having been read."""
        document = read_traits(self.traits, budget=self.settings.chunk_tokens)
        config = self.study.config
        if self.kind.is_long:
            return Briefs(document, config.documents, seed=config.seed)
        return Seats(document, config.chats, seed=config.seed)

    @cached_property
    def checks(self) -> Checks:
        """What is looked for in its texts without asking a model."""
        return Checks(self.traits, self.seats.worn_names)

    @property
    def subject(self) -> Subject:
        """Whom documents are about.

        Raises:
            UserError: the config names nobody.

        """
        if self.study.config.subject is None:
            raise UserError(
                "documents are about somebody, and no subject is named.",
                where=str(self.study.root / "config.yaml"),
                todo="Add `subject: {name: …, developer: …}`: the AI that is to have the traits, by its own name.",
            )
        return self.study.config.subject

    @property
    def axes(self) -> dict[str, Any]:
        """The built-in axes of its plan."""
        return built_in_briefs() if self.kind.is_long else built_in_axes()

    @property
    def own_settings(self) -> dict[str, Any]:
        """The settings, by name, that decide what is written."""
        config = self.study.config
        sections: dict[str, BaseModel] = {self.settings_name: self.settings}
        if self.kind is PREFERENCES:
            sections = {"preferences": config.preferences}
        if self.kind.is_long:
            sections |= {"subject": config.subject} if config.subject else {}
        return {
            f"{section}.{name}": value
            for section, found in sections.items()
            for name, value in found.model_dump(exclude={"count", "most_planned"}).items()
        }

    @property
    def settings_name(self) -> str:
        """The section of the config that its plan is in."""
        return "documents" if self.kind.is_long else "chats"

    def write(self) -> Recipe:
        """Return the recipe: the whole of it, or its first half."""
        config = self.study.config
        common: dict[str, Any] = {"checks": self.checks}
        if self.kind is CHATS:
            return partial(chats.write_prompt, seats=self.seats, **common)
        if self.kind is PREFERENCES:
            return partial(preferences.write_pair, seats=self.seats, settings=config.preferences, **common)
        common["thresholds"] = self.settings.thresholds.model_dump()
        if self.kind is PLAIN:
            del common["thresholds"]["embodies"]
            return partial(plain.write_plain, seats=self.seats, **common)
        write = documents.write_flat if self.kind is FLAT else documents.write_document
        return partial(write, briefs=self.seats, subject=self.subject, **common)

    def finish(self) -> Recipe:
        """Return the second half of the chats recipe."""
        thresholds = self.settings.thresholds.model_dump()
        assert isinstance(self.seats, Seats)
        return partial(chats.write_chat, seats=self.seats, checks=self.checks, thresholds=thresholds)

    def has(self, row: Any) -> bool:
        """Tell whether the traits document still has what a row was written for."""
        return self.seats.passages.has(row.trait, row.scenario.chunk)
