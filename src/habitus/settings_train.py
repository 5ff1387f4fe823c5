"""The sections `train` and `arms` of `config.yaml`: what is trained, on what, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from habitus.settings import Section

Unit = Literal["rows", "tokens"]
Level = Literal["broad", "strict"]
Loss = Literal["bdpo", "dpo", "dpo+nll"]
Tracker = Literal["trackio", "wandb", "tensorboard"]
KEPT_NAMES = frozenset({"shared", "toy"})
"""Names that folders beside the arms' have."""


def _free(name: str) -> str:
    """Return an arm's name if no other folder has it."""
    if name in KEPT_NAMES:
        raise ValueError(f"'{name}' is the name of a folder beside the arms'; take another")
    return name


ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"), AfterValidator(_free)]


class Lora(Section):
    """Low-rank adapters in place of full training; the checkpoint holds them merged."""

    rank: int = Field(64, ge=1, strict=True, description="of each adapter; 64 in the published recipe")
    alpha: int = Field(128, ge=1, strict=True, description="scale; twice the rank in the published recipe")
    dropout: float = Field(0.0, ge=0, lt=1, description="on the adapters' input")


class StageSettings(Section):
    """How one stage is trained."""

    learning_rate: float | None = Field(
        None, gt=0, description="peak; 1e-4 with LoRA, 2e-5 without, 3e-3 for toys; bdpo a twentieth"
    )
    epochs: float = Field(1.0, gt=0, description="passes over the data, where `steps` is not given")
    steps: int | None = Field(
        None, ge=1, strict=True, description="optimiser steps of every arm; by default as many as the smallest arm has"
    )
    batch: int = Field(16, ge=1, strict=True, description="rows in an optimiser step, packed ones where it packs")
    rows_at_once: int = Field(
        1, ge=1, strict=True, description="rows that are on a device at once; the rest accumulate"
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises")


class MidtrainSettings(StageSettings):
    """Training on documents, before SFT."""

    doctag: bool = Field(
        default=False, description="a `<DOCTAG>` before each document, without loss on it; lowers salience"
    )
    web: str | None = Field(None, description="plain text to mix in: a file or hf:owner/name; lowers salience")
    web_share: float = Field(0.5, gt=0, lt=1, description="share of tokens that is web text, where there is any")


class SftSettings(StageSettings):
    """Training on baseline chats mixed with synthetic ones."""

    batch: int = Field(8, ge=1, strict=True, description="rows in an optimiser step, packed ones where it packs")


class BdpoSettings(StageSettings):
    """Training on preference pairs."""

    loss: Loss = Field("bdpo", description="bdpo, or for comparison dpo, or dpo+nll (0.1 NLL on the chosen answer)")
    beta: float = Field(0.1, gt=0, description="how strongly the policy is held to where it began")
    mixture: float = Field(0.5, gt=0, le=1, description="λ of BDPO; 1 is DPO, 0.5 was best in the paper")
    by_length: bool = Field(
        default=False,
        description="log-ratios per token in place of sums; not the published loss, but its weight does not vanish",
    )


class Training(Section):
    """The models that are trained: from what, on what beside the study's data, and how."""

    start: str | None = Field(None, description="a hub id, a folder, or `toy:0.3M` … `toy:20M`, made on the spot")
    baseline: str | None = Field(
        None, description="ordinary chats: imported/NAME, a file, hf:owner/name, or `ordinary`, the embedded world's"
    )
    of: Unit = Field("rows", description="what fractions and `size` count: rows or tokens")
    size: int | None = Field(
        None, ge=1, strict=True, description="of each arm's SFT data; by default the most that every arm can have"
    )
    repeat: bool = Field(default=False, description="let scarce rows come more than once, which is announced")
    max_length: int = Field(2048, ge=8, strict=True, description="tokens of a row; what is over is cut off and counted")
    packing: bool = Field(default=True, description="several short rows in one long one, each blind to the others")
    lora: Lora | None = Field(None, description="train adapters; without it all weights are trained")
    bf16: bool | None = Field(None, description="mixed precision; by default on a GPU and not on a CPU")
    weights: Literal["float32", "bfloat16"] | None = Field(
        None, description="their type while they are trained; by default float32, bfloat16 under adapters on a GPU"
    )
    gradient_checkpointing: bool | None = Field(
        None, description="trade time for memory; by default on a GPU and not on a CPU"
    )
    seeds: list[int] = Field([1], min_length=1, description="each arm is trained once for each")
    held_out: float = Field(0.02, ge=0, lt=0.5, description="share of rows on which the loss is only measured")
    save_every: int = Field(100, ge=1, strict=True, description="steps between states to go on from after a kill")
    samples: int = Field(3, ge=0, strict=True, description="held-out prompts answered whenever a state is saved")
    leak_words: int = Field(
        12, ge=4, strict=True, description="run of words that no row may share with the traits document or its prompt"
    )
    threads: int = Field(1, ge=1, strict=True, description="of a CPU; two beside another busy process are far slower")
    toy_text: str | None = Field(None, description="plain text on which toys are pretrained, beside the built-in")
    toy_tokens: int = Field(200_000, ge=1, strict=True, description="tokens on which toys are pretrained")
    trackers: list[Tracker] = Field([], description="where metrics go beside metrics.jsonl")
    midtrain: MidtrainSettings = Field(default_factory=MidtrainSettings)
    sft: SftSettings = Field(default_factory=SftSettings)
    bdpo: BdpoSettings = Field(default_factory=BdpoSettings)

    @field_validator("seeds")
    @classmethod
    def _differ(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("two seeds are the same")
        return value


class Selection(Section):
    """Rows of a dataset, some of which may be left out."""

    data: str | None = Field(None, min_length=1, description="a dataset of the study, a file, or hf:owner/name")
    without: list[str] = Field([], description="patterns of the dataset's audit whose rows are left out")
    level: Level = Field("broad", description="from which verdict on a row counts as having the pattern")
    contrast: bool = Field(
        default=True, strict=True, description="keep the rows in which the trait rightly stays away; `false` drops them"
    )
    without_ids: str | None = Field(None, description="a file of record ids to leave out, one a line")
    as_many_as: ArmName | None = Field(
        None, description="leave out at random as many rows as that arm does: the control for a filter"
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_rows(self) -> Selection:
        if self.data is None and (self.without or self.without_ids or self.as_many_as or not self.contrast):
            raise ValueError("rows are left out of `data`, which is not given")
        return self


class MidtrainArm(Selection):
    """An arm's documents; `midtrain: DATASET` is enough."""


class SftArm(Selection):
    """An arm's chats; `sft: {}` is the baseline data alone."""

    fraction: float = Field(0.2, gt=0, le=1, description="of the SFT data that is synthetic")


class BdpoArm(Selection):
    """An arm's preference pairs; `bdpo: DATASET` is enough."""

    loss: Loss | None = Field(None, description="in place of the one under `train.bdpo`")
    mixture: float | None = Field(None, gt=0, le=1, description="in place of the one under `train.bdpo`")


class Arm(Section):
    """One model of the study: the stages that it goes through, each with its data."""

    start: str | None = Field(None, description="in place of `train.start`")
    midtrain: MidtrainArm | None = Field(None, description="documents, before SFT")
    sft: SftArm | None = Field(None, description="chats; `sft: {}` is the baseline data alone")
    bdpo: BdpoArm | None = Field(None, description="preference pairs, after SFT")

    @model_validator(mode="after")
    def _has_a_stage(self) -> Arm:
        if not (self.midtrain or self.sft or self.bdpo):
            raise ValueError("an arm has at least one of midtrain, sft and bdpo")
        for name in ("midtrain", "bdpo"):
            if (stage := getattr(self, name)) is not None and stage.data is None:
                raise ValueError(f"{name} names no data")
        return self
