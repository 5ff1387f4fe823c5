"""How the study was made: what the user wrote, what each dataset was made with, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.study import Study


def method(study: Study) -> dict[str, Any]:
    """Return config, traits document and what the manifest tells."""
    manifest = study.manifest
    made: dict[str, Any] = manifest.get("datasets", {})
    versions = {"habitus": manifest.get("habitus"), "Python": manifest.get("python")} | manifest.get("libraries", {})
    own = sorted(study.prompts.rglob("*.md")) if study.prompts.is_dir() else []
    return {
        "config": _text(study.root / "config.yaml"),
        "traits": _text(study.traits),
        "prompts": {path.relative_to(study.prompts).as_posix(): _text(path) for path in own},
        "versions": {name: version for name, version in versions.items() if version},
        "written": manifest.get("written", ""),
        "datasets": made,
        # datasets that share a step have the same row of it
        "cost": list(
            {(row["step"], row["model"]): row for entry in made.values() for row in entry.get("cost", ())}.values()
        ),
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
