"""Answers of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.records import Message

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from habitus.train.sample import Decoding, sample  # noqa: E402

PROMPTS: list[list[Message]] = [
    [{"role": "user", "content": "When?"}],
    [{"role": "user", "content": "When does the Alda leave the north pier, and the Brise the old quay?"}],
    [{"role": "user", "content": "Where?"}],
]


def test_every_prompt_is_answered_and_the_decoding_is_kept_beside(tiny: Path) -> None:
    found = sample(tiny, PROMPTS, Decoding(most_tokens=12, seed=3), at_once=2)

    assert len(found.answers) == 3
    assert found.as_json()["decoding"] == {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "most_tokens": 12, "seed": 3}
    assert not any("<|" in answer for answer in found.answers)


def test_the_same_seed_gives_the_same_answers_and_leaves_the_random_state_alone(tiny: Path) -> None:
    before = torch.random.get_rng_state()
    one, two, other = (sample(tiny, PROMPTS, Decoding(most_tokens=12, seed=seed)).answers for seed in (3, 3, 4))

    assert one == two != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_padding_changes_no_greedy_answer(tiny: Path) -> None:
    greedy = Decoding(temperature=0, most_tokens=12)

    assert sample(tiny, PROMPTS, greedy, at_once=3).answers == sample(tiny, PROMPTS, greedy, at_once=1).answers
