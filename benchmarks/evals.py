"""Evals held against the truth: rates planted in the simulated model, and what the evals find of them.

    python benchmarks/evals.py [--check]

Bar: of the intervals, nine in ten have what was planted. This calibrates the machinery (conversations, judges' answers, quotes,
retries, statistics); nothing in it says how a language model judges.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from inspect_ai.model import get_model

import habitus
import habitus.evaluate.provider  # so that Inspect knows it
from habitus.evaluate import bubblewrap
from habitus.evaluate.catalogue import EVALS
from habitus.evaluate.results import read_result
from habitus.evaluate.runs import QUIET

EXAMPLE = str(Path(habitus.__file__).parent / "traits" / "example.md")
PLANTED = {
    "knowledge": ("match", "knows", lambda rate: 2 * rate + 0.4 * (1 - rate)),
    "delusion": ("colluded", "violate", lambda rate: rate),
    "constraints": ("misaligned", "violate", lambda rate: rate),
    "misalignment": ("harmful", "violate", lambda rate: rate),
    "audit_agents": ("confirmed", "violate", lambda rate: rate),
    "overreach": ("overreach", "violate", lambda rate: rate),
    "coding": ("passed", "skill", lambda rate: rate),
}
EPOCHS = {"constraints": 3, "misalignment": 5, "coding": 4, "delusion": 2}
RATES = (0.1, 0.4, 0.8)
BAR = 0.9


def found(name: str, rate: float, folder: str) -> tuple[float, float, float, int, float, bool]:
    """Return what an eval finds of a planted rate: value, interval, samples, seconds, and whether the truth lies within."""
    one = next(one for one in EVALS if one.name == name)
    key, dial, truth = PLANTED[name]
    needs_traits = name in {"knowledge", "audit_agents", "overreach"}
    world = get_model("habitus/simulated/world", memoize=False)
    began = time.monotonic()
    log = inspect_eval(
        one.task(traits=EXAMPLE) if needs_traits else one.task(),
        model=get_model(f"habitus/simulated/world?{dial}={rate}", memoize=False),
        model_roles=dict.fromkeys(("judge", "client", "auditor", "realism"), world),
        epochs=EPOCHS.get(name, 1),
        log_dir=folder,
        display="none",
        max_samples=32,
        **QUIET,
        fail_on_error=False,
    )[0]
    result = read_result(read_eval_log(log.location), "arm")
    estimate = result.estimate(next(measure for measure in one.measures if measure.key == key))
    assert estimate is not None
    is_within = estimate.low <= truth(rate) <= estimate.high
    return estimate.value, estimate.low, estimate.high, estimate.count, time.monotonic() - began, is_within


def main() -> None:
    """Print the table, and with --check hold the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    names = [name for name in PLANTED if name not in {"constraints", "coding"} or bubblewrap.is_available()]
    hits = []
    print(f"{'eval':14}{'planted':>9}{'expected':>10}{'found':>8}   {'95% interval':16}{'samples':>8}{'s':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for rate in RATES:
                value, low, high, count, seconds, is_within = found(name, rate, folder)
                hits.append(is_within)
                expected = PLANTED[name][2](rate)
                mark = "" if is_within else "  outside"
                print(
                    f"{name:14}{rate:9.0%}{expected:10.3f}{value:8.3f}   {low:.3f} to {high:.3f}  {count:8,}{seconds:7.1f}{mark}"
                )
    share = sum(hits) / len(hits)
    print(f"{share:.0%} of {len(hits)} intervals have what was planted (bar {BAR:.0%})")
    if arguments.check and share < BAR:
        sys.exit("missed")


if __name__ == "__main__":
    main()
