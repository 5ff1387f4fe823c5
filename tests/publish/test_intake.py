from __future__ import annotations

import gzip
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from habitus import sources
from habitus.errors import UserError
from habitus.publish.held import find, names_in
from habitus.publish.intake import default_name, take_in
from habitus.sources import open_source
from habitus.study import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.publish.intake import Intake
    from habitus.study import Study

ROWS: list[dict[str, Any]] = [
    {"prompt": f"How hot for loaf {number}?", "response": f"{200 + number} °C.", "baker": "Zoë", "stars": number}
    for number in range(5)
]


def bring(study: Study, path: Path | str, name: str = "tulu", **settings: Any) -> Intake:
    allowed = {"columns": {}, "limit": None, "allow_bad": 0.01} | settings
    split = allowed.pop("split", "train")
    return take_in(study, open_source(str(path), split), name, **allowed)


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def kept(study: Study, name: str = "tulu") -> list[dict[str, Any]]:
    return list(read_rows(study.dataset(f"imported/{name}").kept))


def dropped(study: Study, name: str = "tulu") -> list[dict[str, Any]]:
    return list(read_rows(study.dataset(f"imported/{name}").dropped))


class TestRows:
    def test_a_row_is_in_our_shape_and_says_whence_it_came(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "loaves.jsonl").write_text(lines(ROWS), encoding="utf-8")

        found = bring(advice, tmp_path / "loaves.jsonl")

        assert (found.shape, found.rows, found.kept, found.dropped) == ("chats", 5, 5, 0)
        assert kept(advice)[1] == {
            "id": "tulu-0000002",
            "trait": "",
            "messages": [
                {"role": "user", "content": "How hot for loaf 1?"},
                {"role": "assistant", "content": "201 °C."},
            ],
            "meta": {"source": "loaves.jsonl", "row": 2, "baker": "Zoë", "stars": 1},
        }

    def test_it_is_a_dataset_like_any_other(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "loaves.jsonl").write_text(lines(ROWS), encoding="utf-8")
        bring(advice, tmp_path / "loaves.jsonl")

        assert "imported/tulu" in names_in(advice)
        assert len(list(find(advice, "imported/tulu").rows())) == 5

    def test_the_manifest_says_what_the_file_was(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "loaves.jsonl").write_text(lines(ROWS), encoding="utf-8")
        bring(advice, tmp_path / "loaves.jsonl")

        entry = advice.manifest["datasets"]["imported/tulu"]
        assert entry["source"] == "loaves.jsonl"
        assert entry["format"] == "json lines"
        assert entry["sha256"] == sha256((tmp_path / "loaves.jsonl").read_bytes()).hexdigest()
        assert entry["simulated"] is False
        assert entry["kept"] == 5

    def test_ids_of_the_source_are_kept_and_stay_unique(self, advice: Study, tmp_path: Path) -> None:
        ids = ["a", 7, None, "", "a"]
        rows = [row | {"id": given} for row, given in zip(ROWS, ids, strict=True)]
        (tmp_path / "loaves.jsonl").write_text(lines(rows), encoding="utf-8")
        bring(advice, tmp_path / "loaves.jsonl")

        assert [row["id"] for row in kept(advice)] == ["a", "7", "tulu-0000003", "tulu-0000004", "tulu-0000005"]
        assert kept(advice)[4]["meta"]["their_id"] == "a"

    def test_columns_that_mean_something_here_are_renamed_and_lists_are_left_out(
        self, advice: Study, tmp_path: Path
    ) -> None:
        row = ROWS[0] | {"source": "a book", "ratings": 4, "tags": ["rye"], "note": None}
        (tmp_path / "loaves.jsonl").write_text(lines([row]), encoding="utf-8")
        found = bring(advice, tmp_path / "loaves.jsonl")

        meta = kept(advice)[0]["meta"]
        assert meta == {
            "source": "loaves.jsonl", "row": 1, "baker": "Zoë", "stars": 0, "their_source": "a book", "their_ratings": 4,
        }  # fmt: skip
        assert list(found.left_out) == ["tags"]

    def test_rows_of_our_own_keep_their_trait_and_that_they_were_simulated(self, advice: Study, tmp_path: Path) -> None:
        row = {"id": "doc-1", "trait": "candour", "text": "Minutes.", "meta": {"simulated": True}}
        (tmp_path / "kept.jsonl").write_text(lines([row]), encoding="utf-8")
        bring(advice, tmp_path / "kept.jsonl")

        assert kept(advice)[0]["trait"] == "candour"
        assert kept(advice)[0]["meta"]["simulated"] is True
        assert advice.manifest["datasets"]["imported/tulu"]["simulated"] is True

    def test_columns_are_what_the_user_says(self, advice: Study, tmp_path: Path) -> None:
        rows = [{"scenario": "oven", "transcript": "== Step 1 ==", "text": "a summary"}]
        (tmp_path / "runs.jsonl").write_text(lines(rows), encoding="utf-8")
        bring(advice, tmp_path / "runs.jsonl", columns={"text": "transcript"})

        assert kept(advice)[0]["text"] == "== Step 1 =="
        assert kept(advice)[0]["meta"]["scenario"] == "oven"

    def test_no_more_rows_are_read_than_were_asked_for(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "loaves.jsonl").write_text(lines(ROWS[:2]) + "{torn", encoding="utf-8")

        assert bring(advice, tmp_path / "loaves.jsonl", limit=2).rows == 2


class TestBadRows:
    def test_they_are_dropped_with_reason_row_and_text(self, advice: Study, tmp_path: Path) -> None:
        rows = [*ROWS, {"text": "Minutes."}, {"prompt": "Rye?", "response": ""}, 7]
        (tmp_path / "loaves.jsonl").write_text(lines(rows) + '{"prompt": "torn', encoding="utf-8")

        found = bring(advice, tmp_path / "loaves.jsonl", allow_bad=0.5)

        assert (found.kept, found.dropped) == (5, 4)
        told = [(row["meta"]["row"], row["step"], row["reason"].partition(" (")[0]) for row in dropped(advice)]
        assert told == [
            (6, "import", "this row is one of documents, and those before it are chats"),
            (7, "import", "'response' is empty"),
            (8, "import", "the row is no object"),
            (9, "import", "not JSON"),
        ]
        assert json.loads(dropped(advice)[0]["raw"]) == {"text": "Minutes."}
        assert dropped(advice)[3]["raw"] == '{"prompt": "torn'

    def test_too_many_of_them_end_the_import_with_the_first_few(self, advice: Study, tmp_path: Path) -> None:
        rows = [*ROWS, *({"prompt": f"Rye {number}?"} for number in range(7))]
        path = tmp_path / "loaves.jsonl"
        path.write_text(lines(rows), encoding="utf-8")

        with pytest.raises(UserError) as caught:
            bring(advice, path)

        told = caught.value.what.splitlines()
        assert told[0] == "7 of 12 rows can't be read (bound 1.0%):"
        assert told[1].strip().startswith(f"{path}:6: no columns of a known shape")
        assert told[-1].strip() == "… and 2 more"
        assert not advice.dataset("imported/tulu").folder.exists()
        assert "imported/tulu" not in advice.manifest.get("datasets", {})

    def test_the_share_is_what_counts(self, advice: Study, tmp_path: Path) -> None:
        path = tmp_path / "loaves.jsonl"
        path.write_text(lines([*ROWS * 20, {"prompt": "Rye?"}]), encoding="utf-8")

        assert bring(advice, path).dropped == 1

    def test_nothing_but_bad_rows_is_refused_whatever_is_allowed(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "loaves.jsonl").write_text("{torn\n", encoding="utf-8")

        with pytest.raises(UserError, match="1 of 1 rows"):
            bring(advice, tmp_path / "loaves.jsonl", allow_bad=1.0)

    def test_a_column_that_is_not_there_is_told(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "loaves.jsonl").write_text(lines(ROWS), encoding="utf-8")

        with pytest.raises(UserError, match=r"no column 'transcript' \(there are: prompt, response"):
            bring(advice, tmp_path / "loaves.jsonl", columns={"text": "transcript"})


class TestPlaces:
    def test_nothing_is_overwritten(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "loaves.jsonl").write_text(lines(ROWS), encoding="utf-8")
        bring(advice, tmp_path / "loaves.jsonl", limit=1)

        with pytest.raises(UserError, match="here already"):
            bring(advice, tmp_path / "loaves.jsonl")
        assert len(kept(advice)) == 1

    @pytest.mark.parametrize("name", ["", "../chats", "a/b", ".hidden", "rye bread"])
    def test_a_name_that_is_none(self, advice: Study, tmp_path: Path, name: str) -> None:
        (tmp_path / "loaves.jsonl").write_text(lines(ROWS), encoding="utf-8")

        with pytest.raises(UserError, match="is no name"):
            bring(advice, tmp_path / "loaves.jsonl", name)

    @pytest.mark.parametrize(
        ("file", "name"),
        [("loaves.jsonl", "loaves"), ("my loaves.v1.jsonl.gz", "my-loaves.v1"), ("loaves", "loaves"), ("Brød.json", "Br-d")],
    )  # fmt: skip
    def test_a_name_is_made_of_the_file_s(self, tmp_path: Path, file: str, name: str) -> None:
        (tmp_path / file).write_text(lines(ROWS), encoding="utf-8")

        assert default_name(open_source(str(tmp_path / file), "train")) == name


class TestFormats:
    def write(self, path: Path, kind: str) -> Path:
        if kind == "parquet":
            pyarrow = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
            return path
        text = {
            "jsonl": lines(ROWS),
            "jsonl with a mark and empty lines": "\ufeff\n" + lines(ROWS).replace("\n", "\r\n\r\n"),
            "jsonl without a last newline": lines(ROWS).rstrip("\n"),
            "array": json.dumps(ROWS, ensure_ascii=False),
            "array of many lines": "\ufeff" + json.dumps(ROWS, indent=2),
            "gzip": lines(ROWS),
            "array in gzip": json.dumps(ROWS),
        }[kind]
        content = text.encode()
        path.write_bytes(gzip.compress(content) if "gzip" in kind else content)
        return path

    @pytest.mark.parametrize(
        "kind",
        ["jsonl", "jsonl with a mark and empty lines", "jsonl without a last newline", "array", "array of many lines",
         "gzip", "array in gzip", "parquet"],
    )  # fmt: skip
    def test_each_is_told_by_what_is_in_it(self, advice: Study, tmp_path: Path, kind: str) -> None:
        found = bring(advice, self.write(tmp_path / "loaves", kind))

        assert (found.rows, found.kept) == (5, 5)
        assert [row["meta"]["stars"] for row in kept(advice)] == [0, 1, 2, 3, 4]
        assert kept(advice)[4]["messages"][1]["content"] == "204 °C."

    @pytest.mark.parametrize("chunk", [1, 7, 100])
    def test_an_array_is_read_piece_by_piece(
        self, advice: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
    ) -> None:
        monkeypatch.setattr(sources, "CHUNK", chunk)
        bring(advice, self.write(tmp_path / "loaves", "array of many lines"))

        assert [row["meta"]["stars"] for row in kept(advice)] == [0, 1, 2, 3, 4]

    def test_an_array_that_is_torn_is_refused_whole(self, advice: Study, tmp_path: Path) -> None:
        (tmp_path / "loaves.json").write_text(json.dumps(ROWS * 100)[:-40])

        with pytest.raises(UserError, match="no JSON from row 500 on"):
            bring(advice, tmp_path / "loaves.json")
        assert not advice.dataset("imported/tulu").folder.exists()

    def test_a_gzip_file_that_is_torn_is_refused(self, advice: Study, tmp_path: Path) -> None:
        content = gzip.compress("".join(lines([row | {"salt": str(at)}]) for at, row in enumerate(ROWS * 900)).encode())
        (tmp_path / "loaves.jsonl.gz").write_bytes(content[: len(content) // 2])

        with pytest.raises(UserError, match="can't be unpacked"):
            bring(advice, tmp_path / "loaves.jsonl.gz")
        assert not advice.dataset("imported/tulu").folder.exists()

    def test_a_parquet_file_that_is_damaged_is_refused(self, advice: Study, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow")
        (tmp_path / "loaves.parquet").write_bytes(b"PAR1" + bytes(100))

        with pytest.raises(UserError, match="damaged"):
            bring(advice, tmp_path / "loaves.parquet")

    @pytest.mark.parametrize(
        ("source", "told"),
        [("missing.jsonl", "no such file"), ("allenai/tulu", "write hf:allenai/tulu"), (".", "this is a folder")],
    )
    def test_what_is_not_there_is_told(self, source: str, told: str) -> None:
        with pytest.raises(UserError, match=told):
            open_source(source, "train")

    @pytest.mark.parametrize(("content", "told"), [("", "empty"), ("\n\n", "no row"), ("[]", "no row")])
    def test_nothing_is_no_dataset(self, advice: Study, tmp_path: Path, content: str, told: str) -> None:
        (tmp_path / "loaves.json").write_text(content)

        with pytest.raises(UserError, match=told):
            bring(advice, tmp_path / "loaves.json")


class TestHub:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        pytest.importorskip("datasets")
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        folder = tmp_path / "bakery"
        folder.mkdir()
        (folder / "train.jsonl").write_text(lines(ROWS), encoding="utf-8")
        (folder / "test.jsonl").write_text(lines(ROWS[:1]), encoding="utf-8")
        return folder

    def test_a_dataset_is_loaded_by_its_name(self, advice: Study, folder: Path) -> None:
        found = bring(advice, f"hf:{folder}")

        assert (found.rows, found.kept) == (5, 5)
        assert kept(advice)[0]["meta"] == {"source": "hf:bakery", "row": 1, "baker": "Zoë", "stars": 0}
        entry = advice.manifest["datasets"]["imported/tulu"]
        assert (entry["format"], entry["sha256"]) == ("hub", None)

    def test_another_split_and_configuration(self, advice: Study, folder: Path) -> None:
        card = "---\nconfigs:\n- config_name: rye\n  data_files:\n  - split: oven\n    path: test.jsonl\n---\n"
        (folder / "README.md").write_text(card)

        assert bring(advice, f"hf:{folder}:rye", split="oven").rows == 1
        assert default_name(open_source(f"hf:{folder}:rye", "oven")) == "bakery-rye"

    def test_a_split_that_is_none_is_told(self, advice: Study, folder: Path) -> None:
        with pytest.raises(UserError, match=r"hf:.*bakery: this can't be loaded .*split"):
            bring(advice, f"hf:{folder}", split="oven")

    def test_a_dataset_that_is_none_is_told(self, advice: Study, folder: Path) -> None:
        with pytest.raises(UserError, match=r"hf:moors/nothing: this can't be loaded"):
            bring(advice, "hf:moors/nothing")
        assert not advice.dataset("imported/tulu").folder.exists()


@pytest.mark.data
def test_every_file_of_real_chats_is_read_whole(advice: Study, data: Path) -> None:
    for path in sorted((data / "chats").glob("*.jsonl.gz")):
        with gzip.open(path) as file:
            rows = sum(1 for _ in file)
        name = default_name(open_source(str(path), "train"))
        found = bring(advice, path, name)
        assert (found.shape, found.kept, found.dropped) == ("chats", rows, 0)


@pytest.mark.data
def test_real_transcripts_are_read_as_documents(advice: Study, data: Path) -> None:
    for path in sorted((data / "odcv").glob("transcripts-*.jsonl.gz")):
        name = default_name(open_source(str(path), "train"))
        found = bring(advice, path, name, columns={"text": "transcript"})
        assert found.shape == "documents"
        assert found.dropped == 0
