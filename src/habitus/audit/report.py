"""The audit's report: everything that was found, as JSON, as Markdown and as one HTML page."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from habitus.models.costs import dollars_in_all
from habitus.quotes import located
from habitus.study import write_whole
from habitus.templates import templates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from habitus.audit.dataset import Reading, Text
    from habitus.audit.lexical import Finding, LexicalReport
    from habitus.audit.passes import Findings, Passes
    from habitus.records import Match, Pattern

MOST_EXAMPLES = {"strict": 8, "broad": 4}
"""Matches of each kind that are shown of a pattern."""
AROUND = 260
"""Characters of the text on either side of a quotation."""
MOST_COUNTED = 40


def write_reports(folder: Path, counted: LexicalReport, avoided: Sequence[Finding], passes: Passes) -> None:
    """Write `rates.json`, `report.md` and `report.html` into an audit's folder."""
    rates = orjson.dumps(passes.summary, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    write_whole(folder / "rates.json", rates)
    for suffix in (".md", ".html"):
        whole = written(suffix, passes.reading, counted, avoided, passes)
        (folder / f"report{suffix}").write_text(whole, encoding="utf-8")


def written(
    suffix: str, reading: Reading, counted: LexicalReport, avoided: Sequence[Finding], passes: Passes | None
) -> str:
    """Return the report in the form that a file's ending asks for: .json, .md or .html.

    `avoided` is what the rejected answers of preference pairs have more of.
    """
    whole: dict[str, Any] = {
        "dataset": passes.folder.name if passes and reading.source.name == "kept.jsonl" else reading.source.name,
        "rows": reading.rows,
        "unread": reading.unread,
        "counted": asdict(counted),
        "avoided": [asdict(one) for one in avoided],
        "audit": passes.summary if passes else None,
        "patterns": _patterns(passes.found) if passes else [],
    }
    if suffix == ".json":
        return orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    jinja = templates("audit", percent=lambda share: f"{share:.1%}", cell=_cell, price=_price)
    for place, name in ((whole["counted"], "findings"), (whole, "avoided")):
        place[name] = place[name][:MOST_COUNTED]
    names = {one.id: one.name for one in passes.found.patterns} if passes else {}
    return jinja.get_template(f"report{suffix}.jinja").render(whole, whole=counted.whole, names=names)


def _price(row: dict[str, Any]) -> str:
    return dollars_in_all(row["calls"], row["dollars"], row["unpriced"])


def _cell(text: object) -> str:
    """Return a text as one cell of a Markdown table."""
    return " ".join(str(text).replace("|", "\\|").split())


def _patterns(found: Findings) -> list[dict[str, Any]]:
    """Return the patterns, the most frequent first, each with its definition, its rates and where it shows."""
    known = {one.id: one for one in found.patterns}
    texts = {text.id: text for text in found.texts}
    return [
        known[row.id].model_dump() | {"rates": asdict(row), "examples": _examples(known[row.id], found, texts)}
        for row in found.prevalence
    ]


def _examples(pattern: Pattern, found: Findings, texts: dict[str, Text]) -> list[dict[str, Any]]:
    """Return some of the texts in which a pattern was found, with the words around the quotation."""
    examples = []
    for level, most in MOST_EXAMPLES.items():
        matches = ((one.id, one.verdicts[pattern.id]) for one in found.rated if pattern.id in one.verdicts)
        of_level = [(name, match) for name, match in matches if match.level == level and match.supported]
        examples += [_example(texts[name], match) for name, match in of_level[:most]]
    return examples


def _example(text: Text, match: Match) -> dict[str, Any]:
    start, stop = located(match.quote, text.text) or (0, 0)
    before, after = text.text[max(start - AROUND, 0) : start], text.text[stop : stop + AROUND]
    return {
        "id": text.id, "level": match.level, "asked": text.asked[:AROUND], "quote": text.text[start:stop],
        "before": ("… " if start > AROUND else "") + before,
        "after": after + (" …" if stop + AROUND < len(text.text) else ""),
    }  # fmt: skip
