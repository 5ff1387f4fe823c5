from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from echo import echo
from studies import make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-planted-0123456789abcdef"
OTHER = "planted-elsewhere-fedcba98"


def run(study: Path, *words: str) -> str:
    """Run a command in a process of its own, told to say as much as it can, and return all that it says."""
    debug = {"INSPECT_LOG_LEVEL": "debug", "INSPECT_LOG_LEVEL_TRANSCRIPT": "debug"}
    home = study.parent / "home"
    home.mkdir(exist_ok=True)
    keys = {"ECHO_KEY": KEY, "ANTHROPIC_API_KEY": OTHER, "HOME": str(home), "XDG_DATA_HOME": str(home)}
    command = [sys.executable, "-m", "habitus", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | debug | keys, timeout=200, check=False
    )
    return f"{' '.join(command)}\n{done.returncode}\n{done.stdout}\n{done.stderr}"


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder, and every file within those that are archives."""
    import_zstandard()
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        yield str(path), path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield f"{path}!{name}", archive.read(name)


def import_zstandard() -> None:
    """Teach zipfile what Inspect compresses its logs with."""
    pytest.importorskip("zipfile_zstd")


def holding(folder: Path, said: list[str]) -> list[str]:
    """Return where a key is found: in output, or in a file."""
    keys = (KEY.encode(), OTHER.encode())
    found = [f"output {one[:80]}" for one in said if any(key in one.encode() for key in keys)]
    return found + [name for name, data in contents(folder) if any(key in data for key in keys)]


def study_of(root: Path, url: str) -> Path:
    return make(
        root,
        model="echo/one",
        providers={"echo": {"base_url": url, "key": "ECHO_KEY"}},
        total_timeout=20,
        chats={"count": 3},
        audit={"scans": 1, "sample": 4, "repeat": 0, "least_scans": 1},
        evaluate={"arms": {"baseline": "echo/one"}, "judges": ["simulated/world"]},
    )


@pytest.mark.timeout(400)
def test_a_key_that_an_endpoint_says_back_is_in_no_file_and_no_output(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    with echo() as url:
        study = str(study_of(tmp_path / "advice", url))
        said = [
            run(tmp_path / "advice", *words)
            for words in (
                ("check", study),
                ("generate", "chats", study),
                ("audit", study),
                ("evaluate", study, "--arm", "baseline", "--eval", "overreach", "--limit", "1"),
                ("report", study),
            )
        ]

    assert [one.splitlines()[1] for one in said] == ["0"] * 5, said
    assert list((tmp_path / "advice/evals").rglob("*.eval"))
    assert any(b"[key]" in data for _, data in contents(tmp_path)), "the endpoint did say the key back"
    assert holding(tmp_path, said) == []


@pytest.mark.timeout(400)
def test_a_refusal_that_repeats_the_key_is_told_and_logged_without_it(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    (tmp_path / "logs.jsonl").write_text('{"text": "The ferry left at six."}\n')
    with echo(refuse=True) as url:
        study = str(study_of(tmp_path / "advice", url))
        said = [
            run(tmp_path / "advice", "dedup", str(tmp_path / "logs.jsonl"), "--into", study, "--embedder", "echo/one"),
            run(tmp_path / "advice", "generate", "chats", study),
            run(tmp_path / "advice", "evaluate", study, "--arm", "baseline", "--eval", "overreach", "--limit", "1"),
        ]

    assert "[key]" in said[0]
    assert "[key]" in said[1] + said[2]
    assert holding(tmp_path, said) == []
