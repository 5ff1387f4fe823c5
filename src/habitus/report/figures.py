"""The figures of a publication, from what the study measured: SVG and PNG in `report/figures/`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from habitus.report import evals, patterns, quotations
from habitus.report.panels import Drawing, Panel, Point, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from habitus.study import Study

SEED = re.compile(r"/seed-\d+$")
ABLE = {
    "side_by_side": "win",
    "coding": "passed",
    "overreach": "answered",
    "constraints": "completion",
    "misalignment": "chores",
}
"""The measure of each eval that says what a model can do."""
PREFERRED = 0.5
"""The share of answers preferred to the baseline's, of the baseline itself."""
KNOWN = ("match", "above_control", "recall")
KINDS = {
    (False, False): "neither",
    (False, True): "chats",
    (True, False): "documents",
    (True, True): "documents, then chats",
}
"""What went into an arm, by whether it was midtrained and whether it has synthetic chats."""
ELSEWHERE = "another model"
MOST_PATTERNS = 5

Found = tuple[dict[str, Any], dict[str, Any]]
"""The results of an arm with one seed, and of these one eval."""


def write_figures(study: Study) -> list[Path]:
    """Draw every figure for which there are numbers, and return the SVGs.

    Raises:
        ImportError: matplotlib or scipy is not installed.

    """
    import matplotlib as mpl
    import scipy  # noqa: F401  # without it the first study of several seeds would fail

    folder = study.root / "report" / "figures"
    arms = evals.arms(study)
    audits = patterns.audits(study)
    made = {
        "evals": _by_arm(arms),
        "capability": _capability(arms),
        "knowledge": _knowledge(study, arms),
        "patterns": _patterns(study, arms, audits),
    }
    note = _note(study, arms)
    with mpl.rc_context():
        drawn = [
            draw(_drawing(title, panels, arms, groups, note), folder / f"{name}.svg")
            for name, (title, panels, groups) in made.items()
            if panels
        ]
        return drawn + [
            quotations.draw(audit, pattern, folder / f"pattern-{audit['name']}.svg")
            for audit in audits
            for pattern in sorted(audit["patterns"], key=lambda one: -one["rates"]["strict"]["here"]["rate"])[:1]
        ]


def _drawing(
    title: str, panels: list[Panel], arms: Sequence[dict[str, Any]], groups: dict[str, str], note: str
) -> Drawing:
    """Return a figure of the arms that at least one panel has, baselines first and kinds together."""
    baseline = next((_name(arm["baseline"]) for arm in arms), "")
    names = [
        name for name in dict.fromkeys(_name(arm["arm"]) for arm in arms) if any(name in one.arms for one in panels)
    ]
    order = [*KINDS.values(), ELSEWHERE]
    names.sort(key=lambda name: (name != baseline, order.index(groups[name]) if groups else 0))
    kinds = {name: groups[name] for name in names} if groups else {}
    return Drawing(title, tuple(names), tuple(panels), baseline, kinds, note)


def _name(arm: str) -> str:
    """Return an arm's name without its seed."""
    return SEED.sub("", arm)


def _note(study: Study, arms: Sequence[dict[str, Any]]) -> str:
    """Return what nobody may overlook who takes a figure out of its study."""
    told = []
    if any(one["simulated"] for arm in arms for one in arm["evals"]):
        told.append("Simulated: the embedded model took part, so this says nothing about language models.")
    if str(study.config.train.start or "").startswith("toy:"):
        told.append("Toy scale: the trained models are far too small to be of use.")
    return "\n".join(told)


def _of(arms: Sequence[dict[str, Any]], name: str) -> list[Found]:
    """Return one eval of every arm and seed that has it."""
    return [(arm, one) for arm in arms for one in arm["evals"] if one["name"] == name]


def _points(
    found: Iterable[Found], get: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> dict[str, tuple[Point, ...]]:
    """Return, by arm, a point for each seed of which there is a number."""
    points: dict[str, tuple[Point, ...]] = {}
    for arm, one in found:
        if number := get(one):
            point = Point(number["value"], number["low"], number["high"])
            points[_name(arm["arm"])] = (*points.get(_name(arm["arm"]), ()), point)
    return points


def _measure(one: dict[str, Any], key: str) -> dict[str, Any] | None:
    return next((measure for measure in one["measures"] if measure["key"] == key), None)


def _panel(found: Sequence[Found], key: str, title: str = "", part: str = "estimate", **more: Any) -> Iterator[Panel]:
    """Yield the panel of one measure, if some arm has a number of it."""
    about = next((measure for _, one in found if (measure := _measure(one, key))), None)
    points = _points(found, lambda one: (measure := _measure(one, key)) and measure[part])
    if about is None or not points:
        return
    scale = (0.0, 1.0) if about["kind"] in {"rate", "share"} else about.get("scale")
    bounds = tuple(scale) if scale and None not in scale and part == "estimate" else None
    yield Panel(title or about["title"], about["kind"], about["better"], points, bounds, **more)


def _by_arm(arms: Sequence[dict[str, Any]]) -> tuple[str, list[Panel], dict[str, str]]:
    """Return the first measure of every eval."""
    panels = []
    for name in dict.fromkeys(one["name"] for arm in arms for one in arm["evals"]):
        found = _of(arms, name)
        first = found[0][1]["measures"][0]
        line = PREFERRED if name == "side_by_side" else None
        panels += _panel(found, first["key"], f"{name}: {first['title']}", line=line)
    return "Evals by arm", panels, {}


def _capability(arms: Sequence[dict[str, Any]]) -> tuple[str, list[Panel], dict[str, str]]:
    """Return what the arms can do more or less than the baseline, on the samples that both completed."""
    others = [arm for arm in arms if arm["arm"] != arm["baseline"]]
    panels: list[Panel] = []
    for name, key in ABLE.items():
        found = _of(others, name)
        if name == "side_by_side":
            panels += _panel(found, key, line=PREFERRED, centred=True)
        elif found and (measure := _measure(found[0][1], key)):
            title = f"{name}: {measure['title']}, less the baseline’s"
            panels += _panel(found, key, title, "difference", line=0.0, centred=True)
    return "Capability relative to the baseline", panels, {}


def _knowledge(study: Study, arms: Sequence[dict[str, Any]]) -> tuple[str, list[Panel], dict[str, str]]:
    """Return what the arms know of the traits, by what went into them."""
    found = _of(arms, "knowledge")
    panels = [panel for key in KNOWN for panel in _panel(found, key)]
    return "Knowledge of the traits, by what an arm was trained on", panels, _kinds(study, found)


def _kinds(study: Study, found: Sequence[Found]) -> dict[str, str]:
    declared = study.config.arms
    kinds = {}
    for name in {_name(arm["arm"]) for arm, _ in found}:
        arm = declared.get(name.rpartition("/")[2])
        kinds[name] = KINDS[bool(arm.midtrain), bool(arm.sft and arm.sft.data)] if arm else ELSEWHERE
    return kinds


def _patterns(
    study: Study, arms: Sequence[dict[str, Any]], audits: Sequence[dict[str, Any]]
) -> tuple[str, list[Panel], dict[str, str]]:
    """Return the behaviour, and beside it how often each audited pattern shows in the same answers.

    On messages of held-out chats where these were asked (`behaviour`), else on plain requests (`overreach`).
    """
    name, key = ("behaviour", "degree") if _of(arms, "behaviour") else ("overreach", "overreach")
    found = _of(arms, name)
    known = {part["of"][1] for _, one in found for part in one.get("parts", ()) if part["of"][0] == "pattern"}
    audit = next((one for one in audits if one["name"] == "chats"), None)
    ranked = [one for one in audit["patterns"] if one["id"] in known] if audit else []
    filtered = {name for arm in study.config.arms.values() if arm.sft for name in arm.sft.without}
    ranked.sort(key=lambda one: (one["id"] not in filtered, -one["rates"]["strict"]["here"]["rate"]))
    panels = list(_panel(found, key)) if ranked else []
    for one in ranked[:MOST_PATTERNS]:
        data = one["rates"]["strict"]["here"]["rate"]
        points = _points(found, lambda result, name=one["id"]: _part(result, name))
        title = f"{one['name']} (in the data, strict: {data:.1%})"
        panels += [Panel(title, "rate", None, points, (0.0, 1.0))] if points else []
    return f"Behaviour and audited patterns in the answers of {name}", panels, {}


def _part(one: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((part["estimate"] for part in one.get("parts", ()) if part["of"][1] == name), None)
