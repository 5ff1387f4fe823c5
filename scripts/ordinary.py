"""Make the shipped profile of ordinary assistants' answers, from answers of several models to the same questions.

    python scripts/ordinary.py FOLDER

FOLDER has one JSON Lines file of chats for each model, whose first messages are the questions. What is written holds
counts alone: how many answers have a named habit, and how many have a pattern of at most five words (or a frame, which
has no word of content). A pattern is counted in only if 20 answers have it, to 6 questions and of 8 models: so none is
anybody's text.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from habitus.audit.corpus import PARTS, gather, sightings
from habitus.audit.dataset import Reading
from habitus.audit.diversity import diversity, lengths
from habitus.audit.lexical import named_habits

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Path(__file__).parent.parent / "src" / "habitus" / "audit" / "ordinary.json.gz"
ANSWERS, QUESTIONS, MODELS, LONGEST_FRAME = 20, 6, 8, 16


def questions(path: Path) -> Iterator[str]:
    """Yield the first message of every chat."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["messages"][0]["content"]


def main() -> None:
    """Write the profile."""
    files = sorted(Path(sys.argv[1]).glob("*.jsonl.gz"))
    rows = [(f"{path.stem}:{at}", text.text, path.stem) for path in files for at, text in enumerate(Reading(str(path)))]
    corpus = gather(rows)
    question = np.unique([asked for path in files for asked in questions(path)], return_inverse=True)[1]
    model = np.unique(np.array(corpus.groups), return_inverse=True)[1]
    patterns: dict[str, dict[str, int]] = defaultdict(dict)
    for kind, length in PARTS:
        found = sightings(corpus, kind, length, ANSWERS)
        for low, high in zip(found.first[:-1], found.first[1:], strict=True):
            which = found.document[low:high]
            text = corpus.wording(kind, int(found.start[low]), int(found.stop[low]))
            is_common = len(np.unique(question[which])) >= QUESTIONS and len(np.unique(model[which])) >= MODELS
            if is_common and len(text.split()) <= LONGEST_FRAME:
                patterns[kind][text] = int(high - low)
    one_each = [diversity(gather(row for row in rows if row[2] == path.stem)) for path in files]
    middle = {name: float(np.median([asdict(one)[name] for one in one_each])) for name in asdict(one_each[0])}
    made = {
        "name": "ordinary assistants",
        "version": "2",
        "provenance": (
            f"Counts over {corpus.records:,} English answers, of {len(files)} models to the same {question.max() + 1} "
            f"AlpacaEval instructions: habits, and patterns that at least {ANSWERS} answers have, to {QUESTIONS} "
            f"questions and of {MODELS} models. No answer or part of one is in here. Diversity: the models' median."
        ),
        "models": [path.name.removesuffix(".jsonl.gz") for path in files],
        "records": corpus.records,
        "mean_words": round(corpus.words / corpus.records, 2),
        "lengths": asdict(lengths(corpus)),
        "diversity": middle,
        "features": [[one.kind, one.name, len(one.document)] for one in named_habits(corpus)],
        "patterns": {kind: dict(sorted(counts.items())) for kind, counts in patterns.items()},
    }
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    kinds = ", ".join(f"{len(counts):,} of {kind}" for kind, counts in patterns.items())
    sys.stdout.write(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB; {kinds}\n")


if __name__ == "__main__":
    main()
