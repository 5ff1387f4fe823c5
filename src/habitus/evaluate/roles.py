"""The models that play in one sample, each under its role, and how they are asked."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ResponseSchema,
    get_model,
    model_roles,
)
from inspect_ai.util import JSONSchema

from habitus.errors import UserError
from habitus.models.inspect import TAKE_SCHEMA
from habitus.models.structured import Unreadable, instruction, parse, repair_messages, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspect_ai.model import ChatMessage, Model, ModelOutput
    from inspect_ai.solver import TaskState
    from inspect_ai.tool import Tool
    from pydantic import BaseModel

    from habitus.models import Message
    from habitus.prompts import Prompts

Shape = TypeVar("Shape", bound="BaseModel")

TRIES = 3
"""Fresh draws of one question before its role is taken to have failed."""
TRIED = "tried"
"""What tells, in a sample's metadata, how often each epoch of it came to no verdict and was marked as invalid."""
BOUNDS = GenerateConfig(max_retries=6, timeout=1200)
"""How long a call is tried at most; Inspect itself would try for ever."""
_KINDS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_SEEDED = TAKE_SCHEMA | {"habitus", "hf", "openai-api", "together", "groq"}


class Ended(Exception):
    """Signal that a sample can't be scored: which role failed, and how."""

    def __init__(self, role: str, why: str, raw: str = "") -> None:
        super().__init__(role, why)
        self.role, self.why, self.raw = role, why, raw

    def row(self) -> dict[str, str]:
        """Return it as it stands in a sample's store."""
        return {"role": self.role, "why": self.why, "raw": self.raw}


class Cast:
    """The models of one sample, each under its role.

    The model under test is the role `target` where that is bound, and else the task's model. Every other role has to be
    bound: Inspect would give the model under test in its place, which would then judge itself.

    Raises:
        UserError: a role is not bound, or the only judge is the model under test.

    """

    def __init__(self, prompts: Prompts, state: TaskState, *roles: str) -> None:
        missing = [role for role in roles if role not in model_roles()]
        if missing:
            told = ", ".join(f"'{role}'" for role in missing)
            todo = "Bind each: " + " ".join(f"--model-role {role}=PROVIDER/MODEL" for role in missing)
            raise UserError(f"no model plays {told}, and the model under test must not.", todo=todo)
        if "judge" in roles and not self.models("judge"):
            todo = "Name another: --model-role judge=PROVIDER/MODEL, or `judges` under `evaluate` in the config."
            raise UserError(f"{self.model('target')} would judge itself, and there is no other judge.", todo=todo)
        self._prompts, self._store = prompts, state.store
        tried = state.metadata.get(TRIED, {}).get(str(state.epoch), 0)
        self._seat = f"{state.sample_id}/{state.epoch}" + (f"/{tried}" if tried else "")
        self.failures: dict[str, int] = {}
        """Answers of each role that could not be used as they came, and were asked for again."""

    def model(self, role: str) -> Model:
        """Return the first model that plays a role."""
        return self.models(role)[0] if role in model_roles() else get_model()

    def models(self, role: str) -> list[Model]:
        """Return every model that plays a role; of judges, those that are not the model under test."""
        bound = model_roles()[role]
        found = list(bound) if isinstance(bound, list) else [bound]
        return [one for one in found if not same_model(one, self.model("target"))] if role == "judge" else found

    async def reply(self, messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()) -> ModelOutput:
        """Return the target's next message."""
        target = self.model("target")
        output = await target.generate(list(messages), tools=list(tools), config=self._config(target), cache=False)
        if output.stop_reason == "max_tokens":
            self._store.set("cut", self._store.get("cut", 0) + 1)
        return output

    async def ask(
        self,
        role: str,
        step: str,
        shape: type[Shape],
        *,
        check: Callable[[Shape], str | None] | None = None,
        model: Model | None = None,
        **variables: Any,
    ) -> Shape:
        """Return the answer of a role to a prompt, as an object that `check` finds nothing wrong with.

        An answer that can't be read goes back once with the reason; after that the question is drawn afresh.

        Raises:
            Ended: no draw brought an answer that can be used.

        """
        messages = self._prompts.render(step, variables)
        last = messages[-1]
        messages[-1] = {"role": last["role"], "content": f"{last['content']}\n\n{instruction(shape)}"}
        model = model or self.model(role)
        problem, raw = "", ""
        for draw in range(TRIES):
            raw = await self._said(model, messages, shape, draw)
            found, problem = _read(raw, shape, check)
            if problem:
                self._count(role)
                raw = await self._said(model, repair_messages(messages, raw, problem), shape, draw)
                found, problem = _read(raw, shape, check)
            if found is not None and not problem:
                return found
        raise Ended(role, f"{step}: {problem}", raw)

    def _count(self, role: str) -> None:
        """Count an answer that is asked for again, in the sample's store too: there judges come after the solver."""
        self.failures[role] = self.failures.get(role, 0) + 1
        before = self._store.get("asked_again", {})
        self._store.set("asked_again", before | {role: before.get(role, 0) + 1})

    async def _said(self, model: Model, messages: list[Message], shape: type[BaseModel], draw: int) -> str:
        chat: list[ChatMessage] = [_KINDS[message["role"]](content=message["content"]) for message in messages]
        config = self._config(model, draw)
        if _provider(model) in TAKE_SCHEMA | {"habitus"}:
            schema = schema_of(shape)
            config.response_schema = ResponseSchema(
                name=schema.name, json_schema=JSONSchema.model_validate(schema.schema)
            )
        output = await model.generate(chat, config=config, cache=False)
        return output.completion

    def _config(self, model: Model, draw: int = 0) -> GenerateConfig:
        """Return how a call is made: bounded, and seeded by its sample where the provider takes a seed."""
        config = BOUNDS.model_copy()
        if _provider(model) in _SEEDED:
            digest = blake2b(f"{self._seat}/{draw}".encode(), digest_size=4).digest()
            config.seed = int.from_bytes(digest) >> 1
        return config


def same_model(one: Model, other: Model) -> bool:
    """Tell whether two models are one; the simulated world plays every part and is never one with itself."""
    return str(one) == str(other) and "simulated/" not in str(one)


def _provider(model: Model) -> str:
    return str(model).partition("/")[0]


def _read(text: str, shape: type[Shape], check: Callable[[Shape], str | None] | None) -> tuple[Shape | None, str]:
    """Return the object in a text, and what is wrong with either."""
    try:
        found = parse(text, shape)
    except Unreadable as error:
        return None, error.problem
    return found, (check(found) if check else None) or ""
