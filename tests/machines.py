"""A cluster of several raylets on this machine, and a server whose requests the test sees."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil

from habitus.models.serve import Latency, serve
from habitus.models.simulated import SimulatedModel

if TYPE_CHECKING:
    from collections.abc import Generator

    from habitus.models.serve import Server

STORE = 80 << 20
"""Bytes; the least that Ray takes."""


class Nodes:
    """A Ray cluster of three machines, each a raylet of its own on this one."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200, "health_check_timeout_ms": 2000,
                "health_check_failure_threshold": 5}  # fmt: skip
        head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False, "_system_config": soon}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.others = [self.cluster.add_node(wait=False, num_cpus=1, object_store_memory=STORE) for _ in range(2)]
        self.cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return self.cluster.address

    def lose_one(self) -> None:
        """Kill a raylet with all that runs under it, at once: by themselves its workers would notice seconds later."""
        node = self.others.pop()
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        for process in (*raylet.children(recursive=True), raylet):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.cluster.remove_node(node, allow_graceful=False)


@contextmanager
def serving(model: str = "simulated/world", latency: str = "0") -> Generator[Server]:
    """Serve the simulated model from a thread of this process, in which tests see what was asked."""
    started, ended = threading.Event(), threading.Event()
    found: list[Any] = []

    async def run() -> None:
        async with serve(SimulatedModel(model), latency=Latency.parse(latency)) as server:
            found.append(server)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    started.wait()
    try:
        yield found[0]
    finally:
        ended.set()
        thread.join()
