"""The command line, in the order of the pipeline."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from typing import TYPE_CHECKING

import click

from habitus import __version__
from habitus.cli.audit import audit
from habitus.cli.audited import agree, filter_
from habitus.cli.dedup import dedup
from habitus.cli.evaluate import evaluate
from habitus.cli.generate import generate
from habitus.cli.look import show_, status
from habitus.cli.publish import card, export, import_, push
from habitus.cli.report import report, view
from habitus.cli.run import run
from habitus.cli.study import check, init, prompts, simulate
from habitus.cli.train import train
from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

EPILOG = """\b
A first session, offline:
  habitus init advice
  habitus check advice
  habitus generate chats advice --preview 5
  habitus generate chats advice
  habitus export advice chats --format trl
"""


MENDABLE = {
    *(errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EPERM),
    *(errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG),
}
"""What is wrong with a disk or a path, and not with habitus."""


class _InOrder(click.Group):
    """Commands in the order in which they are written, which is that of the pipeline."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(
    cls=_InOrder, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="habitus")
@click.option("--quiet", is_flag=True, help="Print results and errors, and no progress.")
def cli(*, quiet: bool) -> None:
    """Write training data that instils chosen traits in a language model: documents, chats and preference pairs."""
    from habitus import show

    show.be_quiet(quiet=quiet)


audit.add_command(agree)
audit.add_command(filter_)
for command in (
    init, check, generate, audit, dedup, train, evaluate, report, view, run, status, show_, export, card, push, import_,
    prompts, simulate,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with exit code 2 and no traceback."""
    try:
        cli.main(args=list(arguments) if arguments is not None else None, prog_name="habitus")
    except UserError as error:
        from habitus import show

        show.complain(error)
        raise SystemExit(2) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        raise SystemExit(130) from error
    except BrokenPipeError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # nobody reads on
        raise SystemExit(0) from error
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        from habitus import show

        place = str(error.filename or "the study")
        todo = "Mend that and run the same command again; nothing finished is lost."
        show.complain(UserError(f"{os.strerror(error.errno)}.", where=place, todo=todo))
        raise SystemExit(2) from error
