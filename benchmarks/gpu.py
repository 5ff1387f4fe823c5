"""SFT on one GPU: tokens a second, model FLOP utilisation and memory of our path beside TRL's stock configuration.

    python benchmarks/gpu.py [--seconds 20] [--minutes 8] [--only WORD] [--tiny]

Models are made from a config with random weights, so nothing is downloaded. Rows are of chat-like lengths, the same for
both; tokens are those of rows, padding is not counted. Utilisation is 6 (all weights) or 4 (adapters) operations for each
weight and token over the peak of dense bf16; what gradient checkpointing computes again does not count, nor does attention.
Each configuration runs in a process of its own. `--tiny` runs it all on a CPU in seconds, where the figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PEAK = 989e12
"""Operations a second, dense bf16, of an H100 or H200 by their datasheet."""
LONGEST, MEDIAN, SPREAD = 2048, 420, 0.7
ROWS = 3_000
WARM = 3
"""Steps before the clock runs."""
QWEN = {"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28, "intermediate_size": 3072,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
        "tie_word_embeddings": True}  # fmt: skip
LLAMA = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14_336,
         "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256, "tie_word_embeddings": False}  # fmt: skip
TINY = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 4096}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    model: str
    trains: str
    """`full` or `LoRA 64`."""
    path: str
    """`TRL stock` or `habitus`."""
    weights: str = "float32"
    checkpointing: bool = True
    at_once: int = 4
    batch: int = 16

    @property
    def name(self) -> str:
        """What the table calls it."""
        kept = "" if self.checkpointing else ", all activations kept"
        return f"{self.model} {self.trains}, {self.path}{kept}"


CASES = [
    Case("0.6B", "full", "TRL stock"),
    Case("0.6B", "full", "habitus", at_once=8),
    Case("0.6B", "full", "habitus", checkpointing=False),
    Case("8B", "LoRA 64", "TRL stock", weights="bfloat16"),
    Case("8B", "LoRA 64", "habitus", weights="bfloat16", at_once=8),
    Case("8B", "LoRA 64", "habitus", weights="bfloat16", checkpointing=False, at_once=2),
    Case("8B", "full", "TRL stock", weights="bfloat16"),
    Case("8B", "full", "habitus", weights="bfloat16"),
]


def lengths(number: int, longest: int) -> list[int]:
    """Return lengths of rows as chats have them."""
    rng = random.Random(0)
    return [min(max(int(rng.lognormvariate(0, SPREAD) * MEDIAN), 32), longest) for _ in range(number)]


def make_model(case: Case, *, tiny: bool) -> Any:
    """Return a model with random weights on the GPU."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from habitus.train.attention import best_attention

    shape = (QWEN if case.model == "0.6B" else LLAMA) | (TINY if tiny else {})
    config = AutoConfig.for_model(**shape, max_position_embeddings=4096, bos_token_id=None, eos_token_id=0)
    on_gpu = torch.cuda.is_available()
    attention = best_attention(packing=True, on_gpu=on_gpu) if case.path == "habitus" else "sdpa"
    torch.manual_seed(0)
    with torch.device("cuda" if on_gpu else "cpu"):
        return AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, case.weights), attn_implementation=attention
        )


def make_rows(vocabulary: int, longest: int, number: int) -> list[list[int]]:
    """Return rows of random tokens."""
    rng = random.Random(1)
    return [[rng.randrange(3, vocabulary) for _ in range(length)] for length in lengths(number, longest)]


def our_trainer(case: Case, model: Any, rows: list[list[int]], longest: int, folder: Path) -> Any:
    """Return the trainer that `habitus train` would use."""
    from habitus.settings_train import Lora, SftSettings, Training
    from habitus.train.fit import arguments
    from habitus.train.job import Job
    from habitus.train.mixture import Mixture
    from habitus.train.rows import Row
    from habitus.train.sft import language_trainer
    from habitus.train.tokens import Tokens

    sdpa = model.config._attn_implementation == "sdpa"  # noqa: SLF001
    at_once = 1 if sdpa else case.at_once  # its mask grows with the square of what is at once
    settings = SftSettings(batch=case.batch, rows_at_once=at_once, learning_rate=1e-5)
    lora = Lora() if "LoRA" in case.trains else None
    training = Training(max_length=longest, lora=lora, gradient_checkpointing=case.checkpointing)
    tokens = tuple(Tokens(Row(str(at), "rows", "", {}, ""), ids, ids) for at, ids in enumerate(rows))
    job = Job("sft", Mixture(tokens), settings, training, 1, toy=False, steps=100_000)
    common = arguments(job, folder) | {"save_strategy": "no"}
    return language_trainer(job, model, make_tokens(), common, [])


def stock_trainer(case: Case, model: Any, rows: list[list[int]], longest: int, folder: Path) -> Any:
    """Return TRL's trainer as it comes, on the same rows: padded batches of 8, gradient checkpointing, bf16."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    settings = SFTConfig(
        output_dir=str(folder), max_length=longest, max_steps=100_000, report_to="none", save_strategy="no",
        disable_tqdm=True, use_cpu=not torch.cuda.is_available(), bf16=torch.cuda.is_available(),
    )  # fmt: skip
    lora = LoraConfig(r=64, lora_alpha=128, target_modules="all-linear", task_type="CAUSAL_LM")
    return SFTTrainer(
        model=model, args=settings, train_dataset=Dataset.from_dict({"input_ids": rows, "labels": rows}),
        processing_class=make_tokens(), peft_config=lora if "LoRA" in case.trains else None,
    )  # fmt: skip


def make_tokens() -> Any:
    """Return some tokenizer: the rows are tokens already, but trainers want one."""
    from habitus.train.toy import make_tokenizer

    return make_tokenizer(["The ferry leaves at nine."], 300)


def measure(case: Case, seconds: float, *, tiny: bool) -> dict[str, Any]:
    """Train for so long and return what was seen."""
    import torch
    from transformers import PrinterCallback, TrainerCallback

    from habitus.train.quiet import hush

    hush(1 if tiny else 8)
    longest = 128 if tiny else LONGEST
    model = make_model(case, tiny=tiny)
    weights = sum(one.numel() for one in model.parameters())
    rows = make_rows(model.config.vocab_size, longest, 200 if tiny else ROWS)
    clock = {"began": 0.0, "steps": 0, "ended": 0.0}

    def now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if state.global_step == WARM:
                clock["began"] = now()
            if state.global_step > WARM and time.perf_counter() - clock["began"] > seconds:
                clock["ended"], clock["steps"] = now(), state.global_step - WARM
                control.should_training_stop = True

    with tempfile.TemporaryDirectory() as folder:
        make = our_trainer if case.path == "habitus" else stock_trainer
        trainer = make(case, model, rows, longest, Path(folder))
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Clock())
        per_step = trainer.args.per_device_train_batch_size * trainer.args.gradient_accumulation_steps
        per_row = sum(map(len, rows)) / len(trainer.train_dataset)
        trainer.train()
    rate = clock["steps"] * per_step * per_row / (clock["ended"] - clock["began"])
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    work = (4 if "LoRA" in case.trains else 6) * weights
    return {
        "weights": weights, "steps": clock["steps"], "tokens/s": rate, "utilisation": rate * work / PEAK,
        "memory GB": memory / 1e9, "attention": model.config._attn_implementation,  # noqa: SLF001
    }  # fmt: skip


def in_process(case: Case, options: argparse.Namespace, left: float) -> dict[str, Any]:
    """Measure a case in a process of its own, and return what it printed or why it printed nothing."""
    command = [sys.executable, __file__, "--seconds", str(options.seconds), "--case", json.dumps(asdict(case))]
    try:
        done = subprocess.run(
            command + ["--tiny"] * options.tiny, capture_output=True, text=True, check=False, timeout=left
        )
    except subprocess.TimeoutExpired:
        return {"failed": "no time left"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    print(done.stderr[-3000:], file=sys.stderr)
    is_memory = "out of memory" in done.stderr.lower()
    return {"failed": "out of memory" if is_memory else (done.stderr.strip().splitlines() or ["?"])[-1][:80]}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="timed for each case")
    parser.add_argument("--minutes", type=float, default=8, help="for all; what does not fit is left out and said so")
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(Case(**json.loads(options.case)), options.seconds, tiny=options.tiny)))
        return
    import torch

    if not torch.cuda.is_available() and not options.tiny:
        sys.exit("there is no GPU here; --tiny tries it out on a CPU")
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU, where figures mean nothing"
    print(f"{where}, torch {torch.__version__}; rows of {MEDIAN} tokens in the median, {LONGEST} at most\n")
    head = f"{'':52}{'tokens/s':>10}{'util.':>8}{'memory':>9}{'steps':>7}  attention"
    print(head, flush=True)
    end = time.monotonic() + options.minutes * 60
    for case in CASES:
        if options.only not in case.name:
            continue
        found = in_process(case, options, max(end - time.monotonic(), 1))
        if "failed" in found:
            print(f"{case.name:52}{found['failed']}", flush=True)
            continue
        share = f"{found['utilisation']:.1%}" if torch.cuda.is_available() else "·"
        print(
            f"{case.name:52}{found['tokens/s']:>10,.0f}{share:>8}{found['memory GB']:>6,.0f} GB"
            f"{found['steps']:>7}  {found['attention']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
