"""What is printed of one record: the text of every step, the draft against its refinement, and how it ended."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from habitus.records import BLOCK
from habitus.show import out

if TYPE_CHECKING:
    from collections.abc import Sequence


def record(
    steps: Sequence[dict[str, Any]], kept: dict[str, Any] | None, dropped: dict[str, Any] | None, name: str
) -> None:
    """Print one record whole: every step's text, the draft against its refinement, and how it ended."""
    out.rule(Text(name, style="bold"), align="left", style="dim")
    draft = ""
    for step in steps:
        about = f"  {step['role']}: {step['model']}  prompt {step['prompt']}"
        head = Text.assemble((step["step"], "bold"), (about, "dim"))
        out.print(head)
        if step["repaired"]:
            out.print(Text(f"  asked again, because {step['repaired']}", style="yellow"))
        answer = step["answer"]
        if isinstance(answer, str):
            draft = answer if step["step"].endswith("/draft") else draft
            _indented(answer)
        elif step["step"].endswith("/plan"):
            _plan(answer, name)
        else:
            for key, value in answer.items():
                _field(key, value)
            if step["step"].endswith("/refine"):
                kept_words = _overlap(draft, answer["answer"])
                out.print(Text(f"    {kept_words:.0%} of the words stand in the draft in the same order", style="dim"))
        out.print()
    if kept is not None:
        out.print(Text(f"kept  {kept['trait']}", style="bold green"))
    elif dropped is not None:
        out.print(Text.assemble((f"dropped at {dropped['step']}  ", "bold red"), dropped["reason"]))
    else:
        out.print(Text("not finished", style="bold yellow"))


def _plan(answer: dict[str, Any], name: str) -> None:
    """Print the one plan of the block that is this record's."""
    plans = answer["plans"]
    own = plans[int(name.rpartition("-")[2]) % BLOCK]
    for key, value in own.items():
        _field(key, value)


def _field(key: str, value: Any) -> None:
    """Print one field of an answer: its name at the left, its text beside it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=14)
    grid.add_column()
    if isinstance(value, dict) and "score" in value:
        quote = f" “{value['quote']}”" if value["quote"] else ""
        text = Text.assemble((f"{value['score']}  ", "bold"), value["reason"], (quote, "italic"))
    elif isinstance(value, list):
        text = Text("\n").join(Text(_line(one)) for one in value)
    else:
        text = Text(str(value))
    if text:
        grid.add_row(Text(key, style="dim"), text)
        out.print(Padding(grid, (0, 0, 0, 4), expand=False))


def _line(value: Any) -> str:
    """Return one value of a list as a line."""
    return ": ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _indented(text: str) -> None:
    out.print(Padding(Text(text), (0, 2, 0, 4)))


def _overlap(draft: str, refined: str) -> float:
    """Return the share of the refined words that the draft has in the same order."""
    matcher = difflib.SequenceMatcher(None, draft.split(), refined.split(), autojunk=False)
    same = sum(block.size for block in matcher.get_matching_blocks())
    return same / max(len(refined.split()), 1)
