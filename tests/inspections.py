"""Evals in tests: run through Inspect with the simulated world in every role, and read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from inspect_ai.model import get_model

import habitus.evaluate.tasks  # noqa: F401  # so that Inspect knows the provider and the sandbox
from habitus.evaluate.results import read_result
from habitus.evaluate.runs import QUIET

if TYPE_CHECKING:
    from pathlib import Path

    from inspect_ai import Task
    from inspect_ai.log import EvalLog

    from habitus.evaluate.results import Result

WORLD = "habitus/simulated/world?malformed=0&refusal=0&truncated=0&empty=0&bad_quote=0"
"""A world without faults; what is planted is added behind it."""
OF_INSPECT = [
    pytest.mark.filterwarnings("ignore:The 'initial' parameter is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*MemoryObject:pytest.PytestUnraisableExceptionWarning"),
]
"""Inspect calls tenacity by a name that it is giving up, and leaves streams in memory open."""
ROLES = ("judge", "client", "auditor", "realism")


def log_of(task: Task, folder: Path, *, target: str = "", others: str = "", **options: Any) -> EvalLog:
    """Run a task and return its log."""
    world = get_model(f"{WORLD}&{others}" if others else WORLD, memoize=False)
    found = inspect_eval(
        task,
        model=get_model(f"{WORLD}&{target}" if target else WORLD, memoize=False),
        model_roles=dict.fromkeys(ROLES, world),
        log_dir=str(folder),
        display="none",
        max_samples=32,
        **QUIET,
        **options,
    )
    assert found[0].status == "success", found[0].error and found[0].error.message
    return read_eval_log(found[0].location)


def result_of(task: Task, folder: Path, **options: Any) -> Result:
    """Run a task and return what it came to."""
    return read_result(log_of(task, folder, **options), "arm")
