from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import habitus

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(habitus.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

VERBS = {"traits", "generate", "audit", "train", "evaluate", "report", "publish"}
LAYERS: list[set[str]] = [
    {
        "errors",
        "files",
        "records",
        "settings",
        "settings_train",
        "config",
        "shapes",
        "sources",
        "quotes",
        "held_out",
        "charts",
        "templates",
    },
    {"study", "prompts", "models", "show", "show_audit", "show_train", "show_evals", "show_record"},
    {"recipe", "ask", "patterns", "tally", "forecast", "budget", "cast", "shard", "shards", "stretches"},
    VERBS,
    {"cli"},
    {"__main__"},
]
MAY_IMPORT_TRAITS = {"generate", "evaluate"}


@dataclass(frozen=True)
class Import:
    """One import of a part of the package by another."""

    source: str
    target: str
    place: str
    for_types_only: bool


def part_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


PARTS = {part_of(file) for file in FILES} - {"__init__"}


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def layer(part: str) -> int:
    return next(level for level, parts in enumerate(LAYERS) if part in parts)


def absolute(node: ast.ImportFrom, file: Path) -> str:
    """Return the module that a `from` names, relative ones spelled out."""
    if not node.level:
        return node.module or ""
    package = ["habitus", *file.relative_to(SOURCE).parent.parts]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def modules_in(node: ast.AST, file: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = absolute(node, file)
        return [f"{module}.{alias.name}" for alias in node.names] if module == "habitus" else [module]
    return []


def type_checking_only(tree: ast.Module) -> set[ast.AST]:
    blocks = (
        statement
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
    )
    return {node for block in blocks for node in ast.walk(block)}


def imports() -> Iterator[Import]:
    for file in FILES:
        tree = parsed(file)
        typed = type_checking_only(tree)
        for node in ast.walk(tree):
            for module in modules_in(node, file):
                root, _, rest = module.partition(".")
                target = rest.partition(".")[0]
                if root == "habitus" and target in PARTS:
                    yield Import(part_of(file), target, f"{file.relative_to(SOURCE)}:{node.lineno}", node in typed)


@pytest.fixture(scope="module")
def found_imports() -> list[Import]:
    return list(imports())


def test_the_imports_were_found(found_imports: list[Import]) -> None:
    assert len(found_imports) > 50
    assert any(found.for_types_only for found in found_imports)
    assert {"config", "models", "records", "errors"} <= {found.target for found in found_imports}


def test_every_part_of_the_package_has_its_place_in_the_house_plan() -> None:
    assert set().union(*LAYERS) >= PARTS


def test_imports_point_one_way(found_imports: list[Import]) -> None:
    upward = [
        f"{found.place} imports {found.target}"
        for found in found_imports
        if found.source != "__init__"
        and layer(found.target) > layer(found.source)
        and not (found.source.startswith("show") and found.for_types_only)
    ]

    assert upward == []


def test_verb_folders_do_not_import_each_other(found_imports: list[Import]) -> None:
    sideways = [
        f"{found.place} imports {found.target}"
        for found in found_imports
        if {found.source, found.target} <= VERBS
        and found.source != found.target
        and not (found.source in MAY_IMPORT_TRAITS and found.target == "traits")
    ]

    assert sideways == []


def test_only_show_prints() -> None:
    printing = [
        f"{file.relative_to(SOURCE)}:{node.lineno}"
        for file in FILES
        if not file.name.startswith("show")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "pprint", "click.echo", "sys.stdout.write")
    ]

    assert printing == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SOURCE).as_posix())
def test_a_file_is_short_and_named_for_what_is_in_it(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 500
    assert file.stem not in ("utils", "util", "helpers", "common", "misc")


def test_the_help_comes_up_without_the_heavy_modules() -> None:
    heavy = (
        "torch",
        "trl",
        "transformers",
        "inspect_ai",
        "numpy",
        "aiohttp",
        "jinja2",
        "pydantic",
        "faiss",
        "datasets",
        "pyarrow",
        "rich",
        "ray",
        "daft",
    )
    script = f"""
import sys
from habitus.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
print(*(name for name in {heavy} if name in sys.modules), file=sys.stderr)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert "generate" in found.stdout
    assert found.stderr.split() == []
