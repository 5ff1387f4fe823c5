"""JSON answers: the schema and the words that ask for one, the reading of what comes back, and the one repair round."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from habitus.models import AnswerSchema, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

Answer = TypeVar("Answer", bound=BaseModel)

LONGEST = 200_000
"""Characters of an answer in which an object is looked for; plain JSON may be longer."""
_DEEPEST = 64
_SPANS = 50
_UNCLOSED = 20
_MOST_MARKS = 2_000
"""Commas and colons outside strings in what is mended: mending takes time with their square."""
_SHOWN_PROBLEMS = 5
_SHOWN_HEAD, _SHOWN_TAIL = 3_000, 1_000

_THOUGHT = r"(?:think|thinking|reasoning)"
_THOUGHT_BEGINS = re.compile(rf"\s*<{_THOUGHT}>", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(rf"</{_THOUGHT}>", re.IGNORECASE)
# a string that is never closed counts as one up to the end: each character is looked at once
_STRING_OR_BRACE = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}]', re.DOTALL)
_STRING_OR_MARK = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|([,:])', re.DOTALL)
_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+(?:"|\\?\Z))|,(?=\s*[}\]])', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]")
_SINGLE_QUOTED = re.compile(r"[{\[,:]\s*'")
_STRAY_QUOTE = re.compile(r"'\"|(?<!\\)\"'")
_PUNCTUATION = re.compile(r"[\s\"'“”\u2018\u2019`{}\[\],:;\\]+")


class Unreadable(ValueError):
    """An answer that holds no object of the wanted shape."""

    def __init__(self, problem: str, text: str) -> None:
        """Keep what is wrong, in words that the model can be told, and the whole answer."""
        super().__init__(problem, text)
        self.problem, self.text = problem, text

    def __str__(self) -> str:
        """Return the problem without the answer."""
        return self.problem


@cache
def schema_of(model: type[BaseModel]) -> AnswerSchema:
    """Return the JSON schema of a model in the dialect that strict endpoints accept.

    Everything is inlined, every field required, nothing else allowed; limits such as `ge=1` are told in the
    descriptions, since few endpoints take them as keywords.

    Raises:
        TypeError: the model holds what cannot be said so: itself, an open dict, a mixed tuple, Any.

    """
    whole = model.model_json_schema()
    schema = _inlined(whole, whole.get("$defs", {}), model.__name__)
    schema.pop("description", None)
    return AnswerSchema(re.sub(r"[^a-zA-Z0-9_-]+", "_", model.__name__)[:64], schema)


def _inlined(node: dict[str, Any], defs: dict[str, Any], place: str) -> dict[str, Any]:
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        if name not in defs:
            raise TypeError(f"{place}: {name} contains itself, which a strict schema cannot say")
        # a class's docstring is for its readers; only a field's description is for the model
        target = {key: value for key, value in defs[name].items() if key != "description"}
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined({**target, **rest}, {key: value for key, value in defs.items() if key != name}, place)
    plain: dict[str, Any] = {key: node[key] for key in ("type", "enum") if key in node}
    if "const" in node:
        plain["enum"] = [node["const"]]
    if choices := node.get("anyOf") or node.get("oneOf"):
        plain["anyOf"] = [_inlined(choice, defs, place) for choice in choices]
    elif node.get("type") == "object":
        plain |= _closed(node, defs, place)
    elif node.get("type") == "array":
        plain["items"] = _inlined(node.get("items", {}), defs, place)
    elif not plain:
        raise TypeError(f"{place}: a strict schema needs one type for every value")
    if told := _told(node):
        plain["description"] = told
    return plain


def _closed(node: dict[str, Any], defs: dict[str, Any], place: str) -> dict[str, Any]:
    properties = node.get("properties")
    if not properties:
        raise TypeError(f"{place}: a strict schema needs named fields in every object")
    return {
        "properties": {key: _inlined(value, defs, f"{place}.{key}") for key, value in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _told(node: dict[str, Any]) -> str:
    """Return a field's description with its limits behind it."""
    description = " ".join(node.get("description", "").split())
    limits = [
        *_range(node.get("minimum"), node.get("maximum"), ""),
        *([f"above {node['exclusiveMinimum']}"] if "exclusiveMinimum" in node else []),
        *([f"below {node['exclusiveMaximum']}"] if "exclusiveMaximum" in node else []),
        *_range(node.get("minItems"), node.get("maxItems"), " items"),
        *_range(node.get("minLength"), node.get("maxLength"), " characters"),
        *([f"matching {node['pattern']}"] if "pattern" in node else []),
    ]
    if not limits:
        return description
    return f"{description} ({', '.join(limits)})" if description else ", ".join(limits)


def _range(low: float | None, high: float | None, unit: str) -> list[str]:
    if low is not None and high is not None:
        return [f"{low} to {high}{unit}" if low != high else f"exactly {low}{unit}"]
    if low is not None:
        return [] if (low, unit) == (1, " characters") else [f"at least {low}{unit}"]  # an empty text is no answer
    return [] if high is None else [f"at most {high}{unit}"]


@cache
def instruction(model: type[BaseModel]) -> str:
    """Return what to append to the last user message so that any model answers with the wanted JSON."""
    return f"Answer with this JSON object and nothing else.\n\n{_shape(schema_of(model).schema, '', '')}"


def _shape(node: dict[str, Any], name: str, indent: str) -> str:
    """Draw a schema as the JSON it asks for, `<…>` standing where the model writes."""
    told = node.get("description", "")
    if "properties" in node:
        inner = indent + "  "
        rows = [f'{inner}"{key}": {_shape(value, key, inner)}' for key, value in node["properties"].items()]
        return (f"<{told}> " if told else "") + "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if "items" in node:
        return _list_shape(node["items"], told, name, indent)
    if "anyOf" in node and any("properties" in choice or "items" in choice for choice in node["anyOf"]):
        choices = " or ".join(_shape(choice, name, indent) for choice in node["anyOf"])
        return f"<{told}> {choices}" if told else choices
    if "enum" not in node and node.get("type") == "string":
        return f'"<{told or name}>"'
    kind = _kind(node)
    if kind == "null" or len(node.get("enum", ())) == 1:
        return kind
    return f"<{kind}: {told}>" if told else f"<{kind}>"


def _list_shape(item: dict[str, Any], told: str, name: str, indent: str) -> str:
    """Draw a list by its first item; its description goes into that or, where there is no room, behind it."""
    if told and not {"properties", "items", "anyOf", "description"} & item.keys():
        return f"[{_shape({**item, 'description': told}, name, indent)}, …]"
    return f"[{_shape(item, name, indent)}, …{f' <{told}>' if told else ''}]"


def _kind(node: dict[str, Any]) -> str:
    """Say in a word what kind of value a schema wants."""
    if "enum" in node:
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in node["enum"])
    if "anyOf" in node:
        return " or ".join(_kind(choice) for choice in node["anyOf"])
    return "true or false" if node["type"] == "boolean" else node["type"]


def parse(text: str, model: type[Answer]) -> Answer:
    """Return the object that an answer holds, however it is wrapped or misspelt.

    JSON alone is taken as it is. Otherwise reasoning is left out, and the first object in the rest that fits the model
    is taken; where none does, the punctuation of broken ones is mended, never their words.

    Raises:
        Unreadable: no such object is there, or it lacks a field, or it was cut off.

    """
    try:
        value = orjson.loads(text)
    except ValueError:
        return _found(text, model)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise Unreadable("the answer is JSON, but not an object", text)
    return _fitted(value, model, text)


def _fitted(value: dict[str, Any], model: type[Answer], text: str) -> Answer:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    told = [_complaint(one["type"], one["loc"], one["msg"], one["input"]) for one in errors[:_SHOWN_PROBLEMS]]
    if len(errors) > _SHOWN_PROBLEMS:
        told.append(f"and {len(errors) - _SHOWN_PROBLEMS} more")
    raise Unreadable("; ".join(told), text)


def _complaint(kind: str, loc: tuple[int | str, ...], message: str, value: object) -> str:
    place = ".".join(str(step) for step in loc) or "the object"
    if kind == "missing":
        return f"{place} is missing"
    return f"{place}: {message[:1].lower()}{message[1:]}, not {_shown(value)}"


def _shown(value: object) -> str:
    try:
        return repr(value)[:80]
    except RecursionError:
        return "something nested too deeply"


def _found(text: str, model: type[Answer]) -> Answer:
    """Return the first object in a text that fits, as it stands or else mended."""
    spans = _spans(text)
    known = _names(model)
    first: Unreadable | None = None
    for value in _objects(spans):
        if known & value.keys():
            try:
                return _fitted(value, model, text)
            except Unreadable as problem:
                first = first or problem
    raise first or Unreadable(_why_none(text, spans, known), text)


def _names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _spans(text: str) -> list[str]:
    """Return the balanced `{…}` of an answer outside its reasoning, in order."""
    if len(text) > LONGEST:
        raise Unreadable(f"the answer is not JSON and, with {len(text):,} characters, too long to look for it", text)
    answer = _without_thought(text)
    if len(answer) == len(text) and _THOUGHT_BEGINS.match(text):
        raise Unreadable("the answer stops in the middle of the reasoning, before the JSON", text)
    cut = len(text) - len(answer)
    after = [answer[start:end] for start, end in _balanced(answer)]
    # an object may quote the very tag, as its string
    return after + [text[start:end] for start, end in _balanced(text) if start < cut <= end]


def _without_thought(text: str) -> str:
    thought = _THOUGHT_ENDS.search(text)
    return text[thought.end() :] if thought else text


def _balanced(text: str) -> Iterator[tuple[int, int]]:
    """Yield where outermost `{…}` start and end, a bounded number of them."""
    at, unclosed, closed = text.find("{"), 0, 0
    while at >= 0 and unclosed < _UNCLOSED and closed < _SPANS:
        end = _close_of(text, at)
        if end is None:
            unclosed += 1
            at = text.find("{", at + 1)
        else:
            closed += 1
            yield at, end
            at = text.find("{", end)


def _close_of(text: str, start: int) -> int | None:
    depth = 0
    for token in _STRING_OR_BRACE.finditer(text, start):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
        if depth == 0:
            return token.end()
        if depth > _DEEPEST:
            return None
    return None


def _objects(spans: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects that can be read as they are, then those that can be mended."""
    broken = []
    for span in spans:
        try:
            yield _loaded(span)
        except (ValueError, RecursionError):
            broken.append(span)
    marks = 0
    for span in broken:
        marks += sum(token[1] is not None for token in _STRING_OR_MARK.finditer(span))
        if marks > _MOST_MARKS:
            return
        value = _mended(span)
        if value is not None:
            yield value


def _loaded(span: str) -> dict[str, Any]:
    """Read JSON with two liberties: raw line ends in strings, and a comma after the last entry."""
    value = json.loads(_LAST_COMMA.sub(r"\1", span), strict=False)
    _dumped(value)
    return value


def _dumped(value: object) -> str:
    """Write JSON again, to see that it can be stored: ValueError on NaN and on half of a two-part character."""
    dumped = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if _HALF.search(dumped):
        raise ValueError("a \\\\u escape is only half a character")
    return dumped


def _mended(span: str) -> dict[str, Any] | None:
    """Return the object with its punctuation put right, or None if that would change a word of it."""
    from json_repair import repair_json  # takes 30 ms, and most answers need no mending

    try:
        value = repair_json(span, return_objects=True, skip_json_loads=True, strict=True)
        dumped = _dumped(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or _words(dumped) != _words(span) or dumped.count(r"\n") < span.count(r"\n"):
        return None
    return None if _SINGLE_QUOTED.search(span) and _STRAY_QUOTE.search(dumped) else value


def _words(text: str) -> str:
    """Return what is left of JSON without its punctuation and escapes, `None` and `null` being one."""
    bare = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _unescaped(found[0][1]), text)
    return _PUNCTUATION.sub("", bare).casefold().replace("none", "null")


def _unescaped(letter: str) -> str:
    return "" if letter in "bfnrt" else letter


def _why_none(text: str, spans: list[str], known: set[str]) -> str:
    answer = _without_thought(text)
    if "{" not in answer:
        return "there is no JSON object in the answer" if answer.strip() else "the answer is empty"
    if not spans:
        return "the JSON object is never closed; it seems to be cut off"
    for span in spans:
        try:
            _loaded(span)
        except json.JSONDecodeError as error:
            near = span[max(0, error.pos - 30) : error.pos + 20]
            return f"the JSON is not valid: {error.msg[:1].lower()}{error.msg[1:]}, near {near!r}"
        except ValueError as error:
            return f"the JSON is not valid: {error}"
        except RecursionError:
            return "the JSON is nested too deeply"
    return f"the object has none of the fields {', '.join(sorted(known))}"


def repair_messages(messages: list[Message], text: str, problem: str) -> list[Message]:
    """Return the conversation of the one repair round: what was asked, what came, and what is wrong with it."""
    answer = _without_thought(text).strip()
    if len(answer) > _SHOWN_HEAD + _SHOWN_TAIL:
        left_out = len(answer) - _SHOWN_HEAD - _SHOWN_TAIL
        answer = f"{answer[:_SHOWN_HEAD]}\n[… {left_out:,} characters left out …]\n{answer[-_SHOWN_TAIL:]}"
    wrong = problem.rstrip(".")
    request = f"That answer cannot be used: {wrong}.\nSend the whole JSON object again, put right, and nothing else."
    return [
        *messages,
        {"role": "assistant", "content": answer or "(nothing)"},
        {"role": "user", "content": request},
    ]
