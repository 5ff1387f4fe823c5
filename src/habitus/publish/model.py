"""A trained model on its way to the hub: its files, and the card that says how it was made and what it then does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from habitus.errors import UserError, nearest
from habitus.templates import templates

if TYPE_CHECKING:
    from habitus.study import Study

MADE = "## Made with"
"""The heading of the training card before which the evals stand."""


@dataclass(frozen=True)
class Trained:
    """One arm with one seed, trained to its end."""

    study: Study
    name: str
    """Below `models/`, such as `taught/seed-1`."""

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.study.root / "models" / self.name

    @property
    def title(self) -> str:
        """Its name among all models."""
        return f"{self.study.root.resolve().name}: {self.name}"

    @cached_property
    def run(self) -> dict[str, Any]:
        """What training wrote down of it."""
        return orjson.loads((self.folder / "run.json").read_bytes())

    def files(self) -> dict[str, Path]:
        """Return what loads as a model, its mixture and its curve, by path in a repository.

        Raises:
            UserError: weights, settings or tokenizer are missing.

        """
        return self._whole("checkpoint", ("config.json", "tokenizer_config.json"))

    def adapter_files(self) -> dict[str, Path]:
        """Return the adapters alone, with mixture and curve.

        Raises:
            UserError: there are none, or they stand on a model that is in this study alone.

        """
        if Path(self.run["from"]).is_dir():
            todo = "Push it without --adapter: the checkpoint has them merged in."
            raise UserError("these adapters stand on a model of this machine.", where=self.run["from"], todo=todo)
        return self._whole("adapter", ("adapter_config.json",))

    def _whole(self, part: str, needed: tuple[str, ...]) -> dict[str, Path]:
        folder = self.folder / part
        found = {path.name: path for path in sorted(folder.glob("*")) if path.is_file() and path.name != "README.md"}
        missing = [name for name in needed if name not in found]
        if not any(name.endswith((".safetensors", ".bin")) for name in found):
            missing.append("weights")
        if missing:
            todo = f"Train it: habitus train {self.study.root} --arm {self.run['arm']}"
            raise UserError(f"this model is not whole: no {', no '.join(missing)}.", where=str(folder), todo=todo)
        beside = {name: self.folder / name for name in ("curve.svg", "mixture.jsonl") if (self.folder / name).exists()}
        return found | beside


def models_in(study: Study) -> list[str]:
    """Return the names of all trained models of a study, each with its seed."""
    models = study.root / "models"
    runs = (path.parent for path in models.glob("**/seed-*/run.json") if (path.parent / "checkpoint").is_dir())
    return sorted(path.relative_to(models).as_posix() for path in runs if "-old-" not in path.name)


def find_model(study: Study, name: str) -> Trained:
    """Return a trained model by the name of its arm, with its seed where there are several.

    Raises:
        UserError: there is none of that name, it is not trained to its end, or there are several.

    """
    asked, names = name.removeprefix("models/"), models_in(study)
    found = [one for one in names if asked in {one, one.rpartition("/")[0]}]
    if len(found) > 1:
        todo = f"Name one: {', '.join(found)}."
        raise UserError(f"'{asked}' was trained with several seeds.", where=str(study.root / "models"), todo=todo)
    if not found:
        begun = any((study.root / "models" / asked).glob("**/run.json"))
        what = f"'{asked}' is not trained to its end." if begun else f"no model '{asked}'.{nearest(asked, names)}"
        todo = (
            f"Train it: habitus train {study.root} --arm {asked.partition('/')[0]}" if begun else _there(study, names)
        )
        raise UserError(what, where=str(study.root / "models"), todo=todo)
    return Trained(study, found[0])


def _there(study: Study, names: list[str]) -> str:
    return f"There are {', '.join(names)}." if names else f"Train some: habitus train {study.root}"


def model_card(trained: Trained, *, repository: str | None = None, adapter: bool = False) -> str:
    """Return the card of a model: what training wrote, with how to load it and what was measured of it."""
    from habitus.publish.card import cell, code

    _, front, body = (trained.folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    heading, _, rest = body.strip().partition("\n")
    told, _, made = rest.partition(MADE)
    datasets = trained.study.manifest.get("datasets", {})
    # training's own tables name the data of every stage, the run's mixture those of the last one
    simulated = [name for name, one in datasets.items() if one.get("simulated") and f"| {name} |" in told]
    fields = yaml.safe_load(front)
    tags = [*fields.pop("tags", []), *(["simulated"] if simulated else []), *(["lora"] if adapter else [])]
    fields |= {"library_name": "peft"} if adapter else {}
    jinja = templates("publish", cell=cell, code=code, number=_number)
    return jinja.get_template("model_card.md.jinja").render(
        front=yaml.safe_dump(
            {"pretty_name": trained.title, "tags": tags, **fields}, sort_keys=False, allow_unicode=True
        ),
        heading=heading,
        told=told.strip(),
        made=f"{MADE}{made}".strip(),
        adapter=adapter,
        base=fields.get("base_model"),
        place=repository or str(trained.folder / "checkpoint"),
        simulated=simulated,
        results=_results(trained),
    )


def _results(trained: Trained) -> dict[str, Any] | None:
    """Return what the evals of this model measured; None where there are none."""
    evals = trained.study.root / "evals"
    arm, _, _ = trained.name.rpartition("/")
    alone = sum(one.rpartition("/")[0] == arm for one in models_in(trained.study)) == 1
    places = [evals / trained.name, *([evals / arm] if alone else [])]
    found = next((path for place in places if (path := place / "results.json").exists()), None)
    return orjson.loads(found.read_bytes()) if found else None


def _number(found: dict[str, Any] | None, kind: str) -> str:
    """Return an estimate or a difference with its interval, as its kind is written."""
    if found is None:
        return ""
    value, low, high = (_written(found[key], kind) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})" if found["low"] is not None and found["high"] is not None else value


def _written(value: float | None, kind: str) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}%" if kind in {"rate", "share"} else f"{value:.2f}"
