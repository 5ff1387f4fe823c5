"""The page over HTTP, on this machine alone, for browsers that open no files."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    """A handler of files that keeps no log on the terminal."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the method it stands for
        """Write nothing."""


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of the files of a folder on the loopback interface, at a free port if none is named."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder)))
