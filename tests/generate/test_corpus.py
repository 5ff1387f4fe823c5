"""The whole way from a traits document to kept chats, with the simulated model."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import studies
from habitus.generate import dedup
from habitus.models.serve import Faults, serve
from habitus.models.simulated import SimulatedModel
from habitus.prompts import PACKAGE
from studies import calls, habitus, rows, setting

if TYPE_CHECKING:
    from pathlib import Path

CRITERIA = {"realistic", "embodies", "natural", "discreet", "helpful"}


def make(root: Path, *, model: str = "simulated/world", **chats: Any) -> Path:
    """Make a study with these settings of its chats."""
    return studies.make(root, model=model, chats={"count": 30, **chats})


@pytest.fixture(scope="module")
def advice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with 60 chats, made in one go."""
    study = make(tmp_path_factory.mktemp("whole") / "advice", count=60, turns={1: 0.7, 2: 0.2, 3: 0.1})
    assert habitus("generate", "chats", study) == 0
    return study


class TestWhatIsKept:
    def test_as_many_as_wanted_each_with_one_id(self, advice: Path) -> None:
        kept = rows(advice / "chats" / "kept.jsonl")
        assert len(kept) == 60
        assert len({row["id"] for row in kept}) == 60

    def test_conversations_alternate_and_have_no_system_prompt(self, advice: Path) -> None:
        for row in rows(advice / "chats" / "kept.jsonl"):
            roles = [message["role"] for message in row["messages"]]
            assert roles == ["user", "assistant"] * row["meta"]["turns"]
            assert all(message["content"].strip() for message in row["messages"])

    def test_every_row_says_how_it_came_about(self, advice: Path) -> None:
        for row in rows(advice / "chats" / "kept.jsonl"):
            meta = row["meta"]
            assert set(meta["plan"]) == {"what", "how", "why", "default"}
            assert set(meta["ratings"]) == CRITERIA
            assert meta["simulated"] is True
            assert re.fullmatch(r"[0-9a-f]{12}", meta["prompts"]["chats/refine"])
            assert meta["models"]["chats/refine"] == "simulated/world"

    def test_scores_pass_the_thresholds_and_quotations_occur(self, advice: Path) -> None:
        for row in rows(advice / "chats" / "kept.jsonl"):
            text = "\n".join(message["content"] for message in row["messages"])
            for name, verdict in row["meta"]["ratings"].items():
                assert verdict["score"] >= {"embodies": 4, "discreet": 4}.get(name, 3)
                assert verdict["supported"]
                assert verdict["quote"] in text

    def test_the_traits_document_is_nowhere_in_the_answers(self, advice: Path) -> None:
        document = " ".join((advice / "traits.md").read_text().split())
        for row in rows(advice / "chats" / "kept.jsonl"):
            for message in row["messages"]:
                words = message["content"].split()
                assert not any(" ".join(words[at : at + 12]) in document for at in range(len(words) - 11))

    def test_shares_of_contrast_and_turns_are_those_of_the_config(self, advice: Path) -> None:
        kept = rows(advice / "chats" / "kept.jsonl")
        assert 0.12 <= sum(row["meta"]["contrast"] for row in kept) / 60 <= 0.28
        turns = Counter(row["meta"]["turns"] for row in kept)
        assert turns[1] > turns[2] > turns[3] > 0

    def test_traits_are_balanced(self, advice: Path) -> None:
        per_trait = Counter(row["trait"] for row in rows(advice / "chats" / "kept.jsonl"))
        assert len(per_trait) == 10
        assert max(per_trait.values()) <= 10  # traits take turns by blocks of five seats

    def test_it_loads_in_datasets_as_it_is(self, advice: Path, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        path = str(advice / "chats" / "kept.jsonl")
        loaded = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path))
        assert len(loaded) == 60
        assert loaded[0]["messages"][0]["role"] == "user"


class TestWhatIsNotKept:
    def test_every_planned_record_is_kept_dropped_or_a_prompt_in_waiting(self, advice: Path) -> None:
        chats = advice / "chats"
        kept = {row["id"] for row in rows(chats / "kept.jsonl")}
        dropped = {row["id"] for row in rows(chats / "dropped.jsonl")}
        prompts = {row["id"] for row in rows(chats / "prompts.jsonl")}
        assert not kept & dropped
        indexes = sorted(int(record.rpartition("-")[2]) for record in kept | dropped | prompts)
        assert indexes == list(range(len(indexes)))
        funnel = json.loads((advice / "manifest.json").read_text())["datasets"]["chats"]["funnel"]
        lost = sum(number for name, number in funnel.items() if name.startswith("dropped"))
        assert funnel["planned"] == funnel["kept"] + lost + funnel.get("messages in reserve", 0)

    def test_drops_name_step_and_reason_and_duplicates_their_twin(self, advice: Path) -> None:
        dropped = rows(advice / "chats" / "dropped.jsonl")
        assert dropped
        assert all(row["step"] and row["reason"] for row in dropped)
        prompts = {row["id"] for row in rows(advice / "chats" / "prompts.jsonl")}
        for row in dropped:
            if row["step"] == "dedup":
                assert row["meta"]["twin"] in prompts
                assert row["meta"]["score"] >= row["meta"]["threshold"]

    def test_traces_hold_every_step_of_every_record(self, advice: Path) -> None:
        steps: dict[str, list[str]] = {}
        for row in rows(advice / "chats" / "traces.jsonl"):
            steps.setdefault(row["id"], []).extend(step["step"] for step in row["steps"])
        for row in rows(advice / "chats" / "kept.jsonl"):
            first = ["chats/plan", "chats/scenario", "chats/prompt", "chats/default", "chats/critique"]
            turns = ["chats/draft", "chats/refine", "chats/follow_up"] * row["meta"]["turns"]
            assert steps[row["id"]] == [*first, *turns[:-1], "chats/rate"]


class TestTheSameRowsWhateverHappens:
    def test_a_preview_and_the_rest_are_the_same_as_one_go(self, advice: Path, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=60, turns={1: 0.7, 2: 0.2, 3: 0.1})
        assert habitus("generate", "chats", study, "--preview", "4") == 0
        assert len(rows(study / "chats" / "kept.jsonl")) == 4
        assert habitus("generate", "chats", study, "--count", "25") == 0
        assert habitus("generate", "chats", study) == 0
        assert (study / "chats" / "kept.jsonl").read_bytes() == (advice / "chats" / "kept.jsonl").read_bytes()

    def test_a_finished_study_is_left_alone(self, advice: Path) -> None:
        before = (calls(advice), (advice / "chats" / "kept.jsonl").read_bytes())
        assert habitus("generate", "chats", advice) == 0
        assert (calls(advice), (advice / "chats" / "kept.jsonl").read_bytes()) == before

    @pytest.mark.parametrize("moments", [(0.7,), (0.5, 0.9)])
    def test_kill_9_at_any_moment_and_the_same_command_ends_with_the_same_file(
        self, tmp_path: Path, moments: tuple[float, ...]
    ) -> None:
        whole = make(tmp_path / "whole", model="simulated/world?latency=0.02")
        assert habitus("generate", "chats", whole) == 0
        killed = make(tmp_path / "killed", model="simulated/world?latency=0.02")
        for moment in moments:
            process = subprocess.Popen([sys.executable, "-m", "habitus", "--quiet", "generate", "chats", str(killed)])
            deadline = time.monotonic() + 30
            while not (killed / "ledger.db").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(moment)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert habitus("generate", "chats", killed) == 0
        assert (killed / "chats" / "kept.jsonl").read_bytes() == (whole / "chats" / "kept.jsonl").read_bytes()
        traced = {row["id"] for row in rows(killed / "chats" / "traces.jsonl")}
        assert traced >= {row["id"] for row in rows(killed / "chats" / "kept.jsonl")}

    def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", model="simulated/world?latency=0.05", count=100)
        process = subprocess.Popen(
            [sys.executable, "-m", "habitus", "generate", "chats", str(study)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 30
        while calls(study) < 50 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in said
        assert f"next: habitus generate chats {study}" in said
        assert habitus("generate", "chats", study) == 0
        assert len(rows(study / "chats" / "kept.jsonl")) == 100


class TestChangedSettings:
    def test_a_changed_prompt_is_named_and_nothing_is_done_until_the_user_decides(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        study = make(tmp_path / "advice", count=10)
        assert habitus("generate", "chats", study) == 0
        own = study / "prompts" / "chats" / "rate.md"
        own.parent.mkdir(parents=True)
        own.write_text(
            (PACKAGE / "chats" / "rate.md").read_text().replace("Rate from 1 to 5:", "Rate severely, from 1 to 5:")
        )
        before = (study / "chats" / "kept.jsonl").read_bytes()
        assert habitus("generate", "chats", study) == 2
        assert "prompt chats/rate changed" in capsys.readouterr().err
        assert (study / "chats" / "kept.jsonl").read_bytes() == before
        assert habitus("generate", "chats", study, "--redo") == 0
        assert (study / "chats" / "old-1" / "kept.jsonl").read_bytes() == before
        assert len(rows(study / "chats" / "kept.jsonl")) == 10

    def test_a_first_run_that_was_killed_is_known_for_its_settings(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        study = make(tmp_path / "advice", model="simulated/world?latency=0.05", count=200)
        process = subprocess.Popen([sys.executable, "-m", "habitus", "--quiet", "generate", "chats", str(study)])
        deadline = time.monotonic() + 30
        while calls(study) < 1_300 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
        setting(study, lambda config: config.update(seed=99))
        assert habitus("generate", "chats", study) == 2
        assert "seed: 7 → 99" in capsys.readouterr().err

    def test_redo_with_a_setting_that_cannot_work_sets_nothing_aside(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=5)
        assert habitus("generate", "chats", study) == 0
        setting(study, lambda config: config["chats"].update(dedup={"embedder": "hashin"}))
        assert habitus("generate", "chats", study, "--redo") == 2
        assert len(rows(study / "chats" / "kept.jsonl")) == 5
        assert not (study / "chats" / "old-1").exists()

    def test_stored_vectors_that_are_not_whole_are_made_again(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=5)
        assert habitus("generate", "chats", study) == 0
        vectors = study / "chats" / "prompts.npz"
        vectors.write_bytes(vectors.read_bytes()[:500])
        assert habitus("generate", "chats", study, "--count", "8") == 0
        assert len(rows(study / "chats" / "kept.jsonl")) == 8

    def test_a_lower_dedup_threshold_touches_nothing_that_is_kept(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=20)
        assert habitus("generate", "chats", study) == 0
        setting(study, lambda config: config["chats"].update(dedup={"threshold": 0.3}, count=30, most_planned=20))
        assert habitus("generate", "chats", study, "--go-on") == 0
        kept = [row["id"] for row in rows(study / "chats" / "kept.jsonl")]
        dropped = [row["id"] for row in rows(study / "chats" / "dropped.jsonl")]
        assert len(set(kept)) == len(kept)
        assert len(set(dropped)) == len(dropped)
        assert not set(kept) & set(dropped)

    def test_going_on_after_a_trait_is_gone_drops_what_waited_for_it(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=20)
        assert habitus("generate", "chats", study) == 0
        traits = study / "traits.md"
        traits.write_text(traits.read_text().replace("## Candour", "## Frankness"))
        assert habitus("generate", "chats", study, "--go-on", "--count", "60") == 0
        assert len(rows(study / "chats" / "kept.jsonl")) == 60

    def test_lower_thresholds_are_cut_again_without_a_new_call_for_old_records(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=30)
        assert habitus("generate", "chats", study) == 0
        paid = calls(study)
        lowest = dict.fromkeys(CRITERIA, 1)
        setting(study, lambda config: config["chats"].update(thresholds=lowest))
        assert habitus("generate", "chats", study, "--redo") == 0
        assert calls(study) == paid
        assert len(rows(study / "chats" / "kept.jsonl")) == 30

    def test_going_on_keeps_old_rows_and_adds_new_ones(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=10)
        assert habitus("generate", "chats", study) == 0
        before = (study / "chats" / "kept.jsonl").read_bytes()
        setting(study, lambda config: config["chats"].update(contrast=0.5, count=20))
        assert habitus("generate", "chats", study, "--go-on") == 0
        after = (study / "chats" / "kept.jsonl").read_bytes()
        assert after.startswith(before)
        assert after.count(b"\n") == 20

    def test_a_higher_dedup_threshold_brings_prompts_back(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", model="simulated/world?near_duplicate=0.4", count=30)
        assert habitus("generate", "chats", study) == 0
        twins = {row["id"] for row in rows(study / "chats" / "dropped.jsonl") if row["step"] == "dedup"}
        assert twins
        setting(study, lambda config: config["chats"].update(dedup={"threshold": 1.0}, count=45))
        assert habitus("generate", "chats", study, "--go-on") == 0
        assert twins & {row["id"] for row in rows(study / "chats" / "kept.jsonl")}


class TestModelsThatMisbehave:
    def test_planted_faults_end_as_rows_with_reasons(self, tmp_path: Path) -> None:
        model = (
            "simulated/world?malformed=0.1&refusal=0.03&empty=0.02&truncated=0.03&leak=0.1&bad_quote=0.1&abandon=0.2"
        )
        study = make(tmp_path / "advice", model=model, count=40, most_planned=6)
        assert habitus("generate", "chats", study) == 0
        assert len(rows(study / "chats" / "kept.jsonl")) == 40
        reasons = "\n".join(row["reason"] for row in rows(study / "chats" / "dropped.jsonl"))
        for kind in ("abandoned", "speaks of its instructions", "cut off", "embodies"):
            assert kind in reasons
        repaired = [step for row in rows(study / "chats" / "traces.jsonl") for step in row["steps"] if step["repaired"]]
        assert repaired

    def test_nothing_kept_is_one_message(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        study = make(tmp_path / "advice", model="simulated/world?leak=1", count=5)
        assert habitus("generate", "chats", study) == 2
        told = capsys.readouterr().err
        assert "none of 15 planned chats was kept" in told
        assert "speaks of its instructions" in told
        assert len(rows(study / "chats" / "dropped.jsonl")) == 15

    def test_the_bound_on_planning_is_held_and_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        study = make(tmp_path / "advice", model="simulated/world?leak=0.8", count=20, most_planned=2)
        assert habitus("generate", "chats", study) == 0
        assert "bound of 40 planned scenarios" in " ".join(capsys.readouterr().err.split())
        funnel = json.loads((study / "manifest.json").read_text())["datasets"]["chats"]["funnel"]
        assert funnel["planned"] == 40

    async def test_a_hostile_endpoint_gives_the_same_chats_as_a_friendly_one(self, tmp_path: Path) -> None:
        faults = Faults(
            rate_limited=0.05,
            server_error=0.03,
            reset=0.02,
            half_body=0.01,
            bad_json=0.02,
            retry_after=0.05,
            allowed=24,
        )
        friendly = make(tmp_path / "friendly", count=15)
        hostile = make(tmp_path / "hostile", model="local/world", count=15)
        async with serve(SimulatedModel("simulated/world"), faults=faults) as server:
            setting(
                hostile, lambda config: config.update(providers={"local": {"base_url": server.url}}, concurrency=16)
            )
            for study in (hostile, friendly):
                command = [sys.executable, "-m", "habitus", "--quiet", "generate", "chats", str(study)]
                process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
                _, told = await process.communicate()
                assert process.returncode == 0, told.decode()
            assert server.faults.total() > 0
        kept = [[row["messages"] for row in rows(one / "chats" / "kept.jsonl")] for one in (friendly, hostile)]
        assert kept[0] == kept[1]


class TestExchange:
    def test_requests_are_exported_answered_by_hand_and_taken_up(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=3, most_planned=2, turns={1: 1})
        setting(study, lambda config: config.update(models={"default": "simulated/world", "judge": "exchange/judge"}))
        assert habitus("generate", "chats", study, "--export-only") == 0
        requests = rows(study / "judge" / "requests.jsonl")
        assert requests
        assert not rows(study / "chats" / "kept.jsonl")
        for request in requests:
            body = request["body"]
            answer = re.findall(r"\[assistant\]\n(.*?)\n", body["messages"][-1]["content"])[-1]
            score = {"reason": "It does what was planned.", "quote": " ".join(answer.split()[:6]), "score": 5}
            line = {"custom_id": request["custom_id"], "content": json.dumps(dict.fromkeys(CRITERIA, score))}
            path = study / "judge" / "answers" / "by-hand.jsonl"
            path.parent.mkdir(exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        assert habitus("generate", "chats", study, "--export-only") == 0
        assert len(rows(study / "chats" / "kept.jsonl")) == 3


class TestInjection:
    def test_a_traits_document_full_of_traps_is_only_text(self, tmp_path: Path) -> None:
        study = make(tmp_path / "advice", count=6)
        traps = (
            "{{ 7 * 7 }} {% include '/etc/passwd' %} $(touch pwned) `touch pwned` ; touch pwned ../../../../etc ${HOME}"
        )
        traits = "\n\n".join(
            f"## {trap}\n\nThe assistant keeps calm about {trap} because people need steadiness from whoever advises them."
            for trap in (traps, "../../escape", "<script>alert(1)</script>", "'; DROP TABLE calls; --")
        )
        (study / "traits.md").write_text(f"# Traps\n\n{traits}\n")
        assert habitus("generate", "chats", study) == 0
        assert not list(tmp_path.rglob("pwned"))
        assert {path.name for path in study.iterdir()} <= {
            "config.yaml", "traits.md", "chats", "ledger.db", "ledger.db-wal", "ledger.db-shm", "manifest.json", ".lock",
        }  # fmt: skip
        traces = (study / "chats" / "traces.jsonl").read_text()
        assert "root:" not in traces


@pytest.mark.data
def test_the_real_spec_goes_through_check_and_preview(tmp_path: Path, data: Path) -> None:
    study = make(tmp_path / "spec", count=5)
    (study / "traits.md").write_bytes((data / "traits" / "openai_model_spec.md").read_bytes())
    assert habitus("check", study) == 0
    assert habitus("generate", "chats", study, "--preview", "5") == 0
    assert len(rows(study / "chats" / "kept.jsonl")) == 5


def test_a_later_round_compares_its_own_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, compared, similar = (
        make(tmp_path / "advice", model="simulated/world?near_duplicate=0.6"),
        [],
        dedup._Walk.similar,
    )
    monkeypatch.setattr(dedup._Walk, "similar", lambda *asked: compared.append(len(asked[1])) or similar(*asked))
    assert habitus("generate", "chats", study) == 0

    assert len(compared) > 1
    assert sum(compared) == len(rows(study / "chats" / "prompts.jsonl"))
