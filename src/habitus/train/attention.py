"""Attention over packed rows on a GPU by PyTorch's own kernel: documents blind to each other, and no mask made."""

from __future__ import annotations

from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NAME = "habitus_packed"


def best_attention(*, packing: bool, on_gpu: bool) -> str:
    """Return the name of the fastest attention that keeps packed documents apart here."""
    if not (packing and on_gpu):
        return "sdpa"
    if find_spec("flash_attn"):
        return "flash_attention_2"
    return NAME if _register() else "sdpa"


def _register() -> bool:
    """Tell transformers of the kernel, where this PyTorch has it and lets it be causal."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    if not {"window_size", "scale"} <= signature(varlen_attn).parameters.keys():
        return False
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import repeat_kv

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
    ) -> tuple[Tensor, None]:
        """Return what each token sees of those before it in its own document."""
        import torch

        del attention_mask
        groups = query.shape[1] // key.shape[1]
        parts = query, repeat_kv(key, groups), repeat_kv(value, groups)
        flat = [part.transpose(1, 2).flatten(0, 1).to(torch.bfloat16) for part in parts]
        ends, longest = options["cu_seq_lens_q"], int(options["max_length_q"])
        scale = options.get("scaling") or module.head_dim**-0.5
        seen = varlen_attn(*flat, ends, ends, longest, longest, scale=scale, window_size=(-1, 0))
        assert isinstance(seen, torch.Tensor)
        return seen.unflatten(0, (query.shape[0], -1)).to(query.dtype), None

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    return True
