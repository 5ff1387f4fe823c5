"""What commands share that ask models: how they are interrupted, and what they say of what waits."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from habitus.recipe import Engine
    from habitus.study import Study


def interruptible(engine: Engine) -> None:
    """Let the first Ctrl-C end the run once the calls in flight are in, and the second at once."""
    from habitus import show

    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def interrupt() -> None:
        if engine.stopped is None:
            jobs = ", while batch jobs go on at their provider" * bool(engine.tally.batches)
            show.note(f"Ending after the calls in flight{jobs}; press Ctrl-C again to leave at once.")
            engine.stop(KeyboardInterrupt("Interrupted."))
        elif main is not None:
            main.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)


def tell_exchanges(engine: Engine) -> None:
    """Say where requests go, and answers are read from."""
    from habitus import show

    for files in (model.folder for model in engine.exchanges):
        show.note(f"requests go to {files}/requests.jsonl, answers are read from {files}/answers/*.jsonl")


def tell_jobs(study: Study) -> None:
    """Say how many batch jobs go on without us."""
    from habitus import show
    from habitus.models.jobs import read_jobs

    jobs = read_jobs(study.ledger)
    if jobs:
        calls = sum(job.calls for job in jobs)
        many = f"{len(jobs):,} batch job{'s' * (len(jobs) != 1)} with {calls:,} calls"
        show.warn(f"{many} go on at their provider; the same command collects them")


def tell_waiting(engine: Engine) -> None:
    """Say what waits, and for what."""
    from habitus import show

    for reason, number in engine.tally.unsettled.items():
        example = f" ({engine.tally.examples[reason]})" if engine.tally.examples[reason] else ""
        show.warn(f"{number:,} records {reason}{example}; the same command takes them up again")
    for problem in (problem for model in engine.tally.batches for problem in model.problems):
        show.warn(problem)
    for model in engine.exchanges:
        for problem in model.problems:
            show.warn(str(problem))
        if model.pending:
            files, number = model.folder, model.pending
            show.say(f"{number:,} requests wait in {files}/requests.jsonl; put answers into {files}/answers/*.jsonl")
