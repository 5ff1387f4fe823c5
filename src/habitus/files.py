"""Files of the user's that are read whole: regular ones of a bounded size, and a clear word about all others."""

from __future__ import annotations

from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from habitus.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

MB = 1_000_000


def read_whole(path: Path, *, most: float, todo: str) -> bytes:
    """Return the bytes of a file of at most `most` MB; a pipe or a device would never end.

    Raises:
        UserError: it is not there, is no regular file, is too large, or can't be read.

    """
    where = str(path)
    try:
        about = path.stat()
        if S_ISDIR(about.st_mode):
            raise UserError("this is a folder, and not a file.", where=where, todo=todo)
        if not S_ISREG(about.st_mode):
            raise UserError("this is no regular file.", where=where, todo=todo)
        if about.st_size > most * MB:
            what = f"this file has {about.st_size / MB:,.1f} MB, and at most {most:g} MB are read."
            raise UserError(what, where=where, todo=todo)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError("no such file.", where=where, todo=todo) from error
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise UserError(f"this file can't be read: {getattr(error, 'strerror', error)}.", where=where) from error
