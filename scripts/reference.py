"""Write docs/configuration.md from the config's fields and docs/cli.md from the commands.

`python scripts/reference.py --check` writes nothing and exits 1 where a page is not what the code says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo  # noqa: TC002  # used at run time by readers of this script

from habitus.cli import cli
from habitus.config import Config

DOCS = Path(__file__).parent.parent / "docs"


def configuration() -> str:
    """Return the page of every key, its type, default and meaning."""
    parts = [
        "# config.yaml",
        "Written from the code by `make docs`. Every key has a default; an unknown key is refused.",
        *_sections(Config, ""),
    ]
    return "\n\n".join(parts) + "\n"


def _sections(model: type[BaseModel], path: str) -> list[str]:
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    below: list[str] = []
    for name, field in model.model_fields.items():
        section = _section(field)
        many = section is not None and "dict" in str(field.annotation)
        key = f"{path}{name}" + (".NAME" if many else "")
        described = (
            field.description or (section.__doc__ or "").strip().splitlines()[0] if section else field.description
        )
        rows.append(f"| `{key}` | {_default(field, section)} | {described} |")
        if section is not None and section.__name__ != "ModelChoice":
            below += _sections(section, f"{key}.")
    heading = [f"## {path.rstrip('.')}" if path else "## top level", (model.__doc__ or "").strip()]
    extra = _choice() if model is Config else []
    return [*heading, "\n".join(rows), *extra, *below]


def _choice() -> list[str]:
    """Return the section on a model and its params, which stands wherever a model is named."""
    from habitus.settings import ModelChoice

    return ["## a model", *_sections(ModelChoice, "")[1:]]


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kinds: list[Any] = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _default(field: FieldInfo, section: type[BaseModel] | None) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{value.model}`" if getattr(value, "model", None) else "see below"
    return "see below" if section is not None and value else "none" if value is None else f"`{value}`"


def commands() -> str:
    """Return the help of every command."""
    parts = [
        "# Command line",
        "Written from the code by `make docs`.",
        "",
        "Exit codes: 0 done, 1 ended early and can go on (budget) or a pattern above `--fail-above`,",
        "2 the user's mistake, 130 Ctrl-C.",
        "",
    ]
    context = click.Context(cli, info_name="habitus", **cli.context_settings)
    parts += ["```", cli.get_help(context), "```"]
    parts += _commands(cli, context)
    return "\n".join(parts) + "\n"


def _commands(group: click.Group, above: click.Context) -> list[str]:
    parts: list[str] = []
    for name in group.list_commands(above):
        command = group.commands[name]
        context = click.Context(command, info_name=name, parent=above)
        parts += ["", f"## {context.command_path}", "", "```", command.get_help(context), "```"]
        if isinstance(command, click.Group):
            parts += _commands(command, context)
    return parts


def main() -> None:
    """Write the pages, or with --check compare them."""
    pages = {DOCS / "configuration.md": configuration(), DOCS / "cli.md": commands()}
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        sys.exit(f"not what the code says: {', '.join(stale)}; run `make docs`" if stale else 0)
    for path, text in pages.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
