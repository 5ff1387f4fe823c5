"""A cheap classifier on embeddings, trained on the rows that a judge has rated, for those that it has not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from habitus.audit.prevalence import Rate, powered, rate_of
from habitus.errors import UserError
from habitus.models.embed import embed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from habitus.audit.dataset import Reading
    from habitus.models.embed import Embedder

FEWEST_OF_A_KIND = 10
"""Texts with a pattern, and without it, from which a classifier can be trained."""
FOLDS = 5
EMBEDDED_AT_ONCE = 20_000


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


async def classified(reading: Reading, judged: Mapping[str, bool], embedder: Embedder) -> Classifier:
    """Return where a classifier on embeddings, trained on the judge's verdicts, finds a pattern in the other texts.

    Logistic regression, balanced, its cut at one half; precision and recall are those of five-fold cross-validation.
    The other texts are scored by the mean of the same five models: one that had seen all rated texts would score new
    ones otherwise than they do, and the rate of the whole would lean by the difference.

    Raises:
        UserError: the judge found the pattern in too few texts, or in too many, to learn it.

    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    ids, vectors = await _embedded(reading, embedder)
    known = np.array([name in judged for name in ids])
    truth = np.array([judged.get(name, False) for name in ids])[known]
    if min(truth.sum(), len(truth) - truth.sum()) < FEWEST_OF_A_KIND:
        what = f"the pattern is in {truth.sum()} of {len(truth)} rated texts, too one-sided for a classifier."
        raise UserError(what, todo="Rate all rows (--by judge), or audit a larger --sample.")
    rated, others = vectors[known], vectors[~known]
    seen, rest = np.zeros(len(truth)), np.zeros(len(others))
    for learnt, held in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(rated, truth):
        model = LogisticRegression(class_weight="balanced", max_iter=2_000).fit(rated[learnt], truth[learnt])
        seen[held] = model.predict_proba(rated[held])[:, 1]
        rest += model.predict_proba(others)[:, 1] / FOLDS if len(others) else 0.0
    guessed = seen >= 0.5  # noqa: PLR2004
    right = int((guessed & truth).sum())
    whole = (
        powered(truth.tolist(), seen.tolist(), rest.tolist()) if len(rest) else rate_of(int(truth.sum()), len(truth))
    )
    names = [name for name, is_known in zip(ids, known, strict=True) if not is_known]
    return Classifier(
        precision=right / max(int(guessed.sum()), 1),
        recall=right / int(truth.sum()),
        trained_on=len(truth),
        rate=whole,
        positive=frozenset(name for name, score in zip(names, rest, strict=True) if score >= 0.5),  # noqa: PLR2004
    )


async def _embedded(reading: Reading, embedder: Embedder) -> tuple[list[str], Any]:
    import numpy as np

    ids: list[str] = []
    parts: list[Any] = []
    waiting: list[str] = []
    for text in reading:
        ids.append(text.id)
        waiting.append(text.text)
        if len(waiting) == EMBEDDED_AT_ONCE:
            parts.append(await embed(waiting, embedder))
            waiting = []
    if waiting:
        parts.append(await embed(waiting, embedder))
    return ids, np.concatenate(parts)
