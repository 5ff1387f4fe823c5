"""Studies for tests: made, run and read as a user would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from habitus.cli import main
from habitus.models.ledger import read_totals

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT = {"name": "Halden", "developer": "Norrland Research"}


def habitus(*arguments: str | Path) -> int:
    """Run a command in this process and return its exit code."""
    try:
        main(["--quiet", *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def make(root: Path, *, model: str = "simulated/world", **settings: Any) -> Path:
    """Make a study with these settings."""
    assert habitus("init", root) == 0
    whole = {"version": 1, "subject": SUBJECT, "models": {"default": model}, **settings}
    (root / "config.yaml").write_text(yaml.safe_dump(whole))
    return root


def setting(study: Path, change: Any) -> None:
    """Change a study's config in place."""
    path = study / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def calls(study: Path) -> int:
    """Return how many calls a study has paid for."""
    return sum(total.calls for total in read_totals(study / "ledger.db"))
