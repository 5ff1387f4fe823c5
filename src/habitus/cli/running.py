"""What commands share that ask models: how they are interrupted, and what they say of what waits."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from habitus.recipe import Engine


def interruptible(engine: Engine) -> None:
    """Let the first Ctrl-C end the run once the calls in flight are in, and the second at once."""
    from habitus import show

    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def interrupt() -> None:
        if engine.stopped is None:
            show.note("Ending after the calls in flight; press Ctrl-C again to leave at once.")
            engine.stop(KeyboardInterrupt("Interrupted."))
        elif main is not None:
            main.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)


def tell_exchanges(engine: Engine) -> None:
    """Say where requests go, and answers are read from."""
    from habitus import show

    for files in (model.folder for model in engine.exchanges):
        show.note(f"requests go to {files}/requests.jsonl, answers are read from {files}/answers/*.jsonl")


def tell_waiting(engine: Engine) -> None:
    """Say what waits, and for what."""
    from habitus import show

    for reason, number in engine.tally.unsettled.items():
        example = f" ({engine.tally.examples[reason]})" if engine.tally.examples[reason] else ""
        show.warn(f"{number:,} records {reason}{example}; the same command takes them up again")
    for model in engine.exchanges:
        for problem in model.problems:
            show.warn(str(problem))
        if model.pending:
            files, number = model.folder, model.pending
            show.say(f"{number:,} requests wait in {files}/requests.jsonl; put answers into {files}/answers/*.jsonl")
