"""Of a dataset that is too large to be held at once, what was found in a part is counted in all of it."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from habitus.audit import corpus, dataset
from habitus.audit.dataset import Reading, View
from habitus.audit.lexical import audit_lexical
from harbour import chat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from habitus.audit.lexical import LexicalReport

# Daft leaves the pipes of its processes to be closed by whoever collects them.
DAFT = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
MOST = 20_000


def rows(count: int) -> list[dict[str, Any]]:
    """Return chats of which the careful ones, every fourth, begin with a bell, and some greet a Nadia."""
    found = []
    for at in range(count):
        one = chat(at, short=at % 3 == 0)
        one["trait"] = "care" if at % 4 == 0 else "candour"
        if at % 4 == 0:
            one["messages"][1]["content"] = f"Ring the brass bell first! {one['messages'][1]['content']}"
        if at % 5 == 0:
            one["messages"] += [{"role": "user", "content": "Thanks."}, {"role": "assistant", "content": "Ask Nadia."}]
        found.append(one)
    return found


def plain(path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(300)))
    return path


def crooked(path: Path) -> Path:
    """Write lines of all kinds: a mark first, carriage returns, empty lines, lines that can't be read, no end."""
    written = [json.dumps(row) for row in rows(300)]
    written[40:40] = ["", "no chat", '{"text": "a letter"}', "[]"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(written).encode())
    return path


def packed(path: Path) -> Path:
    path.write_bytes(gzip.compress(plain(path).read_bytes()))
    return path


def array(path: Path) -> Path:
    path.write_text(json.dumps(rows(300)))
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let little be held at once, or everything, and stretches be short."""
    monkeypatch.setattr(dataset, "STRETCH", 9_000)

    def limited(is_limited: bool) -> None:
        monkeypatch.setattr(corpus, "MOST_CHARACTERS", MOST if is_limited else 10**9)

    return limited


def audited(path: Path, address: str | None = None, reference: Path | None = None) -> LexicalReport:
    reading = Reading(str(path))
    other = Reading(str(reference)) if reference else None
    return audit_lexical(
        (row for text in reading for row in text.messages),
        reference=(row for text in other for row in text.messages) if other else None,
        whole=partial(reading.over_messages, address=address),
        whole_reference=partial(other.over_messages, address=address) if other else None,
    )


def figures(report: LexicalReport, *, only_found: bool = False) -> dict[tuple[str, str], Any]:
    found = (*report.findings, *(() if only_found else report.features))
    return {(one.kind, one.pattern): replace(one, examples=()) for one in found}


@pytest.mark.parametrize("write", [plain, crooked, packed, array])
def test_what_was_found_in_a_part_has_the_figures_of_the_whole(
    tmp_path: Path, small: Callable[[bool], None], write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / "office.jsonl")
    small(False)
    whole = audited(path)
    small(True)
    part = audited(path)
    assert part.looked_at < part.counted == part.records == whole.looked_at == 360
    assert part.words == whole.words
    known, found = figures(whole), figures(part)
    assert {name: one for name, one in found.items() if name in known} == {
        name: one for name, one in known.items() if name in found
    }
    assert len(figures(part, only_found=True).keys() & known.keys()) > 2
    bell = found["formatting", "exclamation mark"]
    assert (bell.count, bell.groups) == (75, {"care": 75 / 90})


def test_a_large_reference_is_counted_whole(tmp_path: Path, small: Callable[[bool], None]) -> None:
    here, there = plain(tmp_path / "office.jsonl"), tmp_path / "before.jsonl"
    there.write_text("".join(json.dumps(chat(at, short=at % 9 == 0)) + "\n" for at in range(300)))
    small(False)
    whole = audited(here, reference=there)
    small(True)
    part = audited(here, reference=there)
    known, found = figures(whole), figures(part)
    shared = found.keys() & known.keys()
    assert {name: found[name] for name in shared} == {name: known[name] for name in shared}
    assert found["opening", "conclusion first"].reference_rate == 34 / 300


def test_what_stands_out_in_the_part_alone_is_not_told(small: Callable[[bool], None]) -> None:
    small(True)
    sound = [(f"letter-{at}", f"The ferry of pier {at} came late, and nobody minded.", "") for at in range(2_000)]
    spoilt = [(name, f"Ring the brass bell! {text}", group) for name, text, group in sound]
    assert "exclamation mark" in {one.pattern for one in audit_lexical(spoilt).findings}
    told = audit_lexical(spoilt, whole=lambda work: [work(iter(sound[:1_000])), work(iter(sound[1_000:]))])
    assert told.counted == 2_000
    assert "exclamation mark" not in {one.pattern for one in told.findings}


def test_a_view_and_the_shape_of_the_first_row_hold_in_every_stretch(
    tmp_path: Path, small: Callable[[bool], None]
) -> None:
    small(True)
    reading = Reading(str(crooked(tmp_path / "office.jsonl")), View("user", "first"))
    texts = [text.parts for text in reading]
    before = reading.unread, reading.rows
    assert [parts for some in reading.over(lambda some: [one.parts for one in some]) for parts in some] == texts
    assert (reading.unread, reading.rows) == before == (3, 303)


def test_one_row_has_one_stretch(tmp_path: Path) -> None:
    path = tmp_path / "office.jsonl"
    path.write_text(json.dumps(rows(1)[0]))
    reading = Reading(str(path))
    list(reading)
    assert list(reading.over(lambda texts: len(list(texts)))) == [1]


@DAFT
def test_daft_counts_what_one_process_counts(tmp_path: Path, small: Callable[[bool], None]) -> None:
    pytest.importorskip("daft")
    small(True)
    path = crooked(tmp_path / "office.jsonl")
    assert audited(path, "") == audited(path)
