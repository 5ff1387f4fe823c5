"""Ten thousand calls through a server at its worst: wall beside a fault-free run, records, calls paid twice, admission.

    python benchmarks/hostile.py [--check] [--records 2500] [--concurrency 64]

Four dependent steps a record, log-normal latency of mean 0.5 s. Of all requests 5% are answered 429, 3% 500, 2% reset, 1%
never answered (the client gives a try `try_timeout` seconds), 1% cut off in the middle of the body, 2% answered with what
is no JSON. Bars: every record kept, no call answered in full twice, wall at most 1.3 × that of the same run without faults.
Beside them an endpoint that takes 20 calls at once and refuses the rest: it never sees more than one above that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from habitus.models.ledger import read_totals
from house import STEPS, Row, chain, engine
from stand_in import running

LATENCY = "lognormal:0.5"
TRY_TIMEOUT = 5.0
"""Seconds: ten times the mean latency."""
FAULTS = {
    "rate_limited": 0.05, "server_error": 0.03, "reset": 0.02, "stall": 0.01, "half_body": 0.01, "bad_json": 0.02,
    "retry_after": 0.5, "stall_seconds": 600,
}  # fmt: skip
ALLOWED = 20
BARS = {"wall": 1.3, "paid twice": 0, "not kept": 0, "above what is allowed": 1}


async def taken(records: int, concurrency: int, faults: dict[str, Any]) -> dict[str, Any]:
    """Take the records through the chain and return what came of it and what the server saw."""
    kept: list[str] = []
    with running(LATENCY, **faults) as (url, seen), tempfile.TemporaryDirectory() as folder:
        async with engine(Path(folder), url, concurrency, try_timeout=TRY_TIMEOUT) as opened:
            rows = (Row(id=f"row-{number:06}") for number in range(records))
            began = time.monotonic()
            await opened.run(chain, rows, lambda row, result, _trace: kept.extend([row.id] * isinstance(result, Row)))
            wall = time.monotonic() - began
        ledger = sum(total.calls for total in read_totals(Path(folder) / "ledger.db"))
    return {
        "wall": wall,
        "kept": len(set(kept)),
        "twice": seen["answered"] - seen["distinct"],
        "ledger": ledger,
        **seen,
    }


def main() -> None:
    """Print the table, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--records", type=int, default=2_500)
    parser.add_argument("--concurrency", type=int, default=64)
    arguments = parser.parse_args()
    records, concurrency = arguments.records, arguments.concurrency
    runs = {
        "without faults": asyncio.run(taken(records, concurrency, {})),
        "at its worst": asyncio.run(taken(records, concurrency, FAULTS)),
        f"takes {ALLOWED} at once": asyncio.run(taken(records // 5, concurrency, {"allowed": ALLOWED})),
    }
    print(
        f"{records:,} records × {len(STEPS)} steps, latency {LATENCY}, {concurrency} in flight, a try {TRY_TIMEOUT:g} s"
    )
    print(
        f"{'the server':18}{'records':>9}{'wall s':>9}{'kept':>8}{'requests':>10}{'faults':>8}{'paid twice':>12}{'peak':>6}"
    )
    for name, run in runs.items():
        count = records // 5 if name.startswith("takes") else records
        faults = sum(run["faults"].values())
        print(
            f"{name:18}{count:9,}{run['wall']:9.1f}{run['kept']:8,}{run['requests']:10,}{faults:8,}{run['twice']:12,}{run['peak']:6}"
        )
    calm, worst, narrow = runs.values()
    figures = {
        "wall": worst["wall"] / calm["wall"],
        "paid twice": worst["twice"] + narrow["twice"],
        "not kept": records - worst["kept"] + records // 5 - narrow["kept"],
        "above what is allowed": narrow["peak"] - ALLOWED,
    }
    for name, figure in figures.items():
        print(f"{name:24}{figure:8.2f}   bar {BARS[name]}")
    missed = [f"{name} {figures[name]:.2f}, bar {bar}" for name, bar in BARS.items() if figures[name] > bar]
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
