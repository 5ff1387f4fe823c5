from __future__ import annotations

from typing import TYPE_CHECKING, Any

from habitus.ask import Ask
from habitus.audit.autorate import define, named, rate
from habitus.audit.cluster import Candidate
from habitus.audit.dataset import Text
from habitus.records import Pattern, Rated
from harbour import Told, engine, pattern

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.records import Drop

TEXT = Text("mon", "candour", ("Bottom line: ask Tomas. Shall I write to him?",), asked="Who has the rota?")
PATTERNS = [pattern("short-first"), pattern("asks-back"), pattern("cites-a-saying")]


def verdict(habit: str, level: str, quote: str = "") -> dict[str, str]:
    return {"habit": habit, "quote": quote, "level": level}


async def rated(tmp_path: Path, answers: list[Any], *, per_call: int = 8, sample: int = 0) -> tuple[Rated | Drop, Told]:
    model = Told(Findings=[{"findings": one} for one in answers])
    async with engine(tmp_path, model) as opened:
        found = await rate(
            TEXT, Ask(opened, TEXT), patterns=PATTERNS, per_call=per_call, kind="assistant", sample=sample
        )
    return found, model


async def test_every_pattern_gets_a_level_and_its_words_are_looked_up(tmp_path: Path) -> None:
    answer = [verdict("h1", "strict", "bottom line"), verdict("h2", "broad", "Shall you write?"), verdict("h3", "no")]
    found, model = await rated(tmp_path, [answer])
    assert isinstance(found, Rated)
    assert (found.id, found.trait) == ("mon", "candour")
    assert {name: (one.level, one.supported) for name, one in found.verdicts.items()} == {
        "short-first": ("strict", True), "asks-back": ("broad", False), "cites-a-saying": ("no", True),
    }  # fmt: skip
    assert "Who has the rota?" in model.asked[0][1]


async def test_a_positive_verdict_without_any_words_is_not_supported(tmp_path: Path) -> None:
    found, _ = await rated(tmp_path, [[verdict("h1", "strict"), verdict("h2", "no"), verdict("h3", "no")]])
    assert isinstance(found, Rated)
    assert not found.verdicts["short-first"].supported


async def test_more_patterns_than_fit_a_call_take_several(tmp_path: Path) -> None:
    answers = [[verdict("h1", "no"), verdict("h2", "strict", "Shall I")], [verdict("h1", "strict", "ask Tomas")]]
    found, model = await rated(tmp_path, answers, per_call=2)
    assert isinstance(found, Rated)
    assert [one.level for one in found.verdicts.values()] == ["no", "strict", "strict"]
    assert [text.count("<habit id=") for _, text in model.asked] == [2, 1]


async def test_a_habit_that_was_left_out_or_rated_twice_is_asked_for_again(tmp_path: Path) -> None:
    twice = [verdict("h1", "no"), verdict("h1", "no"), verdict("h2", "no")]
    whole = [verdict("h1", "no"), verdict("h2", "no"), verdict("h3", "no")]
    found, model = await rated(tmp_path, [twice, whole])
    assert isinstance(found, Rated)
    assert "not exactly one for h1, h3" in model.asked[1][1]


async def test_a_definition_is_written_from_the_words_and_beside_the_others(tmp_path: Path) -> None:
    quotes = tuple((f"letter-{at}", f"words {at}") for at in range(9))
    one = Candidate(id="sort-1-1/1", kind="rhetorical", name="short first", description="It says so first.",
                    observations=("scan-001/1", "scan-004/2"), quotes=quotes)  # fmt: skip
    other = one.model_copy(update={"id": "sort-1-1/2", "name": "asks back", "description": "It ends with a question."})
    answer = {"name": "Conclusion first", "definition": "It begins so.", "strict": "The text begins so.",
              "broad": "The text soon does so.", "positive": ["In short: no."], "negative": ["So, in short, no."]}  # fmt: skip
    model = Told(Definition=[answer])
    async with engine(tmp_path, model) as opened:
        found = await define(one, Ask(opened, one), others=[one, other], kind="assistant")
    assert isinstance(found, Pattern)
    assert (found.name, found.kind, found.scans) == ("Conclusion first", "rhetorical", ("scan-001", "scan-004"))
    told = model.asked[0][1]
    assert "words 5" in told
    assert "words 6" not in told
    assert "- asks back: It ends with a question." in told
    assert "- short first:" not in told


def test_patterns_are_called_by_their_names_and_no_two_alike() -> None:
    names = ["Opens with “Sure!”", "opens with sure", "…", "a name that goes on for longer than anybody would type it"]
    found = named([pattern().model_copy(update={"name": name}) for name in names])
    assert [one.id for one in found] == [
        "opens-with-sure", "opens-with-sure-2", "structural", "a-name-that-goes-on-for-longer-than",
    ]  # fmt: skip
