"""What a trainer tells while it works: metrics.jsonl, sample answers, and a stop where the loss is no number."""

# ruff: noqa: ARG002 - callbacks have the arguments that the trainer gives them
from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from habitus.errors import UserError
from habitus.show import clock
from habitus.study import Rows, read_rows
from habitus.train.job import processes
from habitus.train.sample import answers_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from habitus.train.job import Job

LONGEST_SAMPLE = 120
"""Tokens of a sample answer."""
EVERY = 10.0
"""Seconds between lines about where a run stands."""
METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"
NOT_TOLD = ("flos", "epoch", "_runtime", "_second", "train_loss", "num_tokens")
"""How the names end of what is left out: TRL counts tokens from 0 again after a kill."""


class Watch(TrainerCallback):
    """Writes what is measured, and tells now and then where the run stands."""

    def __init__(self, job: Job, folder: Path, tell: Callable[[str], None], *, writes: bool) -> None:
        self.job, self.folder, self.tell, self.writes = job, folder, tell, writes
        self.began = self.told = 0.0
        self.first = 0
        self.rows: Rows | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take up metrics.jsonl where the state that is gone on from was saved."""
        self.began = self.told = time.monotonic()
        self.first = state.global_step
        if self.writes:
            for name in (METRICS, SAMPLES):
                forget_after(self.folder / name, state.global_step)
            self.rows = Rows(self.folder / METRICS)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Write a row of metrics.

        Raises:
            UserError: the loss is not a number.

        """
        found = _named({name: value for name, value in (logs or {}).items() if not name.endswith(NOT_TOLD)})
        bad = next((name for name, value in found.items() if "loss" in name and not math.isfinite(value)), None)
        if self.rows is not None and found:
            row = {"stage": self.job.kind, "step": state.global_step, **found}
            self.rows.append([{name: _number(value) for name, value in row.items()}])
        if bad:
            self.close()
            todo = "Lower the learning rate, or look at the rows of that step; the last saved state is kept."
            what = f"the loss is no number at step {state.global_step} ({bad})."
            raise UserError(what, where=f"{self.folder / METRICS}", todo=todo)
        if "loss" in found and time.monotonic() - self.told > EVERY:
            self.told = time.monotonic()
            self.tell(self._headline(state.global_step, found["loss"]))

    def on_save(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Let the model answer held-out prompts, which shows more than a loss does."""
        if not (self.writes and self.job.prompts and processes() == 1):
            return
        answers = answers_of(model, processing_class, self.job.prompts, seed=self.job.seed, most_tokens=LONGEST_SAMPLE)
        rows = Rows(self.folder / SAMPLES)
        rows.append(
            {"stage": self.job.kind, "step": state.global_step, "prompt": list(prompt), "answer": answer}
            for prompt, answer in zip(self.job.prompts, answers, strict=True)
        )
        rows.close()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Bring metrics.jsonl to the disk."""
        self.close()

    def close(self) -> None:
        """Write no more."""
        if self.rows is not None:
            self.rows.close()
            self.rows = None

    def _headline(self, step: int, loss: float) -> str:
        elapsed = time.monotonic() - self.began
        rate = (step - self.first) / elapsed
        tokens = self.job.tokens / self.job.steps * rate
        left = f"about {clock((self.job.steps - step) / rate)} to go" if rate else ""
        return (
            f"{self.job.kind}: step {step:,} of {self.job.steps:,} · loss {loss:.3f} · {tokens:,.0f} tokens/s · {left}"
        )


def _named(logs: dict[str, float]) -> dict[str, float]:
    """Return what was measured on held-out rows with the name of their set, which TRL gives to the loss alone."""
    of_set = next((name.removesuffix("loss") for name in logs if re.fullmatch(r"eval_.+_loss", name)), "eval_")
    return {
        name if name.startswith(of_set) else name.replace("eval_", of_set, 1): value for name, value in logs.items()
    }


def _number(value: Any) -> Any:
    """Return a value as JSON has it; what is no number is kept as a word."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def forget_after(path: Path, step: int) -> None:
    """Remove the rows of steps after the one that a run goes on from, which it will take again."""
    if not path.exists():
        return
    kept = [row for row in read_rows(path) if row["step"] <= step]
    path.unlink()
    rows = Rows(path)
    rows.append(kept)
    rows.close()
