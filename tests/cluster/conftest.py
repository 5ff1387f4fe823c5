from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from machines import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """Return a Ray cluster that listens on loopback alone."""
    pytest.importorskip("ray")
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    found = Nodes()
    yield found
    found.cluster.shutdown()
