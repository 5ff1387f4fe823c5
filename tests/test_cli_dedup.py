"""Near-duplicates taken out of anybody's dataset, from the command line."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from habitus.cli import cli
from habitus.errors import UserError
from habitus.generate import compare, foreign
from habitus.models import embed as embedding
from harbour import write
from machines import serving
from studies import habitus, rows

if TYPE_CHECKING:
    from pathlib import Path

LOGS = [
    "The ferry left quay four at six with nine crates of herring, and Nadia signed the list before the fog came in.",
    "Tomas counted the keys again in the evening, found the spare one under the mailbag, and wrote it into the book.",
    "A storm from the north kept all boats in the harbour, so the office closed early and the cats had the chairs.",
]


def edited(text: str) -> str:
    return text.replace("evening", "morning").replace("quay four", "quay five")


def documents(path: Path, texts: list[str]) -> Path:
    return write(path, [{"id": f"log-{number}", "text": text} for number, text in enumerate(texts, start=1)])


def said(user: str, assistant: str, system: str = "") -> dict[str, Any]:
    first = [{"role": "system", "content": system}] if system else []
    return {"messages": [*first, {"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}


def outcome(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return rows(folder / "kept.jsonl"), rows(folder / "removed.jsonl")


def test_of_rows_that_say_nearly_the_same_the_first_stays_and_the_others_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = documents(tmp_path / "logs.jsonl", [*LOGS, edited(LOGS[1]), LOGS[0]]).read_bytes()

    assert habitus("dedup", "logs.jsonl") == 0

    kept, removed = outcome(tmp_path / "logs.dedup" / "rows-hashing-0.5")
    assert [row["text"] for row in kept] == LOGS
    assert [(row["id"], row["removed"]["twin"], row["removed"]["twin_id"]) for row in removed] == [
        ("log-4", 2, "log-2"),
        ("log-5", 1, "log-1"),
    ]
    assert 0.5 <= removed[0]["removed"]["cosine"] < 1 == removed[1]["removed"]["cosine"]
    assert (tmp_path / "logs.jsonl").read_bytes() == before
    printed = capsys.readouterr().out
    assert "documents of logs.jsonl" in printed
    assert [line.split()[-2:] for line in printed.splitlines() if line.strip().startswith(("kept", "removed"))] == [
        ["3", "60.0%"],
        ["2", "40.0%"],
    ]


def test_nothing_is_overwritten_and_another_threshold_embeds_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = documents(tmp_path / "logs.jsonl", [*LOGS, edited(LOGS[1])])
    into = ("--into", tmp_path / "out")
    assert habitus("dedup", data, *into) == 0
    assert habitus("dedup", data, *into) == 2
    assert "exists already" in capsys.readouterr().err

    asked: list[int] = []

    class Counted(embedding.Hashing):
        async def vectors(self, texts: Any) -> Any:
            asked.append(len(texts))
            return await super().vectors(texts)

    monkeypatch.setattr(embedding, "Hashing", Counted)
    assert habitus("dedup", data, *into, "--threshold", "0.99") == 0
    assert asked == []
    assert len(outcome(tmp_path / "out" / "rows-hashing-0.99")[0]) == 4


def test_a_dataset_that_changed_is_embedded_anew(tmp_path: Path) -> None:
    data, into = tmp_path / "logs.jsonl", tmp_path / "out"
    assert habitus("dedup", documents(data, [LOGS[0], LOGS[1]]), "--into", into) == 0
    assert habitus("dedup", documents(data, [LOGS[0], LOGS[0]]), "--into", into, "--threshold", "0.6") == 0

    assert len(outcome(into / "rows-hashing-0.6")[1]) == 1


def test_what_the_system_says_in_all_rows_makes_none_alike(tmp_path: Path) -> None:
    system = "You are the clerk of a harbour office and answer whoever comes to the counter, in one sentence. " * 5
    data = write(tmp_path / "chats.jsonl", [said(log[:30], log[30:], system) for log in LOGS])

    assert habitus("dedup", data, "--into", tmp_path / "out") == 0

    assert outcome(tmp_path / "out" / "rows-hashing-0.5")[1] == []


def test_first_messages_can_be_compared_alone(tmp_path: Path) -> None:
    asked = "Who keeps the key of drawer four while Nadia is away at the dentist?"
    data = write(tmp_path / "chats.jsonl", [said(asked, LOGS[0]), said(asked, LOGS[1])])

    assert habitus("dedup", data, "--into", tmp_path / "out", "--compare", "messages") == 0
    assert habitus("dedup", data, "--into", tmp_path / "out") == 0

    assert len(outcome(tmp_path / "out" / "messages-hashing-0.7")[1]) == 1
    assert len(outcome(tmp_path / "out" / "rows-hashing-0.5")[1]) == 0


def test_pairs_are_alike_only_with_both_their_answers(tmp_path: Path) -> None:
    def pair(rejected: str) -> dict[str, Any]:
        return {"prompt": "Where is the key?", "chosen": LOGS[1][:60], "rejected": rejected}

    data = write(tmp_path / "pairs.jsonl", [pair(LOGS[0] * 2), pair(LOGS[2] * 2), pair(LOGS[2] * 2)])

    assert habitus("dedup", data, "--into", tmp_path / "out") == 0

    kept, removed = outcome(tmp_path / "out" / "rows-hashing-0.5")
    assert (len(kept), [row["removed"]["row"] for row in removed]) == (2, [3])


def test_rows_that_cannot_be_read_are_put_beside_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "logs.jsonl.gz"
    lines = [json.dumps({"text": LOGS[0]}), "", "half a ro", json.dumps({"words": 1}), json.dumps({"text": LOGS[1]})]
    data.write_bytes(gzip.compress("\n".join(lines).encode()))

    assert habitus("dedup", data, "--into", tmp_path / "out") == 0

    folder = tmp_path / "out" / "rows-hashing-0.5"
    assert len(outcome(folder)[0]) == 2
    assert [(row["row"], row["raw"]) for row in rows(folder / "unread.jsonl")] == [(3, "half a ro"), (4, {"words": 1})]
    assert "2 of 4 rows can't be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "options", "what"),
    [
        ("{}\n", "", "no row can be read"),
        ("\n\n", "", "there is no row in it"),
        ('{"text": "Rye."}\n', "--compare messages", "a document has no message of a user"),
        ('{"text": "Rye."}\n', "--embedder spelling", "there is no embedder 'spelling'"),
        ('{"text": "Rye."}\n', "--into loaves.jsonl/none", "can't be made"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, options: str, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loaves.jsonl").write_text(written)

    with pytest.raises(UserError, match=what):
        cli.main(["dedup", "loaves.jsonl", *options.split()], standalone_mode=False)

    assert [path.name for path in tmp_path.iterdir()] == ["loaves.jsonl"]


def test_a_run_that_ends_in_the_middle_goes_on_behind_what_is_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = documents(tmp_path / "logs.jsonl", [f"{log} It was day {day}." for day in range(4) for log in LOGS])
    monkeypatch.setattr(foreign, "AT_ONCE", 4)
    asked: list[int] = []
    embedded = foreign.embed_documents

    async def cut(texts: list[str], embedder: Any) -> Any:
        asked.append(len(texts))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return await embedded(texts, embedder)

    monkeypatch.setattr(foreign, "embed_documents", cut)
    assert habitus("dedup", data, "--into", tmp_path / "out") == 130
    assert habitus("dedup", data, "--into", tmp_path / "out") == 0

    assert asked == [4, 4, 4, 4]
    assert len(outcome(tmp_path / "out" / "rows-hashing-0.5")[0]) == 3


def test_a_row_that_json_has_no_place_for_leaves_nothing_half_written(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": LOGS, "scan": [b"\xff"] * 3}), tmp_path / "logs.parquet")

    with pytest.raises(UserError, match="no place for"):
        cli.main(["dedup", str(tmp_path / "logs.parquet"), "--into", str(tmp_path / "out")], standalone_mode=False)

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "rows-hashing.npz"]


@pytest.mark.parametrize("levels", [300, 700, 1000])
def test_a_row_that_is_nested_too_deeply_is_told(tmp_path: Path, levels: int) -> None:
    data = tmp_path / "logs.jsonl"
    data.write_text('{"text": "The ferry left at six.", "x": ' + "[" * levels + "]" * levels + "}\n")

    with pytest.raises(UserError, match="no place for") as told:
        cli.main(["dedup", str(data), "--into", str(tmp_path / "out")], standalone_mode=False)

    assert told.value.where == f"{data}:1"


def test_two_commands_do_not_write_into_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from filelock import FileLock

    data = documents(tmp_path / "logs.jsonl", LOGS)
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        assert habitus("dedup", data, "--into", tmp_path / "out") == 2

    assert "another habitus command" in capsys.readouterr().err


def test_machines_of_a_cluster_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("daft")
    monkeypatch.setattr(compare, "FEWEST_ROWS", 1)
    data = documents(tmp_path / "logs.jsonl", [*LOGS, edited(LOGS[1]), LOGS[0]])

    assert habitus("dedup", data, "--into", tmp_path / "one") == 0
    assert habitus("dedup", data, "--into", tmp_path / "many", "--ray") == 0

    for name in ("kept", "removed"):
        files = [tmp_path / folder / "rows-hashing-0.5" / f"{name}.jsonl" for folder in ("one", "many")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert not (tmp_path / "many" / "compared").exists()


def test_an_endpoint_of_ones_own_is_named_in_a_config_beside_the_rows(tmp_path: Path) -> None:
    data = documents(tmp_path / "logs.jsonl", [*LOGS, LOGS[0]])
    (tmp_path / "out").mkdir()
    with serving() as server:
        config = f"version: 1\nproviders:\n  harbour:\n    base_url: {server.url}\n"
        (tmp_path / "out" / "config.yaml").write_text(config)
        code = habitus("dedup", data, "--into", tmp_path / "out", "--embedder", "harbour/embed")

    assert code == 0
    assert len(outcome(tmp_path / "out" / "rows-harbour-embed-0.9")[1]) == 1
