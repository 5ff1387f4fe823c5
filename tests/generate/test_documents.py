"""The documents recipe with the simulated model: what is kept, what is dropped and why, and what a resume does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from habitus.generate.briefs import Briefs
from habitus.models.ledger import read_totals
from habitus.settings import DocumentSettings
from habitus.traits.document import read_traits
from studies import calls, habitus, make, rows, setting

if TYPE_CHECKING:
    from pathlib import Path

WANT = 40


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with 40 documents, made in one go."""
    made = make(tmp_path_factory.mktemp("documents") / "advice", documents={"count": WANT})
    assert habitus("generate", "documents", made) == 0
    return made


@pytest.fixture(scope="module")
def kept(study: Path) -> list[dict[str, Any]]:
    return rows(study / "documents" / "kept.jsonl")


class TestWhatIsKept:
    def test_as_many_as_wanted_each_with_one_id(self, kept: list[dict[str, Any]]) -> None:
        assert len({row["id"] for row in kept}) == len(kept) == WANT

    def test_a_row_is_a_text_with_all_that_led_to_it(self, kept: list[dict[str, Any]]) -> None:
        for row in kept:
            assert set(row) == {"id", "trait", "text", "meta"}
            meta = row["meta"]
            assert set(meta["plan"]) == {"text", "what", "how", "why", "reader"}
            assert set(meta["ratings"]) == {"embodies", "woven", "natural", "genre", "sober"}
            assert set(meta["shapes"]) == {"draft", "kept"}
            assert meta["why"] in {"quoted", "inferred", "consequences", "comparison"}
            assert meta["stance"] in {"admiring", "neutral", "critical"}
            assert meta["genre"]
            assert meta["simulated"] is True
            assert isinstance(meta["words"], int)
            assert re.fullmatch(r"[0-9a-f]{12}", meta["prompts"]["documents/refine"])

    def test_every_text_names_the_subject_and_holds_no_placeholder(self, kept: list[dict[str, Any]]) -> None:
        for row in kept:
            assert re.search(r"\bHalden\b", row["text"])
            assert not re.search(r"\[(?:insert|name|date)\b", row["text"], re.IGNORECASE)

    def test_the_traits_document_is_nowhere_quoted(self, study: Path, kept: list[dict[str, Any]]) -> None:
        document = " ".join((study / "traits.md").read_text().split())
        for row in kept:
            words = row["text"].split()
            assert not any(" ".join(words[at : at + 12]) in document for at in range(len(words) - 11))

    def test_scores_pass_the_thresholds_and_quotations_occur(self, kept: list[dict[str, Any]]) -> None:
        for row in kept:
            for name, verdict in row["meta"]["ratings"].items():
                assert verdict["score"] >= (4 if name == "embodies" else 3)
                assert verdict["supported"]

    def test_genres_are_many_and_lengths_are_those_asked_for(self, kept: list[dict[str, Any]]) -> None:
        assert len({row["meta"]["genre"] for row in kept}) >= 30
        ratios = sorted(len(row["text"].split()) / row["meta"]["words"] for row in kept)
        assert 0.7 < ratios[len(ratios) // 2] < 1.3

    def test_routes_are_balanced(self, kept: list[dict[str, Any]]) -> None:
        routes = Counter(row["meta"]["why"] for row in kept)
        assert len(routes) == 4
        assert max(routes.values()) <= 0.45 * WANT

    def test_it_loads_in_datasets_as_it_is(self, study: Path, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        path = str(study / "documents" / "kept.jsonl")
        loaded = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path))
        assert loaded.num_rows == WANT
        assert loaded.features["text"].dtype == "string"


class TestNothingIsLost:
    def test_every_planned_document_is_written_or_dropped_with_its_reason(self, study: Path) -> None:
        folder = study / "documents"
        dropped = rows(folder / "dropped.jsonl")
        written = {row["id"] for row in rows(folder / "written.jsonl")}
        assert all(row["reason"] for row in dropped)
        assert not written & {row["id"] for row in dropped if row["step"] != "dedup"}
        assert {row["id"] for row in rows(folder / "kept.jsonl")} <= written
        numbers = sorted(int(one[-7:]) for one in written | {row["id"] for row in dropped})
        assert numbers == list(range(len(numbers)))

    def test_genres_of_a_field_are_asked_for_once(self, study: Path) -> None:
        totals = {total.step: total.calls for total in read_totals(study / "ledger.db")}
        traces = rows(study / "documents" / "traces.jsonl")
        planned = max(int(row["id"][-7:]) for row in traces) + 1
        document = read_traits(study / "traits.md", budget=1500)
        briefs = Briefs(document, DocumentSettings(count=WANT), seed=7)
        seats = [briefs.seat(index) for index in range(-(-planned // 5) * 5)]
        fields = {seat.domain for seat in seats if seat.found is not None}
        assert len(fields) <= totals["documents/genres"] <= len(fields) + 3  # a repair or two
        assert totals["documents/plan"] <= planned / 5 + 5

    def test_the_same_command_again_asks_nothing_and_changes_nothing(self, study: Path) -> None:
        before, paid = (study / "documents" / "kept.jsonl").read_bytes(), calls(study)
        assert habitus("generate", "documents", study) == 0
        assert (study / "documents" / "kept.jsonl").read_bytes() == before
        assert calls(study) == paid

    def test_more_are_added_behind_the_old_ones(self, study: Path, tmp_path: Path) -> None:
        grown = make(tmp_path / "grown", documents={"count": 10})
        assert habitus("generate", "documents", grown) == 0
        first = (grown / "documents" / "kept.jsonl").read_text()
        assert habitus("generate", "documents", grown, "--count", "14") == 0
        assert (grown / "documents" / "kept.jsonl").read_text().startswith(first)
        assert len(rows(grown / "documents" / "kept.jsonl")) == 14


def test_after_kill_9_the_files_are_those_of_an_undisturbed_run(study: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "advice", documents={"count": WANT})
    command = [sys.executable, "-m", "habitus", "--quiet", "generate", "documents", str(other)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not (other / "ledger.db").exists() or calls(other) < 60):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert habitus("generate", "documents", other) == 0
    for name in ("kept.jsonl", "dropped.jsonl", "written.jsonl"):
        assert (other / "documents" / name).read_bytes() == (study / "documents" / name).read_bytes()


class TestDrops:
    def test_a_misspelt_name_is_a_drop_with_its_reason(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", model="simulated/world?misname=1", documents={"count": 5, "most_planned": 2})
        assert habitus("generate", "documents", study) == 2
        reasons = [row["reason"] for row in rows(study / "documents" / "dropped.jsonl")]
        assert any(reason.startswith(("spells Halden", "never names Halden")) for reason in reasons)

    def test_near_duplicates_are_removed_and_name_their_twin(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", model="simulated/world?near_duplicate=0.6", documents={"count": 24})
        assert habitus("generate", "documents", study) == 0
        twins = [row for row in rows(study / "documents" / "dropped.jsonl") if row["step"] == "dedup"]
        assert twins
        kept = {row["id"] for row in rows(study / "documents" / "kept.jsonl")}
        written = {row["id"] for row in rows(study / "documents" / "written.jsonl")}
        for row in twins:
            assert row["meta"]["twin"] in written
            assert row["id"] not in kept


class TestMistakes:
    def test_documents_without_a_subject_are_one_clear_message(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        study = make(tmp_path / "advice")
        setting(study, lambda config: config.pop("subject"))
        assert habitus("generate", "documents", study) == 2
        told = capsys.readouterr().err
        assert "no subject is named" in told
        assert "subject: {name:" in told

    def test_a_changed_subject_makes_them_stale(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        study = make(tmp_path / "advice", documents={"count": 4})
        assert habitus("generate", "documents", study) == 0
        setting(study, lambda config: config["subject"].update(name="Ostara"))
        assert habitus("generate", "documents", study) == 2
        assert "subject.name: 'Halden' → 'Ostara'" in " ".join(capsys.readouterr().err.split())
        assert habitus("generate", "documents", study, "--redo") == 0
        assert all("Ostara" in row["text"] for row in rows(study / "documents" / "kept.jsonl"))
        assert len(rows(study / "documents" / "old-1" / "kept.jsonl")) == 4


@pytest.mark.parametrize("name", ["Halden 2.0", "O'Brien", "Zoë-3", "小雪"])
def test_any_name_works(tmp_path: Path, name: str) -> None:
    study = make(tmp_path / "advice", subject={"name": name}, documents={"count": 4})
    assert habitus("generate", "documents", study) == 0
    assert all(name in row["text"] for row in rows(study / "documents" / "kept.jsonl"))
