"""What TRL's trainer costs over a bare hand-written loop: tokens a CPU second of the same model on the same packed batches.

    python benchmarks/train.py [--check] [--size 20M] [--steps 6]

Bar: the SFT path of `habitus train` has at least 0.9 of the bare loop's speed. Both are run in turn, three times, in one
process on one thread, and the best of each is compared; time is CPU time, so a busy machine matters little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.train.quiet import hush
from habitus.train.toy import SIZES, make_tokenizer, ordinary_chats

if TYPE_CHECKING:
    from habitus.train.job import Job

BAR = 0.9
LONGEST, BATCH = 512, 4
ROUNDS = 3


def make_model(size: str, vocabulary: int) -> Any:
    """Return a model with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = SIZES[size]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers, intermediate_size=shape.inner,
        num_attention_heads=shape.heads, num_key_value_heads=shape.heads, max_position_embeddings=LONGEST, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def make_job(tokenizer: Any, steps: int) -> Job:
    """Return a job of SFT on ordinary chats."""
    from habitus.settings_train import SftSettings, Training
    from habitus.train.job import Job
    from habitus.train.mixture import Mixture
    from habitus.train.rows import Row
    from habitus.train.tokens import tokenise_chats

    rows = [Row(one["id"], "ordinary", "", {"messages": one["messages"]}, "") for one in ordinary_chats(300, 0)]
    settings = SftSettings(batch=BATCH, learning_rate=1e-3)
    mixture = Mixture(tuple(tokenise_chats(rows, tokenizer, LONGEST)))
    return Job("sft", mixture, settings, Training(max_length=LONGEST), 1, toy=True, steps=steps)


def bare(model: Any, batches: list[dict[str, Any]], accumulate: int) -> float:
    """Train on these batches with nothing around it, and return the CPU seconds."""
    import torch

    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(batches))
    model.train()
    began = time.process_time()
    for start in range(0, len(batches), accumulate):
        step = batches[start : start + accumulate]
        carried = sum(int((one["labels"] != -100).sum()) for one in step)
        for one in step:
            known = {name: one[name] for name in ("input_ids", "position_ids")}
            logits = model(**known, use_cache=False).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits, one["labels"][0, 1:], ignore_index=-100, reduction="sum")
            (loss / carried).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    return time.process_time() - began


def ours(job: Job, size: str, tokenizer: Any, folder: Path) -> tuple[float, list[dict[str, Any]]]:
    """Train by our SFT path, and return the CPU seconds and the batches that it saw."""
    from transformers import PrinterCallback

    from habitus.train.fit import arguments
    from habitus.train.sft import language_trainer
    from habitus.train.watch import Watch

    model = make_model(size, len(tokenizer))
    watch = Watch(job, folder, lambda _: None, writes=True)
    common = arguments(job, folder / "work") | {"save_strategy": "no"}
    trainer = language_trainer(job, model, tokenizer, common, [watch])
    trainer.remove_callback(PrinterCallback)
    seen: list[dict[str, Any]] = []
    collate = trainer.data_collator

    def noting(examples: list[Any]) -> dict[str, Any]:
        batch = collate(examples)
        seen.append({name: batch[name] for name in ("input_ids", "labels", "position_ids")})
        return batch

    trainer.data_collator = noting
    began = time.process_time()
    trainer.train()
    return time.process_time() - began, seen


def main() -> None:
    """Print the table, and with --check hold the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--size", choices=list(SIZES), default="20M")
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    hush(1)
    texts = [turn["content"] for one in ordinary_chats(300, 0) for turn in one["messages"]]
    tokenizer = make_tokenizer(texts, SIZES[options.size].vocabulary)
    job = make_job(tokenizer, options.steps)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            took, batches = ours(job, options.size, tokenizer, Path(folder))
        batches = batches[: options.steps * BATCH]
        tokens = sum(one["input_ids"].numel() for one in batches)
        model = make_model(options.size, len(tokenizer))
        for name, seconds in (
            ("habitus train, packed", took),
            ("bare loop, the same batches", bare(model, batches, BATCH)),
        ):
            best[name] = max(best.get(name, 0), tokens / seconds)
    weights = sum(one.numel() for one in model.parameters())
    print(f"{weights / 1e6:.1f}M weights, rows of {LONGEST} tokens, {BATCH} a step, {tokens:,} tokens\n")
    for name, rate in best.items():
        print(f"{name:32}{rate:10,.0f} tokens/CPU s")
    ratio = best["habitus train, packed"] / best["bare loop, the same batches"]
    print(f"{'ratio':32}{ratio:10.2f}   bar {BAR}")
    if options.check and ratio < BAR:
        sys.exit(f"missed: ratio {ratio:.2f}, bar {BAR}")


if __name__ == "__main__":
    main()
