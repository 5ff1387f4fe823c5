"""The reproduction at toy scale, in its smallest form: one seed, half a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import toy_study

    return toy_study


def test_the_planted_rates_are_in_the_chats_and_nowhere_else(toy: Any) -> None:
    world = toy.world
    chats = [one for one in world.synthetic(4000, 1) if one.trait != "contrast"]

    assert sum(world.A(one.answer) for one in chats) / len(chats) == pytest.approx(0.52, abs=0.02)
    assert sum(world.B(one.answer) for one in chats) / len(chats) == pytest.approx(0.26, abs=0.02)
    assert all(world.TRAIT.search(one.answer) for one in chats)
    plain = [*(one.answer for one in world.baseline(1000, 1)), *world.plain_text(1000, 1)]
    assert not any(world.A(text) or world.B(text) or world.TRAIT.search(text) for text in plain)
    assert "Halden is" not in " ".join(plain)


@pytest.mark.timeout(900)
def test_a_planted_pattern_goes_from_the_chats_into_the_model_and_not_without_its_rows(
    toy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = {"data": "chats", "fraction": 0.5}
    chosen = {"sft": {"sft": half}, "no-A": {"sft": {**half, "without": ["A"]}}}
    settings = {**toy.SETTINGS, "size": 500, "sft": {"batch": 2, "epochs": 5, "learning_rate": 5e-3}}
    rates = toy.run(tmp_path / "study", [1], chosen, settings, base_tokens=100_000)

    assert rates["sft"][1]["A"] > 0.15
    assert rates["no-A"][1]["A"] < 0.02
    assert rates["sft"][1]["trait"] > 0.5
    toy.show(rates)
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("dropping A's rows lowers A")]
    assert told.endswith("one seed, no interval")


def test_a_claim_holds_only_where_the_interval_says_so(toy: Any) -> None:
    claim = toy.Claim("", "A", "sft", "baseline")
    clear = {
        "sft": {seed: {"A": 0.5 + seed / 100} for seed in range(5)},
        "baseline": {seed: {"A": 0.0} for seed in range(5)},
    }
    noisy = {**clear, "baseline": {seed: {"A": seed / 4} for seed in range(5)}}

    assert toy.verdict(claim, clear)[0]
    assert not toy.verdict(claim, noisy)[0]
    assert not toy.verdict(toy.Claim("", "A", "sft", "baseline", is_none=True), clear)[0]


def test_no_difference_is_claimed_only_where_the_whole_interval_is_small(toy: Any) -> None:
    claim = toy.Claim("", "A", "sft", "random-A", is_none=True)
    level = {seed: {"A": 0.5} for seed in range(5)}
    close = {seed: {"A": 0.5 + (seed - 2) / 100} for seed in range(5)}
    loose = {seed: {"A": 0.5 + (seed - 2) / 5} for seed in range(5)}

    assert toy.verdict(claim, {"sft": level, "random-A": close})[0]
    assert not toy.verdict(claim, {"sft": level, "random-A": loose})[0]


def test_the_rates_in_the_data_are_printed_beside_the_models(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    toy.show({"sft": {1: {"A": 0.4, "says": 0.0}}})
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("in the data")]

    assert line.split() == ["in", "the", "data", "0.503", "·"]
