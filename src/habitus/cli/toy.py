"""The toy twin of a study: the same arms on few rows of the simulated model and tiny models, in a folder of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from habitus.cli.arguments import open_study

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.config import Config
    from habitus.settings_train import Arm, Training
    from habitus.study import Study

COUNTS = {"documents": 80, "chats": 120, "preferences": 60}
TOY_HELD_OUT = 0.15
"""Share of the rows, so that the few chats leave some for `behaviour`."""
SAMPLES = 20
"""Of each eval."""
KEPT = {"version", "traits", "seed", "subject", "placebo", "license", *COUNTS, "audit"}
"""What a twin takes over from the study's config."""
HEAD = "# Written by `habitus run STUDY --toy` from the config above this folder: what is changed here does not last.\n"


def twin_of(study: Study) -> Study:
    """Return the study below a study in which its arms are tried out offline, its files brought up to date.

    It is a study like any other, so that its rows and models never mix with those that are paid for.
    """
    import yaml

    root = study.root / "toy"
    root.mkdir(exist_ok=True)
    text = HEAD + yaml.safe_dump(_config(study), sort_keys=False, allow_unicode=True)
    (root / "config.yaml").write_text(text, encoding="utf-8")
    for name in filter(None, (study.config.traits, study.config.placebo)):
        _copy(study.root / name, root / name)
    if study.prompts.is_dir():
        shutil.copytree(study.prompts, root / "prompts", dirs_exist_ok=True)
    return open_study(root)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, and say nothing of one that is not there: whoever reads it will."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _config(study: Study) -> dict[str, Any]:
    """Return the twin's config: the arms as they are, everything else small and offline."""
    own = study.config
    found = own.model_dump(include=KEPT, exclude_defaults=True)
    for name, most in COUNTS.items():
        section = found.setdefault(name, {})
        section |= {"count": min(getattr(own, name).count, most)}
        if name != "preferences":
            section["dedup"] = section.get("dedup", {}) | {"embedder": "hashing"}
    return found | {
        "models": {"default": "simulated/world"},
        "train": _training(own.train),
        "arms": {name: _arm(arm) for name, arm in own.arms.items()},
        "evaluate": {"baseline": own.evaluate.baseline, "evals": _evals(own), "limit": SAMPLES},
        "expect": [one.model_dump() for one in own.expect if {one.higher, one.than} <= own.arms.keys()],
    }


def _evals(own: Config) -> list[str]:
    """Return the evals that toys are put through; `behaviour` asks what held-out chats ask."""
    has_chats = any(arm.sft and arm.sft.data for arm in own.arms.values())
    return [*(["behaviour"] if has_chats else []), "knowledge", "overreach"]


def _training(own: Training) -> dict[str, Any]:
    """Return settings with which every arm is trained in a quarter of a minute."""
    from habitus.cli.train import TOY_BATCH, TOY_LENGTH, TOY_SIZE, TOY_START
    from habitus.train.pool import ORDINARY

    losses = own.bdpo.model_dump(include={"loss", "beta", "mixture", "by_length"}, exclude_defaults=True)
    stages = {name: {"batch": TOY_BATCH} for name in ("midtrain", "sft")}
    small = {"max_length": TOY_LENGTH, "size": TOY_SIZE, "held_out": TOY_HELD_OUT, "repeat": True}
    small["seeds"] = own.seeds[:1]
    return {"start": TOY_START, "baseline": ORDINARY, **small, **stages, "bdpo": {"batch": TOY_BATCH, **losses}}


def _arm(arm: Arm) -> dict[str, Any]:
    """Return an arm of which rows that only the study itself has are replaced by written ones."""
    stages = {"midtrain": "documents", "sft": "chats", "bdpo": "preferences"}
    found = arm.model_dump(include=set(stages), exclude_defaults=True)
    for stage, usual in stages.items():
        chosen = found.get(stage, {})
        chosen.pop("without_ids", None)
        if chosen.get("data") and chosen["data"].partition("-")[0] not in stages.values():
            chosen["data"] = usual
    return found
