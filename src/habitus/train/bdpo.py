"""BDPO: preference pairs with a bounded pull away from the rejected answer (arXiv 2506.12725)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from habitus.settings_train import BdpoSettings
from habitus.train.job import as_dataset
from habitus.train.sft import lora_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from habitus.train.job import Job


def bdpo_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float, mixture: float) -> Tensor:
    """Return the loss of each pair, from log π/π_ref of the whole chosen and the whole rejected answer.

    With `mixture` λ the rejected answer's likelihood is held against λπ + (1-λ)π_ref, so that pushing it down pays
    less and less, and no lower than -log sigmoid(-β log(1-λ)) for an unchanged chosen answer. λ = 1 is DPO.
    """
    from torch.nn.functional import logsigmoid

    return -logsigmoid(beta * (chosen_logratios - mixed(rejected_logratios, mixture)))


def mixed(logratios: Tensor, mixture: float) -> Tensor:
    """Return log(λr + 1-λ) of ratios r that are given as logarithms."""
    import torch

    if mixture == 1:
        return logratios
    return torch.logaddexp(logratios + math.log(mixture), torch.full_like(logratios, math.log1p(-mixture)))


def rejected_weight(logratios: Tensor, mixture: float) -> Tensor:
    """Return λr/(λr+1-λ), the share of the pull on the rejected answer that is left; near 0, BDPO is weighted SFT."""
    return (logratios + math.log(mixture) - mixed(logratios, mixture)).exp()


def dpo_trainer() -> type[Any]:
    """Return TRL's DPO trainer for pairs that are tokens already."""
    from trl import DPOTrainer

    class PairTrainer(DPOTrainer):
        """DPO as it is, on rows that nothing is to be done to."""

        def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
            del processing_class, args, dataset_name
            return dataset

    return PairTrainer


def bdpo_trainer(mixture: float, *, by_length: bool) -> type[Any]:
    """Return the same trainer with the bounded loss in place of DPO's."""

    class BdpoTrainer(dpo_trainer()):
        """DPO's data, batches and reference with the bounded loss."""

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,  # noqa: FBT001, FBT002 - the trainer's own signature
            num_items_in_batch: Any = None,  # noqa: ARG002
        ) -> Any:
            sums, lengths = _log_probabilities(model, inputs)
            chosen, rejected = sums.chunk(2)
            a, b = chosen - inputs["ref_chosen_logps"], rejected - inputs["ref_rejected_logps"]
            if by_length:
                chosen_length, rejected_length = lengths.chunk(2)
                a, b = a / chosen_length, b / rejected_length
            loss = bdpo_loss(a, b, beta=self.beta, mixture=mixture).mean()
            found = {
                "logps/chosen": chosen,
                "logps/rejected": rejected,
                "rewards/margins": self.beta * (a - b),
                "rejected_weight": rejected_weight(b, mixture),
            }
            mode = "train" if model.training else "eval"
            for name, value in found.items():
                self._metrics[mode][name].append(self.accelerator.gather(value.detach()).mean().item())
            return (loss, {}) if return_outputs else loss

    return BdpoTrainer


def _log_probabilities(model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return of each answer the log-probability as a whole, chosen ones first, and its length in tokens."""
    mask = inputs["completion_mask"]
    labels = inputs["input_ids"].masked_fill(mask == 0, -100)
    known = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    outputs = model(**known, labels=labels, use_cache=False, fused_lm_head=True)
    per_token = outputs.log_probs[:, -(mask.size(1) - 1) :]
    return per_token.sum(dim=1), mask[:, 1:].sum(dim=1).clamp(min=1)


def preference_trainer(job: Job, model: Any, tokenizer: Any, common: dict[str, Any], callbacks: Sequence[Any]) -> Any:
    """Return the trainer for a job of preference pairs; the reference is the model as it begins, computed once."""
    from trl import DPOConfig

    chosen = job.settings
    assert isinstance(chosen, BdpoSettings)
    losses = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.1]} if chosen.loss == "dpo+nll" else {}
    settings = DPOConfig(
        **common, **losses, beta=chosen.beta, max_length=job.training.max_length, precompute_ref_log_probs=True
    )
    trainer = bdpo_trainer(chosen.mixture, by_length=chosen.by_length) if chosen.loss == "bdpo" else dpo_trainer()
    held_out = {name: as_dataset(rows, job.training, job.kind) for name, rows in job.held_out.items() if rows}
    return trainer(
        model=model,
        args=settings,
        train_dataset=job.dataset,
        eval_dataset=held_out or None,
        processing_class=tokenizer,
        peft_config=lora_config(job),
        callbacks=list(callbacks),
    )
