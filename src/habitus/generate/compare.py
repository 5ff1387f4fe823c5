"""Rows compared through Daft: the comparisons of `dedup.py`, carried out on all cores or on all machines of a cluster.

What is compared with what, and what follows, is settled there; here it is only done elsewhere. Machines read the
vectors from files in a folder that all of them see.
"""

from __future__ import annotations

import shutil
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from habitus.generate.dedup import _Walk
from habitus.models.embed import np
from habitus.shards import collected, open_daft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from habitus.generate.dedup import Comparison, Pairs

FEWEST_ROWS = 20_000
"""Rows that one core compares sooner than the work is shared out."""
AT_ONCE = 8
"""Comparisons that a core takes up together."""
_LOADING = threading.Lock()
"""Python 3.11 can't read the headers of array files in two threads at once."""


class Compared:
    """What `_Walk.similar` finds in a block of comparisons, found elsewhere; `close` removes the files for it.

    With the address of a Ray cluster, to which this process is connected, that is there; without, on all cores here.

    Raises:
        UserError: Daft is not installed.

    """

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder, self.address = folder, address
        daft = open_daft()
        if address:
            daft.set_runner_ray(noop_if_initialized=True)

    def __call__(self, walk: _Walk, block: Iterable[Comparison]) -> Iterator[Pairs]:
        """Yield the pairs of a block, as the walk itself would find them."""
        import daft
        from daft import DataType, Series, col

        self.folder.mkdir(parents=True, exist_ok=True)
        for name, array in {"vectors": walk.vectors, "short": walk.short}.items() if not walk.settled else ():
            np.save(self.folder / f"{name}.npy", array)
        np.save(self.folder / f"state-{walk.settled}.npy", np.stack([walk.lowest, walk.solid]))
        place, settled, floor = str(self.folder), walk.settled, walk.floor

        @daft.func.batch(return_dtype=DataType.binary(), batch_size=AT_ONCE)
        def found(asking: Series, others: Series) -> list[bytes]:
            own = _walk(place, settled, floor)
            return [_packed(own, *pair) for pair in zip(asking.to_pylist(), others.to_pylist(), strict=True)]

        columns = zip(*((rows.tobytes(), others.tobytes()) for rows, others in block), strict=True)
        pairs = dict(zip(("asking", "others"), map(list, columns), strict=True))
        frame = daft.from_pydict(dict(pairs))
        if self.address:
            # else one machine would get them all
            frame = frame.into_partitions(-(-len(pairs["asking"]) // AT_ONCE))
        frame = frame.select(found(col("asking"), col("others")).alias("pairs"))
        for packed in collected(frame, len(pairs["asking"]))["pairs"]:
            rows, twins, scores = np.frombuffer(packed, dtype=np.int64).reshape(3, -1)
            yield rows, twins, scores.view(np.float64)

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _walk(folder: str, settled: int, floor: float) -> _Walk:
    """Return a walk as it stands at the beginning of a block."""
    with _LOADING:
        return _loaded(folder, settled, floor)


@lru_cache(maxsize=2)
def _loaded(folder: str, settled: int, floor: float) -> _Walk:
    walk = _Walk.__new__(_Walk)
    walk.floor, walk.settled = floor, settled
    walk.vectors, walk.short = (
        np.load(Path(folder) / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("vectors", "short")
    )
    walk.lowest, walk.solid = np.load(Path(folder) / f"state-{settled}.npy", allow_pickle=False)
    return walk


def _packed(walk: _Walk, asking: bytes, others: bytes) -> bytes:
    found = list(walk.similar(np.frombuffer(asking, dtype=np.int64), np.frombuffer(others, dtype=np.int64)))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)] or [np.zeros(0)] * 3
    rows, twins, scores = columns
    return b"".join((rows.astype(np.int64).tobytes(), twins.astype(np.int64).tobytes(), scores.tobytes()))
