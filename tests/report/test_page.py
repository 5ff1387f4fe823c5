from __future__ import annotations

import base64
import gzip
import json
import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from habitus.errors import UserError
from habitus.report.evals import arms
from habitus.report.method import method
from habitus.report.page import page, write_page
from habitus.report.records import shown
from habitus.report.serve import server
from habitus.report.training import curves, runs
from habitus.study import Study
from studies import habitus, make

if TYPE_CHECKING:
    from pathlib import Path


def unpacked(text: str, name: str) -> Any:
    """Return what the page holds under an id, as its script unpacks it."""
    found = re.search(rf'id="{name}">([^<]*)</script>', text)
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def records(text: str) -> list[dict[str, Any]]:
    """Return all records that the page holds."""
    table, found = unpacked(text, "table")["table"], []
    for name in re.findall(r'id="(piece-\d+)"', text):
        parts = unpacked(text, name)["parts"]
        found += json.loads("".join(table[one] if isinstance(one, int) else one for one in parts))["records"]
    return found


def sections(text: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', text)


def test_a_study_of_chats_alone_gets_its_data_and_nothing_that_was_not_made(chats_alone: Path) -> None:
    text = page(Study(chats_alone))
    assert sections(text) == ["summary", "data", "method"]
    assert "Arms and evals" not in text


def test_every_part_that_was_made_has_its_section(study: Path) -> None:
    assert sections(page(Study(study))) == ["summary", "data", "patterns", "training", "evals", "method"]


def test_a_study_without_anything_is_told_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to report"):
        page(Study(make(tmp_path / "ferries")))


def test_the_page_holds_every_record_whole(study: Path) -> None:
    found = {one["id"]: one for one in records(page(Study(study)))}
    first, gone = found["chat-0000000"], found["chat-0000012"]
    assert len(found) == 13
    assert first["turns"][1] == ["assistant", "Bottom line: boat 0 leaves at 6. Mind the ramp."]
    assert [one["step"] for one in first["steps"]] == ["draft", "refine"]
    assert first["verdicts"] == {"bottom-line": ["strict", "Bottom line"]}
    assert first["ratings"]["embodies"]["quote"] == "boat 0 leaves"
    assert gone["drop"] == {"step": "chats/rate", "reason": "too curt", "raw": "No."}


def test_the_facets_say_what_each_record_has(study: Path) -> None:
    (dataset,) = unpacked(page(Study(study)), "index")["datasets"]
    facets = {(one["group"], one["key"]): one for one in dataset["facets"]}
    outcome, pattern = facets["", "outcome"], facets["pattern", "bottom-line"]
    assert [outcome["values"][at] for at in outcome["rows"]].count("kept") == 12
    assert [pattern["values"][at] for at in pattern["rows"]].count("strict") == 6
    assert pattern["title"] == "Begins with a bottom line"
    assert ("", "domain") not in facets, "what is the same for all tells no records apart"


def test_the_page_reaches_for_nothing_and_holds_no_markup_of_the_data(study: Path) -> None:
    text = page(Study(study))
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    assert "<script>document.title" not in text
    assert "default-src 'none'" in text
    assert "'unsafe-inline'; script-src 'sha256-" in text, "styles alone may stand in the page unnamed"


def test_the_same_study_gives_the_same_page(study: Path) -> None:
    assert page(Study(study)) == page(Study(study))


def test_above_the_most_records_a_sample_is_drawn_and_said(chats_alone: Path) -> None:
    (sample,) = shown(Study(chats_alone), most=6)
    assert 0 < len(sample.records) < 13
    assert (sample.kept, sample.dropped) == (12, 1)
    assert f"{len(sample.records)} of 13 chats" in page(Study(chats_alone), most=6)
    assert [one["id"] for one in shown(Study(chats_alone), most=6)[0].records] == [one["id"] for one in sample.records]


def test_however_many_records_there_are_the_sample_is_of_one_size(
    chats_alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("habitus.report.records.SAMPLED", 4)
    (sample,) = shown(Study(chats_alone), most=12)
    assert 0 < len(sample.records) < 12
    assert len(shown(Study(chats_alone), most=13)[0].records) == 13


def test_numbers_stand_with_their_intervals_and_what_differs_is_said(study: Path) -> None:
    text = page(Study(study))
    assert '<span class="differs">10.0%</span><small>5.0% to 20.0%</small>' in text
    assert "\N{MINUS SIGN}40.0% (\N{MINUS SIGN}60.0% to \N{MINUS SIGN}20.0%), better" in text
    assert "reference 30.0%" in text
    assert "Weight of the rejected answer" in text


def test_the_method_says_what_data_audits_training_and_evals_took(study: Path) -> None:
    cost = {"step": "audit/rate", "model": "openai/gpt-5-mini", "calls": 1200, "input_tokens": 9, "output_tokens": 3, "dollars": 1.25, "unpriced": 0}  # fmt: skip
    manifest = {"version": 1, "audits": {"chats": {"cost": [cost]}}, "datasets": {}}
    (study / "manifest.json").write_text(json.dumps(manifest))
    found = method(Study(study), runs(Study(study)), arms(Study(study)))
    assert found["total"] == {"calls": 1200, "input_tokens": 9, "output_tokens": 3, "dollars": 1.25, "unpriced": 0}
    assert found["training"] == [{"stage": "bdpo", "runs": 1, "steps": 8, "tokens": 36, "seconds": 3.0}]
    assert found["evals"] == [{"name": "counter", "arms": 2, "samples": 40, "dollars": 0.2}]
    assert "1,200" in page(Study(study))


def test_what_the_embedded_model_did_is_named(study: Path) -> None:
    assert "took part in the audit of chats:" in page(Study(study))


def test_a_curve_runs_from_the_highest_value_to_the_lowest() -> None:
    found = curves([{"step": 0, "loss": 4.0}, {"step": 10, "loss": 1.0}, {"step": 10, "eval_web_loss": 2.0}], ["loss", "eval_web_loss"])  # fmt: skip
    assert found is not None
    assert [line["points"] for line in found["lines"]] == [[(0.0, 0.0), (560.0, 170.0)], [(560.0, 113.3)]]
    assert curves([{"step": 1}], ["loss"]) is None


def test_the_command_writes_the_page_and_another_serves_it(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("view", study) == 2
    assert "habitus report" in capsys.readouterr().err
    assert habitus("report", study) == 0
    with server(write_page(Study(study)).parent) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        with urlopen(f"http://127.0.0.1:{serving.server_port}/") as answer:
            told = answer.read().decode()
        serving.shutdown()
        thread.join()
    assert "<h1>ferries</h1>" in told


def test_inspect_view_can_stand_beside_the_page(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert habitus("report", study) == 0
    assert habitus("view", study, "--bundle") == 2
    assert "no logs" in capsys.readouterr().err
    (study / "report" / "inspect").mkdir()
    (study / "report" / "inspect" / "index.html").write_text("Inspect View")
    assert 'href="inspect/index.html#/logs/taught/counter.eval"' in page(Study(study))
