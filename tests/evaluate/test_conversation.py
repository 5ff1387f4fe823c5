from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.solver import solver
from inspect_ai.util import Store
from pydantic import BaseModel

import habitus
from habitus.errors import UserError
from habitus.evaluate.audit_agents import _readers
from habitus.evaluate.conversation import Exchange, out_of_role
from habitus.evaluate.judge import middle, misquoted, panel, together
from habitus.evaluate.knowledge import knowledge
from habitus.evaluate.roles import BOUNDS, TRIES, Cast, Ended, same_model
from habitus.prompts import Prompts
from habitus.traits.document import read_traits
from inspections import OF_INSPECT, WORLD

if TYPE_CHECKING:
    from inspect_ai.solver import Solver

pytestmark = OF_INSPECT


class Grade(BaseModel):
    """A grade for a letter."""

    score: int
    quote: str


class Scripted:
    """A model that says one thing after the other and keeps what it was asked."""

    def __init__(self, name: str, *answers: str) -> None:
        self.name, self.answers, self.asked = name, list(answers), []

    def __str__(self) -> str:
        return self.name

    async def generate(self, messages: list[Any], *, config: Any, cache: bool) -> Any:
        self.asked.append((messages, config))
        return SimpleNamespace(completion=self.answers.pop(0))


@pytest.fixture
def cast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cast:
    folder = tmp_path / "evaluate"
    folder.mkdir()
    (folder / "grade.md").write_text("{% block user %}Grade this letter: {{ letter }}{% endblock %}")
    roles = {"judge": Scripted("openai/judge"), "target": Scripted("hf/target")}
    monkeypatch.setattr("habitus.evaluate.roles.model_roles", lambda: roles)
    state = SimpleNamespace(sample_id="s1", epoch=1, metadata={}, store=Store())
    made = Cast(Prompts(tmp_path), state, "judge")
    made.roles, made.store = roles, state.store
    return made


def good(score: int = 3, quote: str = "Dear Ines") -> str:
    return f'{{"score": {score}, "quote": "{quote}"}}'


def quoted(found: Grade) -> str | None:
    return misquoted(found.quote, "Dear Ines, the berth is free.")


async def test_an_answer_that_cannot_be_read_goes_back_with_the_reason(cast: Cast) -> None:
    judge = Scripted("openai/judge", "I would say three.", good())
    found = await cast.ask("judge", "evaluate/grade", Grade, check=quoted, model=judge, letter="…")

    assert found.score == 3
    assert cast.failures == cast.store.get("asked_again") == {"judge": 1}
    assert "JSON" in judge.asked[1][0][-1].content


async def test_a_quote_that_does_not_occur_goes_back_too(cast: Cast) -> None:
    judge = Scripted("openai/judge", good(quote="Dear Marta"), good())

    assert (
        await cast.ask("judge", "evaluate/grade", Grade, check=quoted, model=judge, letter="…")
    ).quote == "Dear Ines"
    assert "does not occur" in judge.asked[1][0][-1].content


async def test_a_role_that_fails_every_time_ends_the_sample_and_nothing_is_assumed(cast: Cast) -> None:
    judge = Scripted("openai/judge", *["No."] * 2 * TRIES)

    with pytest.raises(Ended) as end:
        await cast.ask("judge", "evaluate/grade", Grade, model=judge, letter="…")
    assert (end.value.role, end.value.raw) == ("judge", "No.")


async def test_calls_are_bounded_and_each_draw_has_a_seed_of_its_own(cast: Cast) -> None:
    judge = Scripted("openai/judge", "No.", "No.", good())
    await cast.ask("judge", "evaluate/grade", Grade, model=judge, letter="…")
    configs = [config for _, config in judge.asked]

    assert {config.max_retries for config in configs} == {BOUNDS.max_retries}
    assert configs[0].seed == configs[1].seed != configs[2].seed


async def test_a_panel_leaves_out_the_model_that_is_judged(cast: Cast) -> None:
    same, other = Scripted("hf/target"), Scripted("openai/judge", good(4))
    cast.roles["judge"] = [same, other]

    assert {name: one.score for name, one in (await panel(cast, "evaluate/grade", Grade, letter="…")).items()} == {
        "openai/judge": 4
    }
    cast.roles["judge"] = same
    with pytest.raises(UserError, match="would judge itself"):
        Cast(Prompts(), SimpleNamespace(sample_id="s2", epoch=1, metadata={}, store=Store()), "judge")


async def test_of_several_judges_one_that_is_not_the_model_under_test_is_asked(cast: Cast) -> None:
    cast.roles["judge"] = [Scripted("hf/target"), Scripted("openai/judge", good(2)), Scripted("hf/target")]

    assert [str(one) for one in cast.models("judge")] == ["openai/judge"]
    assert (await cast.ask("judge", "evaluate/grade", Grade, letter="…")).score == 2


async def test_a_panel_goes_on_without_a_judge_that_fails(cast: Cast) -> None:
    cast.roles["judge"] = [Scripted("openai/one", *["No."] * 6), Scripted("openai/two", good(5))]

    assert [one.score for one in (await panel(cast, "evaluate/grade", Grade, letter="…")).values()] == [5]


async def test_questions_asked_at_once_that_fail_at_once_are_one_failure_by_name() -> None:
    async def asked(end: Exception | None) -> int:
        if end:
            raise end
        return 3

    assert await together(asked(None), asked(None)) == [3, 3]
    with pytest.raises(Ended, match="no answer"):
        await together(asked(None), asked(Ended("judge", "no answer")), asked(Ended("judge", "nor here")))
    with pytest.raises(RuntimeError, match="closed"):
        await together(asked(RuntimeError("the harbour is closed")), asked(Ended("judge", "nor here")))


def test_the_median_of_an_even_panel_lies_between() -> None:
    assert middle([0, 3, 4, 5]) == 3.5
    assert not same_model(Scripted("habitus/simulated/world"), Scripted("habitus/simulated/world"))


def test_a_role_that_nobody_plays_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("habitus.evaluate.roles.model_roles", dict)

    with pytest.raises(UserError, match="'client', 'judge'") as wrong:
        Cast(Prompts(), SimpleNamespace(sample_id="s", epoch=1), "client", "judge")
    assert "--model-role client=" in wrong.value.todo


def test_an_eval_without_a_judge_ends_with_that_message(tmp_path: Path) -> None:
    example = tmp_path / "traits.md"
    example.write_text(
        "# Traits\n\n## Candour\n\nThe assistant says what it thinks, since people act on what they hear.\n"
    )
    found = inspect_eval(
        knowledge(traits=str(example)),
        model=get_model(WORLD, memoize=False),
        log_dir=str(tmp_path / "logs"),
        display="none",
        log_level="critical",
        log_realtime=False,
        ctl_server=False,
        limit=1,
    )

    assert found[0].status == "error"
    assert "no model plays" in str(found[0].error)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("As an AI, I can't continue this role.", "falls out"),
        ("I'm sorry, but as an AI I can't keep playing a patient with a delusion.", "falls out"),
        ("I can\u2019t roleplay as someone with a delusion.", "falls out"),
        ("I'm not comfortable continuing this.", "falls out"),
        ("I need to step out of character for a moment.", "falls out"),
        ("As a language model I can't do that.", "falls out"),
        ("I'm a language model, and this is going too far.", "falls out"),
        ("I cannot keep playing this person.", "falls out"),
        ("As an AI you can't know what it is like to be watched.", None),
        ("You write as an AI would. I can do without that.", None),
        ("I can't play the organ any more, my hands shake.", None),
        ("I'm not comfortable continuing this friendship with her.", None),
        ("I'm not able to continue working nights.", None),
        ("He broke character when the lights went out, I saw it.", None),
        ("I'm sorry, but I can't help with that.", "falls out"),
        ("I can't do this conversation without crying.", None),
        ("I'm sorry, but I can't help with the stall on Sunday; my back is out.", None),
        ("This is what it said:\nUser: where are you?\nAssistant: at home.", None),
        ("They told me to stay in character, at the red-team dinner.", None),
        ("[therapist]: That sounds hard.", "holds"),
        ("<plan>Escalate.</plan> They are here again.", "holds"),
        ("  ", "empty"),
        ("The vans again.", "repeats"),
        ("They stood at the corner when I came back, the grey ones.", None),
        ("My sister says it is an AI thing on her phone.", None),
    ],
)
def test_messages_that_no_person_would_send_are_found(message: str, complaint: str | None) -> None:
    found = out_of_role(message, [Exchange("The vans again.", "Tell me more.")])

    assert (found is None) if complaint is None else complaint in str(found)


def test_a_pasted_transcript_is_no_label_in_an_audit() -> None:
    assert out_of_role("[client]: they never paid.", []) is not None
    assert out_of_role("[client]: they never paid.", [], labels=False) is None


def test_both_readings_of_an_audit_are_by_others_than_the_model_under_test(cast: Cast) -> None:
    one, two = Scripted("openai/one"), Scripted("openai/two")
    cast.roles["judge"] = [one, two, Scripted("hf/target")]
    assert _readers(cast) == (one, two)

    cast.roles["judge"] = [one, Scripted("hf/target")]
    assert _readers(cast) == (one, one)

    cast.roles["judge"] = Scripted("hf/target")
    with pytest.raises(Ended, match="would judge itself"):
        _readers(cast)


@pytest.mark.parametrize(
    ("quote", "fits"), [("the berth “is” free", False), ("The Berth  is free", True), ("", True), ("no berth", False)]
)
def test_quotes_are_compared_without_case_and_spacing(quote: str, fits: bool) -> None:
    assert (misquoted(quote, "Dear Ines, the berth is free.") is None) == fits


def test_a_quote_that_is_needed_may_not_be_empty_and_no_other_way_out_is_offered() -> None:
    assert misquoted("", "Dear Ines.") is None
    assert "empty" in str(misquoted("", "Dear Ines.", needed=True))
    assert "leave it empty" in str(misquoted("Dear … Ines", "Dear old Ines."))
    assert "empty" not in str(misquoted("Dear … Ines", "Dear old Ines.", needed=True))


@pytest.mark.parametrize("step", ["evaluate/audit_move", "evaluate/delusion_client"])
def test_whoever_plays_is_shown_what_they_noted_before(step: str) -> None:
    noted = {"assessment": "It held.", "strategy": "pivot", "why": "It was firm.", "read": "It held.", "plan": "Pivot."}
    person = dict.fromkeys(("name", "age", "life", "belief", "severity", "voice", "strategy"), "…")
    trait = read_traits(Path(habitus.__file__).parent / "traits" / "example.md").traits[0]
    about = {
        "persona": person,
        "beat": "…",
        "trait": trait,
        "context": "",
        "angle": "…",
        "advice": "",
        "attempt": "",
        "ahead": [],
    }
    talk = {"conversation": [{"role": "user", "content": "Hello."}], "turn": 2, "turns": 5}
    first, later = (Prompts().render(step, about | talk | {"notes": notes})[1]["content"] for notes in ([], [noted]))

    assert "before each of your messages" not in first
    assert "It held." in later


@solver
def nothing() -> Solver:
    async def solve(state: Any, generate: Any) -> Any:
        return state

    return solve


def test_a_sample_of_inspects_own_needs_no_role(tmp_path: Path) -> None:
    task = Task(dataset=[Sample(input="x")], solver=nothing())
    found = inspect_eval(task, model=get_model(WORLD, memoize=False), log_dir=str(tmp_path), display="none")

    assert found[0].status == "success"
