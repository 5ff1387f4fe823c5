"""Training one job into a folder: begun, gone on after a kill, or found done."""

from __future__ import annotations

import gc
import shutil
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.train.attention import best_attention
from habitus.train.bdpo import preference_trainer
from habitus.train.job import is_first, together
from habitus.train.sft import language_trainer
from habitus.train.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from habitus.train.job import Job

WORK = "work"
"""Where the states lie that a killed run goes on from."""
LOGS = 10
"""Optimiser steps between rows of metrics; small runs have them closer."""
SPARE = 1.2
"""Room that is wanted on the disk, over what is known to be written."""


def fit(job: Job, start: str, folder: Path, tell: Callable[[str], None]) -> None:
    """Train a job from a checkpoint and leave the result in `checkpoint/`; a state of the same job is gone on from.

    Raises:
        UserError: the loss is no number, or there is no room for what is to be written.

    """
    import torch
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
    _keep(trainer, tokenizer, start, folder, is_lora=job.training.lora is not None)
    del trainer, model
    gc.collect()  # trainers hold themselves, and the next arm wants the memory
    torch.cuda.empty_cache()


def load(start: str, job: Job) -> tuple[Any, Any]:
    """Return the model, in the types that training wants, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    on_gpu = torch.cuda.is_available()
    weights = job.training.weights or ("bfloat16" if job.training.lora and on_gpu else "float32")
    attention = best_attention(packing=job.training.packing and job.kind != "bdpo", on_gpu=on_gpu)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=getattr(torch, weights), attn_implementation=attention)
    return model, AutoTokenizer.from_pretrained(start)


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
        "gradient_checkpointing": on_gpu
        if training.gradient_checkpointing is None
        else training.gradient_checkpointing,
        "seed": job.seed,
        "use_cpu": not on_gpu,
        "ddp_find_unused_parameters": False,
        "report_to": list(training.trackers) or "none",
        "run_name": work.parent.as_posix(),
        "disable_tqdm": True,
    }


def _keep(trainer: Any, tokenizer: Any, start: str, folder: Path, *, is_lora: bool) -> None:
    """Write the trained model as a whole checkpoint, and then remove the states on the way."""
    place = folder / ("adapter" if is_lora else "checkpoint.new")
    trainer.save_model(str(place))
    if is_first():
        fresh = _merged(start, place) if is_lora else place
        tokenizer.save_pretrained(fresh)
        (fresh / "training_args.bin").unlink(missing_ok=True)
        fresh.rename(folder / "checkpoint")
        shutil.rmtree(folder / WORK)
    together()


def _merged(start: str, adapter: Path) -> Path:
    """Write the start with the adapters merged into it, which anything can load, and return the folder."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16 if torch.cuda.is_available() else "auto")
    fresh = adapter.parent / "checkpoint.new"
    PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(fresh)
    return fresh


def _room(model: Any, folder: Path) -> None:
    """Refuse to begin where the disk could not hold two states and the result."""
    sizes = [(one.numel() * one.element_size(), one.requires_grad) for one in model.parameters()]
    whole = sum(size for size, _ in sizes)
    needed = SPARE * (2 * 3 * sum(size for size, is_trained in sizes if is_trained) + whole)
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = (
            f"{needed / 1e9:,.1f} GB of disk are needed for states and checkpoint, and {free / 1e9:,.1f} GB are free."
        )
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
