from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Read when the libraries are imported: they would ask their hub for news otherwise.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
os.environ |= {"DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0"}

# How long a case takes is the machine's affair, and what else it does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


class NetworkClosedError(ConnectionError):
    """A test reached for something outside this machine."""


def _is_loopback(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or (address.version == 4 and address.is_unspecified)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse every address but those of this machine, and fail the test even where its code swallowed the refusal."""
    reached_for: list[str] = []

    def guarded(name: str, place_of_address: int) -> Callable[..., Any]:
        real = getattr(socket.socket, name)

        def call(self: socket.socket, *arguments: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                host = arguments[place_of_address][0]
                if not _is_loopback(host):
                    reached_for.append(str(host))
                    raise NetworkClosedError(f"tests reach this machine alone, not {host}")
            return real(self, *arguments)

        return call

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_loopback(host):
            reached_for.append(str(host))
            raise NetworkClosedError(f"tests look up this machine alone, not {host}")
        return real_lookup(host, *arguments, **options)

    real_lookup = socket.getaddrinfo
    # connect is overridden in Python's own socket class, through which asyncio, aiohttp and urllib all go.
    for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
        monkeypatch.setattr(socket.socket, name, guarded(name, place), raising=True)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield
    if reached_for:
        pytest.fail(f"the test reached for {', '.join(sorted(set(reached_for)))}; tests run without a network")


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tables printed whole, as into a file, whatever the width that whoever runs the tests has set."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def data() -> Path:
    """Return the folder of real data, which lies beside the checkout and not in it."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    return DATA
