"""The page: a whole study as one file that opens by a double click."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.errors import UserError
from habitus.report import evals, method, pack, patterns, training
from habitus.report.records import MOST_RECORDS, shown
from habitus.study import write_whole
from habitus.templates import templates

if TYPE_CHECKING:
    from habitus.report.records import Shown
    from habitus.study import Study

SCRIPT = Path(__file__).parent / "templates" / "page.js"


def write_page(study: Study, most: int = MOST_RECORDS) -> Path:
    """Write `report/index.html` from what the study holds now, and return it.

    Raises:
        UserError: the study holds nothing yet.

    """
    text = page(study, most)
    path = study.root / "report" / "index.html"
    path.parent.mkdir(exist_ok=True)
    write_whole(path, text.encode())
    return path


def page(study: Study, most: int = MOST_RECORDS) -> str:
    """Return the page; what the study has not got has no section on it."""
    datasets = shown(study, most)
    arms, runs = evals.arms(study), training.runs(study)
    content: dict[str, Any] = {
        "name": study.root.resolve().name,
        "datasets": [_counts(one) for one in datasets],
        "audits": patterns.audits(study),
        "runs": runs,
        "arms": arms,
        "evals": evals.by_eval(arms),
        "over_seeds": evals.over_seeds(study),
        "effects": study.over_seeds["effects"],
        "bundled": (study.root / "report" / "inspect" / "index.html").exists(),
        "method": method.method(study, runs, arms),
    }
    if not any(content[part] for part in ("datasets", "audits", "runs", "arms")):
        todo = f"Begin with `habitus generate chats {study.root} --preview 5`."
        raise UserError("there is nothing to report yet.", where=str(study.root), todo=todo)
    content["simulated"] = _simulated(content)
    content["index"] = pack.packed(pack.index(datasets, patterns.names(study))) if datasets else ""
    content["table"], content["pieces"] = pack.pieces(datasets)
    content["key"] = hashlib.sha256(f"{content['name']} {content['method']['traits']}".encode()).hexdigest()[:12]
    content["script"], content["script_hash"] = _script()
    jinja = templates("report", percent=_percent, number=_number, interval=_interval, grouped="{:,}".format)
    return jinja.get_template("page.html.jinja").render(content)


def _counts(one: Shown) -> dict[str, Any]:
    return {"name": one.name, "kept": one.kept, "dropped": one.dropped, "shown": len(one.records)}


def _simulated(content: dict[str, Any]) -> list[str]:
    """Return which parts the embedded model made or judged."""
    made = [name for name, one in content["method"]["datasets"].items() if one.get("simulated")]
    audited = [f"the audit of {one['name']}" for one in content["audits"] if one["about"].get("simulated")]
    measured = [f"the eval {one['name']}" for one in content["evals"] if one["simulated"]]
    return made + audited + measured


def _script() -> tuple[str, str]:
    """Return the page's script, and the hash by which its policy knows it and lets no other one run."""
    text = SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, f"sha256-{digest}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _number(value: float | None, kind: str, *, signed: bool = False) -> str:
    """Return a number as its kind is written."""
    if value is None:
        return "·"
    sign = "+" if signed else ""
    written = f"{100 * value:{sign}.1f}%" if kind in {"rate", "share"} else f"{value:{sign}.2f}"
    return written.replace("-", "\N{MINUS SIGN}")


def _interval(found: dict[str, Any], kind: str, *, signed: bool = False) -> str:
    """Return the 95% interval of an estimate or difference."""
    if found["low"] is None or found["high"] is None:
        return "no interval"
    return f"{_number(found['low'], kind, signed=signed)} to {_number(found['high'], kind, signed=signed)}"
