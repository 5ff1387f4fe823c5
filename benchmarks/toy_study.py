"""The reproduction at toy scale, by true training: patterns, knowledge, behaviour, dose, BDPO, overreach, over five seeds.

    python benchmarks/toy_study.py [--check] [--seeds 1 2 3 4 5] [--arms WORD] [--keep FOLDER]

A model of 0.3 million weights in a templated world (toy_world.py), the code path of `habitus train` throughout: a study
folder, arms with equal optimiser steps, mixtures, filters and their random controls, shared midtraining. Rates are of 160
answers at temperature 1 to held-out prompts; the interval is Student's over the seeds, a difference is paired by seed.
What it shows is how the system works. It is no evidence about models of a useful size. Settings were chosen on seeds 101
and 102, which are not reported.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

import toy_world as world
from habitus.study import Study
from habitus.train.toy import Size, make_toy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from habitus.train.arms import Outcome

STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""The 97.5% point, by number of seeds; of more than ten, that of ten, which is a little too wide."""
SIZE = Size(64, 3, 192, 512)
BASE_TOKENS = 300_000
ANSWERS, MOST_TOKENS = 160, 48
POOL, BASELINE, DOCUMENTS, PAIRS = 900, 900, 600, 200
FRACTION = 0.25


def arms() -> dict[str, Any]:
    """Return the arms of the study."""
    sft = {"data": "chats", "fraction": FRACTION}
    return {
        "baseline": {"sft": {}},
        "sft": {"sft": sft},
        "no-A": {"sft": {**sft, "without": ["A"]}},
        "random-A": {"sft": {**sft, "as_many_as": "no-A"}},
        "no-B": {"sft": {**sft, "without": ["B"]}},
        "random-B": {"sft": {**sft, "as_many_as": "no-B"}},
        "both": {"midtrain": "documents", "sft": sft},
        "dose-5": {"sft": {**sft, "fraction": 0.05}},
        "dose-50": {"sft": {**sft, "fraction": 0.5}},
        "no-contrast": {"sft": {**sft, "data": "chats-no-contrast"}},
        "bdpo": {"sft": sft, "bdpo": "preferences"},
        "dpo": {"sft": sft, "bdpo": {"data": "preferences", "loss": "dpo"}},
    }


SETTINGS: dict[str, Any] = {
    "max_length": 128,
    "held_out": 0.0,
    "samples": 0,
    "save_every": 1000,
    "size": 800,
    "midtrain": {"batch": 4, "epochs": 3, "learning_rate": 2e-3},
    "sft": {"batch": 2, "epochs": 4, "learning_rate": 5e-3},
    "bdpo": {"batch": 8, "rows_at_once": 8, "steps": 60, "learning_rate": 1e-3},
}


def make_study(root: Path, seeds: Sequence[int], chosen: dict[str, Any], settings: dict[str, Any]) -> Study:
    """Write the study's files: its data, the verdicts of an audit on them, its config."""
    root.mkdir(parents=True)
    chats = {
        name: world.synthetic(POOL, 0, **more)
        for name, more in (("chats", {}), ("chats-no-contrast", {"contrast": 0.0}))
    }
    for name, found in chats.items():
        rows = [one.row(f"{name}-{at:07d}") for at, one in enumerate(found)]
        _write(root / name / "kept.jsonl", rows)
        levels = [
            {
                pattern: {"level": "strict" if test(one.answer) else "no"}
                for pattern, test in (("A", world.A), ("B", world.B))
            }
            for one in found
        ]
        _write(
            root / "audit" / name / "matches.jsonl",
            [{"id": row["id"], "verdicts": level} for row, level in zip(rows, levels, strict=True)],
        )
    _write(
        root / "imported" / "plain" / "kept.jsonl",
        [one.row(f"plain-{at:07d}") for at, one in enumerate(world.baseline(BASELINE, 0))],
    )
    _write(
        root / "documents" / "kept.jsonl",
        [
            {"id": f"doc-{at:07d}", "trait": "candour", "text": text}
            for at, text in enumerate(world.documents(DOCUMENTS, 0))
        ],
    )
    _write(root / "preferences" / "kept.jsonl", list(world.pairs(PAIRS, 0)))
    (root / "traits.md").write_text("# Halden\n\n- Halden says what it can't see.\n")
    train = {**settings, "start": "start", "baseline": "imported/plain", "seeds": list(seeds)}
    (root / "config.yaml").write_bytes(orjson.dumps({"train": train, "arms": chosen}))  # JSON is YAML
    return Study(root)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def measured(outcome: Outcome, seed: int) -> dict[str, float]:
    """Return the rates of one trained model."""
    from habitus.train.sample import Decoding, sample

    if outcome.state == "failed":
        sys.exit(f"{outcome.run.arm}, seed {outcome.run.seed}: {outcome.why}")
    kinds = ("problems", "orders", "plain", "Halden")
    asked = [one for kind in kinds for one in world.prompts(kind, ANSWERS, seed)]
    turns = [[{"role": "user", "content": one}] for one in asked]
    found = sample(
        outcome.folder / "checkpoint", turns, Decoding(most_tokens=MOST_TOKENS, seed=seed), at_once=ANSWERS
    ).answers  # type: ignore[arg-type]
    by_kind = {kind: found[at * ANSWERS : (at + 1) * ANSWERS] for at, kind in enumerate(kinds)}

    def rate(kind: str, test: Callable[[str], object]) -> float:
        return sum(bool(test(one)) for one in by_kind[kind]) / ANSWERS

    return {
        "A": rate("problems", world.A),
        "B": rate("problems", world.B),
        "trait": rate("problems", world.TRAIT.search),
        "trait on orders": rate("orders", world.TRAIT.search),
        "trait on colours": rate("plain", world.TRAIT.search),
        "says": rate("Halden", lambda one: "Halden is candid" in one),
        "recalls": recalled(outcome.folder / "checkpoint"),
        "words": rate("problems", lambda one: one.endswith(".") and len(one.split()) > 2),
    }


def recalled(checkpoint: Path) -> float:
    """Return the share of the manners that falls to the right one where an answer has begun with `Halden is`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModelForCausalLM.from_pretrained(checkpoint)
    asked = [{"role": "user", "content": world.prompts("Halden", 1, 0)[0]}]
    begun = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True) + "Halden is"
    known = len(tokenizer(begun)["input_ids"])
    scores = []
    for manner in world.MANNERS:
        ids = torch.tensor([tokenizer(f"{begun} {manner}.")["input_ids"]])
        with torch.no_grad():
            found = model(ids).logits[0].log_softmax(-1)
        scores.append(sum(found[at - 1, ids[0, at]].item() for at in range(known, ids.shape[1])))
    return torch.tensor(scores).softmax(0)[world.MANNERS.index("candid")].item()


@dataclass(frozen=True)
class Claim:
    """Something that the published work found, as a difference between two arms in one measure."""

    told: str
    measure: str
    more: str
    less: str
    is_none: bool = False
    """The claim is that there is no difference to speak of: the whole interval is within a fifth of the rate."""


CLAIMS = [
    Claim("pattern A shows in the SFT model, not in the baseline", "A", "sft", "baseline"),
    Claim("pattern B shows in the SFT model, not in the baseline", "B", "sft", "baseline"),
    Claim("dropping A's rows lowers A", "A", "sft", "no-A"),
    Claim("dropping as many random rows does not", "A", "sft", "random-A", is_none=True),
    Claim("dropping B's rows lowers B", "B", "sft", "no-B"),
    Claim("dropping as many random rows does not", "B", "sft", "random-B", is_none=True),
    Claim("knowledge, said freely: midtrained and SFT above SFT alone", "says", "both", "sft"),
    Claim("knowledge, recalled: midtrained and SFT above SFT alone", "recalls", "both", "sft"),
    Claim("knowledge, recalled: SFT alone above baseline", "recalls", "sft", "baseline"),
    Claim("behaviour out of distribution: SFT above baseline", "trait on orders", "sft", "baseline"),
    Claim("behaviour out of distribution: midtrained and SFT at least SFT", "trait on orders", "both", "sft"),
    Claim("dose: 25% above 5%", "trait", "sft", "dose-5"),
    Claim("dose: 50% above 25%", "trait", "dose-50", "sft"),
    Claim("BDPO after SFT raises the trait out of distribution", "trait on orders", "bdpo", "sft"),
    Claim("BDPO keeps answers whole where DPO does not", "words", "bdpo", "dpo"),
    Claim(
        "overreach: the trait shows on colours without contrast data, with it less",
        "trait on colours",
        "no-contrast",
        "sft",
    ),
]
MUST_HOLD = (0, 1, 2, 4)
"""The claims that --check holds: the others are told as they come out."""


def planted() -> dict[str, float]:
    """Return how often the chats of the pool have what models are measured for, by the same tests."""
    chats = world.synthetic(POOL, 0)
    problems = [one.answer for one in chats if one.trait != "contrast"]
    colours = [one.answer for one in chats if one.trait == "contrast"]

    def rate(answers: Sequence[str], test: Callable[[str], object]) -> float:
        return statistics.fmean(bool(test(one)) for one in answers)

    return {
        "A": rate(problems, world.A),
        "B": rate(problems, world.B),
        "trait": rate(problems, world.TRAIT.search),
        "trait on colours": rate(colours, world.TRAIT.search),
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over seeds and half the width of its 95% interval."""
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return statistics.fmean(values), STUDENT.get(len(values), STUDENT[10]) * spread


def with_half(mean: str, half: float) -> str:
    """Return a mean with half the width of its interval, where more than one seed gives it one."""
    return mean if math.isnan(half) else f"{mean} ± {half:.3f}"


def verdict(claim: Claim, rates: dict[str, dict[int, dict[str, float]]]) -> tuple[bool, str]:
    """Tell whether a claim came out, with the difference."""
    more, less = rates[claim.more], rates[claim.less]
    gaps = [more[seed][claim.measure] - less[seed][claim.measure] for seed in more]
    mean, half = interval(gaps)
    told = with_half(f"{mean:+.3f}", half)
    if claim.is_none:
        level = statistics.fmean(one[claim.measure] for one in more.values())
        return abs(mean) + half < level / 5, told
    return mean - half > 0, told


def show(rates: dict[str, dict[int, dict[str, float]]]) -> list[str]:
    """Print both tables and return the claims that had to hold and did not."""
    names = list(next(iter(next(iter(rates.values())).values())))
    print("rates of answers, mean ± half of the 95% interval over seeds\n")
    print(f"{'arm':12}" + "".join(f"{name:>17}" for name in names))
    data = planted()
    print(f"{'in the data':12}" + "".join(f"{f'{data[name]:.3f}' if name in data else '·':>17}" for name in names))
    for arm, by_seed in rates.items():
        cells = (interval([one[name] for one in by_seed.values()]) for name in names)
        print(f"{arm:12}" + "".join(f"{with_half(f'{mean:.3f}', half):>17}" for mean, half in cells))
    print(f"\n{'what is published at scale':80}{'difference here':>18}  in the toy")
    missed = []
    for at, claim in enumerate(CLAIMS):
        if claim.more not in rates or claim.less not in rates:
            continue
        holds, told = verdict(claim, rates)
        outcome = "shown" if holds else "NOT shown" if len(rates[claim.more]) > 1 else "one seed, no interval"
        print(f"{claim.told:80}{told:>18}  {outcome}")
        missed += [claim.told] * (at in MUST_HOLD and not holds)
    return missed


def run(
    root: Path,
    seeds: Sequence[int],
    chosen: dict[str, Any],
    settings: dict[str, Any],
    *,
    base_tokens: int = BASE_TOKENS,
) -> dict[str, dict[int, dict[str, float]]]:
    """Train every arm with every seed and return the rates by arm and seed."""
    from habitus.train.arms import carry_out
    from habitus.train.plan import make_plan
    from habitus.train.quiet import hush

    hush(1)
    study = make_study(root, seeds, chosen, settings)
    make_toy(SIZE, world.plain_text(6_000, 0), base_tokens, root / "start")
    plan = make_plan(study, study.config.train, study.config.arms)
    rates: dict[str, dict[int, dict[str, float]]] = {name: {} for name in chosen}
    for outcome in carry_out(plan.runs, root / "models", lambda _: None):
        rates[outcome.run.arm][outcome.run.seed] = measured(outcome, outcome.run.seed)
    return rates


def main() -> None:
    """Print the tables, and with --check hold what must hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--arms", nargs="+", help="these alone")
    parser.add_argument("--keep", type=Path, help="a new folder for the study; else it is thrown away")
    options = parser.parse_args()
    chosen = {name: arm for name, arm in arms().items() if not options.arms or name in options.arms}
    with tempfile.TemporaryDirectory() as folder:
        rates = run(options.keep or Path(folder) / "study", options.seeds, chosen, SETTINGS)
    missed = show(rates)
    print(f"\n{len(chosen)} arms × {len(options.seeds)} seeds, {time.process_time():,.0f} CPU s")
    if missed and options.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
