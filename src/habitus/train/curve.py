"""The curves of a run as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from habitus.study import read_rows

if TYPE_CHECKING:
    from pathlib import Path


def draw(folder: Path) -> Path:
    """Draw the losses of a run over its steps, held-out ones dashed, and return the figure."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    curves: dict[str, tuple[list[int], list[float]]] = {}
    for row in read_rows(folder / "metrics.jsonl"):
        for name, value in row.items():
            if (name == "loss" or name.endswith("_loss")) and isinstance(value, float):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, (steps, values) in sorted(curves.items()):
        told = "trained" if name == "loss" else f"held out: {name.removeprefix('eval_').removesuffix('_loss')}"
        axes.plot(steps, values, label=told, linestyle="-" if name == "loss" else "--", marker="" if steps[1:] else ".")
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    if curves:
        axes.legend(frameon=False)
    path = folder / "curve.svg"
    FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    return path
