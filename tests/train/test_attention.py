"""The attention of a GPU, with its kernel replaced by a slow one that says the same."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ferry import document
from habitus.train import attention
from habitus.train.attention import NAME, best_attention

if TYPE_CHECKING:
    from habitus.train.start import Start

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def one_by_one(query: Any, key: Any, value: Any, ends: Any, *_: Any, scale: float, window_size: tuple[int, int]) -> Any:
    """Attend within each document for itself."""
    assert window_size == (-1, 0)
    parts = []
    for first, last in pairwise(ends.tolist()):
        q, k, v = (part[first:last].transpose(0, 1).float() for part in (query, key, value))
        parts.append(torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale))
    return torch.cat(parts, dim=1).transpose(0, 1).to(query.dtype)


def test_packed_rows_are_read_as_with_a_mask(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import varlen
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(varlen, "varlen_attn", one_by_one)
    monkeypatch.setattr(attention, "find_spec", lambda _: None)
    assert best_attention(packing=True, on_gpu=True) == NAME
    texts = [start.tokenizer(document(number)["text"])["input_ids"] for number in range(3)]
    ids = torch.tensor([[token for text in texts for token in text]])
    positions = torch.tensor([[at for text in texts for at in range(len(text))]])
    ends = torch.tensor([0, *torch.tensor([len(text) for text in texts]).cumsum(0).tolist()], dtype=torch.int32)
    known = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": 99, "max_length_k": 99}
    logits = []
    for name, more in (("sdpa", {}), (NAME, known)):
        model = AutoModelForCausalLM.from_pretrained(start.path, attn_implementation=name)
        with torch.no_grad():
            logits.append(model(input_ids=ids, position_ids=positions, use_cache=False, **more).logits)

    assert torch.allclose(*logits, atol=0.05)  # the kernel takes bfloat16 alone
    assert not torch.equal(*logits)


def test_without_a_gpu_or_packing_it_is_pytorchs_own() -> None:
    assert best_attention(packing=True, on_gpu=False) == "sdpa"
    assert best_attention(packing=False, on_gpu=True) == "sdpa"
