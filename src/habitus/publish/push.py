"""A dataset or a model and its card, sent to the Hugging Face hub in one commit."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from habitus.errors import UserError
from habitus.publish.card import dataset_card, title_of
from habitus.publish.model import model_card
from habitus.study import Rows

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from habitus.publish.held import Held
    from habitus.publish.model import Trained

TRAIN, DROPPED, CARD = "data/train.jsonl", "data/dropped.jsonl", "README.md"
HUB = "https://huggingface.co"
SERVER_AT_FAULT = 500
TOKEN = "Make one with write access at https://huggingface.co/settings/tokens, then `hf auth login` or set HF_TOKEN."  # noqa: S105


@dataclass(frozen=True)
class Parcel:
    """What is to be sent, and where to."""

    kind: Literal["dataset", "model"]
    title: str
    """Its name among all of its kind, by which a later push knows its repository again."""
    repository: str
    is_private: bool
    card: str
    files: dict[str, Path]
    """Where each file but the card lies, by its path in the repository."""

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file, by its path in the repository."""
        return {CARD: len(self.card.encode()), **{name: path.stat().st_size for name, path in self.files.items()}}

    def address(self, endpoint: str) -> str:
        """Return where it is to be found on a hub."""
        return f"{endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.repository}"


def pack(held: Held, repository: str, *, is_private: bool, with_dropped: bool) -> Parcel:
    """Return what a push would send, without a network or a token.

    Raises:
        UserError: the repository's name is none, or the dataset can't be read.

    """
    check_name(repository)
    files = {TRAIN: held.files.kept}
    configs = {"default": TRAIN}
    if with_dropped and held.files.dropped.exists():
        files[DROPPED] = held.files.dropped
        configs["dropped"] = DROPPED
    card = dataset_card(held, repository=repository, configs=configs)
    return Parcel("dataset", title_of(held), repository, is_private, card, files)


def pack_model(trained: Trained, repository: str, *, is_private: bool, adapter: bool) -> Parcel:
    """Return what a push of a trained model would send, or of its adapters alone, without a network or a token.

    Raises:
        UserError: the repository's name is none, or the model is not whole.

    """
    check_name(repository)
    files = trained.adapter_files() if adapter else trained.files()
    card = model_card(trained, repository=repository, adapter=adapter)
    return Parcel("model", trained.title, repository, is_private, card, files)


def check_name(repository: str) -> None:
    """Refuse what is no name of a repository."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]{1,96}", repository, re.ASCII):
        raise UserError(f"'{repository}' is no name of a repository.", where="--to", todo="Write owner/name.")


def push(parcel: Parcel, message: str) -> str:
    """Send everything in one commit, into a new repository or one that holds this very thing; return its address.

    Raises:
        UserError: there is no token or it may not write there, something else is in the repository, it is public where
            a private one was asked for or the reverse, or the hub can't be reached.

    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi, get_token
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise UserError("pushing needs huggingface_hub.", todo='Run: pip install "habitus[hub]"') from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    for path in parcel.files.values() if parcel.kind == "dataset" else ():
        Rows(path).close()  # cuts off a line that a crash left unfinished
    with _told(parcel, endpoint):
        if not get_token():
            raise UserError("there is no Hugging Face token.", where=endpoint, todo=TOKEN)
        api = HfApi(endpoint=endpoint)
        _prepare(api, parcel)
        api.create_commit(
            parcel.repository,
            [
                CommitOperationAdd(CARD, parcel.card.encode()),
                *(CommitOperationAdd(name, str(path)) for name, path in parcel.files.items()),
            ],
            repo_type=parcel.kind,
            commit_message=message,
        )
    return parcel.address(endpoint)


def _prepare(api: HfApi, parcel: Parcel) -> None:
    """Make the repository, or see that the one that is there may be written to."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.dataset_info if parcel.kind == "dataset" else api.model_info
        there = info(parcel.repository)
    except RepositoryNotFoundError:
        api.create_repo(parcel.repository, repo_type=parcel.kind, private=parcel.is_private)
        return
    files = {one.rfilename for one in there.siblings or ()} - {".gitattributes"}
    card = there.card_data.to_dict() if there.card_data else {}
    is_this = "habitus" in (card.get("tags") or ()) and card.get("pretty_name") == parcel.title
    if files and not is_this:
        raise UserError(
            f"something else is in this repository already ({', '.join(sorted(files)[:3])}).",
            where=parcel.address(api.endpoint),
            todo="Name another with --to.",
        )
    if bool(there.private) != parcel.is_private:
        is_now, asked = ("private", "--private") if there.private else ("public", "--public")
        raise UserError(
            f"this repository is {is_now}.",
            where=parcel.address(api.endpoint),
            todo=f"Say {asked}, or change that on its settings page.",
        )


@contextmanager
def _told(parcel: Parcel, endpoint: str) -> Generator[None]:
    """Turn what can go wrong between here and the hub into one message each."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise UserError("HF_HUB_OFFLINE is set.", where=endpoint, todo="Unset it to push.") from error
    except HfHubHTTPError as error:
        raise _refused(error, parcel, endpoint) from error
    except HTTPError as error:
        raise UserError(f"can't reach the hub ({error}).", where=endpoint, todo="Try again later.") from error
    except PermissionError as error:
        if error.errno is not None:  # of this machine's own files
            raise
        raise UserError(f"the hub's storage refuses this token ({error}).", where=endpoint, todo=TOKEN) from error
    except (RuntimeError, ConnectionError, TimeoutError) as error:  # as which the hub's uploaders let failures out
        told = error.__cause__ or error
        raise UserError(f"an upload broke off ({told}).", where=endpoint, todo="Push again.") from error
    except ValueError as error:
        if not str(error).startswith(("Invalid metadata", "LFS batch API")):
            raise
        told = " ".join(str(error).split())
        raise UserError(f"the hub refuses this: {told}.", where=endpoint, todo="Mend what it names.") from error


def _refused(error: HfHubHTTPError, parcel: Parcel, endpoint: str) -> UserError:
    """Return the message for an answer of the hub that is an error."""
    status = error.response.status_code
    if status == 401:  # noqa: PLR2004
        return UserError("the hub does not accept this token.", where=endpoint, todo=TOKEN)
    if status == 403:  # noqa: PLR2004
        owner = parcel.repository.partition("/")[0]
        return UserError(f"this token may not write to '{owner}'.", where=f"{endpoint}/{owner}", todo=TOKEN)
    said = error.server_message or error.response.reason_phrase
    todo = "Try again later." if status >= SERVER_AT_FAULT else "Look at what it says."
    return UserError(f"the hub answered {status}: {said}.", where=parcel.address(endpoint), todo=todo)
