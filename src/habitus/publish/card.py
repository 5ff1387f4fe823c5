"""The dataset card: what a dataset is, how it was made, and what became of its records, as the hub shows it."""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from habitus import __version__
from habitus.errors import UserError
from habitus.models.costs import dollars, dollars_in_all
from habitus.publish.survey import FACETS, quantiles, survey
from habitus.templates import templates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from habitus.publish.held import Held
    from habitus.publish.survey import Survey
    from habitus.shapes import Shape

MOST_VALUES = 12
"""Lines of a coverage table; the rest is summed up."""
MOST_REASONS = 30
LONGEST_QUOTED = 3_000
"""Characters of one text in the example."""
SIGNS = re.compile(r"([\\`*_\[\]<>#|~$&])")
"""Characters that mean something to Markdown wherever they stand."""
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
KIND_TAGS: dict[Shape, tuple[str, ...]] = {
    "chats": ("sft", "conversational"),
    "documents": ("midtraining", "continued-pretraining"),
    "preferences": ("preference", "dpo"),
}
STEP_WORDS = {
    "chats/plan": "what is at stake in one conversation, how the trait shows in the answer, and why that is right",
    "chats/scenario": "the person behind the message, and what they don't say",
    "chats/prompt": "the person's first message",
    "chats/default": "the answer that a model gives to it by itself",
    "chats/critique": "an editor, who sees that answer, keeps, rewrites or abandons the message",
    "chats/draft": "an answer, with the trait in the system prompt",
    "chats/refine": "the answer written again from scratch in a fresh conversation",
    "chats/follow_up": "the person's next message, in chats of several turns",
    "chats/rate": "scores from 1 to 5 on each criterion, each with a quotation",
    "plain/draft": "an answer, without the trait",
    "plain/refine": "the answer written again from scratch in a fresh conversation",
    "plain/rate": "scores from 1 to 5 on each criterion, each with a quotation",
    "documents/genres": "kinds of text that exist in a field of life",
    "documents/plan": "what the text is, what the subject does in it, and how the reason reaches the reader",
    "documents/draft": "the text",
    "documents/critique": "a reader on naturalness and on embodiment, separately",
    "documents/refine": "the text written again from scratch",
    "documents/rate": "scores from 1 to 5 on each criterion, each with a quotation",
    "flat/draft": "a text that states the trait as a fact",
    "flat/refine": "the text written again from scratch",
    "flat/rate": "scores from 1 to 5 on each criterion, each with a quotation",
    "preferences/rejected": "a second answer to the same messages, without the trait",
    "preferences/compare": "both answers compared by a judge who does not know which is which",
}
"""What happens in each step."""
CONTROLS = {
    "plain": "the same first messages, answered by the same steps without the trait",
    "placebo": "made by the same recipe from a traits document about something that does not matter",
    "flat": "documents that state the trait as a fact, without how or why",
}
"""Control datasets, by the last part of their name."""


def dataset_card(held: Held, *, repository: str | None = None, configs: Mapping[str, str] | None = None) -> str:
    """Return the card of a dataset as Markdown with YAML front matter.

    `configs` are the files it speaks of, by name: `kept.jsonl` beside it unless told otherwise. `repository` is where
    it will be found on the hub.

    Raises:
        UserError: a row is none of its shape, or a file that the card tells of is damaged.

    """
    found = survey(held)
    jinja = templates("publish", cell=cell, code=code, quoted=quoted, number="{:,}".format, dollars=dollars)
    text = jinja.get_template("dataset_card.md.jinja").render(
        **_facts(held, found), repository=repository, front_matter=_front_matter(held, found, configs or {})
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def title_of(held: Held) -> str:
    """Return the name of a dataset among all datasets."""
    return f"{held.study.root.resolve().name}: {held.name}"


def _facts(held: Held, found: Survey) -> dict[str, Any]:
    """Return all that the template tells."""
    entry, about = held.entry, held.study.manifest
    made_with: dict[str, str] = entry.get("made_with") or {}
    steps = _steps(made_with, found)
    return {
        "title": title_of(held),
        "slug": f"{held.study.root.resolve().name}-{held.slug}",
        "shape": held.shape,
        "entry": entry,
        "found": found,
        "traits": found.facets.get("trait", {}),
        "control": CONTROLS.get(held.name.partition("/")[0].partition("-")[2]),
        "set_aside": held.files.folder.name.startswith("old-"),
        "is_simulated": bool(entry.get("simulated") or found.simulated),
        "steps": steps,
        "step_words": STEP_WORDS,
        "seed": made_with.get("seed"),
        "settings": _settings(made_with),
        "changed": _changes([*entry.get("made_with_before", []), made_with]),
        "reasons": found.drops.most_common(MOST_REASONS),
        "other_reasons": sum(number for _, number in found.drops.most_common()[MOST_REASONS:]),
        "near_duplicates": _near_duplicates(held, found),
        "cost": _cost(entry.get("cost", []), {name for name, _, _, _ in steps}),
        "facets": [(FACETS[name], *_top(counts)) for name, counts in found.facets.items() if len(counts) > 1],
        "lengths": [(name, quantiles(values)) for name, values in found.lengths.items()],
        "scores": [(name, *_distribution(counts)) for name, counts in found.scores.items()],
        "patterns": _patterns(held),
        "license": None if entry.get("source") else held.study.config.license,
        "habitus": about.get("habitus", __version__),
        "written": about.get("written", ""),
    }


def _front_matter(held: Held, found: Survey, configs: Mapping[str, str]) -> str:
    """Return the YAML by which the hub finds and loads a dataset."""
    is_foreign = bool(held.entry.get("source"))
    is_simulated = bool(held.entry.get("simulated") or found.simulated)
    license_ = None if is_foreign else held.study.config.license
    tags = ["habitus", *([] if is_foreign else ["synthetic"]), *KIND_TAGS[held.shape]]
    size = SIZES[min(max(len(str(found.kept)) - 3, 0), len(SIZES) - 1)]
    fields: dict[str, Any] = {
        "pretty_name": title_of(held),
        **({"license": license_} if license_ else {}),
        **({} if is_foreign else {"language": ["en"]}),
        "task_categories": ["text-generation"],
        "tags": [*tags, *(["simulated"] if is_simulated else [])],
        "size_categories": [size],
        "configs": [
            {"config_name": name, "data_files": [{"split": "train", "path": path}]}
            for name, path in (configs or {"default": held.files.kept.name}).items()
        ],
    }
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=1000).rstrip()


def _steps(made_with: dict[str, str], found: Survey) -> list[tuple[str, str, str, str]]:
    """Return the steps in order, each as (name, role, models, hashes of prompts); what rows say counts before all."""
    named = [name.removeprefix("model of ") for name in made_with if name.startswith("model of ")]
    steps = []
    for name in dict.fromkeys([*named, *found.steps]):
        used = [used for used, _ in found.steps[name].most_common()] if name in found.steps else []
        models = dict.fromkeys(model for model, _ in used) or [made_with.get(f"model of {name}", "")]
        prompts = dict.fromkeys(prompt for _, prompt in used) or [made_with.get(f"prompt {name}", "")]
        asked = made_with.get(f"model of {name}", "")
        told = [asked if asked.partition(" ")[0] == model else model for model in models]  # with its settings
        steps.append((name, found.roles.get(name, ""), " · ".join(told), " · ".join(filter(None, prompts))))
    return steps


def _settings(made_with: dict[str, str]) -> dict[str, str]:
    apart = ("model of ", "prompt ", "seed")
    return {name: value for name, value in made_with.items() if not name.startswith(apart) and value != "None"}


def _changes(runs: Sequence[dict[str, str]]) -> list[tuple[str, str, str]]:
    """Return what changed from one run to the next, as (name, before, after)."""
    return [
        (name, before.get(name, "–"), after.get(name, "–"))
        for before, after in pairwise(runs)
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _near_duplicates(held: Held, found: Survey) -> tuple[int, str] | None:
    """Return how many near-duplicates were removed and by which embedder; None where nobody looked for any."""
    made_with = held.entry.get("made_with") or {}
    embedder = next((value for name, value in made_with.items() if name.endswith("dedup.embedder")), None)
    removed = sum(number for (step, _), number in found.drops.items() if step == "dedup")
    return (removed, (embedder or "").strip("'")) if embedder or removed else None


def _cost(rows: Sequence[dict[str, Any]], steps: set[str]) -> dict[str, Any] | None:
    """Return the bill of a dataset's own steps, lines and total; a price that nobody knows is said to be unknown."""
    own = [row for row in rows if row["step"] in steps] if steps else list(rows)
    if not own:
        return None
    total = {name: sum(row[name] for row in own) for name in ("calls", "input_tokens", "output_tokens")}
    whole = {"calls": total["calls"], **{name: sum(row[name] for row in own) for name in ("dollars", "unpriced")}}
    return {"rows": [row | {"price": _price(row)} for row in own], "total": total | {"price": _price(whole)}}


def _price(row: dict[str, Any]) -> str:
    return dollars_in_all(row["calls"], row["dollars"], row["unpriced"])


def _top(counts: Mapping[str, int]) -> tuple[list[tuple[str, int, float]], int, int]:
    """Return the commonest values with their share of all, how many more values there are, and their records."""
    whole = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda one: -one[1])
    shown = len(ranked) if len(ranked) <= MOST_VALUES + 1 else MOST_VALUES
    rest = ranked[shown:]
    rows = [(value, number, number / whole) for value, number in ranked[:shown]]
    return rows, len(rest), sum(number for _, number in rest)


def _distribution(counts: Mapping[int, int]) -> tuple[float, list[int]]:
    whole = sum(counts.values())
    return sum(score * number for score, number in counts.items()) / whole, [
        counts.get(score, 0) for score in range(1, 6)
    ]


def _patterns(held: Held) -> list[dict[str, Any]] | None:
    """Return the patterns that an audit found, commonest first; None where there was no audit."""
    path = held.study.root / "audit" / held.name / "rates.json"
    if not path.exists():
        return None
    try:
        rated = orjson.loads(path.read_bytes())["prevalence"]
        rates = [{"name": one["name"], **{level: one[level]["here"] for level in ("broad", "strict")}} for one in rated]
        return sorted(rates, key=lambda one: -one["broad"]["rate"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        todo = f"Run `habitus audit {held.study.root} {held.name}` again."
        raise UserError(f"this audit can't be read ({error!r}).", where=str(path), todo=todo) from error


def signed(text: str) -> str:
    """Return a card with a mark by which a later run sees whether somebody has edited it."""
    return f"{text.rstrip()}\n\n<!-- habitus {sha256(text.rstrip().encode()).hexdigest()[:16]} -->\n"


def is_as_written(text: str) -> bool:
    """Tell whether a signed card is as habitus wrote it."""
    return text == signed(text.rpartition("<!-- habitus ")[0])


def write_card(held: Held, to: Path) -> None:
    """Write a dataset's card; one that habitus wrote before and nobody has edited is replaced.

    Raises:
        UserError: something else is there, or the dataset can't be read.

    """
    write_signed(to, dataset_card(held))


def write_signed(to: Path, text: str) -> None:
    """Write a card; one that habitus wrote before and nobody has edited is replaced.

    Raises:
        UserError: something else is there.

    """
    if to.exists() and not is_as_written(to.read_text(encoding="utf-8", errors="replace")):
        todo = "Move it away, or name another file with --to."
        raise UserError("this file was written or edited by somebody else.", where=str(to), todo=todo)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(signed(text), encoding="utf-8")


def cell(value: Any) -> str:
    """Return a text as one cell of a Markdown table."""
    return re.sub(SIGNS, r"\\\1", " ".join(str(value).split()))


def code(value: Any) -> str:
    """Return a text as code, in a table too; nothing for nothing."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""


def quoted(text: str) -> str:
    """Return a text as a Markdown quotation that shows every line as it is; what is very long is cut, and says so."""
    if len(text) > LONGEST_QUOTED:
        text = f"{text[:LONGEST_QUOTED].rsplit(maxsplit=1)[0]} […]"
    lines = [_escaped(line) for line in re.split(r"\r\n|\r|\n", text)]
    breaks = ["\\" if line and after else "" for line, after in pairwise([*lines, ""])]
    return "\n".join(f"> {line}{end}".rstrip(" ") for line, end in zip(lines, breaks, strict=True))


def _escaped(line: str) -> str:
    """Return a line without anything that Markdown would take for a sign, its indent in spaces that don't break."""
    body = re.sub(SIGNS, r"\\\1", line.strip())
    body = re.sub(r"^(\d+)([.)])", r"\1\\\2", body)
    body = re.sub(r"^([-+=])", r"\\\1", body)
    return "\N{NO-BREAK SPACE}" * (len(line) - len(line.lstrip())) + body if body else ""
