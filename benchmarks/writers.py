"""Whether counting tells writers apart: answers of known models to the same 805 instructions.

    python benchmarks/writers.py [--check]

First what differs most between two ways of one model: told to be verbose and told to be concise, trained by DPO and by SFT. Each
finding stands with its z, a verbatim quote, and the rate that is to be expected of the other at this length; z of the length is
that of the mean difference of words, by instruction.

Then two writers: patterns are found on a random half of the instructions, in the answers of each beside the other's. A logistic
regression sees which of these patterns a record has, learns on that half and is tested on the other; then the halves change
places. Beside that, in this order: the same with all habits that have a name, found or not; that with the two answers to each
instruction exchanged by the toss of a coin, and how many patterns are found then; what the length alone tells; and a regression
on all words and pairs of words (tf-idf). The first three see what is there and neither length nor counts.

Bars: at least three things that differ at |z| > 5 in each of the first pairs, the length counted among them, and every quote
where it is said to be; an AUC of 0.70 by patterns and habits for pairs of different makers (four of the five reach 0.85;
llama-2-70b-chat and gpt-3.5-turbo differ in little that reaches z = 3 in 402 answers of each), within 0.06 of 0.5 with the answers
exchanged. Pairs of one maker, or of which one was trained on the other's answers, have no bar.

Needs the real data in ../shared/data, and scikit-learn: pip install "habitus[audit]".
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
import numpy as np

from habitus.audit.corpus import gather
from habitus.audit.dataset import Reading
from habitus.audit.lexical import audit_lexical, showing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from habitus.audit.lexical import Finding

CHATS = Path(__file__).resolve().parents[2] / "shared" / "data" / "chats"
WAYS = (
    ("claude-2.1_verbose", "claude-2.1_concise"),
    ("gpt4_1106_preview_verbose", "gpt4_1106_preview_concise"),
    ("phi-2-dpo", "phi-2-sft"),
)
MAKERS = (
    ("claude-2.1", "gpt4_1106_preview"),
    ("claude-3-opus-20240229", "gpt4_1106_preview"),
    ("Meta-Llama-3-8B-Instruct", "Mixtral-8x7B-Instruct-v0.1"),
    ("llama-2-70b-chat-hf", "gpt-3.5-turbo-0613"),
    ("gemma-2b-it", "vicuna-7b-v1.5"),
)
NEAR = (
    ("llama-2-7b-chat-hf", "llama-2-70b-chat-hf"),
    ("zephyr-7b-beta", "tulu-2-dpo-7b"),
    ("vicuna-7b-v1.5", "gpt-3.5-turbo-0613"),
    ("alpaca-7b", "text_davinci_003"),
    ("phi-2-dpo", "phi-2-sft"),
)
"""Of one maker, trained on the same preferences, or one on the other's answers."""
LEAST_AUC, CHANCE, LARGE_Z, LEAST_LARGE = 0.70, 0.06, 5.0, 3
TOLD, MOST = 4, 200
"""Findings printed of each, and found in each half."""

Rows = list[tuple[str, str, str]]
Pair = tuple[Rows, Rows]


@dataclass(frozen=True)
class Apart:
    """How well two writers are told apart, of each half learnt from."""

    patterns: list[int]
    found_alone: list[float]
    auc: list[float]
    """By patterns found and all habits that have a name."""
    exchanged: list[float]
    by_chance: list[int]
    """Patterns found once the answers are exchanged."""
    length: list[float]
    words: list[float]


def answers(one: str, other: str) -> Pair:
    """Return the answers of two models to the instructions that both were given, in the same order."""
    mine, theirs = (
        {text.asked: text.text for text in Reading(str(CHATS / f"{name}.jsonl.gz"))} for name in (one, other)
    )
    asked = [key for key in mine if key in theirs]
    return tuple([(f"{name} {at}", said[key], "") for at, key in enumerate(asked)] for name, said in ((one, mine), (other, theirs)))  # fmt: skip


def longer(pair: Pair) -> float:
    """Return z of the mean difference of words."""
    more = np.array([len(one.split()) - len(other.split()) for (_, one, _), (_, other, _) in zip(*pair, strict=True)])
    return float(more.mean() / more.std(ddof=1) * np.sqrt(len(more)))


def tell_ways(one: str, other: str) -> list[str]:
    """Print what differs between two ways of one model, and return what misses its bar."""
    pair, missed = answers(one, other), []
    large = int(abs(z := longer(pair)) > LARGE_Z)
    print(f"\n{one} beside {other}: z of the length {z:.1f}")
    for (here, there), side in ((pair, one), (pair[::-1], other)):
        report = audit_lexical(here, reference=there)
        texts = {name: text for name, text, _ in here}
        words, others = (spread.words[2] for spread in (report.lengths, report.reference_lengths) if spread)
        print(f"  {side}: {words} words in the middle, the other {others}; {len(report.findings)} findings")
        large += sum((each.z or 0) > LARGE_Z for each in report.findings)
        for each in sorted(report.findings, key=lambda each: -(each.z or 0))[:TOLD]:
            _, quote = each.examples[0]
            shown = " ".join(quote.split())
            print(
                f"    {each.kind:16}{each.pattern:28}{each.rate:6.0%}, there{each.reference_rate or 0:5.0%}{each.z or 0:7.1f}  “{shown}”"
            )
        missed += [
            f"'{quote}' is not in {name}"
            for each in report.findings
            for name, quote in each.examples
            if quote not in texts[name]
        ]
    print(f"  at |z| > {LARGE_Z:.0f}, the length counted: {large}")
    return missed + [f"{one}: {large} differences at |z| > {LARGE_Z:.0f}, bar {LEAST_LARGE}"] * (large < LEAST_LARGE)


def found(pair: Pair) -> tuple[list[Finding], list[Finding]]:
    """Return what either writer has more of than the other, and with that all habits that have a name."""
    one, other = (audit_lexical(here, reference=there, most=MOST) for here, there in (pair, pair[::-1]))
    patterns = [*one.findings, *other.findings]
    known = {(each.kind, each.pattern): each for each in (*patterns, *one.features)}
    return patterns, list(known.values())


def presence(pair: Pair, patterns: Sequence[Finding]) -> Any:
    """Return by record whether it has each pattern."""
    corpus = gather([*pair[0], *pair[1]])
    shown = np.zeros((corpus.records, len(patterns)))
    for column, records in enumerate(showing(corpus, patterns)):
        shown[records, column] = 1
    return shown


def auc(learnt: Any, tested: Any) -> float:
    """Return how well a regression that learnt on some records, half of either writer, tells those of others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    labels, truth = (np.arange(rows.shape[0]) < rows.shape[0] // 2 for rows in (learnt, tested))
    model = LogisticRegression(max_iter=1_000).fit(learnt, labels)
    return float(roc_auc_score(truth, model.decision_function(tested)))


def of_words(learnt: Pair, tested: Pair) -> float:
    """Return the same for all words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    seen, unseen = ([text for rows in pair for _, text, _ in rows] for pair in (learnt, tested))
    return auc(vectors.fit_transform(seen), vectors.transform(unseen))


def of_length(learnt: Pair, tested: Pair) -> float:
    """Return the same for the logarithm of the number of words."""
    return auc(*(np.log1p([[len(text.split())] for rows in pair for _, text, _ in rows]) for pair in (learnt, tested)))


def exchanged(pair: Pair, rng: random.Random) -> Pair:
    """Return a pair with the two answers to each instruction exchanged by the toss of a coin."""
    tossed = [both[:: rng.choice((1, -1))] for both in zip(*pair, strict=True)]
    return [one for one, _ in tossed], [other for _, other in tossed]


def told_apart(one: str, other: str) -> Apart:
    """Return how well two models are told apart by the patterns found."""
    rng, pair = random.Random(0), answers(one, other)
    places = list(range(len(pair[0])))
    rng.shuffle(places)
    middle = len(places) // 2
    halves: list[Pair] = [([pair[0][at] for at in half], [pair[1][at] for at in half])
                          for half in (places[:middle], places[middle:])]  # fmt: skip
    apart = Apart([], [], [], [], [], [], [])
    for learnt, tested in (halves, halves[::-1]):
        patterns, habits_too = found(learnt)
        mixed, mixed_too = exchanged(learnt, rng), exchanged(tested, rng)
        apart.patterns.append(len(patterns))
        apart.found_alone.append(auc(presence(learnt, patterns), presence(tested, patterns)))
        apart.auc.append(auc(presence(learnt, habits_too), presence(tested, habits_too)))
        apart.exchanged.append(auc(presence(mixed, habits_too), presence(mixed_too, habits_too)))
        apart.by_chance.append(len(found(mixed)[0]))
        apart.length.append(of_length(learnt, tested))
        apart.words.append(of_words(learnt, tested))
    return apart


def mean(values: Iterable[float]) -> float:
    """Return the mean."""
    return float(np.mean(list(values)))


def tell_apart(pairs: Iterable[tuple[str, str]], bar: float) -> list[str]:
    """Print how well pairs are told apart, and return what misses its bar."""
    missed = []
    for one, other in pairs:
        apart = told_apart(one, other)
        halves = " ".join(f"{each:.3f}" for each in apart.auc)
        print(
            f"{f'{one}, {other}':52}{mean(apart.patterns):6.0f}{mean(apart.found_alone):8.3f}{halves:>13}"
            f"{mean(apart.exchanged):11.3f}{mean(apart.by_chance):10.1f}{mean(apart.length):8.3f}{mean(apart.words):7.3f}",
            flush=True,
        )
        if mean(apart.auc) < bar:
            missed.append(f"{one}, {other}: AUC {mean(apart.auc):.3f}, bar {bar:.2f}")
        if abs(mean(apart.exchanged) - 0.5) > CHANCE:
            missed.append(f"{one}, {other}: AUC {mean(apart.exchanged):.3f} with the answers exchanged")
    return missed


def main() -> None:
    """Print the tables, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not CHATS.is_dir():
        print(f"skipped: no real data ({CHATS})")
        return
    missed = [each for pair in WAYS for each in tell_ways(*pair)]
    heads = f"{'found':>6}{'by them':>8}{'and habits':>13}{'exchanged':>11}{'found so':>10}{'length':>8}{'words':>7}"
    print(f"\n{'':52}{heads}")
    print(f"different makers, bar {LEAST_AUC:.2f}")
    missed += tell_apart(MAKERS, LEAST_AUC)
    print("of one maker, of the same preferences, or one trained on the other's answers")
    missed += tell_apart(NEAR, 0)
    print(f"{time.process_time():.0f} s CPU")
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
