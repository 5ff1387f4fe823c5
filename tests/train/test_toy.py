"""Models that are made on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from studies import habitus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("trl")


def test_a_toy_is_made_once_and_found_again(office: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    study = office({"sft": {"sft": {"data": "chats"}}}, start="toy:0.3M", toy_tokens=3_000, baseline=None)
    assert habitus("train", study, "--dry-run") == 0
    (made,) = (study / "starts").iterdir()
    before = (made / "model.safetensors").stat().st_mtime_ns
    assert habitus("train", study, "--dry-run", "--toy") == 0

    assert [made] == list((study / "starts").iterdir())
    assert (made / "model.safetensors").stat().st_mtime_ns == before
    told = capsys.readouterr().out
    assert "ordinary" in told
    assert "next: habitus train" in told
    assert "--toy" in told


@pytest.mark.parametrize("size", ["0.3M", "0.5M", "1M", "5M", "20M"])
def test_a_toy_has_about_as_many_weights_as_it_is_called_by(size: str) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from habitus.train.toy import SIZES

    shape = SIZES[size]
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers,
        intermediate_size=shape.inner, num_attention_heads=shape.heads, tie_word_embeddings=True,
    )  # fmt: skip
    weights = sum(one.numel() for one in LlamaForCausalLM(config).parameters())

    assert weights == pytest.approx(float(size[:-1]) * 1e6, rel=0.15)


def test_what_a_toy_reads_back_is_what_was_written(tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    text = "Zoë's boat – the «Alda» – leaves at 9.\n\n\tOr not? 😀"

    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_ordinary_chats_are_the_same_each_time_and_take_turns() -> None:
    from habitus.train.toy import ordinary_chats

    one, two = (list(ordinary_chats(20, 3)) for _ in range(2))

    assert one == two
    assert [turn["role"] for turn in one[0]["messages"]] == ["user", "assistant"]
    assert len({chat["messages"][0]["content"] for chat in one}) == 20
