"""A study of a ferry office, as its files stand after chats, an audit, a training run and two evals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from studies import make

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOSTILE = (
    "<script>document.title = 'taken'</script> \u202eright to left שלום 🚢 \x00 </script><img src=x onerror=alert(1)>"
)
LONG = "The log of the Brise, line after line. " * 26_000


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def chat(number: int, answer: str = "") -> dict[str, Any]:
    """Return a kept chat at the counter of the office."""
    said = answer or f"Bottom line: boat {number} leaves at {6 + number % 12}. Mind the ramp."
    rating = {
        "score": 3 + number % 3,
        "reason": "It names the hour.",
        "quote": f"boat {number} leaves",
        "supported": True,
    }
    return {
        "id": f"chat-{number:07d}",
        "trait": ("candour", "patience")[number % 2],
        "messages": [
            {"role": "user", "content": f"When does boat {number} leave?"},
            {"role": "assistant", "content": said},
        ],
        "meta": {"domain": "ferries", "contrast": number % 4 == 0, "ratings": {"embodies": rating}, "plan": {"what": "the hour is doubtful"}},
    }  # fmt: skip


def trace(number: int) -> dict[str, Any]:
    said = [
        ("plan", {"plans": [{"what": "the hour is doubtful"}] * 5}),
        ("draft", f"In truth boat {number} leaves at some hour of the day. Mind the ramp and the rope."),
        ("refine", {"on_trait": "Say the hour.", "answer": chat(number)["messages"][1]["content"]}),
    ]
    steps = [{"step": f"chats/{name}", "model": "simulated/world", "answer": answer} for name, answer in said]
    return {"id": f"chat-{number:07d}", "steps": steps}


def rate(count: int, of: int) -> dict[str, Any]:
    return {"count": count, "of": of, "rate": count / of, "low": 0.2, "high": 0.9}


def measure(value: float, difference: float | None) -> dict[str, Any]:
    """Return the first measure of an eval of one arm."""
    differs = {"value": difference, "low": -0.6, "high": -0.2, "p": 0.001, "pairs": 20, "clusters": 20, "detectable": 0.3, "test": "McNemar"}  # fmt: skip
    return {
        "key": "curt", "title": "answers that are curt", "kind": "rate", "better": "lower",
        "estimate": {"value": value, "low": value / 2, "high": value + 0.1, "count": 20, "clusters": 20, "detectable": 0.3},
        "difference": differs if difference is not None else None,
        "holm": 0.002 if difference is not None else None,
    }  # fmt: skip


def results(arm: str, value: float, difference: float | None = None) -> dict[str, Any]:
    worst = {"id": "counter-1", "epoch": 1, "cluster": "counter-1", "outcome": "scored", "values": {"curt": 1.0},
             "judged": "curt", "messages": [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": "No."}]}  # fmt: skip
    one = {
        "name": "counter", "about": "questions at the counter", "model": "openai/gpt-5-mini", "others": {"judge": "openai/gpt-5"},
        "simulated": False, "log": "counter.eval", "outcomes": {"scored": 20}, "remarks": ["all were answered"],
        "dollars": 0.1, "measures": [measure(value, difference)], "samples": [], "worst": [worst],
    }  # fmt: skip
    return {"arm": arm, "baseline": "baseline", "evals": [one]}


@pytest.fixture
def chats_alone(tmp_path: Path) -> Path:
    """A study that has chats, of which two are hostile, and one dropped."""
    study = make(tmp_path / "ferries")
    kept = [chat(number) for number in range(10)] + [chat(10, HOSTILE), chat(11, LONG)]
    write(study / "chats" / "kept.jsonl", kept)
    write(study / "chats" / "traces.jsonl", [trace(number) for number in range(10)])
    gone = {
        "id": "chat-0000012",
        "trait": "candour",
        "step": "chats/rate",
        "reason": "too curt",
        "raw": "No.",
        "meta": {},
    }
    write(study / "chats" / "dropped.jsonl", [gone])
    return study


@pytest.fixture
def study(chats_alone: Path) -> Path:
    """The same study after an audit, a training run and the evals of two arms."""
    audit = chats_alone / "audit" / "chats"
    pattern = {"id": "bottom-line", "kind": "rhetorical", "name": "Begins with a bottom line", "definition": "It does.",
               "strict": "the words", "broad": "the like", "positive": [], "negative": [], "scans": ["scan-1"],
               "observations": [], "quotes": []}  # fmt: skip
    write(audit / "patterns.jsonl", [pattern])
    levels = ["strict" if number < 6 else "no" for number in range(10)]
    found = [
        {"level": level, "quote": "Bottom line" if level == "strict" else "", "supported": True} for level in levels
    ]
    ids = [f"chat-{number:07d}" for number in range(10)]
    write(audit / "matches.jsonl", [{"id": name, "trait": "candour", "verdicts": {"bottom-line": one}} for name, one in zip(ids, found, strict=True)])  # fmt: skip
    write(audit / "texts.jsonl", [{"id": name, "text": chat(at)["messages"][1]["content"]} for at, name in enumerate(ids)])  # fmt: skip
    level = {"here": rate(6, 10), "there": rate(3, 10), "difference": {"difference": 0.3, "low": 0.1, "high": 0.5, "p": 0.01}}  # fmt: skip
    rates = {"rated": 10, "reference": {"rated": 10, "paired": False, "name": "plain.jsonl", "answer": "chosen"}, "simulated": True,
             "prevalence": [{"id": "bottom-line", "name": pattern["name"], "strict": level, "broad": level, "groups": []}]}  # fmt: skip
    (audit / "rates.json").write_text(json.dumps(rates))
    run = chats_alone / "models" / "taught" / "seed-1"
    write(run / "metrics.jsonl", [{"stage": "bdpo", "step": at, "loss": 2.0 / at, "rejected_weight": 0.5 / at} for at in range(1, 9)])  # fmt: skip
    write(run / "mixture.jsonl", [{"id": str(at), "source": "chats", "tokens": 9, "trained": 4} for at in range(4)])
    told = {"arm": "taught", "seed": 1, "stage": "bdpo", "steps": 8, "tokens": 36, "epochs": 1.0, "seconds": 3.0, "done": True}  # fmt: skip
    (run / "run.json").write_text(json.dumps(told))
    for arm, value, difference in (("baseline", 0.5, None), ("taught", 0.1, -0.4)):
        (chats_alone / "evals" / arm).mkdir(parents=True)
        (chats_alone / "evals" / arm / "results.json").write_text(json.dumps(results(arm, value, difference)))
    return chats_alone
