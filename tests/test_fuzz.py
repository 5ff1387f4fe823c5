"""Whatever lies in a file that a user hands over, the outcome is a result or one clear message."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from habitus.audit.agree import read_marks
from habitus.audit.dataset import Reading, drawn
from habitus.config import load_config
from habitus.errors import UserError
from habitus.generate.foreign import Foreign, Sifting
from habitus.models import usage_of
from habitus.models.embed import Hashing
from habitus.models.exchange import _Answers
from habitus.models.structured import Unreadable, parse
from habitus.publish.intake import take_in
from habitus.sources import open_source
from habitus.study import Study, make_study, read_rows
from habitus.tally import Progress
from habitus.traits.document import read_traits
from harbour import pattern, rated

if TYPE_CHECKING:
    from collections.abc import Callable

few = settings(max_examples=30, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
DEEP = 100_000
MEMORY = 2 << 30

NASTY = (
    "\x00",
    "\ufeff",
    "\ud800",
    "\u202e",
    "\x1b[31m",
    "\r",
    "\r\n",
    "{{ 7*7 }}",
    "../../etc/passwd",
    "NaN",
    "1e400",
)
texts = st.text(max_size=40) | st.sampled_from(NASTY)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def json_of(value: Any) -> bytes:
    """Return a value as Python writes JSON: NaN, Infinity, half characters and numbers of any length among it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def damaged(sound: bytes) -> st.SearchStrategy[bytes]:
    """Return variants of a sound file: cut, with bytes put in, in another encoding."""
    cuts = st.integers(0, len(sound)).map(lambda at: sound[:at])
    put = st.tuples(st.integers(0, len(sound)), st.binary(max_size=8)).map(
        lambda p: sound[: p[0]] + p[1] + sound[p[0] :]
    )
    others = st.sampled_from([sound.decode().encode(name) for name in ("utf-16", "utf-32", "utf-8-sig")])
    return cuts | put | others | st.binary(max_size=64)


def outcome(act: Callable[[], Any], *allowed: type[Exception]) -> str:
    """Return the message with which something was refused, empty where it was not; any other error is a failure."""
    try:
        act()
    except (UserError, *allowed) as refused:
        return str(refused) or "nothing said"
    return ""


def on_file(data: bytes, act: Callable[[Path], Any], name: str = "given") -> str:
    """Return the outcome of an act on a file with these bytes."""
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        return outcome(lambda: act(path))


TRAITS = b"# Character\n\n## Candour\n\nSay what is so, because people plan by it.\n\n- **Care.** Mind the ramp.\n\n## Exceptions\n\nNone.\n"
CONFIG = b"version: 1\nseed: 7\nmodels: {default: simulated/world, judge: {model: openai/gpt, params: {temperature: 0.5}}}\nchats: {count: 3}\n"
CHAT = {"id": "a", "messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At six."}]}
MARKS = {"marks": [{"id": "a", "pattern": "short-first", "mark": "y"}]}
ANSWER = {
    "custom_id": "habitus-1",
    "response": {"status_code": 200, "body": {"choices": [{"message": {"content": "At six."}}]}},
}


@few
@given(damaged(TRAITS) | st.text(alphabet="#-*_`|>[]()<!\\ \n\tab.1:~", max_size=200).map(str.encode))
def test_any_traits_document_is_read_or_refused(data: bytes) -> None:
    on_file(data, read_traits)


@few
@given(damaged(CONFIG) | st.text(alphabet="{}[]:,-?&*!|>'\"#%@ \n\tab19.e~", max_size=80).map(str.encode))
def test_any_config_is_read_or_refused_with_its_place(data: bytes) -> None:
    told = on_file(data, load_config, "config.yaml")

    assert not told or "config.yaml" in told


@few
@given(
    st.dictionaries(
        st.sampled_from(["seed", "models", "steps", "chats", "arms", "providers", "budget"]) | texts, values, max_size=4
    )
)
def test_any_values_in_a_config_are_read_or_refused(value: dict[str, Any]) -> None:
    on_file(json_of(value), load_config, "config.yaml")


class Verdict(BaseModel):
    """An answer such as the recipes ask for."""

    reason: str
    score: int = Field(ge=1, le=5)
    quotes: list[str] = []


@few
@given(
    st.dictionaries(st.sampled_from(["reason", "score", "quotes"]) | texts, values, max_size=4),
    st.text(alphabet="{}[]\"':,\\`\n ab/<>think", max_size=30),
)
@example({"reason": "\ud800", "score": 3}, "")
@example({"reason": "x", "score": 10**400}, "```json\n")
def test_any_answer_is_an_object_or_unreadable(value: dict[str, Any], around: str) -> None:
    said = json.dumps(value)
    for text in (said, around + said, said + around, said[: len(said) // 2], said.replace('"', "'"), around):
        outcome(lambda text=text: parse(text, Verdict), Unreadable)


@few
@given(values)
def test_any_usage_is_counted_or_unknown(value: Any) -> None:
    found = usage_of({"prompt_tokens": value, "completion_tokens": value, "prompt_tokens_details": value})

    assert found is None or 0 <= found.output_tokens < 2**63
    assert usage_of(value) is None


def imported(path: Path) -> None:
    """Import a file into a fresh study, and see that what was written can be read again and has ids of its own."""
    with TemporaryDirectory() as folder:
        make_study(Path(folder, "s"))
        study = Study(Path(folder, "s"))
        take_in(study, open_source(str(path), "train"), "foreign", columns={}, limit=None, allow_bad=1)
        files = study.dataset("imported/foreign")
        ids = [row["id"] for row in read_rows(files.kept)]
        assert len(ids) == len(set(ids))
        list(read_rows(files.dropped))


def audited(path: Path) -> None:
    drawn(Reading(str(path)), 7, {"scan": 5})


COLUMNS = st.sampled_from(
    [
        "messages",
        "text",
        "chosen",
        "rejected",
        "prompt",
        "response",
        "instruction",
        "output",
        "input",
        "system",
        "id",
        "meta",
        "trait",
    ]
)
foreign = st.lists(st.dictionaries(COLUMNS | texts, values | st.just(CHAT["messages"]), max_size=5), max_size=4)


@few
@given(foreign, st.booleans())
@example([{"text": "a", "id": "foreign-0000002"}, {"text": "b"}, {"text": "c", "id": "foreign-0000002"}], False)
@example([{"chosen": " Human: hi", "rejected": " Human: ho"}, CHAT], False)
@example([{"text": "\ud800"}, {"text": "b", "n": 10**5000 if sys.version_info < (3, 11) else 10**400}], True)
def test_any_rows_are_imported_and_audited_or_refused(rows: list[dict[str, Any]], as_array: bool) -> None:
    data = json_of(rows) if as_array else b"\n".join(map(json_of, rows))
    for act in (imported, audited, sifted):
        on_file(data, act)


def sifted(path: Path) -> None:
    data = Foreign(open_source(str(path), "train"), "rows")
    data.look()
    sifting = Sifting(data, Hashing(), path.parent)
    sifting.write(asyncio.run(sifting.embeddings(Progress())))
    assert sifting.kept + sifting.removed + data.unread > 0


@few
@given(damaged(json_of([CHAT, CHAT])) | damaged(json_of(CHAT)) | damaged(b"\r\n".join([json_of(CHAT)] * 2)))
def test_any_damage_to_a_dataset_is_told(data: bytes) -> None:
    for act in (imported, audited, sifted):
        on_file(data, act)
        on_file(gzip.compress(data), act)
    on_file(gzip.compress(data)[:-4], audited)


@few
@given(
    values
    | st.fixed_dictionaries(
        {"marks": values | st.lists(st.dictionaries(st.sampled_from(["id", "pattern", "mark"]), values))}
    )
)
@example(MARKS)
def test_any_marks_are_read_or_refused(value: Any) -> None:
    on_file(json_of(value), lambda path: read_marks(path, [pattern()], rated({"a": "strict"})))


answers = st.fixed_dictionaries(
    {"custom_id": st.just("habitus-1") | values},
    optional={
        "content": values, "error": values, "tool_calls": values | st.lists(st.fixed_dictionaries({"name": values, "arguments": values})),
        "response": values | st.fixed_dictionaries({"body": st.fixed_dictionaries(
            {"choices": st.lists(st.fixed_dictionaries({"message": st.fixed_dictionaries({"content": values})}, optional={"finish_reason": values}), max_size=2)},
            optional={"usage": values, "model": values},
        )}, optional={"status_code": values}),
    },
)  # fmt: skip


def looked_at(path: Path) -> None:
    found = _Answers(path.parent)
    found.look()
    [str(problem) for problem in (*found.problems, *found.complaints())]
    for answer in found.known.values():
        told = answer.told
        assert all(isinstance(part, str) for part in (told.text, told.finish, told.model, answer.error))
        assert all(isinstance(name, str) and isinstance(given, str) for name, given in told.calls)


@few
@given(answers)
def test_any_exchanged_answer_is_taken_or_complained_of(value: Any) -> None:
    assert on_file(json_of(value) + b"\n", looked_at, "answers.jsonl") == ""


@few
@given(damaged(json_of(ANSWER)))
def test_any_damage_to_a_file_of_answers_is_complained_of(data: bytes) -> None:
    assert on_file(data, looked_at, "answers.jsonl") == ""


def test_pipes_devices_folders_and_loops_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "endless", "loop", "folder", "x" * 300, "missing"):
        for act in (load_config, read_traits, imported, audited, lambda path: read_marks(path, [], [])):
            assert outcome(lambda name=name, act=act: act(tmp_path / name)), (name, act)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "brackets in a config": ("load_config(path)", lambda: b"a: " + b"[" * DEEP),
    "dashes in a config": ("load_config(path)", lambda: b"- " * DEEP),
    "aliases in a config": ("load_config(path)", lambda: b"a: &a [x,x]\n" + b"".join(b"a%d: &a%d [*a,*a]\n" % (n, n) for n in range(40))),
    "a long number in a config": ("load_config(path)", lambda: b"seed: 0x" + b"f" * 50_000),
    "a config of 10 MB": ("load_config(path)", lambda: b"seed: '" + b"a" * 10_000_000 + b"'"),
    "unknown keys in a config": ("load_config(path)", lambda: b"".join(b"k%d: 1\n" % n for n in range(1_000))),
    "a traits document of one line": ("read_traits(path)", lambda: b"## A\n\n" + b"a " * 200_000),
    "brackets in traits": ("read_traits(path)", lambda: b"## A\n\n" + b"[" * DEEP + b"\n\n" + b"> " * DEEP),
    "a line of 10 MB": ("rows(path)", lambda: json_of({"text": "a" * 10_000_000}) + b"\n"),
    "a line of 10 MB to be compared": ("compared(path)", lambda: json_of({"text": "a b " * 2_500_000}) + b"\n"),
    "a packed line without an end": ("rows(path)", lambda: gzip.compress(b"a" * 100_000_000, 1)),
    "a packed array without an end": ("rows(path)", lambda: gzip.compress(b'[{"text":"' + b"a" * 100_000_000, 1)),
    "brackets in rows": ("rows(path)", lambda: b'{"text":' + b"[" * DEEP + b"\n"),
    "brackets in an array": ("rows(path)", lambda: b"[" * DEEP),
    "brackets in marks": ("read_marks(path, [], [])", lambda: b"[" * DEEP),
    "brackets in an answer": ("answered(path)", lambda: b"x {" + b'"a":[' * DEEP),
    "an answer of keys without quotes": ("answered(path)", lambda: b"{" + b"a:b," * 40_000 + b"}"),
    "an answer of 10 MB": ("answered(path)", lambda: b"{'reason': '" + b"a" * 10_000_000),
    "braces in an answer": ("answered(path)", lambda: b"{" * DEEP),
}  # fmt: skip
WORKER = """
import asyncio
import sys
from pathlib import Path
from habitus.audit.agree import read_marks
from habitus.audit.dataset import Reading
from habitus.config import load_config
from habitus.errors import UserError
from habitus.generate.foreign import Foreign, Sifting
from habitus.models.embed import Hashing
from habitus.models.structured import Unreadable, parse
from habitus.sources import open_source
from habitus.tally import Progress
from habitus.traits.document import read_traits
from habitus.records import Trait

path = Path(sys.argv[1])
def rows(path): return [text.id for text in Reading(str(path))]
def compared(path):
    data = Foreign(open_source(str(path), "train"), "rows")
    data.look()
    sifting = Sifting(data, Hashing(), path.parent)
    sifting.write(asyncio.run(sifting.embeddings(Progress())))
def answered(path): return parse(path.read_text(), Trait)
try:
    eval(sys.argv[2])
    print("read")
except (UserError, Unreadable) as refused:
    print("refused:", len(str(refused)))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_within_two_gigabytes_and_half_a_minute_of_cpu(name: str, tmp_path: Path) -> None:
    act, data = BOMBS[name]
    (tmp_path / "given").write_bytes(data())

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (30, 30))

    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "given"), act],
        capture_output=True, text=True, check=False, timeout=110, preexec_fn=bounded,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith(("read", "refused"))
