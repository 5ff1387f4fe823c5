from __future__ import annotations

import base64
import json
import re
import shutil
import threading
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from habitus.errors import UserError
from habitus.publish.held import find
from habitus.publish.model import find_model, model_card
from habitus.publish.push import CARD, DROPPED, TRAIN, pack, pack_model, push
from habitus.records import Drop
from habitus.study import Rows
from studies import habitus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from habitus.publish.push import Parcel
    from habitus.study import Study

pytest.importorskip("huggingface_hub")
# The client's own upload of large files calls its HTTP library in a way that this one has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
TOKEN = "hf_bakers"


@dataclass
class Repository:
    """One repository of the stand-in."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """A stand-in for the hub's HTTP interface, with one user who may write as `moors`."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    failing: dict[str, int] = field(default_factory=dict)
    """A status to answer with, by a part of the path."""
    bad_card: str = ""
    url: str = ""

    def answer(self, method: str, path: str, token: str, content: bytes) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        if status := next((status for part, status in self.failing.items() if part in path), None):
            return status, {"error": "The ovens are being cleaned."}
        if found := re.fullmatch(r"/storage/(\w+)", path):
            self.storage[found[1]] = content
            return 200, {}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        sent = json.loads(content) if content and "/commit/" not in path else {}
        if path in ("/api/repos/create", "/api/validate-yaml"):
            return self.create(sent) if "create" in path else self.validate()
        found = re.fullmatch(r"(?:/api/models|(?:/api)?/datasets)?/([\w.-]+/[\w-]+)(/.*|\.git/.*)?", path)
        repository = self.repositories.get(found[1]) if found else None
        if not found or repository is None:
            return 404, {"error": "Repository not found"}
        return self.about(found[1], repository, found[2] or "", sent, content)

    def validate(self) -> tuple[int, Any]:
        errors = [{"message": self.bad_card}] if self.bad_card else []
        return (400 if errors else 200), {"errors": errors, "warnings": []}

    def create(self, sent: dict[str, Any]) -> tuple[int, Any]:
        assert sent.get("type", "model") in {"dataset", "model"}
        if sent["organization"] != "moors":
            return 403, {"error": "You don't have the rights to create a dataset under this namespace"}
        name = f"moors/{sent['name']}"
        is_private = sent.get("private", sent.get("visibility") == "private")  # as older and newer clients ask
        self.repositories[name] = Repository(is_private, {".gitattributes": b""})
        return 200, {"url": f"{self.url}/datasets/{name}"}

    def about(
        self, name: str, repository: Repository, rest: str, sent: dict[str, Any], content: bytes
    ) -> tuple[int, Any]:
        if not rest:
            card = repository.files.get(CARD, b"").decode()
            fields = yaml.safe_load(card.split("---\n")[1]) if card.startswith("---\n") else None
            siblings = [{"rfilename": path} for path in repository.files]
            return 200, {"id": name, "private": repository.private, "siblings": siblings, "cardData": fields}
        if rest == "/preupload/main":
            modes = {
                one["path"]: "lfs" if one["path"].endswith((".jsonl", ".safetensors")) else "regular"
                for one in sent["files"]
            }
            return 200, {"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]}
        if rest == ".git/info/lfs/objects/batch":
            href = f"{self.url}/storage/"
            objects = [one | {"actions": {"upload": {"href": href + one["oid"]}}} for one in sent["objects"]]
            return 200, {"transfer": "basic", "objects": objects}
        if rest != "/commit/main":
            return 418, {"error": f"nobody answers {rest}"}
        return self.commit(name, repository, [json.loads(line) for line in content.splitlines()])

    def commit(self, name: str, repository: Repository, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.storage[value["oid"]]
                assert sha256(self.storage[value["oid"]]).hexdigest() == value["oid"]
            else:
                repository.files[value["path"]] = base64.b64decode(value["content"])
        return 200, {"commitUrl": f"{self.url}/datasets/{name}/commit/{'1' * 40}", "commitOid": "1" * 40}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """Return a running stand-in, to which a client of today's user is bound."""
    standing = Hub()

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            token = self.headers.get("Authorization", "")
            status, told = standing.answer(self.command, self.path.partition("?")[0], token, content)
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status >= 400:
                self.send_header("X-Error-Message", told.get("error", "Bad request"))
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = reply  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        standing.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", standing.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # a storage protocol of its own
        yield standing
        server.shutdown()
    from huggingface_hub.utils import close_session

    close_session()


def packed(study: Study, *, name: str = "chats", private: bool = True, dropped: bool = False) -> Parcel:
    return pack(find(study, name), "moors/advice-chats", is_private=private, with_dropped=dropped)


def packed_model(study: Study, *, adapter: bool = False) -> Parcel:
    return pack_model(find_model(study, "taught"), "moors/taught", is_private=True, adapter=adapter)


@pytest.fixture
def trained(advice: Study) -> Study:
    """The study after two arms were trained, of which one was evaluated."""
    for arm in ("taught", "other"):
        folder = advice.root / "models" / arm / "seed-1"
        for part, names in {
            "checkpoint": ("config.json", "model.safetensors", "tokenizer_config.json"),
            "adapter": ("adapter_config.json", "adapter_model.safetensors"),
        }.items():
            (folder / part).mkdir(parents=True)
            for name in names:
                (folder / part / name).write_bytes(b"weights" if name.endswith(".safetensors") else b"{}")
        (folder / "run.json").write_text(
            json.dumps({"arm": arm, "seed": 1, "from": "Qwen/Qwen3-0.6B-Base", "done": True})
        )
        (folder / "mixture.jsonl").write_text('{"id": "chat-0000001", "source": "chats"}\n')
        (folder / "curve.svg").write_text("<svg/>")
        front = "---\ntags:\n- habitus\nlibrary_name: transformers\nbase_model: Qwen/Qwen3-0.6B-Base\n---"
        (folder / "README.md").write_text(
            f"{front}\n\n# {arm}, seed 1\n\nTrained.\n\n## sft\n\nRows.\n\n## Made with\n\n| | |\n"
        )
    measure = {
        "key": "overreach", "title": "answers out of place", "kind": "rate", "better": "lower",
        "estimate": {"value": 0.1, "low": 0.05, "high": 0.2, "count": 20},
        "difference": {"value": -0.4, "low": -0.6, "high": -0.2},
    }  # fmt: skip
    words = measure | {"key": "words", "title": "words in an answer", "better": None}
    told = {"arm": "taught/seed-1", "baseline": "baseline/seed-1", "evals": [{"name": "overreach", "simulated": False, "measures": [measure, words]}]}  # fmt: skip
    (advice.root / "evals" / "taught" / "seed-1").mkdir(parents=True)
    (advice.root / "evals" / "taught" / "seed-1" / "results.json").write_text(json.dumps(told))
    return advice


class TestArrival:
    def test_rows_and_card_arrive_byte_for_byte_in_a_new_private_repository(self, advice: Study, hub: Hub) -> None:
        parcel = packed(advice)

        address = push(parcel, "first bake")

        there = hub.repositories["moors/advice-chats"]
        assert address == f"{hub.url}/datasets/moors/advice-chats"
        assert there.private
        assert there.messages == ["first bake"]
        assert there.files[TRAIN] == advice.dataset("chats").kept.read_bytes()
        assert there.files[CARD].decode() == parcel.card
        assert set(there.files) == {".gitattributes", TRAIN, CARD}

    def test_it_is_public_where_that_was_said(self, advice: Study, hub: Hub) -> None:
        push(packed(advice, private=False), "first bake")

        assert not hub.repositories["moors/advice-chats"].private

    def test_the_card_says_where_the_files_are(self, advice: Study, hub: Hub, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        push(packed(advice), "first bake")

        for path, content in hub.repositories["moors/advice-chats"].files.items():
            (tmp_path / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "clone" / path).write_bytes(content)
        loaded = datasets.load_dataset(str(tmp_path / "clone"), split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded["id"] == ["chat-0000003", "chat-0000001", "chat-0000002"]
        assert 'load_dataset("moors/advice-chats", split="train")' in (tmp_path / "clone" / CARD).read_text()

    def test_what_was_dropped_goes_along_where_that_was_said(self, advice: Study, hub: Hub) -> None:
        file = Rows(advice.dataset("chats").dropped)
        file.append([Drop(id="chat-9", trait="candour", step="chats/rate", reason="natural 2 < 3")])
        file.close()

        push(packed(advice, dropped=True), "first bake")

        there = hub.repositories["moors/advice-chats"].files
        fields = yaml.safe_load(there[CARD].decode().split("---\n")[1])
        assert there[DROPPED] == advice.dataset("chats").dropped.read_bytes()
        assert [one["config_name"] for one in fields["configs"]] == ["default", "dropped"]

    def test_a_line_that_a_crash_left_unfinished_stays_here(self, advice: Study, hub: Hub) -> None:
        whole = advice.dataset("chats").kept.read_bytes()
        advice.dataset("chats").kept.write_bytes(whole + b'{"id": "chat-')

        push(packed(advice), "first bake")

        assert hub.repositories["moors/advice-chats"].files[TRAIN] == whole

    def test_a_second_push_of_the_same_dataset_is_a_second_commit(self, advice: Study, hub: Hub) -> None:
        push(packed(advice), "first bake")
        advice.dataset("chats").kept.write_bytes(advice.dataset("chats").kept.read_bytes().splitlines(keepends=True)[0])
        push(packed(advice), "second bake")

        there = hub.repositories["moors/advice-chats"]
        assert there.messages == ["first bake", "second bake"]
        assert there.files[TRAIN] == advice.dataset("chats").kept.read_bytes()

    def test_an_empty_repository_that_is_there_is_used(self, advice: Study, hub: Hub) -> None:
        hub.repositories["moors/advice-chats"] = Repository(private=True, files={".gitattributes": b""})

        push(packed(advice), "first bake")

        assert TRAIN in hub.repositories["moors/advice-chats"].files
        assert not any("create" in call for call in hub.calls)


class TestRefusals:
    def refused(self, parcel: Parcel, told: str) -> UserError:
        with pytest.raises(UserError, match=told) as caught:
            push(parcel, "first bake")
        assert caught.value.todo
        return caught.value

    def test_without_a_token_nothing_is_asked_of_the_hub(
        self, advice: Study, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("HF_TOKEN")

        error = self.refused(packed(advice), "no Hugging Face token")

        assert "hf auth login" in error.todo
        assert hub.calls == []

    def test_a_token_that_is_none(self, advice: Study, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_stolen")

        self.refused(packed(advice), "does not accept this token")

    def test_an_owner_for_whom_one_may_not_write(self, advice: Study, hub: Hub) -> None:
        parcel = pack(find(advice, "chats"), "allotments/advice", is_private=True, with_dropped=False)

        self.refused(parcel, "may not write to 'allotments'")

    @pytest.mark.parametrize("tags", [["habitus"], ["poetry"]])
    def test_a_repository_that_holds_something_else_is_left_alone(
        self, advice: Study, hub: Hub, tags: list[str]
    ) -> None:
        card = f"---\npretty_name: 'poems: chats'\ntags: {tags}\n---\nPoems.".encode()
        files = {CARD: card, "poems.csv": b"roses"}
        hub.repositories["moors/advice-chats"] = Repository(private=True, files=dict(files))

        self.refused(packed(advice), r"something else is in this repository already \(README.md, poems.csv\)")

        assert hub.repositories["moors/advice-chats"].files == files

    def test_another_dataset_of_the_same_study_is_something_else(self, advice: Study, hub: Hub) -> None:
        push(packed(advice), "first bake")

        self.refused(packed(advice, name="documents"), "something else")

    @pytest.mark.parametrize(("private", "now"), [(True, "public"), (False, "private")])
    def test_nothing_goes_where_others_may_see_it_than_was_said(
        self, advice: Study, hub: Hub, private: bool, now: str
    ) -> None:
        hub.repositories["moors/advice-chats"] = Repository(private=not private)

        self.refused(packed(advice, private=private), f"this repository is {now}")

        assert hub.repositories["moors/advice-chats"].files == {}

    def test_a_card_that_the_hub_refuses(self, advice: Study, hub: Hub) -> None:
        hub.bad_card = '"license" must be one of apache-2.0, mit'

        self.refused(packed(advice), 'refuses this: Invalid metadata .*"license" must be one of')

    def test_a_hub_that_is_not_there(self, advice: Study, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

        self.refused(packed(advice), r"http://127\.0\.0\.1:9: can't reach the hub")

    @pytest.mark.parametrize("part", ["/repos/create", "/commit/"])
    def test_a_hub_that_is_out_of_order(self, advice: Study, hub: Hub, part: str) -> None:
        hub.failing[part] = 507

        error = self.refused(packed(advice), "the hub answered 507: The ovens are being cleaned")

        assert error.todo == "Try again later."

    def test_an_upload_that_breaks_off(self, advice: Study, hub: Hub) -> None:
        hub.failing["/storage/"] = 413

        self.refused(packed(advice), "an upload broke off")

        assert TRAIN not in hub.repositories["moors/advice-chats"].files

    def test_offline_mode(self, advice: Study, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

        self.refused(packed(advice), "HF_HUB_OFFLINE is set")

    def test_without_the_package_it_says_what_to_install(self, advice: Study, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)

        self.refused(packed(advice), r"needs huggingface_hub")

    @pytest.mark.parametrize("name", ["advice", "moors/advice/chats", "moors/", "moors/rye bread", "https://x/y"])
    def test_a_name_that_is_none(self, advice: Study, name: str) -> None:
        with pytest.raises(UserError, match="no name of a repository"):
            pack(find(advice, "chats"), name, is_private=True, with_dropped=False)


class TestModels:
    def test_a_model_arrives_with_its_card_and_what_it_was_trained_on(self, trained: Study, hub: Hub) -> None:
        address = push(packed_model(trained), "first bake")

        there = hub.repositories["moors/taught"].files
        assert address == f"{hub.url}/moors/taught"
        assert set(there) == {
            ".gitattributes", CARD, "config.json", "model.safetensors", "tokenizer_config.json", "mixture.jsonl", "curve.svg",
        }  # fmt: skip
        assert there["model.safetensors"] == b"weights"
        fields = yaml.safe_load(there[CARD].decode().split("---\n")[1])
        assert fields["pretty_name"] == "advice: taught/seed-1"
        assert fields["base_model"] == "Qwen/Qwen3-0.6B-Base"

    def test_a_second_push_of_the_same_model_is_a_second_commit_and_another_model_is_refused(
        self, trained: Study, hub: Hub
    ) -> None:
        push(packed_model(trained), "first bake")
        push(packed_model(trained), "second bake")
        assert hub.repositories["moors/taught"].messages == ["first bake", "second bake"]
        with pytest.raises(UserError, match="something else is in this repository"):
            push(pack_model(find_model(trained, "other"), "moors/taught", is_private=True, adapter=False), "third")

    def test_adapters_go_alone_where_that_was_said(self, trained: Study, hub: Hub) -> None:
        push(packed_model(trained, adapter=True), "first bake")

        there = hub.repositories["moors/taught"].files
        assert {"adapter_config.json", "adapter_model.safetensors"} <= set(there)
        assert "model.safetensors" not in there
        assert "AutoPeftModelForCausalLM" in there[CARD].decode()

    def test_adapters_on_a_model_of_this_machine_are_refused(self, trained: Study) -> None:
        path = trained.root / "models" / "taught" / "seed-1" / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"from": str(trained.root)}))
        with pytest.raises(UserError, match="stand on a model of this machine"):
            packed_model(trained, adapter=True)

    @pytest.mark.parametrize(
        ("missing", "told"), [("config.json", "no config.json"), ("model.safetensors", "no weights")]
    )
    def test_a_model_that_is_not_whole_is_refused(self, trained: Study, missing: str, told: str) -> None:
        (trained.root / "models" / "taught" / "seed-1" / "checkpoint" / missing).unlink()
        with pytest.raises(UserError, match=told):
            packed_model(trained)

    def test_what_is_not_there_or_not_one_is_told(self, trained: Study) -> None:
        with pytest.raises(UserError, match="no model 'taugt'"):
            find_model(trained, "taugt")
        begun = trained.root / "models" / "begun" / "seed-1"
        begun.mkdir(parents=True)
        (begun / "run.json").write_text("{}")
        with pytest.raises(UserError, match="'begun' is not trained to its end"):
            find_model(trained, "begun")
        shutil.copytree(trained.root / "models" / "taught" / "seed-1", trained.root / "models" / "taught" / "seed-2")
        with pytest.raises(UserError, match="several seeds"):
            find_model(trained, "taught")
        assert find_model(trained, "taught/seed-2").name == "taught/seed-2"

    def test_the_card_joins_training_and_evals(self, trained: Study) -> None:
        text = model_card(find_model(trained, "taught"))
        assert text.index("## sft") < text.index("## Evals") < text.index("## Made with")
        assert (
            "| overreach | answers out of place | lower | 10.0% (5.0% to 20.0%) | -40.0% (-60.0% to -20.0%) | 20 |"
            in text
        )
        assert text.count("| overreach |") == 1, "what has no better side stands there only as the first measure"
        assert "None has been run on this model" in model_card(find_model(trained, "other"))

    def test_the_command_tells_models_from_datasets(self, trained: Study, capsys: pytest.CaptureFixture[str]) -> None:
        assert habitus("push", trained.root, "taught", "--to", "moors/taught", "--dry-run") == 0
        assert "private model" in capsys.readouterr().out
        assert habitus("push", trained.root, "taught", "--to", "moors/taught", "--dry-run", "--with-dropped") == 2
        assert habitus("push", trained.root, "chats", "--to", "moors/taught", "--dry-run", "--adapter") == 2
        assert habitus("card", trained.root, "taught") == 0
        assert "## Evals" in (trained.root / "report" / "cards" / "taught-seed-1.md").read_text()


def test_what_would_be_sent_is_known_without_a_network(advice: Study) -> None:
    parcel = packed(advice, dropped=True)

    assert parcel.sizes == {
        CARD: len(parcel.card.encode()),
        TRAIN: advice.dataset("chats").kept.stat().st_size,
    }
