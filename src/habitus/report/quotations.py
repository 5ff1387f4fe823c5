"""One audited pattern as a figure: how often it shows, strictly and broadly, beside a reference, and in what words."""

from __future__ import annotations

import unicodedata
from textwrap import fill, wrap
from typing import TYPE_CHECKING

from habitus import charts

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

COLUMNS = 96
"""Characters of a line of text."""
BENEATH = 72
"""And of one beneath the rates."""
LONGEST = 220
"""Characters of a quotation."""
MOST_QUOTED = 4
WIDTH, LINE, ROW = 7.2, 0.17, 0.3
"""Inches of the figure's width, of a line's height, of a row's."""


def draw(audit: dict[str, Any], pattern: dict[str, Any], path: Path) -> Path:
    """Draw one pattern of an audit as SVG and PNG, and return the SVG."""
    from matplotlib.transforms import blended_transform_factory

    rows = list(_rows(pattern["rates"]))
    words = _words(pattern)
    above, below = ROW * len(rows) + 0.75, LINE * len(words)
    figure = charts.sheet(WIDTH, above + below + 0.9)
    axes, text = figure.subplots(2, 1, height_ratios=[above, below])
    for at, (_, found, colour) in enumerate(rows):
        charts.point(axes, at, (found["rate"], found["low"], found["high"]), colour)
        axes.annotate(_told(found), (max(found["high"], found["rate"]), at), (6, 0), textcoords="offset points",
                      va="center", fontsize=7.5, color=charts.INK)  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.35)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xlabel(fill(_drawn(audit), BENEATH), fontsize=charts.SIZE, color=charts.INK, parse_math=False)
    charts.quiet(axes, "rate")
    text.axis("off")
    place = blended_transform_factory(figure.transFigure, text.transAxes)
    text.text(0.01, 1, "\n".join(words), va="top", fontsize=charts.SIZE, color=charts.INK, linespacing=1.35,
              transform=place, parse_math=False, in_layout=False)  # fmt: skip
    charts.title(figure, _plain(f"{pattern['name']} ({audit['name']})"))
    return charts.save(figure, path)


def _rows(rates: dict[str, Any]) -> Any:
    """Yield what is to be drawn, with its name and colour."""
    for level, colour in (("strict", charts.ARM), ("broad", charts.SERIES[1])):
        yield f"{level}: unambiguous" if level == "strict" else "broad: loosely there", rates[level]["here"], colour
        if rates[level].get("there"):
            yield "the same, reference", rates[level]["there"], charts.BASELINE


def _told(found: dict[str, Any]) -> str:
    return f"{found['rate']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _drawn(audit: dict[str, Any]) -> str:
    """Return of what the rates are."""
    about = audit["about"]
    reference = about.get("reference")
    beside = f", beside {reference['rated']:,} of the reference" if reference else ""
    simulated = "; simulated: nothing about language models" if about.get("simulated") else ""
    return f"of {about['rated']:,} texts drawn at random{beside}; 95% intervals{simulated}"


def _words(pattern: dict[str, Any]) -> list[str]:
    """Return the definition and some quotations, in lines."""
    lines = wrap(_plain(pattern["definition"]), COLUMNS)
    for one in pattern["examples"][:MOST_QUOTED]:
        quote = _plain(one["quote"])
        short = quote if len(quote) <= LONGEST else f"{quote[:LONGEST].rsplit(maxsplit=1)[0]} …"
        lines += ["", *wrap(f"“{short}” ({one['id']}, {one['level']})", COLUMNS)]
    return lines


def _plain(text: str) -> str:
    """Return a text on one line, of what the figure's font can draw."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    shown = (letter if ord(letter) in known else "□" for letter in " ".join(text.split()))
    return "".join(letter for letter in shown if unicodedata.category(letter) not in {"Cc", "Cf", "Cs"})
