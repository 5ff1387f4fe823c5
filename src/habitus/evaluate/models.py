"""From the names of models, arms and roles to models that Inspect can run."""

from __future__ import annotations

import json
import os
import re
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai.model import GenerateConfig, ModelInfo, get_model, set_model_info
from pydantic import ValidationError

import habitus.evaluate.provider  # noqa: F401  # so that Inspect knows it
from habitus.errors import UserError
from habitus.models import ENDPOINTS
from habitus.models.keys import guard
from habitus.settings import ARM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspect_ai.model import Model

    from habitus.config import Config
    from habitus.settings import ModelChoice
    from habitus.study import Study

_OWN = {"openai", "openrouter", "together", "groq"}
"""Endpoints that Inspect knows by the same name."""
LOCAL = frozenset({"hf", "vllm", "sglang", "ollama", "llama-cpp-python"})
"""Providers that run a model on a machine of the user's own."""
_PLAIN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""The chat template of a model that has none: the text itself, to be continued."""


def arm_model(study: Study, arm: str, named: str | None) -> tuple[str, Mapping[str, Any]]:
    """Return the name and settings of an arm's model: as named, as the config has it, or its checkpoint.

    Raises:
        UserError: nothing says what model this arm is.

    """
    if not re.match(ARM, arm):
        raise UserError(f"{arm!r} is no name of an arm.", todo="Use letters, digits, '-', '_', '.' and '/'.")
    declared = study.config.evaluate.arms.get(arm)
    if named or (declared and declared.model):
        return named or str(declared and declared.model), declared.params if declared else {}
    folder = checkpoint(study.root / "models" / arm)
    if folder is None:
        arms = ", ".join(study.config.evaluate.arms) or "none"
        todo = f"Name its model with --model, declare it under evaluate.arms (there: {arms}), or train it."
        raise UserError(f"nothing says what model the arm '{arm}' is.", where=str(study.root), todo=todo)
    return f"hf/{folder}", declared.params if declared else {}


def checkpoint(folder: Path) -> Path | None:
    """Return where in an arm's folder a trained model lies, if one does.

    Raises:
        UserError: there are several, of as many seeds.

    """
    found = next((place for place in (folder / "checkpoint", folder) if _is_model(place)), None)
    seeds = [place.parent.name for place in sorted(folder.glob("seed-*/checkpoint")) if _is_model(place)]
    if found is None and len(seeds) > 1:
        todo = " or ".join(f"--arm {folder.name}/{seed}" for seed in seeds)
        raise UserError("this arm was trained with several seeds.", where=str(folder), todo=f"Name one: {todo}.")
    return folder / seeds[0] / "checkpoint" if found is None and seeds else found


def _is_model(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("config.json", "adapter_config.json"))


def role_models(study: Study, roles: tuple[str, ...]) -> dict[str, list[Model]]:
    """Return the models of every role that an eval needs besides the model under test."""
    return {
        role: [open_for_inspect(str(one.model), study, one.params) for one in role_choices(study, role)]
        for role in roles
    }


def role_names(study: Study, roles: tuple[str, ...]) -> dict[str, list[str]]:
    """Return what Inspect calls the models of every role, without opening them."""
    found = {role: role_choices(study, role) for role in roles}
    return {role: [inspect_name(str(one.model), study.config) for one in choices] for role, choices in found.items()}


def role_choices(study: Study, role: str) -> list[ModelChoice]:
    """Return who plays a role: one model, or the panel of judges."""
    config = study.config
    if role == "judge" and config.evaluate.judges:
        return list(config.evaluate.judges)
    return [getattr(config.models, role) or config.models.default]


def inspect_name(name: str, config: Config) -> str:
    """Return what Inspect calls the model that habitus knows as `provider/name`."""
    provider, _, model = name.partition("/")
    if provider in {"simulated", "exchange"}:
        return f"habitus/{name}"
    return f"openai-api/{provider}/{model}" if _endpoint(provider, config) else name.removeprefix("inspect/")


def open_for_inspect(name: str, study: Study, params: Mapping[str, Any], *, base: bool = False) -> Model:
    """Return the model that a `provider/name` of the study stands for, as Inspect runs it.

    A base model in a local folder is given texts to continue, without a chat template.

    Raises:
        UserError: there is no such model, or it can't be reached.

    """
    from inspect_ai._util.error import PrerequisiteError

    provider, _, model = name.partition("/")
    arguments: dict[str, Any] = {"config": _settings(name, params), "memoize": False}
    if provider in {"simulated", "exchange"}:
        arguments["study"] = str(study.root)
    elif endpoint := _endpoint(provider, study.config):
        base_url, key = endpoint
        arguments |= {"base_url": base_url, "api_key": os.environ.get(key, "") if key else "none"}
    elif provider == "hf":
        arguments |= {"model_path": model} if Path(model).is_dir() else {}
        arguments |= {"chat_template": _PLAIN} if base else {}
    try:
        made = get_model(inspect_name(name, study.config), **arguments)
    except PrerequisiteError as error:
        raise UserError(f"{name} can't be used: {_said(error)}") from error
    except (ValueError, ImportError, OSError) as error:
        raise UserError(f"{name} can't be opened: {_said(error)}") from error
    if provider == "hf":
        set_model_info(str(made), ModelInfo())  # Inspect would load it a second time, to look up what it is
        return made
    return guard(made, endpoint[1] if (endpoint := _endpoint(provider, study.config)) else None)


def described(name: str, config: Config) -> dict[str, Any]:
    """Return what decides a model's answers beside its name, as far as that is known without calling it."""
    provider, _, place = name.partition("/")
    if provider in LOCAL and Path(place).is_dir():
        return {"chat_template": _chat_template(Path(place)), "versions": _versions()}
    endpoint = _endpoint(provider, config)
    return {"endpoint": endpoint[0]} if endpoint else {}


def _chat_template(folder: Path) -> str | None:
    """Return 12 hex digits over the chat template that lies beside a model, or None where there is none."""
    own, tokenizer = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    text = own.read_text(encoding="utf-8") if own.exists() else None
    if text is None and tokenizer.exists():
        text = json.loads(tokenizer.read_text(encoding="utf-8")).get("chat_template")
    return sha256(json.dumps(text).encode()).hexdigest()[:12] if text else None


def _versions() -> dict[str, str]:
    """Return the versions of what runs local models, of those that are installed."""
    return {name: version(name) for name in ("torch", "transformers", "vllm") if find_spec(name)}


def _endpoint(provider: str, config: Config) -> tuple[str, str | None] | None:
    """Return the base URL and key variable of an OpenAI-compatible endpoint that Inspect does not know."""
    if provider in config.providers:
        own = config.providers[provider]
        return own.base_url, own.key
    return ENDPOINTS[provider] if provider in ENDPOINTS and provider not in _OWN else None


def _settings(name: str, params: Mapping[str, Any]) -> GenerateConfig:
    renamed = {
        {"stop": "stop_seqs", "max_completion_tokens": "max_tokens"}.get(key, key): params[key] for key in params
    }
    if unknown := renamed.keys() - GenerateConfig.model_fields.keys():
        raise UserError(f"{name} takes no setting '{min(unknown)}' in evals.")
    try:
        return GenerateConfig(**renamed)
    except ValidationError as error:
        raise UserError(f"{name}: {error.errors()[0]['msg']}.") from error


def _said(error: BaseException) -> str:
    told = " ".join(str(getattr(error, "message", None) or error).split())
    return told[:300]
