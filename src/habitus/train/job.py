"""One stage of one run, ready to be trained: its rows, how many steps, and the numbers that were derived for it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from habitus.errors import UserError
from habitus.train.tokens import MASKED, PairTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from habitus.records import Message
    from habitus.settings_train import BdpoSettings, MidtrainSettings, SftSettings, Training
    from habitus.train.mixture import AnyTokens, Mixture

Kind = Literal["midtrain", "sft", "bdpo"]
BDPO_SLOWER = 20
"""By how much smaller BDPO's learning rate is than that of the other stages."""


@dataclass(frozen=True)
class Job:
    """A stage and all that decides what comes out of it, but for the checkpoint that it begins from."""

    kind: Kind
    mixture: Mixture
    settings: MidtrainSettings | SftSettings | BdpoSettings
    training: Training
    seed: int
    toy: bool
    held_out: Mapping[str, Sequence[AnyTokens]] = field(default_factory=dict)
    prompts: tuple[tuple[Message, ...], ...] = ()
    """Held-out prompts that are answered on the way."""
    steps: int = 0

    @cached_property
    def dataset(self) -> Any:
        """The rows as TRL takes them, packed if that is wanted."""
        return as_dataset(self.mixture.rows, self.training, self.kind)

    @property
    def _of_a_pass(self) -> int:
        """The optimiser steps of one pass over the data, of which the last takes the rows that are left."""
        return math.ceil(len(self.dataset) / self.settings.batch)

    @property
    def own_steps(self) -> int:
        """The optimiser steps that this job's own data come to."""
        whole, rest = divmod(self.settings.epochs, 1)
        found = int(whole) * self._of_a_pass + int(rest * len(self.dataset) / self.settings.batch)
        return self.settings.steps or max(found, 1)

    @property
    def epochs(self) -> float:
        """How often the data are gone through."""
        whole, rest = divmod(self.steps, self._of_a_pass)
        return whole + rest * self.settings.batch / len(self.dataset)

    @property
    def tokens(self) -> int:
        """How many tokens are computed in all."""
        return round(self.epochs * sum(len(one.ids) for one in self.mixture.rows))

    @property
    def learning_rate(self) -> float:
        """The peak learning rate, as given or derived."""
        if self.settings.learning_rate is not None:
            return self.settings.learning_rate
        usual = 3e-3 if self.toy else 1e-4 if self.training.lora else 2e-5
        return usual / BDPO_SLOWER if self.kind == "bdpo" else usual

    @property
    def accumulate(self) -> int:
        """How many times each device goes forward and back in one step.

        Raises:
            UserError: the batch can't be parted evenly.

        """
        at_once = self.settings.rows_at_once * processes()
        if self.settings.batch % at_once:
            what = (
                f"a batch of {self.settings.batch} can't be parted among {processes()} processes that take "
                f"{self.settings.rows_at_once} rows at once."
            )
            raise UserError(what, where=f"config.yaml, train.{self.kind}.batch", todo=f"Take a multiple of {at_once}.")
        return self.settings.batch // at_once

    def made_with(self) -> dict[str, str]:
        """Return what decides the outcome, by name."""
        own = self.settings.model_dump(exclude={"learning_rate", "steps", "epochs", "rows_at_once", "web"})
        common = self.training.model_dump(include={"max_length", "packing", "lora", "bf16", "weights"})
        told = {"data": self.mixture.digest, "steps": self.steps, "learning_rate": self.learning_rate, **own}
        named = {f"{self.kind}.{name}": str(value) for name, value in told.items()}
        return {"seed": str(self.seed), **{name: str(value) for name, value in common.items()}, **named}


def processes() -> int:
    """Return how many processes train together, as the launcher has set it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def checkpoints(training: Training) -> bool:
    """Tell whether activations are computed again on the way back, to save memory: by default on a GPU alone."""
    import torch

    return torch.cuda.is_available() if training.gradient_checkpointing is None else training.gradient_checkpointing


def is_first() -> bool:
    """Tell whether this process is the one that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def together() -> None:
    """Wait until every process that trains is here."""
    if processes() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def with_steps(job: Job, steps: int) -> Job:
    """Return a job that takes so many steps, its rows packed no second time."""
    found = replace(job, steps=steps)
    vars(found)["dataset"] = job.dataset
    return found


def as_dataset(rows: Sequence[AnyTokens], training: Training, kind: Kind) -> Any:
    """Return rows in the columns that TRL's trainers read when they are to tokenise nothing."""
    from datasets import Dataset
    from trl import pack_dataset

    if kind == "bdpo":
        pairs = [one for one in rows if isinstance(one, PairTokens)]
        columns = {"prompt_ids": [one.prompt for one in pairs], "chosen_ids": [one.chosen for one in pairs]}
        return Dataset.from_dict({**columns, "rejected_ids": [one.rejected for one in pairs]})
    texts = [one for one in rows if not isinstance(one, PairTokens)]
    found = Dataset.from_dict({"input_ids": [one.ids for one in texts], "labels": [one.labels for one in texts]})
    return pack_dataset(found, training.max_length, "bfd") if training.packing else found


def learns(one: AnyTokens) -> bool:
    """Tell whether a row has something to learn from after what was cut off."""
    if isinstance(one, PairTokens):
        return bool(one.chosen and one.rejected)
    return any(label != MASKED for label in one.labels[1:])  # nothing comes before the first token to tell it from
