"""Keys are used and never written down: what this machine's environment holds, taken out of what others say back."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspect_ai.model import Model

Error = TypeVar("Error", bound=BaseException)
SHORTEST = 8
"""Characters from which a value is taken for a key: shorter ones occur in ordinary words."""
_NAME = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD)(?:_|$)")
SHOWN = "[key]"


def keys(named: str | None = None) -> list[str]:
    """Return the keys in the environment, the longest first: by their variables' names, and of one that is named."""
    found = {value.strip() for name, value in os.environ.items() if name == named or _NAME.search(name.upper())}
    return sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True)


def without_keys(text: str, found: list[str]) -> str:
    """Return a text without these keys; always before it is cut, lest half of one stay."""
    for key in found:
        text = text.replace(key, SHOWN)
    return text


def guard(model: Model, named: str | None = None) -> Model:
    """Take keys out of all that a model of Inspect's says and fails with, before Inspect writes it into a log."""
    generate, found = model.api.generate, keys(named)

    async def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            said = await generate(*arguments, **options)
        except Exception as error:  # noqa: BLE001  # each provider raises what its own client library does
            raise _cleared(error, found) from None
        finally:
            _clear_event(found)
        return tuple(_clear(one, found) for one in said) if isinstance(said, tuple) else _clear(said, found)

    if found:
        model.api.generate = guarded
    return model


def _clear_event(found: list[str]) -> None:
    """Take keys out of what Inspect has noted of the call while it was made: the raw reply, ids from its headers."""
    from inspect_ai.log._samples import _active_model_event

    event = _active_model_event.get()
    if event is not None and event.call is not None:
        event.call = _clear(event.call, found)
    if event is not None and event.request_ids:
        event.request_ids = [_clear(one, found) for one in event.request_ids]


def _clear(said: Any, found: list[str]) -> Any:
    """Return an output, a call or an error without keys."""
    if isinstance(said, BaseException):
        return _cleared(said, found)
    text = said.model_dump_json()
    return type(said).model_validate_json(without_keys(text, found)) if any(key in text for key in found) else said


def _cleared(error: Error, found: list[str]) -> Error:
    """Return an error, still of its type, without keys in what it tells; its causes too."""
    for one in _chain(error):
        one.args = tuple(without_keys(part, found) if isinstance(part, str) else part for part in one.args)
        for name in ("message", "body", "provider_message"):
            if (told := getattr(one, name, None)) is not None:
                setattr(one, name, without_keys(str(told), found))
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__]
            yield one
