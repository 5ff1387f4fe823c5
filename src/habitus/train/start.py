"""Where training begins: a hub id, a folder or a toy, with what has to be known of it before anything is spent."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.train.toy import is_toy, toy

if TYPE_CHECKING:
    from habitus.settings_train import Training

POST_TRAINED = re.compile(r"instruct|chat|[-_]it\b|sft|dpo|rlhf|thinking", re.IGNORECASE)
PRETRAINED = re.compile(r"base|[-_]pt\b|pretrain|toy", re.IGNORECASE)
WHOLE = 1 << 28
"""Bytes up to which a weights file is hashed whole; of a larger one head, tail, size and when it was written."""
END = 1 << 20
"""Bytes of head and of tail."""


@dataclass(frozen=True)
class Start:
    """A checkpoint to train from."""

    name: str
    """As the user named it."""
    path: str
    """What the libraries load it by."""

    @cached_property
    def config(self) -> Any:
        """The model's architecture.

        Raises:
            UserError: there is no such model.

        """
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(self.path)
        except (OSError, ValueError) as error:
            told = str(error).strip().partition("\n")[0]
            todo = "Give a hub id such as Qwen/Qwen3-0.6B-Base, a folder with config.json and weights, or `toy:0.5M`."
            raise UserError(f"this model can't be loaded ({told}).", where=self.name, todo=todo) from error

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer.

        Raises:
            UserError: there is none.

        """
        from transformers import AutoTokenizer

        self.config  # noqa: B018  # an unknown model is told as such
        try:
            return AutoTokenizer.from_pretrained(self.path)
        except (OSError, ValueError) as error:
            told = str(error).strip().partition("\n")[0]
            raise UserError(f"this model has no tokenizer ({told}).", where=self.name, todo="Name another.") from error

    @property
    def context(self) -> int | None:
        """The longest row that the model can take, if it is known."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)

    @cached_property
    def _outline(self) -> Any:
        """The model without its weights."""
        import torch
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(self.config)

    @property
    def parameters(self) -> int:
        """How many weights the model has, counted without loading them."""
        return sum(one.numel() for one in self._outline.parameters())

    @property
    def linears(self) -> list[tuple[int, ...]]:
        """The shapes of the matrices that adapters would stand beside: all but the one that ends in the vocabulary."""
        from torch.nn import Linear
        from transformers.pytorch_utils import Conv1D

        head = self._outline.get_output_embeddings()
        matrices = (one for one in self._outline.modules() if isinstance(one, Linear | Conv1D) and one is not head)
        return [tuple(one.weight.shape) for one in matrices]

    @property
    def looks_post_trained(self) -> bool:
        """Whether its name or its template says that it has learnt to chat already."""
        name = Path(self.name).name
        if PRETRAINED.search(name):
            return False
        return bool(POST_TRAINED.search(name) or self.tokenizer.chat_template)

    @cached_property
    def fingerprint(self) -> str:
        """What tells this checkpoint from any other."""
        folder = Path(self.path)
        if not folder.is_dir():
            return f"{self.path}@{getattr(self.config, '_commit_hash', None) or 'unknown'}"
        digest = sha256()
        for path in sorted(folder.glob("*")):
            if path.suffix in {".json", ".jinja", ".safetensors", ".bin"}:
                digest.update(f"{path.name} {path.stat().st_size} ".encode())
                digest.update(path.read_bytes() if path.stat().st_size <= WHOLE else _ends(path))
        return digest.hexdigest()[:16]


def _ends(path: Path) -> bytes:
    """Return the head and the tail of a file, and when it was written."""
    with path.open("rb") as file:
        head = file.read(END)
        file.seek(-END, os.SEEK_END)
        return b"%d " % path.stat().st_mtime_ns + head + file.read()


def find_start(name: str, root: Path, settings: Training) -> Start:
    """Return where to begin; a toy is made now if it is not there yet."""
    if is_toy(name):
        text = settings.toy_text
        own = root / text if text else None
        given = str(own) if own and own.exists() else text
        return Start(name, str(toy(name, root / "starts", text=given, tokens=settings.toy_tokens)))
    for place in (root / name, Path(name)):
        if place.is_dir():
            return Start(name, os.fspath(place))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError("there is no such folder.", where=name, todo="Name a folder, a hub id, or `toy:0.5M`.")
    return Start(name, name)
