"""The templates of a verb's pages: HTML escapes whatever is data, and nothing that a template names may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

if TYPE_CHECKING:
    from collections.abc import Callable


def templates(verb: str, **filters: Callable[..., str]) -> Environment:
    """Return the templates in a verb's folder, with these filters; Markdown is not escaped by it."""
    found = Environment(
        loader=PackageLoader(f"habitus.{verb}"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= filters
    return found
