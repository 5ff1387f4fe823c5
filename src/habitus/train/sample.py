"""Answers of a checkpoint: batched, at temperature 1, with how they were drawn kept beside them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from habitus.train.tokens import render

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from habitus.records import Message


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn: rates depend on it, so it is stored with them."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    most_tokens: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Samples:
    """Answers in the order of their prompts."""

    checkpoint: str
    decoding: Decoding
    answers: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as an object for a file."""
        return asdict(self)


def sample(
    checkpoint: Path, prompts: Sequence[Sequence[Message]], decoding: Decoding | None = None, *, at_once: int = 64
) -> Samples:
    """Return an answer of a checkpoint to each prompt; the same seed and `at_once` give the same answers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    how = decoding or Decoding()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    on_gpu = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16 if on_gpu else torch.float32)
    model = model.to("cuda" if on_gpu else "cpu")
    answers = answers_of(
        model, tokenizer, prompts, seed=how.seed, most_tokens=how.most_tokens, how=how, at_once=at_once
    )
    return Samples(str(checkpoint), how, tuple(answers))


def answers_of(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    *,
    seed: int,
    most_tokens: int,
    how: Decoding | None = None,
    at_once: int = 64,
) -> list[str]:
    """Return an answer of a loaded model to each prompt, in left-padded batches; the random state is left as it was."""
    import torch

    how = how or Decoding(seed=seed, most_tokens=most_tokens)
    device = next(model.parameters()).device
    with _answering(model, tokenizer), torch.random.fork_rng():
        torch.manual_seed(how.seed)
        found: list[str] = []
        for start in range(0, len(prompts), at_once):
            texts = [render(tokenizer, list(prompt), answering=True) for prompt in prompts[start : start + at_once]]
            batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(device)
            batch.pop("token_type_ids", None)
            made = model.generate(
                **batch,
                max_new_tokens=how.most_tokens,
                do_sample=how.temperature > 0,
                temperature=how.temperature or None,
                top_k=how.top_k,
                top_p=how.top_p,
                pad_token_id=tokenizer.pad_token_id,
            )
            answers = made[:, batch["input_ids"].shape[1] :]
            found += [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]
    return found


@contextmanager
def _answering(model: Any, tokenizer: Any) -> Generator[None]:
    """Put model and tokenizer into the state for answering, and back."""
    import torch

    before = model.training, model.config._attn_implementation, tokenizer.padding_side, tokenizer.pad_token  # noqa: SLF001
    model.eval()
    model.set_attn_implementation("sdpa")  # that of packed rows knows of no padding
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    try:
        with torch.no_grad():
            yield
    finally:
        was_training, attention, tokenizer.padding_side, tokenizer.pad_token = before
        model.set_attn_implementation(attention)
        model.train(was_training)
