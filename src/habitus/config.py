"""`config.yaml`: what a study may set, checked on loading, every complaint with its line and the nearest right name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, field_validator, model_validator

from habitus.errors import UserError, nearest
from habitus.files import MB, read_whole
from habitus.records import Role
from habitus.settings import (
    AuditSettings,
    BatchSettings,
    ChatSettings,
    DocumentSettings,
    EvaluateSettings,
    Expected,
    ModelChoice,
    Models,
    PreferenceSettings,
    Provider,
    Section,
    Subject,
)
from habitus.settings_train import Arm, ArmName, Training

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

Place = tuple[str, ...]
"""The keys that lead to a value."""
LARGEST_MB = 1
DEEPEST = 32
MOST_COMPLAINTS = 20
LONGEST_NUMBERS = {"tag:yaml.org,2002:int": 18, "tag:yaml.org,2002:float": 40}
"""Characters of a number: what JSON and SQLite hold, and what somebody might mean."""
_HALF = re.compile("[\ud800-\udfff]")
ROLES: tuple[Role, ...] = get_args(Role)


class Config(Section):
    """A study's settings."""

    version: Literal[1] = Field(1, description="the format of this file")
    traits: str = Field("traits.md", description="the traits document, relative to the study")
    seed: int = Field(7, ge=0, strict=True, description="settles every random choice of the plan")
    models: Models = Field(default_factory=Models)
    steps: dict[str, ModelChoice] = Field(
        default_factory=dict, description="a model or params for one step, by prompt name"
    )
    batch: BatchSettings = Field(default_factory=BatchSettings)
    providers: dict[str, Provider] = Field(default_factory=dict, description="endpoints of your own, by name")
    concurrency: int = Field(64, ge=1, le=8192, strict=True, description="the most calls in flight at one model")
    try_timeout: float = Field(180, gt=0, strict=True, description="seconds that one try of a call may take")
    total_timeout: float = Field(
        900, gt=0, strict=True, description="seconds after which a call that only fails is given up"
    )
    budget: float | None = Field(None, gt=0, strict=True, description="USD at which the study stops spending")
    subject: Subject | None = Field(None, description="whom the documents are about; `NAME` alone will do")
    placebo: str | None = Field(
        None, description="a traits document for the placebo control, relative to the study; one is built in"
    )
    license: str | None = Field(None, description="the licence of the data, for the dataset card")
    documents: DocumentSettings = Field(default_factory=DocumentSettings)
    chats: ChatSettings = Field(default_factory=ChatSettings)
    preferences: PreferenceSettings = Field(default_factory=PreferenceSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    train: Training = Field(default_factory=Training)
    arms: dict[ArmName, Arm] = Field(
        default_factory=dict, description="the models to compare, by name; without any, those that the data allow"
    )
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    expect: list[Expected] = Field(
        default_factory=list, description="effects that the report says of whether they show, with their interval"
    )

    @model_validator(mode="after")
    def _expects_of_its_arms(self) -> Config:
        known = {*self.arms, *self.evaluate.arms}
        named = [arm for one in self.expect for arm in (one.higher, one.than)]
        if known and (strange := next((arm for arm in named if arm not in known), "")):
            raise ValueError(f"`expect` names '{strange}', which is no arm.{nearest(strange, known)}")
        return self

    @field_validator("subject", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    _lines: dict[Place, int] = PrivateAttr(default_factory=dict)
    _file: str = PrivateAttr(default="config.yaml")
    _told: dict[Place, str] = PrivateAttr(default_factory=dict)

    def with_models(self, names: Mapping[Role, str], told_by: str) -> Config:
        """Return the config with other models for some roles, as something other than the file told."""
        models = self.models.model_copy(update={role: ModelChoice(model=name) for role, name in names.items()})
        changed = self.model_copy(update={"models": models}, deep=True)
        changed._told.update({("models", role): told_by for role in names})  # noqa: SLF001
        return changed

    def choice(self, role: Role, step: str) -> ModelChoice:
        """Return the model and params that a step is asked with: the step's own, else its role's, else the default."""
        named: ModelChoice = getattr(self.models, role) or self.models.default
        own = self.steps.get(step)
        if own is None:
            return named
        if own.model is not None:
            return own
        batch = named.batch if own.batch is None else own.batch
        update = {"params": named.params | own.params, "price": own.price or named.price, "batch": batch}
        return named.model_copy(update=update)

    @property
    def in_batch(self) -> bool:
        """Whether any role or step is asked in batch jobs."""
        roles = (getattr(self.models, role) for role in type(self.models).model_fields)
        return any(choice is not None and choice.batch for choice in (*roles, *self.steps.values()))

    def place(self, role: Role, step: str) -> str:
        """Return where that choice was made: `config.yaml:9`, or that it is a default."""
        own = self.steps.get(step)
        loc = (
            ("steps", step)
            if own and own.model
            else ("models", role)
            if getattr(self.models, role)
            else ("models", "default")
        )
        if loc in self._told:
            return self._told[loc]
        line = self._lines.get(loc)
        return f"{self._file}:{line}" if line else "built-in default"


def load_config(path: Path) -> Config:
    """Return the config in a file.

    Raises:
        UserError: the file is missing, is no YAML, or says something that does not hold; with every complaint's line.

    """
    root, values = _read(path)
    lines: dict[Place, int] = {}
    _note_lines(root, (), lines, path)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        told = [_complaint(detail, lines, path) for detail in found[:MOST_COMPLAINTS]]
        rest = len(found) - len(told)
        raise UserError("\n".join([*told, *([f"… and {rest:,} more"] if rest else [])])) from error
    config._lines.update(lines)  # noqa: SLF001
    config._file = path.name  # noqa: SLF001
    return config


def _read(path: Path) -> tuple[yaml.Node | None, dict[str, Any]]:
    """Return the file as nodes, which know their lines, and as values."""
    todo = "Make a study with `habitus init NAME`, or name the folder of one."
    data, text = read_whole(path, most=LARGEST_MB, todo=todo), ""
    try:
        text = data.decode("utf-8-sig")
        _refuse_traps(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_long_numbers(root)
        values = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError("this file is not UTF-8.", where=f"{path}:{line}", todo="Save it as UTF-8.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark, at = getattr(error, "problem_mark", None), getattr(error, "position", None)
        line = mark.line + 1 if mark else None if at is None else text.count("\n", 0, at) + 1
        place = f"{path}:{line}" if line else str(path)
        told = getattr(error, "reason", None) or str(error) or "nested too deeply"
        problem = getattr(error, "problem", None) or told
        raise UserError(f"this is not valid YAML: {problem}.", where=place) from error
    if values is None:
        return None, {}
    if not isinstance(values, dict):
        raise UserError("a config is a list of `key: value` lines.", where=f"{path}:1")
    return root, values


def _refuse_traps(text: str) -> None:
    """Refuse what makes a few lines stand for gigabytes, for themselves, or for something that is no plain value."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        problem = ""
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            problem = f"more than {DEEPEST} levels, one in the other"
        elif isinstance(event, yaml.AliasEvent):
            problem = "anchors and aliases (&, *) are not used in a config; write it out"
        elif getattr(event, "tag", None) not in {None, "!"}:
            problem = f"tags ({event.tag}) are not used in a config; write the value alone"
        elif isinstance(event, yaml.ScalarEvent) and _HALF.search(event.value):
            problem = "half a character, which is no valid text"
        if problem:
            raise yaml.error.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _refuse_long_numbers(node: yaml.Node | None) -> None:
    """Refuse numbers that nobody means and that take long to read."""
    if isinstance(node, yaml.ScalarNode) and len(node.value) > (most := LONGEST_NUMBERS.get(node.tag, MB)):
        problem = f"a number of more than {most} digits"
        raise yaml.error.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    if isinstance(node, yaml.CollectionNode):
        for one in node.value:
            for part in one if isinstance(one, tuple) else (one,):
                _refuse_long_numbers(part)


def _note_lines(node: yaml.Node | None, loc: Place, lines: dict[Place, int], path: Path) -> None:
    """Note on which line every key stands, and refuse a key that stands twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*loc, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                raise UserError(
                    f"'{key.value}' stands twice, first on line {lines[here]}.",
                    where=f"{path}:{line}",
                    todo="Keep one.",
                )
            lines[here] = line
            _note_lines(value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[*loc, str(index)] = value.start_mark.line + 1
            _note_lines(value, (*loc, str(index)), lines, path)


def _complaint(detail: ErrorDetails, lines: dict[Place, int], path: Path) -> str:
    """Return one line about one mistake: place, key, what is wrong, what was meant."""
    loc = tuple(str(part) for part in detail["loc"] if part != "[key]")
    line = next((lines[loc[:end]] for end in range(len(loc), 0, -1) if loc[:end] in lines), 1)
    key = ".".join(loc)
    if detail["type"] in {"extra_forbidden", "invalid_key"}:
        choices = _choices(loc[:-1])
        hint = nearest(loc[-1], choices) or f" There are: {', '.join(choices)}."
        return f"{path}:{line}: unknown key '{key}'.{hint}"
    message = detail["msg"].removeprefix("Value error, ")
    # A text is not repeated: it may be a key that stands in the wrong place.
    found = f" (found {detail['input']!r})" if isinstance(detail["input"], int | float) else ""
    return f"{path}:{line}: {key}: {message[:1].lower()}{message[1:]}{found}."


def _choices(loc: Place) -> list[str]:
    """Return the keys that the section at a place may have."""
    section: Any = Config
    parts = iter(loc)
    for part in parts:
        field = section.model_fields.get(part)
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        if field and get_origin(field.annotation) is dict:
            next(parts, None)  # the name of one of many
        section = next((kind for kind in kinds if _is_section(kind)), section)
    return list(section.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
