"""What the pages say is there, and what they tell the reader to type is a command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from habitus.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/**/README.md")])
LINK = re.compile(r"(?<!`)\[[^\]]*\]\((?!https?:)([^)\s]*)\)")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in its links."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_something(page: Path) -> None:
    dead = []
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def commands(page: Path) -> list[list[str]]:
    """Return the command lines of habitus in a page's shell blocks, in words."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [
        part.strip() for block in blocks for line in block.splitlines() for part in line.partition(" #")[0].split("&&")
    ]
    return [shlex.split(line) for line in lines if line.startswith("habitus ")]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_every_command_is_one_and_has_the_options_that_it_is_given(page: Path) -> None:
    for words in commands(page):
        command: click.Command = cli
        for word in words[1:]:
            if isinstance(command, click.Group) and (found := command.commands.get(word)):
                command = found
        below = (
            command.commands.values() if isinstance(command, click.Group) else ()
        )  # `audit DATA` is `audit data DATA`
        known = {
            option for part in (command, *below) for one in part.params for option in one.opts + one.secondary_opts
        }
        unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
        assert command is not cli, words
        assert unknown == [], words


def test_every_page_is_in_the_sites_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text() + (ROOT / "recipes" / "README.md").read_text()
    missing = [
        page.name for page in ROOT.glob("docs/*.md") if page.name != "index.md" and f"]({page.name})" not in index
    ]
    missing += [page.parent.name for page in ROOT.glob("recipes/*/README.md") if f"]({page.parent.name}/" not in index]
    assert missing == []
