"""Figures in one style: colours that colour-blind eyes and grey print tell apart, quiet axes, points with intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

INK, SOFT, GRID = "#222222", "#6b6b6b", "#e6e3de"
BASELINE, ARM = "#56606b", "#b4502d"
SERIES = ("#56606b", "#e69f00", "#0072b2", "#b4502d")
"""Four kinds of arms: apart in hue for every kind of eye, and in lightness."""
SHARES = frozenset({"rate", "share"})
SIZE = 8.5
"""Points of all text but titles."""


def sheet(width: float, height: float) -> Any:
    """Return an empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=160)


def save(figure: Any, path: Path) -> Path:
    """Write a figure as SVG and as PNG beside it, the same bytes each time, and return the SVG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path.with_suffix(".png"))  # first, as an SVG sets the figure to 72 dots an inch
    with rc_context({"svg.hashsalt": path.stem}):
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    return path


def title(figure: Any, text: str) -> None:
    """Set a figure's title at its left edge."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=11, color=INK)


def quiet(axes: Any, kind: str) -> None:
    """Leave an axis its values and a light grid; shares are written in percent."""
    if kind in SHARES:
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.tick_params(labelsize=SIZE, length=3, color=SOFT, labelcolor=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def point(axes: Any, at: float, found: tuple[float, float | None, float | None], colour: str) -> None:
    """Draw a value, and its interval, from low to high, where it has one."""
    value, low, high = found
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot([value], [at], marker="o", markersize=5.5, color=colour)


def dashed(axes: Any, value: float) -> None:
    """Draw where the baseline stands."""
    axes.axvline(value, color=SOFT, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
