from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from habitus.errors import UserError
from habitus.publish import export
from habitus.publish.export import FORMS, export_dataset
from habitus.publish.held import COLUMNS, find, names_in
from habitus.study import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.publish.export import Form
    from habitus.study import Study

ASKED = {"role": "user", "content": "Is my loaf number 2 good?"}
CHOSEN = {"role": "assistant", "content": "The crust is; the crumb is raw in the middle."}
REJECTED = {"role": "assistant", "content": "Absolutely wonderful!"}


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows as a reader that knows of JSON lines alone does."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def add(study: Study, name: str, row: dict[str, Any]) -> None:
    file = Rows(study.dataset(name).kept)
    file.append([row])
    file.close()


class TestForms:
    def test_for_trl_each_row_says_whence_it_came(self, advice: Study, tmp_path: Path) -> None:
        path, number = export_dataset(find(advice, "chats"), "trl", tmp_path / "out")

        assert path == tmp_path / "out" / "chats-trl.jsonl"
        assert number == 3
        rows = lines(path)
        assert [row["id"] for row in rows] == ["chat-0000003", "chat-0000001", "chat-0000002"]
        assert all(set(row) == {"messages", "id", "trait"} for row in rows)
        assert [len(row["messages"]) for row in rows] == [2, 2, 6]
        assert rows[0]["messages"][1]["content"] == "Lower it to 230\u2028and wait."

    def test_for_trl_documents_are_text_and_pairs_are_conversations(self, advice: Study, tmp_path: Path) -> None:
        documents, _ = export_dataset(find(advice, "documents"), "trl", tmp_path)
        pairs, _ = export_dataset(find(advice, "preferences"), "trl", tmp_path)

        assert all(set(row) == {"text", "id", "trait"} for row in lines(documents))
        assert lines(pairs)[1] == {
            "prompt": [ASKED],
            "chosen": [CHOSEN],
            "rejected": [REJECTED],
            "id": "preference-0000002",
            "trait": "candour",
        }

    @pytest.mark.parametrize("form", ["openai", "together", "tinker"])
    def test_services_get_messages_alone(self, advice: Study, tmp_path: Path, form: Form) -> None:
        path, _ = export_dataset(find(advice, "chats"), form, tmp_path)

        assert path.name == f"chats-{form}.jsonl"
        for row in lines(path):
            assert set(row) == {"messages"}
            assert all(set(message) == {"role", "content"} for message in row["messages"])

    @pytest.mark.parametrize("form", ["openai", "together"])
    def test_openai_and_together_take_pairs_in_one_shape(self, advice: Study, tmp_path: Path, form: Form) -> None:
        path, _ = export_dataset(find(advice, "preferences"), form, tmp_path)

        assert lines(path)[1] == {
            "input": {"messages": [ASKED]},
            "preferred_output": [CHOSEN],
            "non_preferred_output": [REJECTED],
        }

    def test_tinker_takes_pairs_as_labelled_comparisons(self, advice: Study, tmp_path: Path) -> None:
        path, _ = export_dataset(find(advice, "preferences"), "tinker", tmp_path)

        pair = {"prompt_conversation": [ASKED], "completion_A": [CHOSEN], "completion_B": [REJECTED]}
        assert lines(path)[1] == {"comparison": pair, "label": "A"}

    def test_together_takes_documents_as_text_alone(self, advice: Study, tmp_path: Path) -> None:
        path, _ = export_dataset(find(advice, "documents"), "together", tmp_path)

        assert [set(row) for row in lines(path)] == [{"text"}] * 3

    @pytest.mark.parametrize(("form", "service"), [("openai", "OpenAI"), ("tinker", "Tinker")])
    def test_who_takes_no_plain_text_is_told_with_who_does(
        self, advice: Study, tmp_path: Path, form: Form, service: str
    ) -> None:
        with pytest.raises(UserError, match=rf"documents: .*{service}.*trl, together or parquet"):
            export_dataset(find(advice, "documents"), form, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_keys_that_came_with_foreign_messages_do_not_reach_a_service(self, advice: Study, tmp_path: Path) -> None:
        message = {"role": "user", "content": "Rye?", "timestamp": 3}
        row = {"id": "a", "trait": "", "messages": [message, CHOSEN], "meta": {}}
        add(advice, "chats", row)

        path, _ = export_dataset(find(advice, "chats"), "openai", tmp_path)

        assert lines(path)[3]["messages"][0] == {"role": "user", "content": "Rye?"}


class TestParquet:
    @pytest.fixture(autouse=True)
    def pyarrow(self) -> None:
        pytest.importorskip("pyarrow")

    @pytest.mark.parametrize("name", COLUMNS)
    def test_every_column_is_there(self, advice: Study, tmp_path: Path, name: str) -> None:
        from pyarrow import parquet

        held = find(advice, name)
        path, number = export_dataset(held, "parquet", tmp_path / "out")

        rows = parquet.read_table(path).to_pylist()
        assert path.name == f"{name}-parquet.parquet"
        assert number == 3
        assert [row | {"meta": json.loads(row["meta"])} for row in rows] == list(held.rows())

    def test_rows_are_written_in_groups(self, advice: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from pyarrow import parquet

        monkeypatch.setattr(export, "ROW_GROUP", 2)
        path, _ = export_dataset(find(advice, "documents"), "parquet", tmp_path)

        file = parquet.ParquetFile(path)
        assert [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)] == [2, 1]

    def test_a_trait_that_is_empty_in_the_first_group_is_no_trouble(
        self, advice: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pyarrow import parquet

        monkeypatch.setattr(export, "ROW_GROUP", 1)
        add(advice, "documents", {"id": "d", "trait": "", "text": "", "meta": {"pages": None}})
        path, _ = export_dataset(find(advice, "documents"), "parquet", tmp_path)

        assert parquet.read_table(path).column("trait").to_pylist() == ["candour"] * 3 + [""]


def test_parquet_without_pyarrow_says_what_to_install(
    advice: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(UserError, match=r"habitus\[parquet\]"):
        export_dataset(find(advice, "chats"), "parquet", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", COLUMNS)
def test_the_datasets_library_loads_what_is_for_trl(advice: Study, tmp_path: Path, name: str) -> None:
    datasets = pytest.importorskip("datasets")
    path, _ = export_dataset(find(advice, name), "trl", tmp_path / "out")

    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))

    assert [*loaded] == [{column: row[column] for column in loaded.column_names} for row in lines(path)]
    assert set(loaded.column_names) == {*COLUMNS[name], "id", "trait"}


class TestPlaces:
    def test_a_path_with_an_ending_is_the_file_itself(self, advice: Study, tmp_path: Path) -> None:
        path, _ = export_dataset(find(advice, "chats"), "trl", tmp_path / "deep" / "train.jsonl")

        assert path == tmp_path / "deep" / "train.jsonl"
        assert len(lines(path)) == 3

    def test_a_folder_with_a_dot_in_its_name_is_a_folder(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "runs-v1.2").mkdir()

        path, _ = export_dataset(find(advice, "chats"), "trl", tmp_path / "runs-v1.2")

        assert path == tmp_path / "runs-v1.2" / "chats-trl.jsonl"

    @pytest.mark.parametrize("form", FORMS)
    def test_a_file_that_is_there_is_not_overwritten(self, advice: Study, tmp_path: Path, form: Form) -> None:
        mine = tmp_path / "train.dat"
        mine.write_text("mine")

        with pytest.raises(UserError, match="exists already"):
            export_dataset(find(advice, "chats"), form, mine)
        assert mine.read_text() == "mine"

    def test_runs_that_were_set_aside_and_imported_data_are_exported_under_their_names(
        self, advice: Study, tmp_path: Path
    ) -> None:
        for name in ("chats/old-1", "imported/tulu"):
            add(advice, name, {"id": "a", "trait": "", "messages": [ASKED, CHOSEN], "meta": {}})

        assert names_in(advice) == ["chats", "chats/old-1", "documents", "imported/tulu", "preferences"]
        path, _ = export_dataset(find(advice, "chats/old-1"), "openai", tmp_path)
        assert path.name == "chats-old-1-openai.jsonl"


class TestMistakes:
    def test_nothing_kept_is_told_with_the_next_step(self, advice: Study) -> None:
        advice.dataset("documents").kept.write_bytes(b"")

        with pytest.raises(UserError, match="habitus generate documents"):
            find(advice, "documents")

    def test_a_name_that_is_none_is_told_with_the_nearest(self, advice: Study) -> None:
        with pytest.raises(UserError, match=r"'chat'.*Did you mean 'chats'\?.*chats, documents, preferences"):
            find(advice, "chat")

    @pytest.mark.parametrize("name", ["../advice/chats", "/etc", "", "."])
    def test_a_path_is_no_name(self, advice: Study, name: str) -> None:
        with pytest.raises(UserError, match="no dataset"):
            find(advice, name)

    def test_a_row_that_was_torn_by_a_crash_is_not_exported(self, advice: Study, tmp_path: Path) -> None:
        with advice.dataset("chats").kept.open("ab") as file:
            file.write(b'{"id": "chat-0000009", "messages": [')

        path, number = export_dataset(find(advice, "chats"), "openai", tmp_path)

        assert number == 3
        assert len(lines(path)) == 3

    @pytest.mark.parametrize("form", FORMS)
    def test_a_row_that_somebody_mended_badly_is_told_with_its_line(
        self, advice: Study, tmp_path: Path, form: Form
    ) -> None:
        with advice.dataset("chats").kept.open("ab") as file:
            file.write(b'{"id": "chat-0000009"}\n')

        with pytest.raises(UserError, match=r"kept\.jsonl:4"):
            export_dataset(find(advice, "chats"), form, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize("messages", [[], "Rye?", [{"role": "user"}], [{"role": "user", "content": None}]])
    def test_messages_that_are_none_are_told(self, advice: Study, tmp_path: Path, messages: Any) -> None:
        add(advice, "chats", {"id": "a", "trait": "", "messages": messages, "meta": {}})

        with pytest.raises(UserError, match=r"kept\.jsonl:4: 'messages' is no list of messages"):
            export_dataset(find(advice, "chats"), "trl", tmp_path)

    def test_a_first_row_of_no_known_shape_is_told(self, advice: Study) -> None:
        add(advice, "notes", {"id": "a", "remark": "flour is out"})

        with pytest.raises(UserError, match=r"kept\.jsonl:1: this row is no chat"):
            _ = find(advice, "notes").shape

    @pytest.mark.parametrize(
        ("form", "roles", "told"),
        [
            ("openai", ["user", "critic"], "openai knows no role 'critic'"),
            ("openai", ["user"], "last message is not the assistant's"),
            ("together", ["user", "tool", "assistant"], "together knows no role 'tool'"),
            ("together", ["user", "user", "assistant"], "in turns"),
            ("together", ["user", "system", "assistant"], "in turns"),
            ("together", ["system", "assistant", "user", "assistant"], "the user begins"),
        ],
    )
    def test_a_conversation_that_a_service_would_refuse_is_told_with_its_line(
        self, advice: Study, tmp_path: Path, form: Form, roles: list[str], told: str
    ) -> None:
        messages = [{"role": role, "content": "Rye?"} for role in roles]
        add(advice, "chats", {"id": "a", "trait": "", "messages": messages, "meta": {}})

        with pytest.raises(UserError, match=rf"kept\.jsonl:4: .*{told}"):
            export_dataset(find(advice, "chats"), form, tmp_path)

    @pytest.mark.parametrize(
        ("change", "told"),
        [({"prompt": [ASKED, CHOSEN]}, "prompt ends with"), ({"rejected": [ASKED, REJECTED]}, "is one message")],
    )
    def test_a_pair_that_a_service_would_refuse_is_told_with_its_line(
        self, advice: Study, tmp_path: Path, change: dict[str, Any], told: str
    ) -> None:
        row = {"id": "a", "trait": "", "prompt": [ASKED], "chosen": [CHOSEN], "rejected": [REJECTED], "meta": {}}
        add(advice, "preferences", row | change)

        with pytest.raises(UserError, match=rf"kept\.jsonl:4: .*{told}"):
            export_dataset(find(advice, "preferences"), "openai", tmp_path)

    def test_a_failed_export_leaves_no_half_file_behind(
        self, advice: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: Any) -> bytes:
            raise OSError("no space left")

        monkeypatch.setattr(export, "encode", full)

        with pytest.raises(OSError, match="no space left"):
            export_dataset(find(advice, "chats"), "trl", tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []
