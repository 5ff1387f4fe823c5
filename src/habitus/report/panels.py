"""Arms side by side: a row for each arm, a panel for each measure, seeds as points and an interval over them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from statistics import fmean, stdev
from textwrap import fill
from typing import TYPE_CHECKING

from habitus import charts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

ENOUGH_SEEDS = 3
"""From how many seeds an interval over them says more than the seeds themselves."""
APART = 0.22
"""Between two seeds of an arm, in rows."""
ACROSS = 4
"""Panels beside each other."""
WIDE, BENEATH = 28, 31
"""Characters of a line of an arm's name, and of one beneath a panel."""
LETTER, PANEL, LINE = 0.072, 2.35, 0.17
"""Inches that a letter of a name takes, a panel is wide, and a line of text is high."""
TOPS = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Where the axis of a share may end."""


@dataclass(frozen=True)
class Point:
    """A value, with its 95% interval where it has one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Panel:
    """One measure of all arms."""

    title: str
    kind: str
    """`rate`, `share` or `score`."""
    better: str | None
    """Which way is better, if one is."""
    arms: dict[str, tuple[Point, ...]]
    """A point for each seed; no entry for an arm that has not been measured."""
    bounds: tuple[float, float] | None = None
    """Between what the values must lie, where something bounds them."""
    line: float | None = None
    """Where the baseline stands, if that is not to be taken from its points."""
    centred: bool = False
    """Whether the values are differences, so that the axis reaches as far below `line` as above."""

    @property
    def label(self) -> str:
        """What stands beneath it."""
        return fill(self.title, BENEATH) + (f"\n({self.better} is better)" if self.better else "")


@dataclass(frozen=True)
class Drawing:
    """A whole figure."""

    title: str
    arms: tuple[str, ...]
    """From top to bottom."""
    panels: tuple[Panel, ...]
    baseline: str
    groups: dict[str, str]
    """Of what kind each arm is, where the kinds are to be told apart."""
    note: str = ""


def over_seeds(points: Sequence[Point], bounds: tuple[float, float] | None) -> Point:
    """Return the mean of an arm's seeds with its 95% interval by Student's t, or that over samples where all agree."""
    from scipy.stats import t

    values = [one.value for one in points]
    mean, reach = fmean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    if not reach:  # seeds that agree to the last digit say nothing of the next one; their samples do
        ends = [(one.low, one.high) for one in points if one.low is not None and one.high is not None]
        return Point(mean, min((low for low, _ in ends), default=None), max((high for _, high in ends), default=None))
    low, high = bounds or (-float("inf"), float("inf"))
    return Point(mean, max(mean - reach, low), min(mean + reach, high))


def draw(drawing: Drawing, path: Path) -> Path:
    """Draw a figure as SVG and PNG, and return the SVG."""
    across = min(len(drawing.panels), ACROSS)
    down = ceil(len(drawing.panels) / across)
    names = [fill(arm, WIDE) for arm in drawing.arms]
    label = LETTER * max(len(line) for name in names for line in name.split("\n"))
    beneath = max(panel.label.count("\n") + 1 for panel in drawing.panels)
    rows = sum(max(2 * LINE, LINE * (name.count("\n") + 1.4)) for name in names)
    kinds = list(dict.fromkeys(drawing.groups.values()))
    height = down * (rows + LINE * beneath + 0.75) + LINE * (3 + drawing.note.count("\n") + bool(kinds))
    figure = charts.sheet(max(label + 0.3 + across * PANEL, 5.2), height)
    grid = list(figure.subplots(down, across, sharey=True, squeeze=False).flat)
    for axes, panel in zip(grid, drawing.panels, strict=False):
        _panel(axes, panel, drawing, kinds)
    for axes in grid[len(drawing.panels) :]:
        axes.set_visible(False)
    grid[0].set_yticks(range(len(names)), names, parse_math=False)
    grid[0].set_ylim(len(names) - 0.4, -0.6)
    charts.title(figure, drawing.title + "\n" * bool(kinds))
    _key(figure, kinds)
    figure.supxlabel(_legend(drawing), x=0.01, ha="left", fontsize=7.5, color=charts.SOFT)
    return charts.save(figure, path)


def _panel(axes: Any, panel: Panel, drawing: Drawing, kinds: list[str]) -> None:
    """Draw one measure: of every arm its seeds, or their mean and interval with the seeds behind."""
    line = panel.line
    for at, arm in enumerate(drawing.arms):
        points = panel.arms.get(arm, ())
        if not points:
            axes.text(0.02, at, "not measured", transform=axes.get_yaxis_transform(), va="center",
                      fontsize=7.5, color=charts.SOFT, style="italic")  # fmt: skip
            continue
        colour = _colour(arm, drawing, kinds)
        if arm == drawing.baseline and line is None:
            line = fmean(one.value for one in points)
        if len(points) < ENOUGH_SEEDS:
            for number, one in enumerate(points):
                charts.point(
                    axes, at + APART * (number - (len(points) - 1) / 2), (one.value, one.low, one.high), colour
                )
            continue
        for one in points:
            axes.plot([one.value], [at + APART], marker="o", markersize=3, color=colour, alpha=0.5, linewidth=0)
        mean = over_seeds(points, panel.bounds)
        charts.point(axes, at, (mean.value, mean.low, mean.high), colour)
    if line is not None:
        charts.dashed(axes, line)
    axes.set_xlabel(panel.label, fontsize=charts.SIZE, color=charts.INK, parse_math=False)
    axes.set_xlim(*_ends(panel))
    charts.quiet(axes, panel.kind)


def _colour(arm: str, drawing: Drawing, kinds: list[str]) -> str:
    if kinds:
        return charts.SERIES[kinds.index(drawing.groups[arm]) % len(charts.SERIES)]
    return charts.BASELINE if arm == drawing.baseline else charts.ARM


def _ends(panel: Panel) -> tuple[float, float]:
    """Return the ends of a panel's axis: from nought where that has a meaning, to what holds every interval."""
    points = [one for found in panel.arms.values() for one in found]
    ends = [end for one in points for end in (one.low, one.value, one.high) if end is not None] or [0.0]
    if panel.centred:
        middle = panel.line or 0.0
        reach = max(0.05, *(abs(end - middle) for end in ends)) * 1.1
        return middle - reach, middle + reach
    low, high = min(0.0, *ends), max(0.0, *ends)
    if panel.kind in charts.SHARES:
        high = next((top for top in TOPS if top >= high), 1.0)
    elif panel.bounds:
        low, high = panel.bounds
    room = 0.03 * ((high - low) or 1.0)
    return low - room, high + room


def _key(figure: Any, kinds: list[str]) -> None:
    """Say which colour is which kind of arm."""
    from matplotlib.lines import Line2D

    if kinds:
        marks = [
            Line2D([], [], marker="o", linewidth=0, markersize=5.5, color=charts.SERIES[at % len(charts.SERIES)])
            for at in range(len(kinds))
        ]
        beneath_title = (0, 1 - 1.6 * LINE / figure.get_figheight())
        figure.legend(marks, kinds, loc="upper left", bbox_to_anchor=beneath_title, ncols=len(kinds), frameon=False,
                      fontsize=charts.SIZE, handletextpad=0.2)  # fmt: skip


def _legend(drawing: Drawing) -> str:
    """Return what the marks mean, and what there is to know of all numbers."""
    most = max((len(points) for panel in drawing.panels for points in panel.arms.values()), default=1)
    if most >= ENOUGH_SEEDS:
        told = "Point and line: mean of the seeds and its 95% interval over them; small points: the seeds."
    elif most > 1:
        told = "Points and lines: each seed with the 95% interval over its samples."
    else:
        told = "Lines: 95% intervals."
    return f"{told} Dashed: the baseline.\n{drawing.note}".strip()
