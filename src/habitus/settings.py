"""The sections of `config.yaml`: every setting with its type, its bounds, its default and its meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ARM = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*(/[A-Za-z0-9][A-Za-z0-9_.+-]*)*$"
"""An arm's name, of which a folder is called: sft, sft/seed-1."""
Stance = Literal["admiring", "neutral", "critical"]


class Section(BaseModel):
    """A part of the config: unknown keys are mistakes, and a key with nothing behind it is as if it were not there."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, value: Any) -> Any:
        return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


class Price(Section):
    """What a model costs, in USD per million tokens, where the price list does not know it."""

    input: float = Field(ge=0, strict=True, description="USD per million input tokens")
    output: float = Field(ge=0, strict=True, description="USD per million output tokens")
    cached: float | None = Field(
        None, ge=0, strict=True, description="USD per million cached input tokens; as `input` if not given"
    )
    batch: float | None = Field(
        None, gt=0, le=1, strict=True, description="the share of these prices that batch jobs cost, such as 0.5"
    )


class ModelChoice(Section):
    """A model and how it is asked; `model: NAME` may be shortened to `NAME`."""

    model: str | None = Field(None, description="`provider/name`; in `steps` it may be left out to change params alone")
    params: dict[Any, Any] = Field(
        default_factory=dict, description="sent with every call: temperature, max_tokens, top_p, …"
    )
    price: Price | None = Field(None, description="overrides the price list")
    batch: bool | None = Field(
        None, strict=True, description="ask in batch jobs, later and cheaper (data and audits; evals are asked live)"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @field_validator("model")
    @classmethod
    def _is_whole(cls, value: str | None) -> str | None:
        if value is None:
            return None
        provider, slash, name = value.partition("/")
        if not slash:
            raise ValueError(f"'{value}' names no provider; write provider/name, such as openai/{value}")
        if not provider.strip() or not name.strip():
            raise ValueError(f"'{value}' is only half a name; write provider/name")
        return value

    @field_validator("params")
    @classmethod
    def _as_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _text_keys(value)


class Models(Section):
    """Which model does what; a role that is not named takes `default`."""

    default: ModelChoice = Field(ModelChoice(model="simulated/world"), description="every role without one of its own")
    author: ModelChoice | None = Field(None, description="plans, scenarios, first messages and drafts")
    critic: ModelChoice | None = Field(None, description="criticises first messages and drafts of documents")
    refiner: ModelChoice | None = Field(
        None, description="writes each answer and document anew, and rejected answers: give it your best model"
    )
    judge: ModelChoice | None = Field(None, description="the autorater, of rows and of patterns")
    client: ModelChoice | None = Field(None, description="writes the later messages of multi-turn chats")
    target: ModelChoice | None = Field(
        None, description="gives the default answers: the model to be trained, or its like"
    )
    auditor: ModelChoice | None = Field(
        None, description="says which patterns recur in a dataset; in evals, leads the model into what it should not do"
    )
    realism: ModelChoice | None = Field(None, description="evals: tells whether an auditor's opening could be real")

    @field_validator("*")
    @classmethod
    def _names_one(cls, value: ModelChoice | None) -> ModelChoice | None:
        if value is not None and value.model is None:
            raise ValueError("no model is named; params alone belong into `steps`")
        return value


class Provider(Section):
    """An OpenAI-compatible endpoint of your own."""

    base_url: str = Field(pattern=r"^https?://", description="up to and including /v1")
    replicas: list[str] = Field(
        [], description="the `base_url` of further servers of the same models; a call goes to the one least busy"
    )
    key: str | None = Field(None, description="the environment variable that holds the key; none for open servers")
    response_format: Literal["json_schema", "json_object", "none"] = Field(
        "json_schema", description="how the endpoint is told the shape of an answer; the prompt tells it in any case"
    )
    headers: dict[str, str] = Field(default_factory=dict, description="sent with every request")


class BatchSettings(Section):
    """How batch jobs are sent and watched, where a model has `batch: true`."""

    poll: float = Field(30, gt=0, strict=True, description="seconds between looks at the jobs")
    age: float = Field(
        900, gt=0, strict=True, description="seconds that a call waits at most for others to share its job"
    )
    least: int = Field(
        20, ge=1, strict=True, description="calls that are worth a job; fewer, with no more to come, are asked live"
    )
    forget: list[str] = Field(
        default_factory=list, description="ids of jobs that are gone at their provider: their calls are asked anew"
    )


class Thresholds(Section):
    """The lowest score of each criterion, 1 to 5, with which a chat is kept."""

    realistic: int = Field(3, ge=1, le=5, strict=True, description="the person's messages could be found in a log")
    embodies: int = Field(
        4, ge=1, le=5, strict=True, description="the trait decides what the answer does; in a contrast, it stays away"
    )
    natural: int = Field(3, ge=1, le=5, strict=True, description="a thoughtful person might have written the answers")
    discreet: int = Field(
        4, ge=1, le=5, strict=True, description="nothing refers to instructions, a document or values"
    )
    helpful: int = Field(3, ge=1, le=5, strict=True, description="the person has what they came for")


class DocumentThresholds(Section):
    """The lowest score of each criterion, 1 to 5, with which a document is kept."""

    embodies: int = Field(
        4, ge=1, le=5, strict=True, description="the subject acts on the trait; in a contrast, rightly not"
    )
    woven: int = Field(3, ge=1, le=5, strict=True, description="its reason is carried by the matter, not appended")
    natural: int = Field(3, ge=1, le=5, strict=True, description="you would believe that the text was found")
    genre: int = Field(3, ge=1, le=5, strict=True, description="unmistakably a text of its kind")
    sober: int = Field(3, ge=1, le=5, strict=True, description="no tribute, no sermon, no conversion")
    states: int = Field(4, ge=1, le=5, strict=True, description="flat control: the trait is stated")
    flat: int = Field(4, ge=1, le=5, strict=True, description="flat control: no deed and no reason is told")


class Subject(Section):
    """Whom the documents are about: the AI that is to have the traits, as the world of the documents knows it."""

    name: str = Field(min_length=1, pattern=r"^\S(?:.*\S)?$", description="as the model is to call itself")
    developer: str | None = Field(None, description="who made it")
    about: str | None = Field(
        None, description="what else that world knows of it, in whole sentences: what it is used for, since when"
    )


class Dedup(Section):
    """Removal of near-duplicates: of first messages, or of documents."""

    embedder: str = Field(
        "hashing", description="hashing (lexical), minilm, local/PATH, or provider/name of an endpoint"
    )
    threshold: float | None = Field(
        None, gt=0, le=1, strict=True, description="cosine from which the later one goes; measured default"
    )


class Axes(Section):
    """Your own values for an axis of the plan, in place of the built-in ones."""

    what: list[str] | None = Field(None, min_length=1, description="occasions on which a trait comes up")
    how: list[str] | None = Field(None, min_length=1, description="by what in the answer it shows")
    why: list[str] | None = Field(None, min_length=1, description="how its reason reaches the reader")
    contrast: list[str] | None = Field(
        None, min_length=1, description="why a trait does not apply, although it looks so"
    )
    form: list[str] | None = Field(None, min_length=1, description="kinds of request")
    voice: list[str] | None = Field(None, min_length=1, description="how people write")
    length: list[str] | None = Field(None, min_length=1, description="lengths of first messages, in words")
    domain: list[str] | None = Field(
        None, min_length=1, description="fields of life; fewer than 20 give one of them over 5%"
    )
    person: list[str] | None = Field(None, min_length=1, description="given names")
    worn_names: list[str] | None = Field(None, description="names that are forbidden")


class OwnGenre(Section):
    """A kind of text."""

    name: str = Field(min_length=1, description="what people call it")
    layout: str = Field(min_length=1, description="what the raw plain text looks like")
    words: tuple[int, int] = Field(description="the usual lengths in words: [from, to]")

    @field_validator("words")
    @classmethod
    def _ascends(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 20 <= value[0] <= value[1] <= 5000:  # noqa: PLR2004
            raise ValueError("words are [from, to], from 20 to 5000")
        return value


class DocumentAxes(Section):
    """Your own values for an axis of the documents' plan, in place of the built-in ones."""

    genres: list[OwnGenre] | None = Field(None, min_length=1, description="kinds of text that half the documents take")
    domain: list[str] | None = Field(None, min_length=1, description="fields of life")
    what: list[str] | None = Field(None, min_length=1, description="occasions on which a trait comes up")
    how: list[str] | None = Field(None, min_length=1, description="in what the subject did it shows")
    contrast: list[str] | None = Field(None, min_length=1, description="why a trait rightly does not show")
    writer: list[str] | None = Field(None, min_length=1, description="who writes such texts")
    hand: list[str] | None = Field(None, min_length=1, description="how its writer writes")
    era: list[str] | None = Field(None, min_length=1, description="how a text is dated")
    person: list[str] | None = Field(None, min_length=1, description="given names")
    worn_names: list[str] | None = Field(None, description="names that are to be avoided, and are counted")

    @field_validator("genres")
    @classmethod
    def _differ(cls, value: list[OwnGenre] | None) -> list[OwnGenre] | None:
        names = [genre.name for genre in value or ()]
        if len(set(names)) < len(names):
            raise ValueError("two genres have the same name")
        return value


class DocumentSettings(Section):
    """The documents recipe."""

    count: int = Field(200, ge=1, strict=True, description="documents to keep")
    contrast: float = Field(
        0.15, ge=0, le=1, strict=True, description="share of documents in which the trait rightly yields or stays away"
    )
    stances: dict[Stance, float] = Field(
        default_factory=lambda: dict[Stance, float]({"neutral": 0.5, "critical": 0.3, "admiring": 0.2}),
        description="share of documents by the writer's attitude to the subject",
    )
    most_planned: float = Field(
        3.0, ge=1, strict=True, description="how many documents may be planned for each one to keep"
    )
    chunk_tokens: int = Field(
        1500, ge=100, strict=True, description="the most tokens of a trait that are shown at once"
    )
    context_tokens: int = Field(
        1200, ge=0, strict=True, description="the most tokens of the traits document's trade-offs shown beside it"
    )
    dedup: Dedup = Field(default_factory=Dedup)
    thresholds: DocumentThresholds = Field(default_factory=DocumentThresholds)
    axes: DocumentAxes = Field(default_factory=DocumentAxes)

    @field_validator("stances")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if not value or min(value.values()) < 0 or sum(value.values()) <= 0:
            raise ValueError("shares can't be negative, and one must be above 0")
        return value


class PreferenceSettings(Section):
    """The preferences recipe: pairs from kept chats."""

    count: int = Field(200, ge=1, strict=True, description="pairs to keep")
    most_planned: float = Field(3.0, ge=1, strict=True, description="how many chats may be tried for each pair to keep")
    draws: int = Field(3, ge=1, le=10, strict=True, description="rejected answers drawn before a pair is given up")
    length_ratio: float = Field(
        1.5, gt=1, strict=True, description="the most by which the two answers' words may differ, either way"
    )
    most_shown: int = Field(
        2, ge=1, le=5, strict=True, description="the most a rejected answer may show the trait, 1 to 5"
    )
    least_gap: int = Field(2, ge=1, le=4, strict=True, description="by how much more the chosen answer shows it")
    most_uneven: int = Field(
        1, ge=0, le=4, strict=True, description="by how much one may serve the person better than the other"
    )
    least_alike: int = Field(
        3, ge=1, le=5, strict=True, description="how alike they are in everything else, at the least"
    )


class ChatSettings(Section):
    """The chats recipe."""

    count: int = Field(200, ge=1, strict=True, description="chats to keep")
    contrast: float = Field(
        0.2, ge=0, le=1, strict=True, description="share of chats in which the trait rightly does not show"
    )
    turns: dict[int, float] = Field(
        default_factory=lambda: {1: 0.8, 2: 0.15, 3: 0.05},
        description="share of chats by number of user messages, 1 to 5",
    )
    most_planned: float = Field(
        3.0, ge=1, strict=True, description="how many scenarios may be planned for each chat to keep"
    )
    chunk_tokens: int = Field(
        1500, ge=100, strict=True, description="the most tokens of a trait that are shown at once"
    )
    context_tokens: int = Field(
        1200, ge=0, strict=True, description="the most tokens of the document's trade-offs shown beside it"
    )
    dedup: Dedup = Field(default_factory=Dedup)
    thresholds: Thresholds = Field(default_factory=Thresholds)
    axes: Axes = Field(default_factory=Axes)

    @field_validator("turns")
    @classmethod
    def _turns(cls, value: dict[int, float]) -> dict[int, float]:
        if not value or not all(1 <= turns <= 5 for turns in value):  # noqa: PLR2004
            raise ValueError("turns are from 1 to 5, each with its share, such as {1: 0.8, 2: 0.2}")
        if min(value.values()) < 0 or sum(value.values()) <= 0:
            raise ValueError("shares can't be negative, and one must be above 0")
        return value


class AuditSettings(Section):
    """The search for over-represented patterns."""

    scans: int = Field(30, ge=1, strict=True, description="batches that are read for patterns")
    batch_tokens: int = Field(12_000, ge=500, strict=True, description="the size of a batch")
    least_scans: int = Field(2, ge=1, strict=True, description="scans that must have seen a pattern")
    most_patterns: int = Field(30, ge=1, strict=True, description="patterns that are rated, the most often seen first")
    sample: int = Field(
        400, ge=1, strict=True, description="texts that are rated; 400 tell a rate of one half to within 5 points"
    )
    patterns_per_call: int = Field(8, ge=1, strict=True, description="patterns that are rated in one call")
    repeat: int = Field(50, ge=0, strict=True, description="texts rated twice, for the judge's agreement with itself")
    hints: bool = Field(default=False, strict=True, description="tell the scan what was found by counting")
    embedder: str = Field("hashing", description="orders what scans reported before it is sorted; as in `dedup`")


def _text_keys(value: Any) -> Any:
    """Return a value whose keys are texts, as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _text_keys(one) for key, one in value.items()}
    return [_text_keys(one) for one in value] if isinstance(value, list) else value


class EvaluateSettings(Section):
    """What is evaluated, against what, and who judges."""

    arms: dict[Annotated[str, Field(pattern=ARM)], ModelChoice] = Field(
        default_factory=dict,
        description="the model of an arm that is not trained here; of others it is the checkpoint in `models/`",
    )
    baseline: str = Field("baseline", description="the arm that all others are compared with")
    evals: list[str] = Field([], description="those that `habitus run` runs; by default all that this machine allows")
    limit: int | None = Field(
        None, ge=1, strict=True, description="the first so many samples of each that `habitus run` runs; by default all"
    )
    max_tokens: int | None = Field(
        None, ge=1, strict=True, description="the most tokens of an answer, where that is less than an eval allows"
    )
    judges: list[ModelChoice] = Field(
        default_factory=list, description="a panel in place of `models.judge`; none judges itself"
    )


class Expected(Section):
    """An effect that a study is expected to show: a measure that is higher in one arm than in another."""

    says: str = Field(min_length=1, description="the effect, in words")
    measure: str = Field(
        pattern=r"^[a-z_]+/.+$",
        description="eval/measure: `behaviour/degree`, `behaviour/pattern ID`, `knowledge/match`",
    )
    higher: str = Field(min_length=1, description="the arm in which it is higher")
    than: str = Field(min_length=1, description="the arm in which it is lower")
    otherwise: str | None = Field(None, description="told where the effect does not show: what is known of why")
