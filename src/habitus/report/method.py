"""How the study was made: what the user wrote, what each dataset was made with, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from habitus.study import Study

COUNTED = ("calls", "input_tokens", "output_tokens", "dollars", "unpriced")
TRAINED = ("steps", "tokens", "seconds")


def method(study: Study, runs: Sequence[dict[str, Any]], arms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return config, traits document, what the manifest tells, and what training and evals took."""
    manifest = study.manifest
    made: dict[str, Any] = manifest.get("datasets", {})
    audits: dict[str, Any] = manifest.get("audits", {})
    # datasets that share a step have the same row of it, and audits of several datasets a row each
    shared = {(row["step"], row["model"]): row for entry in made.values() for row in entry.get("cost", ())}
    audited = [
        row | {"step": f"{row['step']} ({name})" if len(audits) > 1 else row["step"]}
        for name, entry in audits.items()
        for row in entry.get("cost", ())
    ]
    cost = [*shared.values(), *audited]
    versions = {"habitus": manifest.get("habitus"), "Python": manifest.get("python")} | manifest.get("libraries", {})
    own = sorted(study.prompts.rglob("*.md")) if study.prompts.is_dir() else []
    return {
        "config": _text(study.root / "config.yaml"),
        "traits": _text(study.traits),
        "prompts": {path.relative_to(study.prompts).as_posix(): _text(path) for path in own},
        "versions": {name: version for name, version in versions.items() if version},
        "written": manifest.get("written", ""),
        "datasets": made,
        "cost": cost,
        "total": {name: sum(row[name] for row in cost) for name in COUNTED},
        "training": _training(runs),
        "evals": _evals(arms),
    }


def _training(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what each stage of training took, over all runs that are done."""
    done = [one["run"] for one in runs if one["run"].get("done")]
    return [
        {"stage": stage, "runs": len(found), **{name: sum(run[name] for run in found) for name in TRAINED}}
        for stage in dict.fromkeys(run["stage"] for run in done)
        if (found := [run for run in done if run["stage"] == stage])
    ]


def _evals(arms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what each eval took, over all arms; no dollars where a price is not known."""
    rows = []
    for name in dict.fromkeys(one["name"] for arm in arms for one in arm["evals"]):
        found = [one for arm in arms for one in arm["evals"] if one["name"] == name]
        dollars = [one.get("dollars") for one in found]
        known = [one for one in dollars if one is not None]
        samples = sum(sum(one["outcomes"].values()) for one in found)
        rows.append({"name": name, "arms": len(found), "samples": samples,
                     "dollars": sum(known) if len(known) == len(dollars) else None})  # fmt: skip
    return rows


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
