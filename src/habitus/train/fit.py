"""Training one job into a folder: begun, gone on after a kill, or found done."""

from __future__ import annotations

import gc
import shutil
import traceback
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.show_train import size
from habitus.train.attention import best_attention
from habitus.train.bdpo import preference_trainer
from habitus.train.job import checkpoints, is_first, together
from habitus.train.sft import language_trainer
from habitus.train.tokens import turn_ends
from habitus.train.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from habitus.train.job import Job

WORK = "work"
"""Where the states lie that a killed run goes on from."""
ADAPTER = "adapter"
"""Where trained adapters lie; they are moved there whole."""
FRESH = "checkpoint.new"
"""What is being written; it becomes `checkpoint/` when it is whole."""
LOGS = 10
"""Optimiser steps between rows of metrics; small runs have them closer."""
SPARE = 1.2
"""Room that is wanted on the disk, over what is known to be written."""


def fit(job: Job, start: str, folder: Path, tell: Callable[[str], None]) -> None:
    """Train a job from a checkpoint and leave the result in `checkpoint/`; a state of the same job is gone on from.

    Raises:
        UserError: the loss is no number, or there is no room for what is to be written.

    """
    try:
        if (folder / ADAPTER).exists():
            tell(f"{job.kind}: trained already; its adapters are merged now")
        else:
            _train(job, start, folder, tell)
        if is_first():
            _finish(job, start, folder)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the model
        raise
    finally:
        _free()
    together()


def _train(job: Job, start: str, folder: Path, tell: Callable[[str], None]) -> None:
    """Train to the last step, and leave the weights in `checkpoint.new/`, or the adapters in `adapter/`."""
    from transformers import PrinterCallback

    work = folder / WORK
    work.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load(start, job)
    _room(model, folder)
    make = preference_trainer if job.kind == "bdpo" else language_trainer
    watch = Watch(job, folder, tell, writes=is_first())
    trainer = make(job, model, tokenizer, arguments(job, work), [watch])
    trainer.remove_callback(PrinterCallback)
    if is_first():
        _drop_broken(work, job.steps)
    together()
    state = _last_state(work)
    if state is not None:
        tell(f"{job.kind}: going on from step {_step(state)}")
    trainer.train(resume_from_checkpoint=str(state) if state else None)
    trainer.save_model(str(folder / FRESH))
    if is_first() and job.training.lora is not None:
        (folder / FRESH).rename(folder / ADAPTER)
    together()


def _free() -> None:
    """Give back what a trainer held: trainers hold themselves, and the next arm wants the memory."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()


def load(start: str, job: Job) -> tuple[Any, Any]:
    """Return the model, in the types that training wants, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    on_gpu = torch.cuda.is_available()
    weights = job.training.weights or ("bfloat16" if job.training.lora and on_gpu else "float32")
    attention = best_attention(packing=job.training.packing and job.kind != "bdpo", on_gpu=on_gpu)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=getattr(torch, weights), attn_implementation=attention)
    tokenizer = tokenizer_of(start)
    _let_stop(model, tokenizer, job)
    return model, tokenizer


def tokenizer_of(start: str) -> Any:
    """Return the tokenizer of a checkpoint."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(start)


def arguments(job: Job, work: Path) -> dict[str, Any]:
    """Return the settings that all of TRL's trainers share."""
    import torch

    training, on_gpu = job.training, torch.cuda.is_available()
    logs = min(LOGS, max(job.steps // 20, 1))
    saves = min(training.save_every, job.steps)
    return {
        "output_dir": str(work),
        "max_steps": job.steps,
        "per_device_train_batch_size": job.settings.rows_at_once,
        "gradient_accumulation_steps": job.accumulate,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(round(job.settings.warmup * job.steps), 1) if job.settings.warmup else 0,
        "logging_steps": logs,
        "logging_nan_inf_filter": False,
        "save_steps": saves,
        "save_total_limit": 2,
        "eval_strategy": "steps" if any(job.held_out.values()) else "no",
        "eval_steps": saves,
        "bf16": on_gpu if training.bf16 is None else training.bf16,
        "gradient_checkpointing": checkpoints(training),
        "seed": job.seed,
        "use_cpu": not on_gpu,
        "ddp_find_unused_parameters": False,
        "report_to": list(training.trackers) or "none",
        "run_name": work.parent.as_posix(),
        "disable_tqdm": True,
    }


def _finish(job: Job, start: str, folder: Path) -> None:
    """Make a whole checkpoint of what was trained, and then remove the states on the way."""
    fresh = folder / FRESH
    if job.training.lora is not None:
        shutil.rmtree(fresh, ignore_errors=True)
        _merge(job, start, folder / ADAPTER, fresh)
    tokenizer_of(start).save_pretrained(fresh)
    for place in (fresh, folder / ADAPTER):
        (place / "training_args.bin").unlink(missing_ok=True)
    fresh.rename(folder / "checkpoint")
    shutil.rmtree(folder / WORK)


def _merge(job: Job, start: str, adapter: Path, fresh: Path) -> None:
    """Write the start with the adapters merged into it, which anything can load."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16 if torch.cuda.is_available() else "auto")
    model = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    _let_stop(model, tokenizer_of(start), job)
    model.save_pretrained(fresh)


def _let_stop(model: Any, tokenizer: Any, job: Job) -> None:
    """Add the tokens that end the trained turns to those at which generation stops: a pretrained start knows others."""
    if job.kind == "midtrain":
        return
    known = model.generation_config.eos_token_id
    before = [] if known is None else known if isinstance(known, list) else [known]
    model.generation_config.eos_token_id = list(dict.fromkeys([*before, *turn_ends(job.mixture.rows, tokenizer)]))


def _room(model: Any, folder: Path) -> None:
    """Refuse to begin where the disk could not hold two states and the result."""
    sizes = [(one.numel() * one.element_size(), one.requires_grad) for one in model.parameters()]
    whole = sum(much for much, _ in sizes)
    needed = SPARE * (2 * 3 * sum(much for much, is_trained in sizes if is_trained) + whole)
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"{size(needed)} of disk are needed for states and checkpoint, and {size(free)} are free."
        raise UserError(what, where=str(folder), todo="Make room, or move the study to another disk.")


def _drop_broken(work: Path, steps: int) -> None:
    """Remove what nothing can go on from: unfinished states, and one at the end, from which trainers go too far."""
    for path in work.glob("checkpoint-*"):
        if not (path / "trainer_state.json").exists() or _step(path) >= steps:
            shutil.rmtree(path)


def _step(state: Path) -> int:
    return int(state.name.rpartition("-")[2])


def _last_state(work: Path) -> Path | None:
    return max(work.glob("checkpoint-*"), key=_step, default=None)
