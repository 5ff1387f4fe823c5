from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from habitus.ask import Ask
from habitus.audit.dataset import Text
from habitus.audit.scan import Batch, Scanned, batches, scan
from habitus.settings import AuditSettings
from harbour import Told, engine

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = (
    Text("mon", "", ("Bottom line: ask Tomas.",), asked="Who has the rota?"),
    Text("tue", "", ("Bottom line: leave the key.",)),
    Text("wed", "", ("The ferry list was right.",)),
)
HABIT = {"name": "announces its conclusion", "kind": "structural", "description": "It says so first.", "count": 2}


def example(text: str, quote: str) -> dict[str, str]:
    return {"text": text, "quote": quote}


def habits(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"habits": [{**HABIT, **row} for row in rows]}


async def scanned(tmp_path: Path, *answers: Any, hints: tuple[str, ...] = ()) -> tuple[Scanned, Told]:
    model = Told(Scan=list(answers))
    batch = Batch("scan-001", TEXTS)
    async with engine(tmp_path, model) as opened:
        found = await scan(batch, Ask(opened, batch), kind="assistant", hints=hints)
    assert isinstance(found, Scanned)
    return found, model


async def test_what_recurs_is_reported_with_words_that_occur_and_the_records_they_are_from(tmp_path: Path) -> None:
    quotes = [example("t1", "bottom line: ask Tomas"), example("t2", "Bottom line: leave the key.")]
    found, model = await scanned(tmp_path, habits({"examples": quotes}))
    (seen,) = found.observations
    assert (seen.id, seen.count, seen.of) == ("scan-001/1", 2, 3)
    assert seen.quotes == (("mon", "bottom line: ask Tomas"), ("tue", "Bottom line: leave the key."))
    assert found.texts == ("mon", "tue", "wed")
    ((_, told),) = model.asked
    assert "Who has the rota?" in told
    assert "By counting alone" not in told


async def test_words_that_do_not_occur_in_the_text_they_name_are_counted_and_not_gone_by(tmp_path: Path) -> None:
    good, other_text = example("t1", "ask Tomas"), example("t3", "ask Tomas")
    found, _ = await scanned(tmp_path, habits({"examples": [good, good, other_text]}))
    assert found.observations[0].quotes == (("mon", "ask Tomas"), ("mon", "ask Tomas"))
    assert found.unsupported == 1


async def test_a_habit_of_which_no_words_occur_is_named_and_not_gone_by(tmp_path: Path) -> None:
    good = {"examples": [example("t1", "ask Tomas"), example("t2", "leave the key")]}
    bad = {"name": "cites a saying", "examples": [example("t1", "as they say")]}
    found, _ = await scanned(tmp_path, habits(good, bad))
    assert [one.name for one in found.observations] == ["announces its conclusion"]
    assert found.unproven == ("cites a saying",)


async def test_a_scan_whose_examples_mostly_do_not_occur_is_sent_back_with_the_words(tmp_path: Path) -> None:
    bad = habits({"examples": [example("t1", "as they say"), example("t9", "ask Tomas")]})
    found, model = await scanned(tmp_path, bad, habits({"examples": [example("t1", "ask Tomas")]}))
    assert len(model.asked) == 2
    assert "'as they say' (t1)" in model.asked[1][1]
    assert found.observations[0].quotes == (("mon", "ask Tomas"),)


async def test_what_was_counted_is_told_only_where_that_is_wanted(tmp_path: Path) -> None:
    _, model = await scanned(tmp_path, habits(), hints=("em dash (formatting)",))
    assert "- em dash (formatting)" in model.asked[0][1]


def pool(count: int, words: int = 100) -> list[Text]:
    return [Text(f"letter-{at}", "", (f"{at} " + "mail " * words,)) for at in range(count)]


def test_batches_have_about_the_wanted_size_and_are_as_many_as_wanted() -> None:
    made = batches(pool(1_000), AuditSettings(scans=5, batch_tokens=1_000))
    assert [one.id for one in made] == [f"scan-00{number}" for number in range(1, 6)]
    assert all(1_000 <= sum(text.tokens for text in one.texts) < 1_200 for one in made)
    assert len({text.id for one in made for text in one.texts}) == sum(len(one.texts) for one in made)


def test_a_small_dataset_is_gone_through_up_to_three_times_in_other_company() -> None:
    made = batches(pool(40), AuditSettings(scans=30, batch_tokens=1_000))
    assert len(made) == 15
    times = [sum(text.id == "letter-3" for one in made for text in one.texts)]
    assert times == [3]
    company = [frozenset(text.id for text in one.texts) for one in made if any(t.id == "letter-3" for t in one.texts)]
    assert len(set(company)) == 3


def test_a_dataset_that_one_batch_would_hold_is_parted_so_that_several_can_see_the_same() -> None:
    made = batches(pool(16), AuditSettings(scans=30, batch_tokens=50_000))
    assert len(made) >= 9
    times = Counter(text.id for one in made for text in one.texts)
    assert len(times) == 16
    assert min(times.values()) >= 2


def test_a_single_text_makes_no_batch() -> None:
    assert batches(pool(1), AuditSettings()) == []


def test_a_text_that_is_longer_than_half_a_batch_is_shown_without_its_middle() -> None:
    (one, *_) = batches(pool(4, words=2_000), AuditSettings(scans=1, batch_tokens=1_000))
    assert len(one.texts) == 2
    assert all("[…]" in text.text and len(text.text) < 2_100 for text in one.texts)
