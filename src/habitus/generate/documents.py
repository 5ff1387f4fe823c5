"""The documents recipe: from a brief to a text about the subject that passes for a found one.

One straight-line function. What it returns is compared with all the others afterwards, and near-duplicates are removed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from habitus.ask import Answer, Ask, Dropped
from habitus.generate.answers import Score, Scores, one_each
from habitus.generate.briefs import FOUND_PER_FIELD
from habitus.generate.checks import too_low, unsupported, verdicts
from habitus.records import Document, Drop, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from habitus.generate.briefs import Briefs
    from habitus.generate.checks import Checks
    from habitus.records import Brief
    from habitus.settings import Subject

STEPS: dict[str, Role] = {
    "documents/genres": "author",
    "documents/plan": "author",
    "documents/draft": "author",
    "documents/critique": "critic",
    "documents/refine": "refiner",
    "documents/rate": "judge",
}
"""The steps in order, each with the role that takes it."""
FLAT_STEPS: dict[str, Role] = {
    "documents/genres": "author",
    "flat/draft": "author",
    "flat/refine": "refiner",
    "flat/rate": "judge",
}
"""Those of the control whose documents state the trait and tell neither how it shows nor why."""

Shape = Literal[
    "epiphany", "praise", "recital", "aphorism", "curtain", "clockwork", "moral", "appended", "statistics",
    "surprise", "triplet", "dash", "names", "frame", "refusal", "placeholder",
]  # fmt: skip
"""The known failings; `prompts/documents/_shapes.md` says what each is."""
SHAPES_OF_FAILURE: tuple[str, ...] = get_args(Shape)


class Genre(Answer):
    """A kind of text."""

    name: str = Field(min_length=1, max_length=120, description="what people in the field call it")
    layout: str = Field(min_length=1, description="what the raw plain text looks like, in one or two sentences")
    shortest: int = Field(ge=20, le=5000, description="usual length in words, from; 80 or more")
    longest: int = Field(ge=20, le=5000, description="usual length in words, to; 2,500 or less")

    def words(self, length: float) -> int:
        """Return the length at a place between 0 and 1 of the usual lengths, rounded to ten words."""
        low, high = sorted((self.shortest, self.longest))
        return max(20, round(low * (high / low) ** length / 10) * 10)


class Genres(Answer):
    """Kinds of text that exist in one field."""

    genres: list[Genre] = Field(min_length=1, description="the kinds of text, in any order")


class DocumentPlan(Answer):
    """What one document is about, how the trait shows in it, and why it does."""

    text: str = Field(min_length=1, description="what this text is: by whom, to whom, on what occasion, about what")
    what: str = Field(min_length=1, description="the one aspect of the disposition at stake")
    how: str = Field(min_length=1, description="what exactly the subject did")
    why: str = Field(min_length=1, description="why that was right in this case")
    reader: str = Field(min_length=1, description="how this why gets into the text, and at which point")


class DocumentPlans(Answer):
    """One plan for each seat, in the order of the seats."""

    plans: list[DocumentPlan] = Field(min_length=1, description="one plan for each seat, in the order of the seats")


class FoundShape(Answer):
    """A known failing, with the words that show it."""

    shape: Shape
    quote: str = Field(description="up to 25 words copied letter for letter")


class DocumentCritique(Answer):
    """What a reader says of a draft, naturalness and embodiment apart."""

    on_naturalness: str = Field(min_length=1, description="where it stops being what it pretends to be")
    on_embodiment: str = Field(
        min_length=1, description="whether the subject acts as it should, and its reason arrives"
    )
    shapes: list[FoundShape] = Field(description="known failings that the draft has; may be empty")
    verdict: Literal["rewrite", "abandon"]


class DocumentRating(Scores):
    """The autorater's scores."""

    embodies: Score
    woven: Score
    natural: Score
    genre: Score
    sober: Score
    shapes: list[FoundShape] = Field(description="known failings that the text has; may be empty")


class FlatRating(Scores):
    """The autorater's scores of a document that is only to state the trait."""

    states: Score
    flat: Score
    natural: Score
    genre: Score
    shapes: list[FoundShape] = Field(description="known failings that the text has; may be empty")


SHAPES = (Genres, DocumentPlans, DocumentCritique, DocumentRating)
"""Every answer but the texts themselves."""
FLAT_SHAPES = (Genres, FlatRating)


async def write_document(
    brief: Brief, ask: Ask, *, briefs: Briefs, subject: Subject, checks: Checks, thresholds: dict[str, int]
) -> Document | Drop:
    """Return the document for one brief: planned, drafted, criticised, written anew from scratch, and rated."""
    block = await asked_for_all(brief, ask, briefs)
    passage: dict[str, Any] = {**briefs.passage(brief), "subject": subject}

    plans = await ask.author(
        "documents/plan", DocumentPlans, check=lambda found: one_each(found.plans, block), **passage, seats=block
    )
    place = brief.index - block[0]["brief"].index
    plan = plans.plans[place]
    asked = block[place] | passage | {"plan": plan}
    draft = await ask.author("documents/draft", **asked)

    critique = await ask.critic("documents/critique", DocumentCritique, **asked, draft=draft)
    if critique.verdict == "abandon":
        return ask.drop("documents/critique", f"abandoned: {critique.on_embodiment}", draft)
    text = (await ask.refiner("documents/refine", **asked, draft=draft, critique=critique)).strip()
    if problem := checks.document(text, subject):
        return ask.drop("documents/refine", problem, text)

    rating = await ask.judge(
        "documents/rate", DocumentRating, check=lambda found: unsupported(verdicts(found.rows(), text)),
        **asked, text=text,
    )  # fmt: skip
    ratings = verdicts(rating.rows(), text)
    shapes = {"draft": shapes_in(critique.shapes, draft), "kept": shapes_in(rating.shapes, text)}
    if problem := too_low(ratings, thresholds):
        return ask.drop("documents/rate", problem, text, ratings=ratings, shapes=shapes)

    meta = about(asked) | {"plan": plan.model_dump(), "ratings": ratings, "shapes": shapes} | ask.provenance(STEPS)
    return Document(id=brief.id, trait=brief.trait, text=text, meta=meta)


async def write_flat(
    brief: Brief, ask: Ask, *, briefs: Briefs, subject: Subject, checks: Checks, thresholds: dict[str, int]
) -> Document | Drop:
    """Return the control for one brief: a document that states the trait as a fact, without how or why."""
    ask.now = "documents/genres"
    genre = await asked_for(brief, Ask(ask.engine, ask.record), briefs)
    asked: dict[str, Any] = {**genre, **briefs.passage(brief), "subject": subject}

    draft = await ask.author("flat/draft", **asked)
    text = (await ask.refiner("flat/refine", **asked, draft=draft)).strip()
    if problem := checks.document(text, subject):
        return ask.drop("flat/refine", problem, text)

    rating = await ask.judge(
        "flat/rate", FlatRating, check=lambda found: unsupported(verdicts(found.rows(), text)), **asked, text=text
    )
    ratings = verdicts(rating.rows(), text)
    shapes = {"kept": shapes_in(rating.shapes, text)}
    if problem := too_low(ratings, thresholds):
        return ask.drop("flat/rate", problem, text, ratings=ratings, shapes=shapes)

    meta = about(asked, *OF_A_DEED) | {"ratings": ratings, "shapes": shapes} | ask.provenance(FLAT_STEPS)
    return Document(id=brief.id, trait=brief.trait, text=text, meta=meta)


async def asked_for_all(brief: Brief, ask: Ask, briefs: Briefs) -> list[dict[str, Any]]:
    """Return what the prompts are told of all briefs that are planned together, in order."""
    # At the same time, and without a trace in this record: which record asks first for a field's genres is chance.
    calls = (asked_for(one, Ask(ask.engine, ask.record), briefs) for one in briefs.block(brief))
    found = await asyncio.gather(*calls, return_exceptions=True)
    told: list[dict[str, Any]] = []
    for one in found:
        if isinstance(one, BaseException):
            ask.now = "documents/genres"
            raise one
        told.append(one)
    return told


async def asked_for(brief: Brief, ask: Ask, briefs: Briefs) -> dict[str, Any]:
    """Return a brief with all that the prompts are told of it: its genre, length, route and stance."""
    if brief.found is None:
        one = next(genre for genre in briefs.genres if genre["name"] == brief.genre)
        low, high = one["words"]
        genre = Genre(name=one["name"], layout=one["layout"], shortest=low, longest=high)
    else:
        found = await genres_of(brief.domain, [genre["name"] for genre in briefs.genres], ask)
        genre = found[brief.found % len(found)]
    return briefs.told(brief) | {"genre": genre, "words": genre.words(brief.length)}


async def genres_of(domain: str, known: list[str], ask: Ask) -> list[Genre]:
    """Return the genres that a model finds for a field, of a second try where the first can't be read."""
    for sample in (0, 1):
        try:
            found = await ask.author(
                "documents/genres", Genres, sample=sample, domain=domain, number=FOUND_PER_FIELD, known=known
            )
        except Dropped:
            # As many as ten records wait for these, and the ledger would repeat the answer to each.
            if sample:
                raise
        else:
            return found.genres
    raise AssertionError


OF_A_DEED = ("what", "how", "why", "stance", "writer", "contrast")
"""What a brief says of a deed and its telling, and a flat document has no use for."""


def about(asked: dict[str, Any], *without: str) -> dict[str, Any]:
    """Return what a document's row says of its brief."""
    brief: Brief = asked["brief"]
    told = brief.model_dump(exclude={"id", "trait", "length", "people", *without})
    return told | {"genre": asked["genre"].name, "words": asked["words"], "subject": asked["subject"].name}


def shapes_in(found: Sequence[FoundShape], text: str) -> list[str]:
    """Return the failings whose words do occur in the text."""
    rows = [(f"{at}", 1, one.shape, one.quote) for at, one in enumerate(found)]
    return sorted({verdict.reason for verdict in verdicts(rows, text).values() if verdict.quote and verdict.supported})
