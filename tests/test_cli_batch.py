"""Commands whose calls go in batch jobs, against a stand-in of the interface on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from batches import KEY, Depot, depot_beside
from habitus import show
from habitus.models.jobs import read_jobs
from habitus.tally import Progress, Tally
from studies import habitus, make, rows, setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRICE = {"input": 1, "output": 2, "batch": 0.5}
COUNT = 12


@pytest.fixture(autouse=True)
def _with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPOT_KEY", KEY)


def study_at(root: Path, station: Depot, *, batch: bool = True, **settings: Any) -> Path:
    """Make a study in which the stand-in does everything."""
    return make(
        root,
        models={"default": {"model": "depot/world", "price": PRICE, "batch": batch}},
        providers={"depot": {"base_url": station.url, "key": "DEPOT_KEY"}},
        batch={"poll": 0.05, "least": 1},
        **settings,
    )


def some_go_wrong(job: int, line: int) -> str:
    """Tell what becomes of a line: in every third job some expire, in every fifth some fail."""
    if job % 3 == 0 and line % 4 == 1:
        return "expired"
    return "500" if job % 5 == 2 and line % 4 == 2 else "ok"


def generating(study: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "habitus", "generate", "chats", str(study), "--count", str(COUNT)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ))


def ended_when(study: Path, station: Depot, moment: Callable[[Depot], bool], number: signal.Signals) -> str:
    """Run the command in a process of its own, signal it at a moment and return what it said."""
    with generating(study) as process:
        while not moment(station) and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        assert process.stdout is not None
        return process.stdout.read()


def test_chats_by_jobs_that_partly_fail_are_those_that_live_calls_bring(tmp_path: Path) -> None:
    with depot_beside(fate=some_go_wrong) as station:
        in_jobs, live = study_at(tmp_path / "jobs", station), study_at(tmp_path / "live", station, batch=False)
        assert habitus("generate", "chats", in_jobs, "--count", COUNT) == 0
        assert station.live == 0
        assert habitus("generate", "chats", live, "--count", COUNT) == 0
    for name in ("kept.jsonl", "dropped.jsonl", "prompts.jsonl"):
        assert (in_jobs / "chats" / name).read_bytes() == (live / "chats" / name).read_bytes()
    assert len(rows(in_jobs / "chats" / "kept.jsonl")) == COUNT
    assert set(station.paid.values()) == {1}
    assert len(station.sizes) < 40
    assert not any(KEY.encode() in path.read_bytes() for path in in_jobs.rglob("*") if path.is_file())


MOMENTS: tuple[Callable[[Depot], bool], ...] = (
    lambda station: "POST files" in station.seen,
    lambda station: "POST batches" in station.seen,
    lambda station: len(station.jobs) >= 3,
    lambda station: len([one for one in station.seen if one == "GET files/content"]) >= 6,
)


def test_kills_at_many_moments_change_nothing_and_pay_for_nothing_twice(tmp_path: Path) -> None:
    with depot_beside(fate=some_go_wrong) as station:
        whole = study_at(tmp_path / "whole", station)
        assert habitus("generate", "chats", whole, "--count", COUNT) == 0
    with depot_beside(fate=some_go_wrong, delay=0.1) as station:
        killed = study_at(tmp_path / "killed", station)
        for moment in MOMENTS:
            ended_when(killed, station, moment, signal.SIGKILL)
        while station.sizes and habitus("generate", "chats", killed, "--count", COUNT):
            pass
    for name in ("kept.jsonl", "dropped.jsonl", "prompts.jsonl"):
        assert (whole / "chats" / name).read_bytes() == (killed / "chats" / name).read_bytes()
    assert set(station.paid.values()) == {1}
    assert read_jobs(killed / "ledger.db") == []


def test_ctrl_c_says_what_goes_on_and_status_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with depot_beside(delay=20) as station:
        study = study_at(tmp_path / "study", station)
        said = ended_when(study, station, lambda depot: "GET batches" in depot.seen, signal.SIGINT)
        assert "1 batch job with" in said
        assert "go on at their provider; the same command collects them" in said
        capsys.readouterr()
        assert habitus("status", study) == 0
    told = capsys.readouterr().out
    assert "batch jobs that go on at their provider" in told
    assert "batch_0" in told


def test_check_plans_at_the_price_of_jobs_and_reaches_the_interface(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with depot_beside() as station:
        study = study_at(tmp_path / "study", station)
        told = []
        for batch in (True, False):
            setting(study, lambda config, batch=batch: config["models"]["default"].update(batch=batch))
            capsys.readouterr()
            assert habitus("check", study) == 0
            told.append(capsys.readouterr().out)
        assert "GET batches" in station.seen
    assert "depot/world in batch jobs" in told[0]
    assert "in batch jobs" not in told[1]
    totals = [
        float(line.split("$")[-1].split()[0].replace(",", ""))
        for text in told
        for line in text.splitlines()
        if line.strip().startswith("total")
    ]
    half = len(totals) // 2
    assert totals[:half] == [pytest.approx(total / 2, abs=0.006) for total in totals[half:]]


def test_pairs_and_the_chats_that_they_need_go_in_jobs_too(tmp_path: Path) -> None:
    with depot_beside() as station:
        study = study_at(tmp_path / "study", station)
        assert habitus("generate", "preferences", study, "--count", 3) == 0
        assert station.live == 0
    assert len(rows(study / "preferences" / "kept.jsonl")) == 3
    assert set(station.paid.values()) == {1}


def test_records_that_are_under_way_count_by_half_in_what_a_run_will_cost() -> None:
    tally = Tally(records=59)
    tally.step("chats/draft").dollars = 0.48

    told = show._headline(Progress(kept=1, want=60), tally, time.monotonic() - 10, 0)

    assert "$0.48, about $0.94 in the end" in told
    assert "about 0:10 to go" in told
