"""An object for any JSON schema: the embedded model's answer to a question that it does not know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from habitus.models.world.people import load, problems, sentence, values
from habitus.models.world.words import quote

if TYPE_CHECKING:
    import random

    from habitus.models.world.request import Request

_RANGE = re.compile(r"(-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)( items| characters)?")
_EXACTLY = re.compile(r"exactly (\d+)( items| characters)?")
_AT_LEAST = re.compile(r"at least (-?\d+(?:\.\d+)?)( items| characters)?")
_AT_MOST = re.compile(r"at most (-?\d+(?:\.\d+)?)( items| characters)?")
_DEEPEST, _ITEMS, _WIDE = 6, 3, 100


def shaped(request: Request) -> Any:
    """Return a value of the shape that the request wants, its texts from the world and its quotes from the request."""
    schema = request.schema.schema if request.schema else {}
    return _Walk(request, schema).value(schema, "", 0)


class _Walk:
    """One way through a schema."""

    def __init__(self, request: Request, root: dict[str, Any]) -> None:
        self.rng: random.Random = request.stream("shape")
        self.request, self.root = request, root
        self.known = values(self.rng, "everyday life")

    def value(self, node: Any, name: str, depth: int) -> Any:
        """Return a value for a node of the schema; `name` is the field that it stands in."""
        node = self._resolved(node)
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return self.rng.choice(node["enum"])
        if choices := node.get("anyOf") or node.get("oneOf"):
            plain = [one for one in choices if one.get("type") == "null"] if depth > _DEEPEST else []
            return self.value(self.rng.choice(plain or choices), name, depth + 1)
        return self._typed(node, name, depth)

    def _resolved(self, node: Any) -> dict[str, Any]:
        """Return a node with what it refers to, and all of its parts, in one."""
        whole = dict(node) if isinstance(node, dict) else {}
        for _ in range(_DEEPEST):
            parts = [self._target(whole.pop("$ref"))] if "$ref" in whole else whole.pop("allOf", None)
            if not parts:
                break
            for part in parts:
                whole = {**part, **whole}
        return whole

    def _target(self, ref: str) -> dict[str, Any]:
        target: Any = self.root
        for step in ref.removeprefix("#").strip("/").split("/"):
            target = target.get(step, {}) if step and isinstance(target, dict) else target
        return target if isinstance(target, dict) else {}

    def _typed(self, node: dict[str, Any], name: str, depth: int) -> Any:
        kind = node.get("type")
        if isinstance(kind, list):
            kind = self.rng.choice(kind)
        if kind == "object" or "properties" in node:
            fields = node.get("properties", {})
            kept = set(node.get("required", fields)) if depth > _DEEPEST else set(fields)
            return {key: self.value(one, key, depth + 1) for key, one in fields.items() if key in kept}
        if kind == "array":
            return self._list(node, name, depth)
        if kind in {"integer", "number"}:
            return self._number(node, whole=kind == "integer")
        if kind == "boolean":
            return self.rng.random() < 0.5  # noqa: PLR2004 (a coin)
        return None if kind == "null" else self._string(node, name)

    def _list(self, node: dict[str, Any], name: str, depth: int) -> list[Any]:
        low, high = _limits(node, "minItems", "maxItems", " items")
        low = int(low or 0)
        wanted = max(low, self.rng.randint(1, _ITEMS)) if depth <= _DEEPEST else low
        prefix = node.get("prefixItems", [])
        count = len(prefix) or (min(wanted, int(high)) if high is not None else wanted)
        return [
            self.value(prefix[at] if at < len(prefix) else node.get("items", {}), name, depth + 1)
            for at in range(count)
        ]

    def _number(self, node: dict[str, Any], *, whole: bool) -> float:
        low, high = _limits(node, "minimum", "maximum", "")
        step = 1 if whole else 1e-6
        if "exclusiveMinimum" in node:
            low = node["exclusiveMinimum"] + step
        if "exclusiveMaximum" in node:
            high = node["exclusiveMaximum"] - step
        low = low if low is not None else (min(0, high) if high is not None else 0)
        high = high if high is not None else low + _WIDE
        return self.rng.randint(int(-(-low // 1)), int(high)) if whole else self.rng.uniform(low, high)

    def _string(self, node: dict[str, Any], name: str) -> str:
        text = self._text(name)
        low, high = _limits(node, "minLength", "maxLength", " characters")
        while low is not None and len(text) < low:
            text = f"{text} {a_sentence(self.rng, self.known)}"
        return text[: int(high)] if high is not None else text

    def _text(self, name: str) -> str:
        low = name.lower()
        if "quote" in low or "excerpt" in low or "evidence" in low:
            return quote(self._material(), lambda _: self.rng.random() < 0.3)  # noqa: PLR2004 (any sentence)
        if "name" in low or "title" in low or "label" in low:
            return self.rng.choice(problems()).label
        return a_sentence(self.rng, self.known)

    def _material(self) -> str:
        """Return the text that the request is about."""
        for tag in ("conversation", "transcript", "transcripts", "document", "text", "draft", "message"):
            if f"<{tag}>" in self.request.text:
                return self.request.tag(tag)
        return self.request.last_user


def a_sentence(rng: random.Random, known: dict[str, str]) -> str:
    """Return a sentence of the world."""
    return sentence(rng.choice(load("people")["turns"])).fill(known)


def _limits(node: dict[str, Any], low: str, high: str, unit: str) -> tuple[float | None, float | None]:
    """Return the limits of a node: its keywords or, where a strict dialect has none, the words in its description."""
    least, most = node.get(low), node.get(high)
    told = node.get("description", "")
    if least is None and most is None and told:
        for pattern, ends in ((_RANGE, (1, 2)), (_EXACTLY, (1, 1)), (_AT_LEAST, (1, None)), (_AT_MOST, (None, 1))):
            for match in pattern.finditer(told):
                if (match[match.re.groups] or "") == unit:
                    return (float(match[ends[0]]) if ends[0] else None, float(match[ends[1]]) if ends[1] else None)
    return least, most
