"""The prompts: found in the study first and then in the package, rendered strictly, known by their hash."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import (
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateSyntaxError,
    UndefinedError,
    meta,
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from habitus.errors import UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.models import Message

PACKAGE = Path(__file__).parent / "prompts"


class Prompts:
    """The prompt files that one run uses.

    A prompt is a Markdown file with a Jinja block for each message it opens the conversation with: `system`, `user`, or
    both. What models and documents wrote goes in as values and is never rendered itself.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        self.overrides = overrides
        folders = [PACKAGE] if overrides is None else [overrides, PACKAGE]
        self._jinja = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folders),
            undefined=StrictUndefined,
            auto_reload=False,
            autoescape=False,
        )
        self._templates: dict[str, Template] = {}
        self._hashes: dict[str, str] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every prompt of the package, such as `chats/refine`."""
        found = (path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.glob("*/[!_]*.md"))
        return tuple(sorted(found))

    def check_overrides(self) -> None:
        """See that every file of the study's own replaces one of the package's.

        Raises:
            UserError: one does not, so that it would never be used.

        """
        known = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.md")}
        own = (
            sorted(path.relative_to(self.overrides).as_posix() for path in self.overrides.rglob("*.md"))
            if self.overrides
            else []
        )
        for name in own:
            # Parts that only the study's own prompts include may be called as the user likes.
            if name not in known and not name.rpartition("/")[2].startswith("_"):
                hint = nearest(name, known)
                raise UserError(
                    f"this file replaces no prompt.{hint}", where=f"{self.overrides}/{name}", todo="Rename it."
                )

    def path(self, name: str) -> Path:
        """Return the file that a prompt comes from."""
        own = self.overrides / f"{name}.md" if self.overrides else None
        return own if own and own.exists() else PACKAGE / f"{name}.md"

    def is_overridden(self, name: str) -> bool:
        """Tell whether the study brings its own file for this prompt or for a part that it includes."""
        return any(not self.path(part).is_relative_to(PACKAGE) for part in (name, *self._parts(name)))

    def render(self, name: str, variables: dict[str, Any], history: Sequence[Message] = ()) -> list[Message]:
        """Return the messages of a prompt, with `history` standing between its system and its user message.

        Raises:
            UserError: the file has a mistake, or uses a variable that this step does not have.

        """
        template = self._template(name)
        try:
            context = template.new_context(variables)
            parts = {role: "".join(block(context)).strip() for role, block in template.blocks.items()}
        except UndefinedError as error:
            raise self._undefined(name, error, variables) from error
        except Exception as error:  # whatever it is, the template did it
            raise UserError(f"the prompt can't be rendered: {error}.", where=self._place(name, error)) from error
        opening: list[Message] = [{"role": "system", "content": parts["system"]}] if parts.get("system") else []
        closing: list[Message] = [{"role": "user", "content": parts["user"]}] if parts.get("user") else []
        if not opening and not closing:
            raise UserError("the prompt comes out empty.", where=str(self.path(name)))
        return [*opening, *history, *closing]

    def hash(self, name: str) -> str:
        """Return 12 hex digits over the prompt's text and that of every part it includes."""
        if name not in self._hashes:
            self._template(name)
            digest = sha256()
            for part in (name, *self._parts(name)):
                digest.update(self._source(part).encode())
            self._hashes[name] = digest.hexdigest()[:12]
        return self._hashes[name]

    def _template(self, name: str) -> Template:
        if name not in self._templates:
            tree = self._tree(name)
            for part in self._parts(name):
                self._tree(part)
            try:
                template = self._jinja.get_template(f"{name}.md")
            except TemplateSyntaxError as error:  # what only compiling finds, such as an unknown filter
                raise self._broken(name, error) from error
            if not template.blocks.keys() <= {"system", "user"} or not template.blocks:
                raise UserError(
                    "a prompt consists of the blocks 'system' and 'user', and this one has "
                    + (", ".join(f"'{block}'" for block in template.blocks) or "none")
                    + ".",
                    where=str(self.path(name)),
                    todo="Write {% block user %}…{% endblock %} around the message.",
                )
            if lines := [node.lineno for node in tree.body if not _may_stand_outside(node)]:
                raise UserError(
                    "what stands outside the blocks 'system' and 'user' is not sent, and extends does nothing.",
                    where=f"{self.path(name)}:{lines[0]}",
                    todo="Move it into a block.",
                )
            self._templates[name] = template
        return self._templates[name]

    def _tree(self, name: str) -> nodes.Template:
        try:
            return self._jinja.parse(self._source(name), filename=str(self.path(name)))
        except TemplateSyntaxError as error:
            raise self._broken(name, error) from error

    def _broken(self, name: str, error: TemplateSyntaxError) -> UserError:
        place = f"{self.path(name)}:{error.lineno}"
        return UserError(f"this prompt is not valid Jinja: {error.message}.", where=place)

    def _source(self, name: str) -> str:
        try:
            return self.path(name).read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            known = ", ".join(self.names)
            raise UserError(f"no prompt '{name}'.{nearest(name, self.names)}", todo=f"There are: {known}.") from error
        except UnicodeDecodeError as error:
            raise UserError(
                "this prompt is not UTF-8.", where=str(self.path(name)), todo="Save it as UTF-8."
            ) from error

    def _parts(self, name: str) -> tuple[str, ...]:
        """Return the names of the files that a prompt includes, and that those include."""
        found: set[str] = set()
        left = [name]
        while left:
            referenced = meta.find_referenced_templates(self._tree(left.pop()))
            fresh = {part.removesuffix(".md") for part in referenced if part} - found
            found |= fresh
            left += fresh
        return tuple(sorted(found))

    def _place(self, name: str, error: Exception) -> str:
        """Return the file and line of a template in which an error arose."""
        place = str(self.path(name))
        trace = error.__traceback__
        while trace is not None:
            template = trace.tb_frame.f_globals.get("__jinja_template__")
            if isinstance(template, Template):
                place = f"{template.filename}:{template.get_corresponding_lineno(trace.tb_lineno)}"
            trace = trace.tb_next
        return place

    def _undefined(self, name: str, error: UndefinedError, variables: dict[str, Any]) -> UserError:
        told = str(error.message)
        missing = told.split("'")[1] if "'" in told else told
        return UserError(
            f"{told}.{nearest(missing, variables)}",
            where=self._place(name, error),
            todo=f"This step has: {', '.join(sorted(variables))}.",
        )


def _may_stand_outside(node: nodes.Node) -> bool:
    is_space = isinstance(node, nodes.Output) and all(
        isinstance(part, nodes.TemplateData) and not part.data.strip("\ufeff \r\n\t") for part in node.nodes
    )
    return is_space or isinstance(node, nodes.Block)
