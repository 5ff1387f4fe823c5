"""The command line as a user meets it: what is printed, the exit codes, and one message for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from habitus.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent


class Said:
    """What a command printed, white space folded, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, " ".join(out.split()), " ".join(err.split())


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Said]:
    monkeypatch.chdir(tmp_path)

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


def configured(text: str) -> None:
    Path("advice/config.yaml").write_text(text)


class TestFirstSession:
    def test_help_teaches_it(self, run: Callable[..., Said]) -> None:
        said = run("--help")
        assert said.code == 0
        order = [
            said.out.index(f" {name} ") for name in ("init", "check", "generate", "status", "show", "export", "prompts")
        ]
        assert order == sorted(order)
        assert "habitus generate chats advice --preview 5" in said.out

    def test_every_ending_names_the_next_command(self, run: Callable[..., Said]) -> None:
        assert "next: habitus check advice" in run("init", "advice").out
        assert "next: habitus generate chats advice --preview 5" in run("check", "advice").out
        assert "next: habitus generate chats advice" in run("generate", "chats", "advice", "--preview", "2").out
        assert "next: habitus generate chats advice" in run("status", "advice").out
        assert "next: habitus show advice chat-" in run("show", "advice").out
        assert "chats in advice/export/chats-trl.jsonl" in run("export", "advice", "chats", "--format", "trl").out

    def test_check_announces_each_choice_and_what_it_takes(self, run: Callable[..., Said]) -> None:
        run("init", "advice")
        said = run("check", "advice", "--count", "1000")
        assert said.code == 0
        assert "10 traits" in said.out
        assert "lint: nothing to say" in said.out
        assert "chats/refine refiner simulated/world config.yaml:" in said.out
        assert "what 1,000 chats take" in said.out
        assert "simulated" in said.out

    def test_a_preview_prints_every_step_and_says_that_it_is_simulated(self, run: Callable[..., Said]) -> None:
        run("init", "advice")
        said = run("generate", "chats", "advice", "--preview", "1")
        for step in ("plan", "scenario", "prompt", "default", "critique", "draft", "refine", "rate"):
            assert f"chats/{step}" in said.out
        assert "simulated: the embedded model answers" in said.out

    def test_quiet_leaves_progress_out_and_results_in(self, run: Callable[..., Said]) -> None:
        run("init", "advice")
        said = run("--quiet", "generate", "chats", "advice", "--count", "3")
        assert said.err == ""
        assert "kept 3" in said.out

    def test_without_a_terminal_nothing_is_drawn(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "habitus"]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        subprocess.run([*command, "init", "advice"], cwd=tmp_path, env=environment, check=True, capture_output=True)
        done = subprocess.run(
            [*command, "generate", "chats", "advice", "--count", "3"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0
        assert b"\x1b" not in done.stdout + done.stderr


class TestExports:
    @pytest.fixture
    def made(self, run: Callable[..., Said]) -> Callable[..., Said]:
        run("init", "advice")
        run("generate", "chats", "advice", "--count", "4")
        return run

    def test_openai_rows_hold_messages_alone(self, made: Callable[..., Said]) -> None:
        made("export", "advice", "chats", "--format", "openai", "--to", "out.jsonl")
        lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
        assert len(lines) == 4
        assert all(set(line) == {"messages"} for line in lines)

    def test_parquet_has_every_column(self, made: Callable[..., Said]) -> None:
        parquet = pytest.importorskip("pyarrow.parquet")
        made("export", "advice", "chats", "--format", "parquet")
        table = parquet.read_table("advice/export/chats-parquet.parquet")
        assert table.column_names == ["id", "trait", "messages", "meta"]
        assert table.num_rows == 4

    def test_nothing_is_overwritten(self, made: Callable[..., Said]) -> None:
        Path("out.jsonl").write_text("mine")
        said = made("export", "advice", "chats", "--format", "trl", "--to", "out.jsonl")
        assert said.code == 2
        assert "exists already" in said.err
        assert Path("out.jsonl").read_text() == "mine"


class TestMistakes:
    @pytest.fixture(autouse=True)
    def study(self, run: Callable[..., Said]) -> None:
        run("init", "advice")

    def test_no_such_study(self, run: Callable[..., Said]) -> None:
        said = run("status", "advise")
        assert said.code == 2
        assert "no such study" in said.err
        assert "habitus init advise" in said.err

    def test_init_over_something(self, run: Callable[..., Said]) -> None:
        assert run("init", "advice").code == 2

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "empty"),
            (b"\x00\x01\x02" * 100, "no text"),
            ("# Mut\n\nEr sagt, was er denkt, und bleibt fröhlich.".encode("latin-1"), "UTF-8"),
            (b"# Long\n\n" + b"word " * 2_000_000, "MB"),
        ],
    )
    def test_a_traits_document_that_is_none(self, run: Callable[..., Said], content: bytes, told: str) -> None:
        Path("advice/traits.md").write_bytes(content)
        for command in (("check", "advice"), ("generate", "chats", "advice")):
            said = run(*command)
            assert said.code == 2
            assert told in said.err
            assert "advice/traits.md" in said.err

    def test_an_unknown_key_gets_place_and_nearest_name(self, run: Callable[..., Said]) -> None:
        configured("version: 1\nchats:\n  contarst: 0.1\n")
        said = run("generate", "chats", "advice")
        assert said.code == 2
        assert "advice/config.yaml:3: unknown key 'chats.contarst'. Did you mean 'contrast'?" in said.err

    @pytest.mark.parametrize("option", [("--count", "-3"), ("--count", "0"), ("--preview", "0"), ("--count", "many")])
    def test_counts_that_are_none(self, run: Callable[..., Said], option: tuple[str, str]) -> None:
        assert run("generate", "chats", "advice", *option).code == 2

    def test_a_missing_key_variable(self, run: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        configured("models: {default: openai/gpt-5-mini}")
        for command in (("check", "advice"), ("generate", "chats", "advice")):
            said = run(*command)
            assert said.code == 2
            assert "OPENAI_API_KEY is not set" in said.err
        assert "models.author" in said.err
        assert "config.yaml:1" in said.err

    def test_an_endpoint_that_is_not_there(self, run: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("habitus.models.http.UNREACHED_PATIENCE", 0.3)
        configured("providers: {home: {base_url: 'http://127.0.0.1:9/v1'}}\nmodels: {default: home/model}")
        for command in (("check", "advice"), ("generate", "chats", "advice")):
            said = run(*command)
            assert said.code == 2
            assert "can't reach http://127.0.0.1:9/v1" in said.err

    def test_a_provider_that_nobody_knows(self, run: Callable[..., Said]) -> None:
        configured("models: {default: opnai/gpt-5-mini}")
        said = run("check", "advice")
        assert said.code == 2
        assert "opnai" in said.err

    def test_a_study_of_a_newer_version(self, run: Callable[..., Said]) -> None:
        Path("advice/manifest.json").write_text('{"version": 99, "habitus": "7.0"}')
        said = run("status", "advice")
        assert said.code == 2
        assert "format 99" in said.err
        assert "habitus 7.0" in said.err

    def test_two_runs_at_once(self, run: Callable[..., Said]) -> None:
        configured(yaml.safe_dump({"models": {"default": "simulated/world?latency=0.2"}, "chats": {"count": 50}}))
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-m", "habitus", "generate", "chats", "advice"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as first:
            while not Path("advice/ledger.db").exists():
                assert first.poll() is None
            said = run("generate", "chats", "advice")
            assert run("status", "advice").code == 0
            first.kill()
        assert said.code == 2
        assert "another habitus command is working on this study" in said.err

    def test_a_full_disk(self, run: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
        from habitus.study import Rows

        real = Rows.append

        def full(self: Rows, rows: object) -> None:
            if self.path.name == "kept.jsonl":
                raise OSError(28, "No space left on device", str(self.path))
            real(self, rows)  # ty: ignore[invalid-argument-type]

        monkeypatch.setattr(Rows, "append", full)
        said = run("generate", "chats", "advice", "--count", "5")
        assert said.code == 2
        assert "No space left on device" in said.err
        monkeypatch.undo()

    def test_a_record_that_is_not_there(self, run: Callable[..., Said]) -> None:
        run("generate", "chats", "advice", "--count", "2")
        said = run("show", "advice", "chat-00000l0")
        assert said.code == 2
        assert "Did you mean 'chat-" in said.err

    def test_a_prompt_that_is_not_there(self, run: Callable[..., Said]) -> None:
        said = run("prompts", "advice", "chats/refin")
        assert said.code == 2
        assert "Did you mean 'chats/refine'?" in said.err

    def test_a_damaged_ledger(self, run: Callable[..., Said]) -> None:
        Path("advice/ledger.db").write_bytes(b"not a database, but a page of notes\n" * 200)
        said = run("generate", "chats", "advice")
        assert said.code == 2
        assert "ledger" in said.err


def test_the_generated_pages_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
