"""Whole commands on a real Ray cluster of several raylets."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from habitus.models.ledger import read_totals
from harbour import chats
from machines import serving
from studies import calls, habitus, make, rows

if TYPE_CHECKING:
    from pathlib import Path

    from machines import Nodes

pytestmark = pytest.mark.timeout(240)
PRICE = {"input": 1, "output": 4}
FILES = ("kept", "dropped", "traces")


def study(root: Path, url: str, **settings: Any) -> Path:
    """Make a study whose model is a server."""
    shutil.rmtree(root, ignore_errors=True)
    default = {"model": "harbour/world", "price": PRICE}
    made = make(root, providers={"harbour": {"base_url": url}}, concurrency=24, **settings)
    config = (made / "config.yaml").read_text().replace("default: simulated/world", f"default: {default}")
    (made / "config.yaml").write_text(config)
    return made


def same(one: Path, other: Path, dataset: str, *names: str) -> bool:
    """Tell whether files are the same, byte for byte."""
    return all(
        (one / dataset / f"{name}.jsonl").read_bytes() == (other / dataset / f"{name}.jsonl").read_bytes()
        for name in names
    )


def keys(study: Path) -> list[bytes]:
    with closing(sqlite3.connect(study / "ledger.db")) as ledger:
        return [key for (key,) in ledger.execute("SELECT key FROM calls ORDER BY key")]


@pytest.mark.parametrize(("dataset", "count"), [("chats", 40), ("documents", 12)])
def test_many_machines_write_what_one_does_and_pay_for_the_same_calls(
    nodes: Nodes, tmp_path: Path, dataset: str, count: int
) -> None:
    with serving() as server:
        one, many = (study(tmp_path / name, server.url) for name in ("one", "many"))
        assert habitus("generate", dataset, one, "--count", str(count)) == 0
        asked = server.answered.total()
        assert habitus("generate", dataset, many, "--count", str(count), "--ray", nodes.address) == 0
        again = server.answered.total() - asked

    assert same(one, many, dataset, *FILES)
    assert keys(one) == keys(many)
    assert again == asked
    assert not list((many / "shards").iterdir())


def test_an_audit_on_many_machines_finds_what_one_does(nodes: Nodes, tmp_path: Path) -> None:
    data = chats(tmp_path / "harbour.jsonl", 40, 3)
    options = ("--model", "simulated/world", "--scans", "4", "--sample", "20")
    assert habitus("audit", data, "--into", tmp_path / "one", *options) == 0
    assert habitus("audit", data, "--into", tmp_path / "many", *options, "--ray", nodes.address) == 0

    assert same(tmp_path / "one", tmp_path / "many", "audit/harbour", "scans", "patterns", "matches", "repeated")
    assert keys(tmp_path / "one") == keys(tmp_path / "many")


def test_near_duplicates_found_by_the_machines_of_a_cluster_are_those_found_here(nodes: Nodes, tmp_path: Path) -> None:
    pytest.importorskip("daft")
    # In a process of its own: Daft takes one runner for good.
    script = f"""
import numpy as np, ray
from pathlib import Path
from habitus.generate import dedup
from habitus.generate.compare import Compared
dedup.EXACT_ROWS = 0
rng = np.random.default_rng(7)
vectors = rng.standard_normal((40, 16))[rng.integers(0, 40, 800)] + rng.standard_normal((800, 16)) * 0.3
vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
ids = list(map(str, range(800)))
ray.init({nodes.address!r}, log_to_driver=False)
elsewhere = Compared(Path({str(tmp_path)!r}) / "vectors", {nodes.address!r})
found = dedup.deduplicate(ids, vectors, threshold=0.85, compare=elsewhere)
assert found == dedup.deduplicate(ids, vectors, threshold=0.85), "other twins"
assert found.removed
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr


def test_counts_and_a_classifiers_word_are_the_same_wherever_a_large_file_is_gone_over(
    nodes: Nodes, tmp_path: Path
) -> None:
    pytest.importorskip("daft")
    pytest.importorskip("sklearn")
    data = chats(tmp_path / "harbour.jsonl", 300, 3)
    # In a process of its own: Daft takes one runner for good.
    script = f"""
import asyncio
from functools import partial
from habitus.audit import corpus, dataset
from habitus.audit.classifier import classified
from habitus.audit.lexical import audit_lexical
from habitus.models.embed import Hashing
corpus.MOST_CHARACTERS = 20_000
dataset.STRETCH = 30_000

def found(address):
    reading = dataset.Reading({str(data)!r})
    messages = (row for text in reading for row in text.messages)
    counted = audit_lexical(messages, whole=partial(reading.over_messages, address=address))
    ids = [text.id for text in reading]
    judged = {{name: at % 3 == 0 for at, name in enumerate(ids[:90])}}
    return counted, asyncio.run(classified(reading, ids, judged, Hashing(), address))

counted, told = found(None)
assert counted.looked_at < counted.counted == 300, counted
assert len(told.positive) == 70, told
assert found({nodes.address!r}) == (counted, told)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr


def test_a_foreign_dataset_is_compared_on_a_cluster_as_it_is_here(nodes: Nodes, tmp_path: Path) -> None:
    pytest.importorskip("daft")
    data = chats(tmp_path / "harbour.jsonl", 60, 3)
    assert habitus("dedup", data, "--compare", "messages", "--into", tmp_path / "one") == 0
    # In a process of its own, as above.
    script = f"""
from habitus.cli import main
from habitus.generate import compare
compare.FEWEST_ROWS = 1
main(["dedup", {str(data)!r}, "--compare", "messages", "--into", {str(tmp_path / "many")!r}, "--ray", {nodes.address!r}])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert same(tmp_path / "one", tmp_path / "many", "messages-hashing-0.7", "kept", "removed")
    assert rows(tmp_path / "many" / "messages-hashing-0.7" / "removed.jsonl")


def test_a_budget_holds_over_all_shards_and_the_command_goes_on_when_it_is_raised(nodes: Nodes, tmp_path: Path) -> None:
    with serving(latency="lognormal:0.02") as server:
        one = study(tmp_path / "one", server.url)
        assert habitus("generate", "chats", one, "--count", "20") == 0
        whole = sum(total.dollars for total in read_totals(one / "ledger.db"))
        many = study(tmp_path / "many", server.url, budget=whole / 2)
        assert habitus("generate", "chats", many, "--count", "20", "--ray", nodes.address) == 1
        spent = sum(total.dollars for total in read_totals(many / "ledger.db"))
        (many / "config.yaml").write_text((many / "config.yaml").read_text().replace("budget:", "# budget:"))
        assert habitus("generate", "chats", many, "--count", "20", "--ray", nodes.address) == 0

    assert 0.8 * whole / 2 < spent <= whole / 2 * 1.02
    assert same(one, many, "chats", *FILES)


def test_a_lost_machine_costs_the_calls_in_flight_on_it_and_no_record(nodes: Nodes, tmp_path: Path) -> None:
    with serving(latency="0.1") as server:
        many = study(tmp_path / "many", server.url)
        killer = threading.Thread(target=lambda: (until(lambda: server.answered.total() >= 120), nodes.lose_one()))
        killer.start()
        code = habitus("generate", "chats", many, "--count", "60", "--ray", nodes.address)
        killer.join()
        paid, distinct = server.answered.total(), len(server.answered)
        one = study(tmp_path / "one", server.url)
        assert code == 0
        assert habitus("generate", "chats", one, "--count", "60") == 0

    ids = [row["id"] for name in ("kept", "dropped") for row in rows(many / "chats" / f"{name}.jsonl")]
    assert len(ids) == len(set(ids))
    assert same(one, many, "chats", *FILES)
    assert calls(many) == distinct
    assert 0 <= paid - distinct <= 24


def until(holds: Any) -> None:
    """Wait until something holds, for a minute at the most."""
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
