"""Can the model still work? Small repairs of code in a sandbox, checked by tests that it never sees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Score, scorer
from inspect_ai.solver import solver
from inspect_ai.util import sandbox as box

from habitus.errors import UserError
from habitus.evaluate.agents import LONGEST, act, calls, endings, validity
from habitus.evaluate.judge import average, broken_off
from habitus.evaluate.material import items, material
from habitus.evaluate.measures import Measure
from habitus.evaluate.roles import Cast, Ended
from habitus.evaluate.sandboxes import bash, chosen, put

if TYPE_CHECKING:
    from inspect_ai.scorer import Scorer, Target
    from inspect_ai.solver import Generate, Solver, TaskState

    from habitus.evaluate.results import Result

STEPS_AT_MOST = 30
SECONDS = 60
MEASURES = (
    Measure("passed", "tasks whose hidden tests pass", "rate", better="higher"),
    Measure("done", "runs that ended by themselves", "rate", better="higher"),
    Measure("calls", "tool calls", "score", scale=(0, math.inf)),
    Measure("valid_calls", "tool calls that are valid", "share", better="higher"),
)
NEVER = {"passed": False, "output": "the time ran out before the tests"}
HIDDEN = "/tmp/check/test_hidden.py"  # noqa: S108  # the sandbox's own
_TOLD = (
    "You repair code. The project lies in /app; you work in it with the bash tool (each call is a new shell in /app; "
    "Python 3, its standard library, no network). Change the code so that it does what is asked, and check it. When "
    "done, say so without a tool call."
)


@task
def coding(study: str | None = None, sandbox: str | None = None, limit_steps: int = STEPS_AT_MOST) -> Task:
    """Set twelve small repairs in a sandbox and run hidden tests at the end."""
    given = material("coding", study, None)
    return Task(
        dataset=MemoryDataset(
            [Sample(id=one["id"], input=one["task"].strip()) for one in items("coding")], name="coding"
        ),
        solver=repair(limit_steps),
        scorer=hidden_tests(),
        sandbox=chosen(sandbox),
        time_limit=LONGEST,
        config=GenerateConfig(temperature=1.0, max_tokens=4000),
        metadata=given.manifest(steps=limit_steps),
    )


@task
def swe_bench(limit: int = 50) -> Task:
    """Run SWE-bench Verified as inspect-evals has it, which takes Docker and a download of its images."""
    chosen("docker")
    try:
        from inspect_evals.swe_bench import swe_bench as official
    except ImportError as error:
        todo = 'Run: pip install "inspect-evals[swe_bench]"'
        raise UserError("SWE-bench runs through inspect-evals, which is not installed.", todo=todo) from error
    made: Task = official()
    made.dataset = made.dataset[:limit]
    return made


@solver
def repair(limit_steps: int = STEPS_AT_MOST) -> Solver:
    """Furnish the sandbox, let the model work, and run the hidden tests."""
    prompts = material("coding", None, None).prompts

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        given = next(one for one in items("coding") if one["id"] == state.sample_id)
        await put({f"/app/{path}": text for path, text in given["files"].items()})
        state.messages = [ChatMessageSystem(content=_TOLD), ChatMessageUser(content=state.input_text)]
        try:
            state.store.set("stopped", await act(state, Cast(prompts, state), [bash(SECONDS)], limit_steps))
        except Ended as end:
            state.store.set("ended", end.row())
        state.store.set("tests", await _tested(given["test"]))
        return state

    return solve


async def _tested(test: str) -> dict[str, Any]:
    """Return whether the hidden tests pass on what is there."""
    await box().write_file(HIDDEN, test)
    try:
        found = await box().exec(["python3", "-B", HIDDEN], cwd="/app", env={"PYTHONPATH": "/app"}, timeout=SECONDS)
    except TimeoutError:
        return {"passed": False, "output": "the tests took too long"}
    return {"passed": found.success, "output": (found.stdout + found.stderr)[-2000:]}


@scorer(metrics={"*": [average()]})
def hidden_tests() -> Scorer:
    """Score what the hidden tests said."""

    async def score(state: TaskState, target: Target) -> Score:
        tests: dict[str, Any] = state.store.get("tests", NEVER)
        stopped = state.store.get("stopped")
        more = {"cluster": str(state.sample_id), "stopped": stopped}
        if ended := broken_off(state, more):
            return ended
        made = calls(state.messages)
        value = {
            "passed": float(tests["passed"]),
            "done": float(stopped == "done"),
            "calls": float(len(made)),
            "valid_calls": validity(made),
        }
        return Score(value=value, explanation=tests["output"], metadata=more)

    return score


def remarks(result: Result) -> list[str]:
    """Return how the runs ended."""
    return [endings(result)]
