"""Two commands on one study at the same time, in processes of their own: one is refused, or both are right."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from studies import habitus, make, rows, setting

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

AUDIT = {"scans": 1, "sample": 4, "repeat": 0, "least_scans": 1}
ARMS = {"baseline": "simulated/world"}


def started(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "habitus", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=400)
    return process.returncode, out + err


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with three chats."""
    root = make(tmp_path / "advice", chats={"count": 3}, audit=AUDIT, evaluate={"arms": ARMS})
    assert habitus("generate", "chats", root) == 0
    return root


@contextmanager
def held(*words: object, until: Path, writes: str) -> Generator[None]:
    """Keep a command at work, from the moment on at which a file tells that it is."""
    process = started(*words)
    try:
        while not (any(until.glob(writes)) if until.exists() else False):
            assert process.poll() is None, ended(process)
            time.sleep(0.05)
        yield
        assert process.poll() is None, "it was at work all the time"
    finally:
        process.kill()
        process.communicate()


def ask_nobody(study: Path) -> None:
    """Let a folder that nobody answers in be the model, so that a command works until it is killed."""
    setting(study, lambda config: config["models"].update(default="exchange/post"))


WRITERS = {
    "generate chats": ("generate", "chats", "STUDY", "--count", "9"),
    "generate documents": ("generate", "documents", "STUDY", "--count", "1"),
    "audit": ("audit", "STUDY"),
    "evaluate": ("evaluate", "STUDY", "--arm", "baseline", "--eval", "overreach", "--limit", "1"),
}
READERS = {
    "status": ("status", "STUDY"),
    "report": ("report", "STUDY"),
    "export": ("export", "STUDY", "chats", "--format", "trl"),
    "push --dry-run": ("push", "STUDY", "chats", "--to", "me/chats", "--dry-run"),
    "card": ("card", "STUDY", "chats"),
    "show": ("show", "STUDY"),
}


def words_of(command: tuple[str, ...], study: Path) -> list[str]:
    return [str(study) if word == "STUDY" else word for word in command]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", ["generate chats", "audit"])
def test_who_writes_is_refused_while_another_does_and_who_reads_is_not(first: str, study: Path) -> None:
    pytest.importorskip("inspect_ai")
    pytest.importorskip("ppi_py")
    ask_nobody(study)
    before = (study / "chats" / "kept.jsonl").read_bytes()
    go_on = ["--go-on"] if first.startswith("generate") else []

    with held(*words_of(WRITERS[first], study), *go_on, until=study / "post", writes="requests.jsonl"):
        refused = {name: ended(started(*words_of(words, study))) for name, words in WRITERS.items()}
        read = {name: ended(started(*words_of(words, study))) for name, words in READERS.items()}

    for name, (code, said) in refused.items():
        assert (code, "another habitus command is working on this study" in said) == (2, True), (name, said)
    for name, (code, said) in read.items():
        assert (code, "Traceback" in said) == (0, False), (name, said)
    assert (study / "chats" / "kept.jsonl").read_bytes() == before
    assert len(rows(next((study / "export").iterdir()))) == 3
    assert "</html>" in (study / "report" / "index.html").read_text()


@pytest.mark.timeout(900)
def test_training_and_evals_refuse_each_other_and_themselves(study: Path) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("inspect_ai")
    endless = {"batch": 2, "epochs": 2_000}
    arms = {"baseline": {"sft": {}}}
    setting(study, lambda config: config.update(train={"start": "toy:0.3M", "size": 20, "sft": endless}, arms=arms))
    train, evaluate = ("train", study), words_of(WRITERS["evaluate"], study)

    with held(*train, until=study / "models", writes="**/run.json"):
        others = [train, evaluate, ("status", study), ("report", study)]
        second, judged, told, shown = [ended(one) for one in [started(*words) for words in others]]

    assert [second[0], judged[0], told[0], shown[0]] == [2, 2, 0, 0], (second, judged, told, shown)
    assert "another habitus command is working" in second[1]
    assert "another habitus command is working" in judged[1]


@pytest.mark.timeout(900)
def test_two_that_begin_at_once_leave_what_one_leaves(study: Path, tmp_path: Path) -> None:
    alone = make(tmp_path / "alone", chats={"count": 9})
    assert habitus("generate", "chats", alone) == 0

    pair = [started("generate", "chats", study, "--count", 9) for _ in range(2)]
    ends = [ended(one) for one in pair]
    assert habitus("generate", "chats", study, "--count", "9") == 0

    assert {code for code, _ in ends} <= {0, 2}, ends
    assert 0 in {code for code, _ in ends}
    kept = [row["id"] for row in rows(study / "chats" / "kept.jsonl")]
    assert len(kept) == len(set(kept)) == 9
    assert kept == [row["id"] for row in rows(alone / "chats" / "kept.jsonl")]


@pytest.mark.timeout(900)
def test_two_reports_two_evals_and_two_exports_at_once(study: Path) -> None:
    pytest.importorskip("inspect_ai")
    evaluate = words_of(WRITERS["evaluate"], study)
    pages = [ended(one) for one in [started("report", study) for _ in range(2)]]
    evals = [ended(one) for one in [started(*evaluate) for _ in range(2)]]
    files = [ended(one) for one in [started("export", study, "chats", "--format", "trl") for _ in range(2)]]

    assert [code for code, _ in pages] == [0, 0], pages
    assert "</html>" in (study / "report" / "index.html").read_text()
    assert {code for code, _ in evals} <= {0, 2}, evals
    assert 0 in {code for code, _ in evals}
    assert json.loads((study / "evals" / "baseline" / "results.json").read_text())["evals"]
    assert sorted(code for code, _ in files) in ([0, 2], [2, 0]), files
    assert "exists already" in files[0][1] + files[1][1]
    assert not list(study.rglob("*.new"))
