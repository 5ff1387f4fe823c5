"""`habitus audit` with a model, from the dataset to its filtered rows, as a user goes through it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import habitus as habitus_itself
from habitus import show_audit
from harbour import chats, write
from studies import calls, habitus, make, rows

pytest.importorskip("statsmodels", reason="needs habitus[audit]")
pytest.importorskip("ppi_py", reason="needs habitus[audit]")

MODEL = ("--model", "simulated/world?malformed=0&empty=0&refusal=0&truncated=0&bad_quote=0")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with 240 chats of which every third opens with its conclusion."""
    monkeypatch.chdir(tmp_path)
    chats(tmp_path / "office.jsonl", 240, 3)
    return tmp_path


def outcome(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "rates.json").read_text())


def audited(place: Path, *more: str) -> Path:
    assert habitus("audit", "office.jsonl", *MODEL, "--scans", "6", "--sample", "120", *more) == 0
    return place / "office.audit" / "audit" / "office"


def pattern_of(folder: Path, words: str) -> dict[str, Any]:
    return next(one for one in outcome(folder)["prevalence"] if words in one["name"].lower())


def test_a_planted_opening_is_found_named_and_counted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = audited(place)
    told = capsys.readouterr().out
    found = pattern_of(folder, "conclusion")
    assert found["strict"]["here"]["low"] <= 1 / 3 <= found["strict"]["here"]["high"]
    assert "patterns in 120 texts drawn from 240" in told
    assert "simulated: the embedded model answers" in told
    assert "habitus audit filter" in told
    kept = {path.name for path in folder.iterdir()}
    assert {
        "rates.json",
        "report.html",
        "report.md",
        "patterns.jsonl",
        "matches.jsonl",
        "merges.jsonl",
        "scans.jsonl",
    } <= kept
    matches = rows(folder / "matches.jsonl")
    assert len(matches) == 120
    shown = next(one for one in matches if one["verdicts"][found["id"]]["level"] == "strict")
    assert shown["verdicts"][found["id"]]["quote"].startswith("Bottom line")


def test_the_same_command_again_asks_nothing_and_finds_the_same(place: Path) -> None:
    folder = audited(place)
    before, paid = {path.name: path.read_bytes() for path in folder.iterdir()}, calls(place / "office.audit")
    audited(place)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert calls(place / "office.audit") == paid


def test_with_other_settings_what_was_found_before_is_set_aside(place: Path) -> None:
    folder = audited(place)
    before = (folder / "rates.json").read_bytes()
    assert habitus("audit", "office.jsonl", *MODEL, "--scans", "6", "--sample", "200") == 0
    assert (folder / "old-1" / "rates.json").read_bytes() == before
    assert outcome(folder)["rated"] == 200


def test_a_run_that_was_killed_goes_on_and_pays_no_call_twice(place: Path) -> None:
    slow = "simulated/world?latency=0.02&malformed=0&empty=0&refusal=0&truncated=0&bad_quote=0"
    command = [sys.executable, "-m", "habitus", "--quiet", "audit", "office.jsonl", "--model", slow,
               "--scans", "6", "--sample", "120"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    folder = place / "office.audit" / "audit" / "office"
    until = time.monotonic() + 60
    while not (folder / "matches.jsonl").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = calls(place / "office.audit")
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert 0 < killed_at < calls(place / "office.audit")
    assert outcome(folder)["rated"] == 120
    whole = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".jsonl"}
    subprocess.run(["rm", "-r", str(place / "office.audit")], check=True)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".jsonl"} == whole


def test_a_dry_run_tells_what_it_would_take_and_asks_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("audit", "office.jsonl", *MODEL, "--dry-run", "--within", "0.1") == 0
    told = capsys.readouterr().out
    assert "what 97 rated texts take" in told
    assert "the command line" in told
    assert calls(place / "office.audit") == 0


def test_requests_may_go_out_as_files_and_the_next_pass_waits_for_them(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert habitus("audit", "office.jsonl", "--model", "exchange/x", "--scans", "4", "--export-only") == 0
    captured = capsys.readouterr()
    assert "requests wait in office.audit/x/requests.jsonl" in captured.out
    assert "patterns in" not in captured.out
    assert len(rows(place / "office.audit" / "x" / "requests.jsonl")) > 0


def test_the_gate_exits_with_one_and_names_what_is_above_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = ("--scans", "6", "--sample", "120", "--strict", "--fail-above")
    assert habitus("audit", "office.jsonl", *MODEL, *gate, "0.2") == 1
    assert "1 pattern above 20% (strict)" in capsys.readouterr().out
    assert habitus("audit", "office.jsonl", *MODEL, *gate, "0.6") == 0
    assert "nothing above 60%" in capsys.readouterr().out


def test_the_gate_holds_without_a_model_too(place: Path) -> None:
    assert habitus("audit", "office.jsonl", "--fail-above", "0.2") == 1
    assert not (place / "office.audit").exists()


def test_the_table_of_the_gate_fits_a_screen_and_begins_with_the_most_frequent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_audit.gate("office.jsonl", [(f"habit {at}", at / 100, at / 200) for at in range(21, 61)], 0.2, "strict")
    told = capsys.readouterr().out.strip().splitlines()
    assert told[0] == "office.jsonl: 40 patterns above 20% (strict)"
    assert told[2].split() == ["habit", "60", "60.0%", "30.0%"]
    assert told[-1].strip() == "and 22 more"
    assert len(told) <= 22


def test_the_gate_stays_shut_where_nothing_was_measured(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refusing = ("--model", "simulated/world?refusal=1", "--scans", "4", "--sample", "20", "--fail-above", "0.9")
    assert habitus("audit", "office.jsonl", *refusing) == 1
    captured = capsys.readouterr()
    assert "too little came of the scans" in captured.err
    assert "no scan was made" in captured.out
    waiting = ("--model", "exchange/x", "--scans", "4", "--into", place / "other.audit", "--fail-above", "0.9")
    assert habitus("audit", "office.jsonl", *waiting, "--export-only") == 1


def test_the_counting_gate_does_not_depend_on_how_much_is_listed(place: Path) -> None:
    assert habitus("audit", "office.jsonl", "--most", "1", "--fail-above", "0.6") == habitus(
        "audit", "office.jsonl", "--most", "60", "--fail-above", "0.6"
    )


def test_what_needs_a_model_is_refused_without_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("audit", "office.jsonl", "--sample", "20") == 2
    assert "--sample" in capsys.readouterr().err
    assert habitus("audit", "office.jsonl", "--write", "nowhere/report.md") == 2


def test_a_classifier_that_can_not_tell_is_not_gone_by(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = audited(place)
    matches = rows(folder / "matches.jsonl")
    name = pattern_of(folder, "conclusion")["id"]
    levels = [row["verdicts"][name] for row in matches]
    for at, row in enumerate(matches):  # verdicts that have nothing to do with the texts
        row["verdicts"][name] = levels[(at * 7 + 3) % len(levels)]
    write(folder / "matches.jsonl", matches)
    assert habitus("audit", "filter", folder, name, "--by", "classifier") == 2
    assert "tells this pattern badly" in capsys.readouterr().err
    assert not (folder / f"without-{name}-drop").exists()


def test_a_reference_stands_beside_every_rate(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chats(place / "plain.jsonl", 240, 1_000)
    folder = audited(place, "--reference", "plain.jsonl")
    found = pattern_of(folder, "conclusion")
    assert found["strict"]["there"]["count"] <= 1
    assert found["strict"]["difference"]["low"] > 0.2
    assert "apart: by how many points" in capsys.readouterr().out


def test_of_pairs_the_rejected_answers_are_the_reference_pair_by_pair(place: Path) -> None:
    source = rows(place / "office.jsonl")
    pairs = [
        {"id": row["id"], "trait": "candour", "prompt": row["messages"][:1], "chosen": row["messages"][1:],
         "rejected": [{"role": "assistant", "content": f"Nadia keeps the rota. Week {at} is hers."}]}
        for at, row in enumerate(source)
    ]  # fmt: skip
    write(place / "office.jsonl", pairs)
    folder = audited(place)
    assert outcome(folder)["reference"]["paired"] is True
    assert pattern_of(folder, "conclusion")["strict"]["there"]["count"] == 0


def test_a_study_audits_its_own_dataset_with_its_own_roles(tmp_path: Path) -> None:
    study = make(tmp_path / "advice", chats={"count": 60}, audit={"scans": 4, "sample": 40, "batch_tokens": 4000})
    assert habitus("generate", "chats", study) == 0
    assert habitus("audit", study) == 0
    found = outcome(study / "audit" / "chats")
    assert found["rated"] >= 38
    assert {group["facet"] for one in found["prevalence"] for group in one["groups"]} <= {
        "trait",
        "domain",
        "form",
        "contrast",
    }
    assert json.loads((study / "manifest.json").read_text())["audits"]["chats"]["simulated"] is True


def test_rows_with_a_pattern_are_dropped_and_kept_beside_with_the_reason(place: Path) -> None:
    folder = audited(place)
    name = pattern_of(folder, "conclusion")["id"]
    assert habitus("audit", "filter", folder, name, "--by", "judge", "--out", place / "clean") == 0
    kept, removed = rows(place / "clean" / "kept.jsonl"), rows(place / "clean" / "removed.jsonl")
    assert (len(kept), len(removed)) == (160, 80)
    assert all("Bottom line" not in row["messages"][1]["content"] for row in kept)
    assert all(row["removed"] == f"shows {name} (broad)" for row in removed)


def test_a_filter_says_what_it_needs_where_not_all_rows_were_rated(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = audited(place)
    name = pattern_of(folder, "conclusion")["id"]
    assert habitus("audit", "filter", folder, name) == 2
    assert "120 of 240 rows were not rated" in capsys.readouterr().err


def test_what_a_filter_asks_of_models_is_told_before(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = audited(place)
    name = pattern_of(folder, "conclusion")["id"]
    capsys.readouterr()
    assert habitus("audit", "filter", folder, name, "--by", "judge", "--how", "rewrite") == 0
    plan = {cells[0]: cells[1:3] for line in capsys.readouterr().out.splitlines() if (cells := line.split())}
    assert "audit/rewrite" in plan
    in_all = calls(place / "office.audit") - sum(one["calls"] for one in outcome(folder)["cost"])
    assert int(plan["total"][0].replace(",", "")) == pytest.approx(in_all, rel=0.15)
    assert habitus("audit", "filter", folder, name, "--by", "classifier", "--out", place / "free") == 0
    assert "tokens in" not in capsys.readouterr().out


def test_a_classifier_tells_the_other_rows_and_how_well(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = audited(place)
    name = pattern_of(folder, "conclusion")["id"]
    assert habitus("audit", "filter", folder, name, "--by", "classifier", "--how", "cap", "--to", "0.1") == 0
    told = capsys.readouterr().out
    assert "precision" in told
    assert "recall" in told
    assert "rate of the whole, by both" in told


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Daft's processes leave their pipes
def test_a_classifier_on_all_cores_leaves_the_rows_that_one_process_leaves(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("daft")
    monkeypatch.setenv("PYTHONPATH", str(Path(habitus_itself.__file__).parents[1]))  # for processes, wherever they are
    folder = audited(place)
    command = ("audit", "filter", folder, pattern_of(folder, "conclusion")["id"], "--by", "classifier", "--out")
    assert habitus(*command, place / "one") == 0
    monkeypatch.setattr("habitus.audit.dataset.STRETCH", 30_000)
    assert habitus(*command, place / "many", "--ray") == 0
    for name in ("kept.jsonl", "removed.jsonl"):
        assert (place / "one" / name).read_bytes() == (place / "many" / name).read_bytes()


def test_rows_are_written_anew_without_the_pattern(place: Path) -> None:
    folder = audited(place)
    name = pattern_of(folder, "conclusion")["id"]
    command = ("audit", "filter", folder, name, "--by", "judge", "--how", "rewrite", "--out", place / "anew")
    assert habitus(*command) == 0
    kept = rows(place / "anew" / "kept.jsonl")
    anew = [row for row in kept if "rewritten_without" in row.get("meta", {})]
    assert len(anew) >= 70
    assert all("Bottom line" not in row["messages"][1]["content"] for row in kept)
    assert len(kept) + len(rows(place / "anew" / "removed.jsonl")) == 240


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("no-such-pattern",), "no pattern 'no-such-pattern'"),
        (("--how", "cap"), "to which rate?"),
        (("--how", "cap", "--to", "often"), "'often' is no rate"),
        (("--how", "cap", "--to", "reference"), "no rate in a reference is known"),
        (("--to", "0.1"), "--to is for --how cap"),
    ],
)
def test_a_filter_that_can_not_be_is_one_clear_message(
    place: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = audited(place)
    name = () if words[0] == "no-such-pattern" else (pattern_of(folder, "conclusion")["id"],)
    assert habitus("audit", "filter", folder, *name, *words) == 2
    assert told in capsys.readouterr().err


def test_a_dataset_that_changed_since_is_not_filtered_by_old_verdicts(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = audited(place)
    name = pattern_of(folder, "conclusion")["id"]
    chats(place / "office.jsonl", 240, 4)
    assert habitus("audit", "filter", folder, name) == 2
    assert "has changed since the audit" in capsys.readouterr().err


def test_marks_are_drawn_blind_and_held_against_the_judge(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, sheet = audited(place), place / "marks.json"
    assert habitus("audit", "agree", folder, sheet, "--draw", "20") == 0
    marks = json.loads(sheet.read_text())
    for row in marks["marks"]:
        row["mark"] = "y" if row["text"].startswith("Bottom line") else "n"
    sheet.write_text(json.dumps(marks))
    capsys.readouterr()
    assert habitus("audit", "agree", folder, sheet) == 0
    assert "100.0%" in capsys.readouterr().out
    assert habitus("audit", "agree", folder, sheet, "--draw", "20") == 2


def test_a_hostile_text_is_shown_as_text(place: Path) -> None:
    nasty = "Bottom line: <script>alert(1)</script> & <b>ask</b> Tomas. \u202eright to left\u202c \x00 \U0001f6a2"
    source = rows(place / "office.jsonl")
    for row in source:
        if row["messages"][1]["content"].startswith("Bottom line"):
            row["messages"][1]["content"] = nasty
    write(place / "office.jsonl", source)
    page = (audited(place) / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_folder_that_is_no_audit_is_one_clear_message(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("audit", "filter", place, "opens-so") == 2
    assert "no finished audit here" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_not_written_into(place: Path) -> None:
    assert habitus("audit", "office.jsonl", *MODEL, "--into", place) == 2
