"""The study folder: where everything of one study lies, and how rows get in and out of its files."""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson
from filelock import FileLock, Timeout
from pydantic import BaseModel

from habitus import __version__
from habitus.config import Config, load_config
from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Iterable, Iterator

MANIFEST_VERSION = 1
OVER_SEEDS = "evals/over-seeds.json"


@dataclass(frozen=True)
class Dataset:
    """The files of one generated dataset."""

    folder: Path

    @property
    def name(self) -> str:
        """Its folder's name, such as `chats`."""
        return self.folder.name

    @property
    def kept(self) -> Path:
        """What trainers read."""
        return self.folder / "kept.jsonl"

    @property
    def dropped(self) -> Path:
        """What was not kept, and why."""
        return self.folder / "dropped.jsonl"

    @property
    def traces(self) -> Path:
        """The text of every step of every record."""
        return self.folder / "traces.jsonl"

    def waiting(self, name: str) -> Path:
        """Return the file of what is written before near-duplicates are removed, such as `prompts`."""
        return self.folder / f"{name}.jsonl"

    def vectors(self, name: str) -> Path:
        """Return the file of those rows' embeddings, so that a threshold can move for nothing."""
        return self.folder / f"{name}.npz"

    def set_aside(self) -> Path | None:
        """Move what is here into a numbered folder beside it, and return that; None if there is nothing."""
        files = [path for path in self.folder.glob("*.*") if path.is_file()]
        if not files:
            return None
        taken = {path.name for path in self.folder.glob("old-*")}
        aside = next(self.folder / name for number in count(1) if (name := f"old-{number}") not in taken)
        aside.mkdir()
        for path in files:
            path.rename(aside / path.name)
        return aside


class Study:
    """An opened study.

    Raises:
        UserError: the folder is no study, or was made by a newer habitus.

    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError("no such study.", where=str(root), todo=f"Make it with `habitus init {root}`.")
        self.root = root
        self.is_locked = False
        """Whether this process holds it for writing."""
        version = self.manifest.get("version", MANIFEST_VERSION)
        if version != MANIFEST_VERSION:
            raise UserError(
                f"this study has format {version}, and habitus {__version__} reads format {MANIFEST_VERSION}.",
                where=str(root / "manifest.json"),
                todo=f"Use habitus {self.manifest.get('habitus', '(unknown)')}, which made it, or a newer one.",
            )

    @cached_property
    def config(self) -> Config:
        """The settings in config.yaml."""
        return load_config(self.root / "config.yaml")

    @property
    def traits(self) -> Path:
        """The traits document."""
        return self.root / self.config.traits

    @property
    def placebo(self) -> Path:
        """The traits document of the placebo control: the user's own, or the one built in."""
        own = self.config.placebo
        return self.root / own if own else Path(__file__).parent / "traits" / "placebo.md"

    @property
    def prompts(self) -> Path:
        """Where the user's own prompts lie, if there are any."""
        return self.root / "prompts"

    @property
    def ledger(self) -> Path:
        """Every call that was ever paid for."""
        return self.root / "ledger.db"

    @property
    def shards(self) -> list[Path]:
        """The ledgers of a run on many machines that are not yet part of the study's own."""
        return sorted((self.root / "shards").glob("*.db"))

    def dataset(self, name: str) -> Dataset:
        """Return the files of a generated dataset, whether or not they exist yet."""
        return Dataset(self.root / name)

    @contextmanager
    def lock(self) -> Generator[None]:
        """Hold the study for writing; the lock goes with the process, however that ends."""
        lock = FileLock(self.root / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                "another habitus command is working on this study.",
                where=str(self.root),
                todo="Wait for it, or stop it; `habitus status` may be used meanwhile.",
            ) from error
        self.is_locked = True
        try:
            yield
        finally:
            self.is_locked = False
            lock.release()

    @property
    def manifest(self) -> dict[str, Any]:
        """What is known of how the study's files were made."""
        path = self.root / "manifest.json"
        if not path.exists():
            return {}
        try:
            found = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise UserError(
                f"the manifest is damaged: {error}.", where=str(path), todo="Restore it from a copy."
            ) from error
        if not isinstance(found, dict):
            raise UserError(
                "the manifest is damaged: it is no object.", where=str(path), todo="Restore it from a copy."
            )
        return found

    @property
    def over_seeds(self) -> dict[str, Any]:
        """What all arms measured over their seeds, and whether the expected effects show, as the last evals left it."""
        path = self.root / OVER_SEEDS
        return orjson.loads(path.read_bytes()) if path.exists() else {"arms": [], "effects": []}

    def write_manifest(self, name: str, entry: dict[str, Any], *, section: str = "datasets") -> None:
        """Set what the manifest says of one dataset, or of another thing; the file is whole at any moment."""
        about = {
            "version": MANIFEST_VERSION,
            "habitus": __version__,
            "python": platform.python_version(),
            "libraries": {name: metadata.version(name) for name in ("aiohttp", "jinja2", "pydantic")},
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        before = self.manifest
        whole = before | about | {section: before.get(section, {}) | {name: entry}}
        path = self.root / "manifest.json"
        write_whole(path, orjson.dumps(whole, option=orjson.OPT_INDENT_2))


def make_study(root: Path) -> list[Path]:
    """Make the folder of a new study and return the files in it.

    Raises:
        UserError: there is something at that place already.

    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError("there is something here already.", where=str(root), todo="Name a new folder.")
    package = Path(__file__).parent
    sources = {"config.yaml": package / "starter.yaml", "traits.md": package / "traits" / "example.md"}
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        todo = "Name a folder that can be made."
        raise UserError("a file stands where a folder would have to be.", where=str(root), todo=todo) from error
    for name, source in sources.items():
        (root / name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    return [root / name for name in sources]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is whole at any moment, for whoever reads it or writes it at the same time."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


class Rows:
    """A JSONL file open for appending; a line that a crash left unfinished is cut off first."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        _mend(path)
        self._file: IO[bytes] = path.open("ab")

    def append(self, rows: Iterable[BaseModel | dict[str, Any]]) -> None:
        """Write rows and hand them to the operating system."""
        self._file.write(b"".join(encode(row) for row in rows))
        self._file.flush()

    def close(self) -> None:
        """Bring everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def encode(row: BaseModel | dict[str, Any]) -> bytes:
    """Return a row as one line of JSON; half characters, which are no valid Unicode, are replaced.

    Raises:
        TypeError: it holds what JSON has no place for, or is nested too deeply.

    """
    value = row.model_dump(mode="python") if isinstance(row, BaseModel) else row
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        try:
            return orjson.dumps(_whole(value), default=_plain, option=orjson.OPT_APPEND_NEWLINE)
        except RecursionError as error:
            raise TypeError("it is nested too deeply") from error


def read_rows(path: Path, *needs: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file; an unfinished last line is passed over, nothing where there is no file.

    Raises:
        UserError: a line is not a JSON object, or lacks a key that it needs.

    """
    for number, line in _lines(path):
        yield _row(line, path, number, needs)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines of a file with their numbers; nothing where there is no file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # or set aside by another command this very moment
        return
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            yield number, line


def _row(line: bytes, path: Path, number: int, needs: tuple[str, ...] = ()) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(
            f"not JSON from character {error.pos + 1} on.",
            where=f"{path}:{number}",
            todo="Mend or delete the line.",
        ) from error
    if not isinstance(row, dict):
        raise UserError("a row is a JSON object.", where=f"{path}:{number}", todo="Mend or delete the line.")
    if lacking := [name for name in needs if name not in row]:
        raise UserError(f"this row has no '{lacking[0]}'.", where=f"{path}:{number}", todo="Mend or delete the line.")
    return row


def read_ids(path: Path) -> Iterator[str]:
    """Yield the ids of a file's rows, without reading the rest of a row that begins with its id as ours do."""
    for number, line in _lines(path):
        yield _id(line) or _row(line, path, number, ("id",))["id"]


def read_among(path: Path, ids: Container[str], *needs: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file that have one of these ids, as `read_rows` does; of the others no more is read."""
    for number, line in _lines(path):
        if (known := _id(line)) is None or known in ids:
            row = _row(line, path, number, ("id", *needs))
            if known is not None or row["id"] in ids:
                yield row


def _id(line: bytes) -> str | None:
    """Return the id that a row begins with; None where it can't be told at a glance."""
    start, _, rest = line[:200].partition(b'"')
    name, _, rest = rest.partition(b'":"')
    value, end, _ = rest.partition(b'"')
    return value.decode() if start == b"{" and name == b"id" and value and end and b"\\" not in value else None


def _whole(value: Any) -> Any:
    """Return a value in whose texts half characters are replaced."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="python")
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="python")
    raise TypeError(f"{type(value).__name__} has no place in a row")


def _mend(path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
