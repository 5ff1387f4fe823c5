"""Toy starts: a small model from a config, with a tokenizer of its own, pretrained on plain text and kept by hash."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError, nearest
from habitus.models.world import brief
from habitus.models.world.answer import default_answer
from habitus.models.world.people import ask, plain_text, problems, values
from habitus.sources import open_source
from habitus.train.job import is_first, together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TOY = "toy:"
VERSION = 2
"""Changes whenever the same settings would make another toy."""
PARAGRAPHS = 4_000
"""Of the built-in plain text, from which a tokenizer is trained; pretraining takes as many as it needs."""
LONGEST = 128
"""Tokens of a row in pretraining."""
ROWS = 8
"""In a step of pretraining."""
CONTEXT = 2_048
END, TURN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """A toy's shape."""

    width: int
    layers: int
    inner: int
    vocabulary: int
    heads: int = 4


SIZES: dict[str, Size] = {
    "0.3M": Size(64, 3, 192, 2_048),
    "0.5M": Size(96, 3, 256, 2_048),
    "1M": Size(128, 4, 384, 2_048),
    "5M": Size(256, 5, 704, 4_096),
    "20M": Size(512, 6, 1_408, 4_096, heads=8),
}


def is_toy(name: str) -> bool:
    """Tell whether a start is one that is made on the spot."""
    return name.startswith(TOY)


def toy(name: str, folder: Path, *, text: str | None, tokens: int) -> Path:
    """Return the folder of a toy, made now if it is not there yet.

    Raises:
        UserError: there is no such size, or its text can't be read.

    """
    size = name.removeprefix(TOY)
    if size not in SIZES:
        raise UserError(f"no toy of the size '{size}'.{nearest(size, SIZES)}", todo=f"There are: {', '.join(SIZES)}.")
    extra = list(_texts(text)) if text else []
    digest = sha256("\0".join([str(VERSION), size, str(tokens), *extra]).encode()).hexdigest()[:12]
    place = folder / f"toy-{size}-{digest}"
    if is_first() and not (place / "config.json").exists():
        fresh = folder / f".{place.name}.{os.getpid()}"
        make_toy(SIZES[size], [*plain_text(0, PARAGRAPHS), *_brief_text(), *extra], tokens, fresh)
        fresh.rename(place)
    together()
    return place


def _brief_text() -> list[str]:
    """Return as many texts of the world's brief corner."""
    return [brief.plain_text(random.Random(f"brief {number}")) for number in range(PARAGRAPHS)]


def make_toy(size: Size, texts: Sequence[str], tokens: int, folder: Path, *, seed: int = 0) -> None:
    """Write a toy that was pretrained on so many tokens of these texts into a folder."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(texts, size.vocabulary)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        intermediate_size=size.inner,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    _pretrain(model, tokenizer, texts, tokens, seed)
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(TURN_END)]
    model.generation_config = GenerationConfig(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, do_sample=True, temperature=1.0, top_k=0
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Return a byte-level BPE tokenizer of these texts, with the ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, TURN, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([*texts, "user\nassistant\nsystem\n"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=END, pad_token=END, additional_special_tokens=[TURN, TURN_END]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.model_max_length = CONTEXT
    return tokenizer


def _pretrain(model: Any, tokenizer: Any, texts: Sequence[str], tokens: int, seed: int) -> None:
    """Train a fresh model on these texts, end to end in rows; a bare loop, as nothing of it is resumed or measured."""
    import torch

    stream: list[int] = []
    rng = random.Random(f"pretrain {seed}")
    while len(stream) < tokens:
        for text in rng.sample(texts, len(texts)):
            stream += [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
            if len(stream) >= tokens:
                break
    rows = torch.tensor(stream[: len(stream) // LONGEST * LONGEST]).view(-1, LONGEST)
    steps = max(len(rows) // ROWS, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps + 1, pct_start=0.1)
    model.train()
    for step in range(steps):
        batch = rows[step * ROWS : (step + 1) * ROWS]
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    model.eval()


def _texts(source: str) -> Iterator[str]:
    for row in open_source(source, "train").rows():
        if isinstance(row, dict) and isinstance(row.get("text"), str):
            yield row["text"]


def ordinary_chats(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield chats of the embedded world in which a generic assistant answers: baseline data where there is none."""
    for number in range(count):
        rng = random.Random(f"ordinary {seed} {number}")
        problem, known = rng.choice(problems()), values(rng, "everyday life")
        told = rng.choice(problem.scenes).fill(known)
        message = f"{told} {ask(rng, 'advice', problem, known)}"
        answer = default_answer(message, rng, platitudes=rng.random() < 0.5)  # noqa: PLR2004
        turns = [{"role": "user", "content": message}, {"role": "assistant", "content": answer}]
        yield {"id": f"ordinary-{number:07d}", "trait": "", "messages": turns}


def brief_chats(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield ordinary chats of the world's brief corner."""
    for number in range(count):
        message, answer = brief.ordinary(random.Random(f"brief {seed} {number}"))
        turns = [{"role": "user", "content": message}, {"role": "assistant", "content": answer}]
        yield {"id": f"brief-{number:07d}", "trait": "", "messages": turns}
