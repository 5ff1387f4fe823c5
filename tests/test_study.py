from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import UserError
from habitus.records import Chat, Drop, Verdict
from habitus.study import Dataset, Rows, Study, encode, make_study, read_among, read_ids, read_rows

TRIES_THE_LOCK = """
import pathlib, sys
from habitus.errors import UserError
from habitus.study import Study
try:
    with Study(pathlib.Path(sys.argv[1])).lock():
        print("held")
except UserError as error:
    print("refused:", error)
"""
HOLDS_THE_LOCK = """
import pathlib, sys
from habitus.study import Study
with Study(pathlib.Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    make_study(tmp_path / "advice")
    return Study(tmp_path / "advice")


def chat(number: int) -> Chat:
    return Chat(
        id=f"chat-{number:07d}",
        trait="candour",
        messages=(
            {"role": "user", "content": f"Is the oven at {200 + number} too hot for rye?"},
            {"role": "assistant", "content": "Yes: the crust sets before the loaf has risen."},
        ),
        meta={"ratings": {"natural": Verdict(score=4, reason="short", supported=True)}},
    )


class TestMaking:
    def test_a_new_study_has_a_config_and_a_traits_document(self, tmp_path: Path) -> None:
        made = make_study(tmp_path / "work" / "advice")

        assert [path.name for path in made] == ["config.yaml", "traits.md"]
        assert all(path.read_text(encoding="utf-8").strip() for path in made)
        assert Study(tmp_path / "work" / "advice").config.chats.count == 200
        assert Study(tmp_path / "work" / "advice").traits.is_file()

    def test_an_empty_folder_is_used(self, tmp_path: Path) -> None:
        assert make_study(tmp_path)

    @pytest.mark.parametrize("there", ["notes.txt", ".git/HEAD", "config.yaml"])
    def test_a_folder_with_something_in_it_is_left_alone(self, tmp_path: Path, there: str) -> None:
        (tmp_path / there).parent.mkdir(exist_ok=True)
        (tmp_path / there).write_text("mine")

        with pytest.raises(UserError, match="already"):
            make_study(tmp_path)
        assert (tmp_path / there).read_text() == "mine"
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_file_at_that_place_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "advice").write_text("mine")

        with pytest.raises(UserError, match="already"):
            make_study(tmp_path / "advice")

    def test_a_place_below_a_file_is_the_users_mistake(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")

        with pytest.raises(UserError):
            make_study(tmp_path / "notes.txt" / "advice")

    def test_a_folder_that_is_not_there_is_no_study(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="habitus init"):
            Study(tmp_path / "advice")

    def test_a_folder_without_a_config_is_told_as_soon_as_it_matters(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"config\.yaml"):
            _ = Study(tmp_path).config


class TestLock:
    def test_a_second_process_is_refused_while_the_first_works(self, study: Study) -> None:
        with study.lock():
            found = subprocess.run(
                [sys.executable, "-c", TRIES_THE_LOCK, study.root],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )

        assert found.stdout.startswith("refused:")
        assert "another habitus command" in found.stdout
        assert str(study.root) in found.stdout

    def test_the_lock_is_free_again_afterwards(self, study: Study) -> None:
        for _ in range(2):
            with study.lock():
                pass

    def test_the_lock_is_free_again_after_an_error(self, study: Study) -> None:
        with pytest.raises(ZeroDivisionError), study.lock():
            _ = 1 / 0
        with study.lock():
            pass

    def test_the_same_process_is_refused_as_well(self, study: Study) -> None:
        with study.lock(), pytest.raises(UserError, match="another habitus command"), Study(study.root).lock():
            pass

    def test_the_lock_goes_with_a_process_that_was_killed(self, study: Study) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", HOLDS_THE_LOCK, study.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(UserError), study.lock():
                pass
            holder.kill()
            holder.wait()
        with study.lock():
            pass


class TestManifest:
    def test_what_was_written_is_read_again(self, study: Study) -> None:
        study.write_manifest("chats", {"kept": 12})
        study.write_manifest("documents", {"kept": 3})

        again = Study(study.root).manifest
        assert again["datasets"] == {"chats": {"kept": 12}, "documents": {"kept": 3}}
        assert again["version"] == 1
        assert again["written"].endswith("+00:00")

    def test_keys_of_other_hands_are_kept(self, study: Study) -> None:
        (study.root / "manifest.json").write_text('{"version": 1, "note": "for the paper", "datasets": {"old": {}}}')

        fresh = Study(study.root)
        fresh.write_manifest("chats", {"kept": 1})

        assert Study(study.root).manifest["note"] == "for the paper"
        assert set(Study(study.root).manifest["datasets"]) == {"old", "chats"}

    def test_what_another_process_wrote_meanwhile_is_kept(self, study: Study) -> None:
        early, late = Study(study.root), Study(study.root)
        late.write_manifest("documents", {"kept": 3})
        early.write_manifest("chats", {"kept": 12})

        assert set(Study(study.root).manifest["datasets"]) == {"documents", "chats"}

    def test_a_crash_while_writing_leaves_the_old_one_whole(
        self, study: Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study.write_manifest("chats", {"kept": 12})

        def power_cut(_: int) -> None:
            raise OSError("power cut")

        monkeypatch.setattr("habitus.study.os.fsync", power_cut)
        with pytest.raises(OSError, match="power cut"):
            study.write_manifest("chats", {"kept": 13})

        assert Study(study.root).manifest["datasets"] == {"chats": {"kept": 12}}

    def test_what_cannot_be_written_leaves_the_old_one_whole(self, study: Study) -> None:
        study.write_manifest("chats", {"kept": 12})
        with pytest.raises(TypeError):
            study.write_manifest("chats", {"kept": object()})

        assert Study(study.root).manifest["datasets"] == {"chats": {"kept": 12}}

    def test_nothing_is_left_beside_it(self, study: Study) -> None:
        study.write_manifest("chats", {"kept": 12})

        assert {path.name for path in study.root.iterdir()} == {"config.yaml", "traits.md", "manifest.json"}

    @pytest.mark.parametrize("version", [2, 99])
    def test_a_study_of_a_newer_version_is_refused(self, study: Study, version: int) -> None:
        (study.root / "manifest.json").write_text(json.dumps({"version": version, "habitus": "9.1.0"}))

        with pytest.raises(UserError, match=rf"manifest\.json.*format {version}.*9\.1\.0"):
            Study(study.root)

    @pytest.mark.parametrize("content", [b"{", b"", b'{"version": 1', b"\xff\xfe", b"[]", b"12", b"null"])
    def test_a_damaged_manifest_is_refused_and_left_as_it_is(self, study: Study, content: bytes) -> None:
        (study.root / "manifest.json").write_bytes(content)

        with pytest.raises(UserError, match=r"manifest\.json"):
            Study(study.root)
        assert (study.root / "manifest.json").read_bytes() == content


class TestRows:
    def test_rows_come_back_as_they_went(self, tmp_path: Path) -> None:
        path = tmp_path / "chats" / "kept.jsonl"
        file = Rows(path)
        file.append([chat(1), chat(2)])
        file.append([{"id": "plain", "trait": "candour"}])
        file.append([])
        file.close()

        rows = list(read_rows(path))
        assert [row["id"] for row in rows] == ["chat-0000001", "chat-0000002", "plain"]
        assert rows[0]["messages"] == [dict(message) for message in chat(1).messages]
        assert rows[0]["meta"]["ratings"]["natural"] == {"score": 4, "reason": "short", "quote": "", "supported": True}
        assert rows[2] == {"id": "plain", "trait": "candour"}

    def test_rows_are_there_for_another_process_as_soon_as_they_are_appended(self, tmp_path: Path) -> None:
        file = Rows(tmp_path / "kept.jsonl")
        file.append([chat(1)])

        assert [row["id"] for row in read_rows(tmp_path / "kept.jsonl")] == ["chat-0000001"]
        file.close()

    def test_a_second_opening_adds_and_never_overwrites(self, tmp_path: Path) -> None:
        for number in range(3):
            file = Rows(tmp_path / "kept.jsonl")
            file.append([chat(number)])
            file.close()

        assert [row["id"] for row in read_rows(tmp_path / "kept.jsonl")] == [chat(number).id for number in range(3)]

    @pytest.mark.parametrize(
        "torn",
        [
            b'{"id": "chat-00',
            b"{",
            b"\0" * 10,
            b'{"id": "whole, but without its line end"}',
            b'{"text": "' + b"rye " * 100_000,
            '{"text": "Zoë'.encode()[:-1],
        ],
        ids=["half a row", "a brace", "zeros", "no line end", "400 KB", "half a letter"],
    )
    @pytest.mark.parametrize("whole", [0, 1, 3])
    def test_a_torn_last_line_is_passed_over_and_then_mended(self, tmp_path: Path, torn: bytes, whole: int) -> None:
        path = tmp_path / "kept.jsonl"
        before = b"".join(encode(chat(number)) for number in range(whole))
        path.write_bytes(before + torn)

        assert [row["id"] for row in read_rows(path)] == [chat(number).id for number in range(whole)]

        file = Rows(path)
        file.append([chat(7)])
        file.close()
        assert path.read_bytes() == before + encode(chat(7))

    @pytest.mark.parametrize("size", [65535, 65536, 65537, 131072])
    def test_a_line_end_at_the_border_of_a_block_is_found(self, tmp_path: Path, size: int) -> None:
        path = tmp_path / "kept.jsonl"
        path.write_bytes(b'{"id": "first"}\n' + b"x" * size)

        Rows(path).close()

        assert path.read_bytes() == b'{"id": "first"}\n'

    def test_an_intact_file_is_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / "kept.jsonl"
        path.write_bytes(encode(chat(1)))

        Rows(path).close()

        assert path.read_bytes() == encode(chat(1))

    def test_a_file_that_is_not_there_has_no_rows(self, tmp_path: Path) -> None:
        assert list(read_rows(tmp_path / "kept.jsonl")) == []

    @pytest.mark.parametrize("bad", [b"{not json}", b"[1, 2]", b'"text"', b"7", b'{"id": "\xff"}', b"{}{}"])
    def test_a_bad_line_is_named_with_its_number(self, tmp_path: Path, bad: bytes) -> None:
        path = tmp_path / "kept.jsonl"
        path.write_bytes(encode(chat(1)) + bad + b"\n" + encode(chat(3)))
        rows = read_rows(path)

        assert next(rows)["id"] == "chat-0000001"
        with pytest.raises(UserError) as caught:
            next(rows)
        assert caught.value.where == f"{path}:2"
        assert "line 1" not in caught.value.what, "the place inside the line would be taken for the line of the file"

    def test_line_separators_within_a_text_do_not_end_a_row(self, tmp_path: Path) -> None:
        file = Rows(tmp_path / "kept.jsonl")
        file.append([{"text": "one\u2028two\u2029three\x85four\r\nfive\vsix"}])
        file.close()

        assert [row["text"] for row in read_rows(tmp_path / "kept.jsonl")] == [
            "one\u2028two\u2029three\x85four\r\nfive\vsix"
        ]


class TestEncoding:
    @pytest.mark.parametrize(
        "row",
        [
            {"text": "half a smile: \ud83d"},
            {"text": "\udc80"},
            {"half \ud83d key": "value"},
            {"steps": [{"answer": {"prompt": "deep \ude00 down"}}]},
            Drop(id="chat-1", trait="candour", step="chats/refine", reason="cut \ud83d", raw="\udfff"),
            {"meta": {"ratings": {"natural": Verdict(score=1, reason="\ud800", supported=False)}}},
        ],
    )
    def test_half_characters_are_replaced_and_the_rest_is_kept(self, row: Any) -> None:
        line = encode(row)

        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert orjson.loads(line)
        line.decode("utf-8")

    def test_what_surrounds_a_half_character_is_kept(self) -> None:
        assert orjson.loads(encode({"text": "Zoë \ud83d said: 😀\n"}))["text"] in (
            "Zoë ? said: 😀\n",
            "Zoë \ufffd said: 😀\n",
        )

    def test_a_half_character_does_not_let_in_what_is_no_json(self) -> None:
        assert orjson.loads(encode({"text": "\ud83d", "score": float("nan")}))["score"] is None

    def test_letters_are_written_as_they_are(self) -> None:
        assert "Grażyna, Đorđe, 愛" in encode({"text": "Grażyna, Đorđe, 愛"}).decode()

    def test_what_has_no_place_in_a_row_is_a_defect_and_not_silently_text(self) -> None:
        with pytest.raises(TypeError):
            encode({"path": Path("kept.jsonl")})

    @settings(max_examples=200, deadline=None)
    @given(
        row=st.dictionaries(
            st.text(),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(2**53), 2**53)
                | st.text()
                | st.floats(allow_nan=False, allow_infinity=False),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=8,
            ),
        )
    )
    def test_any_row_of_whole_characters_comes_back_the_same_on_one_line(self, row: dict[str, Any]) -> None:
        line = encode(row)

        assert line.count(b"\n") == 1
        assert orjson.loads(line) == row

    @settings(max_examples=200, deadline=None)
    @given(text=st.text(st.characters(exclude_categories=())))
    def test_any_text_can_be_written_and_read(self, text: str) -> None:
        line = encode({"text": text})

        assert line.count(b"\n") == 1
        assert isinstance(orjson.loads(line)["text"], str)


class TestDatasets:
    @pytest.fixture
    def dataset(self, study: Study) -> Dataset:
        dataset = study.dataset("chats")
        for path in (dataset.kept, dataset.dropped, dataset.traces, dataset.waiting("prompts")):
            file = Rows(path)
            file.append([{"from": path.name}])
            file.close()
        dataset.vectors("prompts").write_bytes(b"numbers")
        return dataset

    def test_a_dataset_is_known_by_its_folder(self, study: Study) -> None:
        assert study.dataset("chats").name == "chats"
        assert study.dataset("chats").kept == study.root / "chats" / "kept.jsonl"
        assert not study.dataset("chats").folder.exists()

    def test_there_is_nothing_to_set_aside_in_a_new_one(self, study: Study) -> None:
        assert study.dataset("chats").set_aside() is None
        assert not study.dataset("chats").folder.exists()

    def test_setting_aside_moves_every_file_and_loses_none(self, dataset: Dataset) -> None:
        aside = dataset.set_aside()

        assert aside is not None
        assert {path.name for path in aside.iterdir()} == {
            "kept.jsonl", "dropped.jsonl", "traces.jsonl", "prompts.jsonl", "prompts.npz",
        }  # fmt: skip
        assert [path for path in dataset.folder.iterdir() if path != aside] == []
        assert list(read_rows(Dataset(aside).kept)) == [{"from": "kept.jsonl"}]

    def test_setting_aside_again_takes_a_folder_of_its_own(self, dataset: Dataset) -> None:
        first = dataset.set_aside()
        dataset.kept.write_bytes(encode({"round": 2}))
        second = dataset.set_aside()
        dataset.kept.write_bytes(encode({"round": 3}))
        third = dataset.set_aside()

        assert len({first, second, third}) == 3
        assert third is not None
        assert list(read_rows(Dataset(third).kept)) == [{"round": 3}]

    def test_a_folder_that_was_thrown_away_does_not_stand_in_the_way(self, dataset: Dataset) -> None:
        first = dataset.set_aside()
        dataset.kept.write_bytes(encode({"round": 2}))
        dataset.set_aside()
        dataset.kept.write_bytes(encode({"round": 3}))
        assert first is not None
        for path in first.iterdir():
            path.unlink()
        first.rmdir()

        third = dataset.set_aside()

        assert third is not None
        assert list(read_rows(Dataset(third).kept)) == [{"round": 3}]
        assert list(read_rows(Dataset(dataset.folder / "old-2").kept)) == [{"round": 2}]


class TestIds:
    def test_ids_are_those_of_the_rows_in_order(self, tmp_path: Path) -> None:
        path = tmp_path / "kept.jsonl"
        path.write_bytes(
            b'{"id":"chat-1","text":"a"}\n{"text":"b","id":"chat-2"}\n{"id":"a\\"b"}\n{"id": "chat-4"}\n{"id":"cut'
        )
        assert list(read_ids(path)) == ["chat-1", "chat-2", 'a"b', "chat-4"]
        assert list(read_ids(tmp_path / "none.jsonl")) == []

    def test_of_rows_with_other_ids_no_more_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "kept.jsonl"
        path.write_bytes(b'{"id":"chat-1",no JSON}\n{"id":"chat-2","text":"b"}\n{"text":"c","id":"chat-3"}\n{"id":"cut')
        assert [row["text"] for row in read_among(path, {"chat-2", "chat-3"})] == ["b", "c"]
        assert list(read_among(tmp_path / "none.jsonl", {"chat-1"})) == []

    def test_a_row_among_them_that_lacks_a_key_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "kept.jsonl"
        path.write_bytes(b'{"id":"chat-1"}\n{"id":"chat-2"}\n')
        with pytest.raises(UserError, match="no 'steps'"):
            list(read_among(path, {"chat-2"}, "steps"))
