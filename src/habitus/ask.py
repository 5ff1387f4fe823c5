"""What one record asks of the models: `await ask.author("chats/draft", …)` is one step of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from pydantic import BaseModel, ConfigDict

from habitus.models.structured import Unreadable, instruction, parse, repair_messages, schema_of
from habitus.records import Drop, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from habitus.models import AnswerSchema, Completion, Message
    from habitus.recipe import Engine

Shape = TypeVar("Shape", bound="BaseModel")


class Answer(BaseModel):
    """What a model answers in one step; the name of the class is the name of the schema."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=True)


class Planned(Protocol):
    """A record that a recipe starts from."""

    @property
    def id(self) -> str:
        """By which it is known in every file."""
        ...

    @property
    def trait(self) -> str:
        """The id of the trait it is about."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One answer that a record got, for its trace."""

    step: str
    role: Role
    model: str
    prompt: str
    """The hash of the prompt."""
    answer: Any
    """The text, or the parsed JSON."""
    repaired: str = ""
    """What was wrong with the first answer, where a second was asked for."""

    def row(self) -> dict[str, Any]:
        """Return it as a row of a file; `dataclasses.asdict` would copy every answer."""
        return {name: getattr(self, name) for name in self.__slots__}


class Dropped(Exception):
    """Signal from within a question that its record ends here."""

    def __init__(self, step: str, reason: str, raw: str) -> None:
        super().__init__(step, reason)
        self.step, self.reason, self.raw = step, reason, raw


class Voice:
    """One role, as a recipe speaks to it."""

    def __init__(self, ask: Ask, role: Role) -> None:
        self._ask, self._role = ask, role

    @overload
    async def __call__(
        self, step: str, *, history: Sequence[Message] = (), whole: bool = True, sample: int = 0, **variables: Any
    ) -> str: ...
    @overload
    async def __call__(
        self,
        step: str,
        schema: type[Shape],
        *,
        check: Callable[[Shape], str | None] | None = None,
        history: Sequence[Message] = (),
        sample: int = 0,
        **variables: Any,
    ) -> Shape: ...
    async def __call__(
        self,
        step: str,
        schema: type[BaseModel] | None = None,
        *,
        check: Callable[[Any], str | None] | None = None,
        history: Sequence[Message] = (),
        whole: bool = True,
        sample: int = 0,
        **variables: Any,
    ) -> Any:
        """Ask the question in prompt `step` and return the text, or the object that `schema` describes.

        `check` looks at a well-formed object and says what is wrong with it, if anything. An answer that can't be read
        or does not pass is sent back once; after that, the record is dropped with the text. With `whole=False` a text
        may be empty or cut off. Another `sample` is another answer to the same question.
        """
        messages = self._ask.engine.prompts.render(step, variables, history)
        if schema is None:
            return await self._ask.for_text(step, self._role, messages, whole=whole, sample=sample)
        return await self._ask.for_object(step, self._role, messages, schema, check, sample=sample)


class Ask:
    """What one record asks of the models; every answer is traced here and kept in the ledger."""

    def __init__(self, engine: Engine, record: Planned) -> None:
        self.engine, self.record = engine, record
        self.trace: list[Step] = []
        self.now = ""
        """The step being asked."""
        self.author = Voice(self, "author")
        self.critic = Voice(self, "critic")
        self.refiner = Voice(self, "refiner")
        self.judge = Voice(self, "judge")
        self.client = Voice(self, "client")
        self.target = Voice(self, "target")
        self.auditor = Voice(self, "auditor")

    def drop(self, step: str, reason: str, raw: str = "", **meta: Any) -> Drop:
        """Return the row that ends this record."""
        if step:
            self.engine.tally.step(step).dropped += 1
        return Drop(id=self.record.id, trait=self.record.trait, step=step, reason=reason, raw=raw, meta=meta)

    def provenance(self, steps: dict[str, Role]) -> dict[str, Any]:
        """Return which model answers each step of a recipe, with which prompt, and whether any of it is simulated."""
        models = {step: self.engine.bind(step, role).model.name for step, role in steps.items()}
        return {
            "models": models,
            "prompts": {step: self.engine.prompts.hash(step) for step in steps},
            "simulated": any(name.startswith("simulated/") for name in models.values()),
        }

    async def for_text(self, step: str, role: Role, messages: list[Message], *, whole: bool, sample: int) -> str:
        """Return a text, whole unless told otherwise."""
        completion = await self._complete(step, role, messages, None, sample)
        self._note(step, role, completion.text)
        if whole and completion.finish == "length":
            raise Dropped(step, "cut off at the model's token limit; raise max_tokens", completion.text)
        if whole and not completion.text.strip():
            raise Dropped(step, f"empty answer (finish reason: {completion.finish})", completion.text)
        return completion.text

    async def for_object(
        self,
        step: str,
        role: Role,
        messages: list[Message],
        schema: type[Shape],
        check: Callable[[Shape], str | None] | None,
        *,
        sample: int = 0,
    ) -> Shape:
        """Return an object of the schema; an answer that is not one goes back to the model once."""
        shape = schema_of(schema)
        last = messages[-1]
        messages = [*messages[:-1], {"role": last["role"], "content": f"{last['content']}\n\n{instruction(schema)}"}]
        first = await self._complete(step, role, messages, shape, sample)
        found, problem = _read(first.text, schema, check)
        if problem and first.finish == "length":
            raise Dropped(step, "cut off at the model's token limit; raise max_tokens", first.text)
        if problem:
            self.engine.tally.step(step).repaired += 1
            second = await self._complete(step, role, repair_messages(messages, first.text, problem), shape, sample)
            found, still = _read(second.text, schema, check)
            if found is None or still:
                raise Dropped(step, still or problem, second.text or first.text)
        assert found is not None
        self._note(step, role, found.model_dump(), problem or "")
        return found

    async def _complete(
        self, step: str, role: Role, messages: list[Message], schema: AnswerSchema | None, sample: int = 0
    ) -> Completion:
        self.now = step
        return await self.engine.complete(step, role, self.record.id, messages, schema, sample=sample)

    def _note(self, step: str, role: Role, answer: Any, repaired: str = "") -> None:
        model = self.engine.bind(step, role).model.name
        self.trace.append(Step(step, role, model, self.engine.prompts.hash(step), answer, repaired))


def _read(
    text: str, schema: type[Shape], check: Callable[[Shape], str | None] | None
) -> tuple[Shape | None, str | None]:
    """Return the object in a text, and what is wrong with either."""
    try:
        found = parse(text, schema)
    except Unreadable as error:
        return None, error.problem
    return found, check(found) if check else None
