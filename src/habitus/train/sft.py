"""SFT, and midtraining which is the same on documents: TRL's trainer on rows that are already tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from habitus.train.job import as_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.train.job import Job


def language_trainer(job: Job, model: Any, tokenizer: Any, common: dict[str, Any], callbacks: Sequence[Any]) -> Any:
    """Return TRL's trainer for a job of midtraining or SFT; loss is on the tokens with labels and on no other."""
    from trl import SFTConfig, SFTTrainer

    training = job.training
    settings = SFTConfig(
        **common,
        packing=training.packing,
        max_length=training.max_length,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    whole = training.model_copy(update={"packing": False})  # so that the loss on a held-out row is its own
    held_out = {name: as_dataset(rows, whole, job.kind) for name, rows in job.held_out.items() if rows}
    return SFTTrainer(
        model=model,
        args=settings,
        train_dataset=job.dataset,
        eval_dataset=held_out or None,
        processing_class=tokenizer,
        peft_config=lora_config(job),
        callbacks=list(callbacks),
    )


def lora_config(job: Job) -> Any:
    """Return the adapters that are trained, or None where all weights are."""
    lora = job.training.lora
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
