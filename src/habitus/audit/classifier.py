"""A cheap classifier on embeddings, trained on the rows that a judge has rated, for those that it has not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from habitus.audit.prevalence import Rate, powered, rate_of
from habitus.errors import UserError
from habitus.models.embed import Endpoint, embed, np, open_embedder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from habitus.audit.dataset import Reading, Text
    from habitus.models.embed import Embedder

FEWEST_OF_A_KIND = 10
"""Texts with a pattern, and without it, from which a classifier can be trained."""
FOLDS = 5
EMBEDDED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Classifier:
    """How well a cheap classifier tells a pattern, by cross-validation on the texts that the judge rated."""

    precision: float
    recall: float
    trained_on: int
    rate: Rate
    """Of the whole dataset: its predictions, set right by the judge's verdicts."""
    positive: frozenset[str]
    """The texts in which it finds the pattern, of those that the judge has not rated."""


async def classified(
    reading: Reading, ids: Sequence[str], judged: Mapping[str, bool], embedder: Embedder, address: str | None = None
) -> Classifier:
    """Return where a classifier on embeddings, trained on the judge's verdicts, finds a pattern in the other texts.

    Logistic regression, balanced, its cut at one half; precision and recall are those of five-fold cross-validation.
    The other texts are scored by the mean of the same five models: one that had seen all rated texts would score new
    ones otherwise than they do, and the rate of the whole would lean by the difference.
    `ids` are those of all texts, in their order. With an address, texts are embedded there, as `Reading.over` says; an
    endpoint is asked from here.

    Raises:
        UserError: the judge found the pattern in too few texts, or in too many, to learn it.

    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    known = [text for text in reading if text.id in judged]
    truth = np.array([judged[text.id] for text in known])
    if min(truth.sum(), len(truth) - truth.sum()) < FEWEST_OF_A_KIND:
        what = f"the pattern is in {truth.sum()} of {len(truth)} rated texts, too one-sided for a classifier."
        raise UserError(what, todo="Rate all rows (--by judge), or audit a larger --sample.")
    vectors = await embed([text.text for text in known], embedder)
    seen, models = np.zeros(len(truth)), []
    for learnt, held in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(vectors, truth):
        model = LogisticRegression(class_weight="balanced", max_iter=2_000).fit(vectors[learnt], truth[learnt])
        seen[held] = model.predict_proba(vectors[held])[:, 1]
        models.append(model)
    scores = await _scores(reading, models, embedder, address)
    guessed = seen >= 0.5  # noqa: PLR2004
    right = int((guessed & truth).sum())
    others = [(name, score) for name, score in zip(ids, scores, strict=True) if name not in judged]
    rest = [score for _, score in others]
    return Classifier(
        precision=right / max(int(guessed.sum()), 1),
        recall=right / int(truth.sum()),
        trained_on=len(truth),
        rate=powered(truth.tolist(), seen.tolist(), rest) if rest else rate_of(int(truth.sum()), len(truth)),
        positive=frozenset(name for name, score in others if score >= 0.5),  # noqa: PLR2004
    )


async def _scores(reading: Reading, models: list[Any], embedder: Embedder, address: str | None) -> list[float]:
    """Return how sure the classifiers are of the pattern on the average, for all texts in their order."""
    loop = asyncio.get_running_loop()

    def here(texts: list[str]) -> np.ndarray:
        return asyncio.run_coroutine_threadsafe(embed(texts, embedder), loop).result()

    if address is None or isinstance(embedder, Endpoint):
        found = reading.over(partial(_scored, models=models, vectors=here))
    else:
        found = reading.over(partial(_scored, models=models, vectors=partial(_embedded, embedder.name)), address)
    scores: list[float] = []
    # one stretch at a time, so that the command can be interrupted between two
    while (some := await asyncio.to_thread(lambda: next(found, None))) is not None:
        scores += some
    return scores


def _scored(texts: Iterator[Text], models: list[Any], vectors: Callable[[list[str]], np.ndarray]) -> list[float]:
    scores: list[float] = []
    while some := [text.text for text in islice(texts, EMBEDDED_AT_ONCE)]:
        held = vectors(some)
        scores += np.mean([model.predict_proba(held)[:, 1] for model in models], axis=0).tolist()
    return scores


def _embedded(name: str, texts: list[str]) -> np.ndarray:
    """Return vectors in a process of Daft's, which opens the embedder for itself."""
    return asyncio.run(embed(texts, _opened(name)))


_opened = lru_cache(maxsize=1)(open_embedder)
