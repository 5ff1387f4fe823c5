"""Commands that show a whole study on one page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from habitus.cli.arguments import STUDY, open_study
from habitus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from habitus.study import Study


@click.command(short_help="Write one page that shows the whole study.")
@STUDY
def report(study: Path) -> None:
    """Write report/index.html of a study: one file that opens by a double click and needs no network.

    Beside it stand the figures of a publication, in report/figures/, and the cards of every dataset and model, in
    report/cards/.
    """
    from habitus import show
    from habitus.report.page import write_page

    opened = open_study(study)
    path = write_page(opened)
    show.say(f"  {path} ({path.stat().st_size / 1e6:.1f} MB)")
    _figures(opened)
    _cards(opened)
    show.next_command(f"habitus view {study}")


def _figures(study: Study) -> None:
    """Draw the figures, or say what they need."""
    from habitus import show
    from habitus.report.figures import write_figures

    try:
        drawn = write_figures(study)
    except ImportError as missing:
        show.warn(f'the figures need {missing.name}, which is not installed: pip install "habitus[evaluate]"')
        return
    if drawn:
        show.say(f"  {drawn[0].parent}: {', '.join(path.stem for path in drawn)} (SVG and PNG)")


def _cards(study: Study) -> None:
    """Write the cards of every dataset and every trained model."""
    from habitus import show
    from habitus.cli.publish import CARDS
    from habitus.publish.card import dataset_card, write_signed
    from habitus.publish.held import Held, names_in
    from habitus.publish.model import Trained, model_card, models_in

    texts: dict[Path, Callable[[], str]] = {}
    for name in names_in(study):
        texts[Path("datasets") / f"{name}.md"] = partial(dataset_card, Held(study, name))
    for name in models_in(study):
        texts[Path(f"{name.replace('/', '-')}.md")] = partial(model_card, Trained(study, name))
    for path, text in texts.items():
        try:
            write_signed(study.root / CARDS / path, text())
        except UserError as error:
            show.warn(f"no card {path}: {error}")
    if texts:
        show.say(f"  {study.root / CARDS}: the cards of {len(texts):,} datasets and models")


@click.command(short_help="Serve that page on this machine.")
@STUDY
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="On which port.  [default: a free one]")
@click.option("--bundle", is_flag=True, help="Put Inspect View with the study's logs beside the page, and link to it.")
def view(study: Path, *, port: int, bundle: bool) -> None:
    """Serve the study's page on the loopback interface until Ctrl-C."""
    from habitus import show
    from habitus.report.serve import server

    opened = open_study(study)
    path = opened.root / "report" / "index.html"
    if not path.exists():
        raise UserError("there is no report yet.", where=str(path), todo=f"Write it with `habitus report {study}`.")
    if bundle:
        _bundle(opened)
    with server(path.parent, port) as serving:
        show.say(f"  http://127.0.0.1:{serving.server_port}/  (Ctrl-C ends it)")
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            show.say("  ended")


def _bundle(study: Study) -> None:
    """Write Inspect View beside the page, and the page anew so that it links there.

    Raises:
        UserError: there are no logs, or Inspect is not installed.

    """
    from habitus.report.page import write_page

    evals = study.root / "evals"
    if not any(evals.rglob("*.eval")):
        todo = f"Run some: habitus evaluate {study.root} --arm ARM"
        raise UserError("there are no logs of evals.", where=str(evals), todo=todo)
    try:
        from habitus.evaluate.viewer import bundle
    except ImportError as missing:
        todo = 'Run: pip install "habitus[evaluate]"'
        raise UserError(f"the bundle needs {missing.name}, which is not installed.", todo=todo) from missing
    bundle(evals, study.root / "report" / "inspect")
    write_page(study)
