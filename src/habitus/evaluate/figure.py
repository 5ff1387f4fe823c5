"""One figure for each eval: every arm that has logs of it, with intervals, by each measure that has a better side."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from habitus import charts
from habitus.evaluate.results import differences, read_arm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from habitus.evaluate.catalogue import Eval
    from habitus.evaluate.measures import Measure
    from habitus.evaluate.results import Result

MOST_PANELS = 3
LABEL = 36
"""Characters of a line beneath a panel."""


def arms_of(evals: Path) -> dict[str, dict[str, Result]]:
    """Return the results of every arm that has logs, by arm and eval."""
    folders = sorted({path.parent for path in evals.rglob("*.eval") if path.parent.name != "rejudged"})
    found = {folder.relative_to(evals).as_posix(): folder for folder in folders}
    return {arm: read_arm(folder, arm) for arm, folder in found.items()}


def draw_all(evals: Path, chosen: Sequence[Eval], baseline: str) -> list[Path]:
    """Draw the figure of each eval that some arm has logs of, as SVG and PNG, and return the SVGs."""
    arms = arms_of(evals)
    drawn = []
    for one in chosen:
        results = {arm: found[one.name] for arm, found in arms.items() if one.name in found}
        if results:
            drawn.append(draw(one, results, baseline, evals / "figures" / f"{one.name}.svg"))
    return drawn


def draw(one: Eval, results: Mapping[str, Result], baseline: str, path: Path) -> Path:
    """Draw one eval: a row for each arm, the baseline first, a panel for each measure."""
    arms = sorted(results, key=lambda arm: (arm != baseline, arm))
    measures = [one.measures[0], *(measure for measure in one.measures[1:] if measure.better)][:MOST_PANELS]
    figure = charts.sheet(2.2 + 2.9 * len(measures), 1.75 + 0.34 * len(arms))
    for panel, measure in zip(figure.subplots(1, len(measures), sharey=True, squeeze=False)[0], measures, strict=True):
        _panel(panel, measure, [results[arm] for arm in arms], baseline)
    first = figure.axes[0]
    first.set_yticks(range(len(arms)), [_label(arm, results, baseline) for arm in arms])
    first.set_ylim(len(arms) - 0.4, -0.6)
    note = " (simulated: nothing about language models)" if any(result.simulated for result in results.values()) else ""
    charts.title(figure, f"{one.name}{note}")
    return charts.save(figure, path)


def _label(arm: str, results: Mapping[str, Result], baseline: str) -> str:
    """Return an arm's name, and in what it was measured otherwise than the baseline."""
    apart = differences(results[arm], results[baseline]) if baseline in results else []
    return f"{arm}\n(other {', '.join(apart)})" if apart else arm


def _panel(panel: Any, measure: Measure, results: Sequence[Result], baseline: str) -> None:
    """Draw one measure: the value of each arm with its 95% interval, and where the baseline stands."""
    for at, result in enumerate(results):
        found = result.estimate(measure)
        if found is None:
            continue
        colour = charts.BASELINE if result.arm == baseline else charts.ARM
        charts.point(panel, at, (found.value, found.low, found.high), colour)
        if result.arm == baseline:
            charts.dashed(panel, found.value)
    side = f"\n({measure.better} is better)" if measure.better else ""
    panel.set_xlabel(f"{fill(measure.title, LABEL)}{side}", fontsize=charts.SIZE, color=charts.INK)
    if measure.kind in charts.SHARES:
        panel.set_xlim(-0.02, 1.02)
    charts.quiet(panel, measure.kind)
