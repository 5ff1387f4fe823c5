"""Who answers which step: its model, live or in batch jobs, at which price, through which gate."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.models import Model, endpoint_of, is_endpoint, open_model
from habitus.models.batch import BatchModel
from habitus.models.batch_interface import BatchInterface
from habitus.models.costs import Price, price_of
from habitus.models.exchange import ExchangeModel
from habitus.models.http import HttpModel

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.budget import Budget
    from habitus.config import Config
    from habitus.models.jobs import Jobs
    from habitus.records import Role
    from habitus.tally import Tally


@dataclass(frozen=True, slots=True)
class Bound:
    """A step, tied to the model that answers it."""

    model: Model
    settings: dict[str, Any]
    price: Price | None
    role: Role
    gate: AbstractAsyncContextManager[Any]
    """Through which its calls go, so that no more are in flight than the config allows."""


class Cast:
    """The models of one run, opened when a step first needs them."""

    def __init__(
        self, config: Config, budget: Budget, tally: Tally, jobs: Jobs, *, folder: Path, export_only: bool
    ) -> None:
        self.config = config
        self.models: dict[str, Model] = {}
        self._budget, self._tally, self._jobs = budget, tally, jobs
        self._folder, self._export_only = folder, export_only
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._bound: dict[tuple[str, bool | None], Bound] = {}

    def bind(self, step: str, role: Role, *, batch: bool | None = None) -> Bound:
        """Return the model, settings and price with which a step is asked, in jobs or live as the config has it."""
        if (step, batch) not in self._bound:
            choice = self.config.choice(role, step)
            name, in_jobs = choice.model or "simulated/world", bool(choice.batch if batch is None else batch)
            model = self._open(name, batch=in_jobs)
            declared = choice.price.model_dump() if choice.price else None
            price = price_of(name, declared, batch=in_jobs)
            if price is None and self.config.budget is not None and not name.startswith("exchange/"):
                known = "{input: …, output: …, batch: 0.5}" if in_jobs else "{input: …, output: …}"
                raise UserError(
                    f"the price of {name}{' in batch jobs' * in_jobs} is unknown, so a budget can't be held.",
                    where=self.config.place(role, step),
                    todo=f"Give its `price: {known}` in USD per million tokens, or remove `budget`.",
                )
            self._budget.prices[step] = price
            gate = nullcontext() if in_jobs else self._gate(name)
            self._bound[step, batch] = Bound(model, choice.params, price, role, gate)
        return self._bound[step, batch]

    def _gate(self, name: str) -> asyncio.Semaphore:
        return self._gates.setdefault(name, asyncio.Semaphore(self.config.concurrency))

    def _open(self, name: str, *, batch: bool = False) -> Model:
        key = f"{name} in batch jobs" if batch else name
        if key not in self.models:
            self.models[key] = self._opened(name, batch=batch)
        return self.models[key]

    def _opened(self, name: str, *, batch: bool) -> Model:
        settings = self.config.batch if batch else None
        if settings is None or not is_endpoint(name, self.config, batch=True):
            return open_model(name, self.config, folder=self._folder, export_only=self._export_only, batch=settings)
        provider = BatchInterface(name, **endpoint_of(name, self.config))
        model = BatchModel(provider, self._jobs, settings, room=self._budget.room, busy=lambda: self._tally.busy)
        self._tally.batches.append(model)
        return model

    def endpoint(self, name: str) -> HttpModel:
        """Return an endpoint that gives embeddings, opened once and closed with the engine."""
        model = self._open(name)
        if not isinstance(model, HttpModel):
            raise UserError(
                f"{name} is not an endpoint that gives embeddings.", todo="Name one of a provider in `providers:`."
            )
        return model

    def hang_up(self, *, collect: bool) -> None:
        """Send nothing more; with `collect`, jobs that were sent are calls in flight like any other."""
        for model in self.models.values():
            if isinstance(model, BatchModel):
                model.hang_up(collect=collect)
            elif isinstance(model, HttpModel | ExchangeModel):
                model.hang_up()

    async def close(self) -> None:
        """Release the models."""
        await asyncio.gather(*(model.close() for model in self.models.values()))
