from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from habitus.cli import main
from habitus.study import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from habitus.study import Study


class Said:
    """What a command printed, white space folded, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, " ".join(out.split()), " ".join(err.split())


@pytest.fixture
def run(advice: Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    monkeypatch.chdir(advice.root.parent)

    def call(*arguments: str) -> Said:
        code = 0
        try:
            main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Said(code, out, err)

    return call


def test_every_dataset_goes_out_under_its_own_name(run: Callable[..., Said]) -> None:
    assert (
        "3 documents in advice/export/documents-together.jsonl"
        in run("export", "advice", "documents", "--format", "together").out
    )
    assert (
        "3 preferences in advice/export/preferences-tinker.jsonl"
        in run("export", "advice", "preferences", "--format", "tinker").out
    )


def test_a_form_that_a_service_does_not_take_is_one_message(run: Callable[..., Said]) -> None:
    said = run("export", "advice", "documents", "--format", "openai")

    assert said.code == 2
    assert "takes no plain text" in said.err


def test_too_few_rows_for_openai_are_told(run: Callable[..., Said]) -> None:
    said = run("export", "advice", "chats", "--format", "openai")

    assert said.code == 0
    assert "fewer than 10 rows" in said.err


def test_a_name_that_is_none_is_told_with_the_nearest(run: Callable[..., Said]) -> None:
    said = run("card", "advice", "document")

    assert said.code == 2
    assert "Did you mean 'documents'?" in said.err


def test_a_card_is_written_beside_the_rows_and_names_the_next_command(run: Callable[..., Said]) -> None:
    said = run("card", "advice", "chats")

    assert "the card of chats is in advice/chats/README.md" in said.out
    assert "next: habitus push advice chats --to OWNER/NAME --dry-run" in said.out
    assert Path("advice/chats/README.md").read_text().startswith("---\n")


def test_a_dry_run_prints_files_and_card_and_needs_neither_network_nor_token(run: Callable[..., Said]) -> None:
    said = run("push", "advice", "chats", "--to", "moors/advice", "--dry-run")

    size = f"{Path('advice/chats/kept.jsonl').stat().st_size:,}"
    assert said.code == 0
    assert "moors/advice (private dataset)" in said.out
    assert f"data/train.jsonl {size}" in said.out
    assert "# advice: chats" in said.out
    assert "next: habitus push advice chats --to moors/advice" in said.out


def test_the_next_command_of_a_dry_run_sends_the_same(run: Callable[..., Said]) -> None:
    said = run("push", "advice", "chats", "--to", "moors/advice", "--public", "--with-dropped", "--dry-run")

    assert said.out.endswith("next: habitus push advice chats --to moors/advice --public --with-dropped")


def test_foreign_rows_come_in_and_name_the_next_command(run: Callable[..., Said]) -> None:
    rows = [{"question": "How hot?", "reply": "230 °C.", "tags": ["rye"]}] * 3
    Path("loaves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    said = run("import", "loaves.jsonl", "advice", "--column", "prompt=question", "--column", "response=reply")

    assert said.code == 0
    assert "3 chats in advice/imported/loaves/kept.jsonl" in said.out
    assert "left out: tags" in said.err
    assert "next: habitus card advice imported/loaves" in said.out
    assert run("card", "advice", "imported/loaves").code == 0


def test_too_many_bad_rows_are_told_by_line(run: Callable[..., Said]) -> None:
    Path("loaves.jsonl").write_text('{"prompt": "How hot?", "response": "230 °C."}\n{"prompt": "torn\n')

    said = run("import", "loaves.jsonl", "advice")

    assert said.code == 2
    assert "1 of 2 rows can't be read (bound 1.0%): loaves.jsonl:2: not JSON" in said.err


def test_a_few_bad_rows_are_told_when_they_are_allowed(run: Callable[..., Said]) -> None:
    Path("loaves.jsonl").write_text('{"prompt": "How hot?", "response": "230 °C."}\n{"prompt": "torn\n')

    said = run("import", "loaves.jsonl", "advice", "--allow-bad", "0.5")

    assert said.code == 0
    assert "1 rows can't be read; dropped.jsonl beside it says why, such as loaves.jsonl:2: not JSON" in said.err


def test_a_column_that_is_no_pair_is_told(run: Callable[..., Said]) -> None:
    Path("loaves.jsonl").write_text('{"prompt": "How hot?", "response": "230 °C."}\n')

    said = run("import", "loaves.jsonl", "advice", "--column", "prompt")

    assert said.code == 2
    assert "Write OURS=THEIRS" in said.err


def test_two_commands_do_not_write_at_once(run: Callable[..., Said], advice: Study) -> None:
    Path("loaves.jsonl").write_text('{"prompt": "How hot?", "response": "230 °C."}\n')

    with advice.lock():
        assert "another habitus command" in run("import", "loaves.jsonl", "advice").err
        assert "another habitus command" in run("push", "advice", "chats", "--to", "moors/advice").err


def test_a_growing_dataset_may_be_exported(run: Callable[..., Said], advice: Study) -> None:
    file = Rows(advice.dataset("chats").kept)
    with advice.lock():
        assert "3 chats" in run("export", "advice", "chats", "--format", "trl").out
    file.close()
