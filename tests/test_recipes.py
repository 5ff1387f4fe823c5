"""Every recipe's config holds, and `habitus run` has a plan for it as it stands and as a toy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")

from habitus.config import load_config
from studies import habitus

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
CONFIGS = sorted(path for path in RECIPES.glob("*/*.yaml") if path.parent.name != "accelerate")


def test_there_are_recipes() -> None:
    assert {path.parent.name for path in CONFIGS} >= {"quickstart", "filtered_retrain", "midtrain", "fractions"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_recipe_has_a_plan(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    study = tmp_path / "advice"
    assert habitus("init", study) == 0
    shutil.copyfile(path, study / "config.yaml")
    config = load_config(study / "config.yaml")
    capsys.readouterr()

    assert "What to expect" in (path.parent / "README.md").read_text(encoding="utf-8")
    assert config.evaluate.baseline in config.arms
    assert habitus("run", study, "--dry-run") == 0
    told = capsys.readouterr().out
    assert all(f"{arm} seed {seed}" in told for arm in config.arms for seed in config.train.seeds)
    assert habitus("run", study, "--toy", "--dry-run") == 0
    assert "$0" in capsys.readouterr().out
    assert not (study / "models").exists()
