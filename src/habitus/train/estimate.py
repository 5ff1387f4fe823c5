"""What a run will take on the hardware found: memory from the model's shape, time from a matrix product timed here."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from habitus.train.job import checkpoints, processes

if TYPE_CHECKING:
    from habitus.train.job import Job
    from habitus.train.plan import Run
    from habitus.train.start import Start

UTILISATION = 0.4
"""The share of a matrix product's speed that training reaches, by experience with models above 100M; toys get less."""
KEPT_OF_A_LAYER = 34
"""Activations that a layer keeps for each token and unit of width, without gradient checkpointing."""
SIDE = 2048
"""Of the square matrices that are multiplied to see how fast this machine is."""


@dataclass(frozen=True)
class Hardware:
    """Where training would take place."""

    name: str
    memory: float
    """Bytes."""
    speed: float
    """Floating-point operations per second of a matrix product, measured."""


@dataclass(frozen=True)
class Estimate:
    """What one run is expected to take; an estimate, and no measurement."""

    memory: float
    seconds: float
    disk: float


@lru_cache(maxsize=1)
def hardware() -> Hardware:
    """Return the device that would be used, with its speed measured in about a second."""
    import torch

    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        one = torch.randn(4 * SIDE, 4 * SIDE, device="cuda", dtype=torch.bfloat16)
        return Hardware(found.name, found.total_memory, _speed(one, 20))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(f"CPU, {torch.get_num_threads()} thread(s)", memory, _speed(torch.randn(SIDE, SIDE), 2))


def _speed(one: object, times: int) -> float:
    import torch

    assert isinstance(one, torch.Tensor)

    def wait() -> float:
        if one.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    one @ one
    began = wait()
    for _ in range(times):
        one @ one
    return times * 2 * one.shape[0] ** 3 / (wait() - began)


def estimate(run: Run) -> Estimate:
    """Return the memory of a run's largest stage on each device, and the time and disk of all of them."""
    speed = hardware().speed * UTILISATION * processes()
    return Estimate(
        memory=max(_memory(job, run.start) for job in run.jobs),
        seconds=sum(_operations(job, run.start) for job in run.jobs) / speed,
        disk=max(_disk(job, run.start) for job in run.jobs),
    )


def trained(job: Job, start: Start) -> int:
    """Return how many weights a job trains."""
    lora = job.training.lora
    if lora is None:
        return start.parameters
    return sum(lora.rank * sum(shape) for shape in start.linears)


def _sizes(job: Job) -> tuple[int, int]:
    """Return the bytes of a weight, and of one that is trained."""
    import torch

    half = job.training.weights == "bfloat16"
    base = 2 if half or (job.training.weights is None and job.training.lora and torch.cuda.is_available()) else 4
    return base, 4 if job.training.lora else base


def _memory(job: Job, start: Start) -> float:
    """Weights, gradients and two moments, parted where they are sharded; and what is kept of rows for going back."""
    import torch

    base, own = _sizes(job)
    config = start.config.get_text_config()
    saves = checkpoints(job.training)
    layers = config.num_hidden_layers
    kept = layers + KEPT_OF_A_LAYER if saves else layers * KEPT_OF_A_LAYER
    rows = job.settings.rows_at_once * (2 if job.kind == "bdpo" else 1)
    longest = max(len(one.ids) for one in job.mixture.rows)
    tokens = rows * (job.training.max_length if _packs(job) else min(job.training.max_length, longest))
    activations = tokens * config.hidden_size * kept * (2 if torch.cuda.is_available() else 4)
    states = start.parameters * base + trained(job, start) * 3 * own
    return states / (processes() if _is_sharded() else 1) + activations


def _is_sharded() -> bool:
    """Tell whether each process holds a part of the model, as the launcher has set it, and not the whole."""
    return any(os.environ.get(f"ACCELERATE_USE_{name}") == "true" for name in ("FSDP", "DEEPSPEED"))


def _packs(job: Job) -> bool:
    return job.training.packing and job.kind != "bdpo"


def _operations(job: Job, start: Start) -> float:
    """Two for each weight and token forward, twice that back; what needs no gradient or is done again counts so."""
    forward = 2.0 * start.parameters * job.tokens
    back = forward * (1 if job.training.lora else 2)
    again = forward * (checkpoints(job.training) + (job.kind == "bdpo"))
    return forward + back + again


def _disk(job: Job, start: Start) -> float:
    """Two states to go on from, and the checkpoint."""
    base, own = _sizes(job)
    return start.parameters * base + 2 * 3 * trained(job, start) * own
