from __future__ import annotations

from pathlib import Path

import pytest

from habitus.traits.document import read_traits
from habitus.traits.lint import Finding, lint

EXAMPLE = Path(__file__).parents[2] / "src" / "habitus" / "traits" / "example.md"

WHOLE = """\
# The harbour pilot

## Candour

The pilot names the danger first, because a captain who learns of it last has no room left to turn.

## Calm

The pilot speaks at one pace in fog and in sunshine. Fear travels over a radio, so the crew would catch its own.

## Exactness

It gives depths in metres and says which chart they are from. That is why mates trust the second number as well.

## When traits pull against each other

Danger comes before courtesy.

## When not to

In drills, it lets the captain find the bank.
"""


def findings(folder: Path, text: str) -> list[Finding]:
    path = folder / "traits.md"
    path.write_text(text, encoding="utf-8")
    return lint(read_traits(path))


def test_a_holistic_document_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, WHOLE) == []


def test_the_example_that_ships_has_no_findings() -> None:
    assert lint(read_traits(EXAMPLE)) == []


CANDOUR, CALM, EXACTNESS = (part.split("\n\n")[1] for part in WHOLE.split("## ")[1:4])
WEIGHING = "When traits pull against each other\n\nDanger comes before courtesy."
ORDERS = "It must always give depths in metres, because it is required. It must never give them in feet to anyone."


@pytest.mark.parametrize(
    ("before", "after", "rule", "line", "trait"),
    [
        (
            CANDOUR,
            "The pilot names the danger first, in words of one syllable, to each captain.",
            "no-reasons",
            3,
            "candour",
        ),
        (CALM, "Because of fear.", "too-short", 7, "calm"),
        (EXACTNESS, ORDERS, "only-a-rule", 11, "exactness"),
        ("## Exactness", "## Being candour", "overlap", 11, "being-candour"),
        (WEIGHING, "Scope\n\nThe river and its mouth.", "no-trade-offs", 1, None),
        ("When not to\n\nIn drills, it", "What comes first\n\nIt", "no-exceptions", 1, None),
        (f"## Exactness\n\n{EXACTNESS}", "", "few-traits", 1, None),
    ],
)
def test_what_is_missing_is_named_with_its_line(  # noqa: PLR0917
    tmp_path: Path, before: str, after: str, rule: str, line: int, trait: str | None
) -> None:
    assert before in WHOLE
    [found] = findings(tmp_path, WHOLE.replace(before, after))
    assert (found.rule, found.line, found.trait) == (rule, line, trait)
    assert ":" in found.message


def test_findings_come_in_the_order_of_the_lines(tmp_path: Path) -> None:
    found = findings(
        tmp_path, "- Never lie.\n- Honesty\n- Always be honest to the captain, whoever else is on the bridge.\n"
    )
    assert [finding.line for finding in found] == sorted(finding.line for finding in found)
    assert {finding.rule for finding in found} >= {
        "no-trade-offs",
        "no-exceptions",
        "too-short",
        "no-reasons",
        "only-a-rule",
    }


def test_a_rule_that_shows_a_disposition_is_no_mere_rule(tmp_path: Path) -> None:
    told = "The pilot would rather be late than wrong, and it must never guess, because sand does not move aside."
    text = WHOLE.replace(WHOLE[WHOLE.index("It gives depths") : WHOLE.index("\n\n## When traits")], told)
    assert findings(tmp_path, text) == []


def test_exceptions_told_trait_by_trait_will_do(tmp_path: Path) -> None:
    text = WHOLE[: WHOLE.index("## When not to")].replace("## Calm", "### When not to\n\nIn drills.\n\n## Calm")
    assert findings(tmp_path, text) == []


@pytest.mark.parametrize(("one", "other"), [("Honesty", "Being honest"), ("Calm under fire", "Under fire, calmly")])
def test_near_names_overlap(tmp_path: Path, one: str, other: str) -> None:
    text = WHOLE.replace("## Candour", f"## {one}").replace("## Calm", f"## {other}")
    assert [finding.rule for finding in findings(tmp_path, text)] == ["overlap"]


@pytest.mark.parametrize(
    ("one", "other"), [("Honesty", "Honesty about limits"), ("Care", "Caution"), ("Watch", "No watch")]
)
def test_other_names_do_not(tmp_path: Path, one: str, other: str) -> None:
    assert findings(tmp_path, WHOLE.replace("## Candour", f"## {one}").replace("## Calm", f"## {other}")) == []
