"""A conversation that adapts: a client or auditor writes each message in view of the last reply."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from inspect_ai.model import ChatMessageUser

from habitus.evaluate.roles import Cast, Ended
from habitus.quotes import SAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspect_ai.model import ModelOutput
    from inspect_ai.solver import Generate, Solver, TaskState

    from habitus.prompts import Prompts

_NOT_A_PERSON = re.compile(
    r"\bas an? (?:AI(?: language model| assistant)?|(?:large )?language model),? "
    r"I(?:'m|'d|'ve| (?:am|can|do|have|must|need|should|will|won't|would)\b)"
    r"|\bI(?:'m| am) (?:just |only )?an? (?:AI (?:language model|assistant)|(?:large )?language model)\b"
    r"|\bI (?:can't|cannot|won't) (?:continue|keep up|take part in|go on with) this (?:role|exercise|simulation)"
    r"|\bI (?:can't|cannot|won't) (?:(?:keep|go on|continue) )?(?:to )?role-?play"
    r"|\bI (?:can't|cannot|won't) (?:(?:keep|go on|continue) )?(?:to )?play(?:ing)? (?:this|the|an?) "
    r"(?:client|part|patient|person|role|someone)\b"
    r"|\bI(?: am|'m| need to| have to| must|'ll| will)(?: going to)? (?:step|break)(?:p?ing)? (?:out of )?character\b"
    r"|\bI(?: am|'m) (?:not (?:able|comfortable)|un(?:able|comfortable)) (?:to )?(?:continu|role-?play)(?:e|ing)?"
    r"(?: (?:with )?this(?: (?:role|exercise|scenario|simulation|conversation))?)?\s*(?:[.!?,;]|$)"
    r"|^\W*I'm sorry,? but I can't (?:help|assist) with (?:that|this)\b(?: request)?\W*$",
    re.IGNORECASE,
)
"""What a model says of itself where it leaves its role; a person may say as much of the therapist."""
CUT = "\n\n[cut off here by a limit on length, which is no choice of the writer's]"
"""What judges read behind a reply that did not come to its end."""
_STAGE = re.compile(r"</?(?:message|reply|plan|conversation)>", re.IGNORECASE)
_LABEL = re.compile(r"^\s*\[?(?:therapist|client)\]?:", re.IGNORECASE)


@dataclass(frozen=True)
class Exchange:
    """One turn: what was thought of privately, what was said, and what came back."""

    message: str
    reply: str
    notes: dict[str, Any] = field(default_factory=dict)
    """What the writer of the message noted for nobody else's eyes."""
    cut: bool = False
    """Whether the limit on its length ended the reply."""

    @property
    def judged(self) -> str:
        """The reply as judges read it."""
        return f"{self.reply}{CUT if self.cut else ''}"


class Compose(Protocol):
    """Who writes the next message, given what has been said."""

    async def __call__(self, turn: int, said: list[Exchange]) -> tuple[str, dict[str, Any]]:
        """Return the message and the private notes behind it."""
        ...


async def converse(state: TaskState, cast: Cast, compose: Compose, count: int) -> None:
    """Hold a conversation of so many turns with the target; the sample's store has all of it, or why it broke off.

    The target sees the sample's messages and its own replies, never a note.
    """
    said: list[Exchange] = []
    try:
        for turn in range(count):
            message, notes = await compose(turn, said)
            state.messages.append(ChatMessageUser(content=message))
            output = await cast.reply(state.messages)
            state.messages.append(output.message)
            state.output = output
            said.append(Exchange(message, _whole(output, turn), notes, output.stop_reason == "max_tokens"))
    except Ended as end:
        state.store.set("ended", end.row())
    state.store.set("exchanges", [asdict(one) for one in said])
    state.store.set("asked_again", dict(cast.failures))


def _whole(output: ModelOutput, turn: int) -> str:
    """Return the text of a reply, which may not be empty."""
    if not output.completion.strip():
        raise Ended("target", f"empty reply in turn {turn + 1} ({output.stop_reason})")
    return output.completion


def exchanges(state: TaskState) -> list[Exchange]:
    """Return the conversation that a sample's store holds.

    Raises:
        Ended: there is none, since a limit of the run's ended it on the way.

    """
    found = state.store.get("exchanges")
    if found is None:
        raise Ended("limit", "the conversation was cut short")
    return [Exchange(**one) for one in found]


def out_of_role(message: str, said: list[Exchange], *, labels: bool = True) -> str | None:
    """Say why a message can't be sent as that of a person, if it can't; with `labels`, a speaker's name too."""
    if not message.strip():
        return "`message` is empty"
    if found := _NOT_A_PERSON.search(message.translate(SAME)):
        return f"`message` falls out of the role: '{found[0]}'; write what the person says, and nothing else"
    if found := _STAGE.search(message) or (labels and _LABEL.search(message)):
        return f"`message` holds '{found[0].strip()}'; write the words of this one message alone"
    if any(message.strip() == one.message.strip() for one in said):
        return "`message` repeats an earlier message word for word"
    return None


def answer_of(output: ModelOutput) -> str:
    """Return an answer as judges read it."""
    return output.completion + (CUT if output.stop_reason == "max_tokens" else "")


def as_turns(said: Sequence[Exchange], *, numbered: bool = False) -> list[dict[str, str]]:
    """Return a conversation as prompts show it; where a judge is to name a reply, with their numbers and ends."""
    return [
        message
        for at, one in enumerate(said, start=1)
        for message in (
            {"role": "user", "content": one.message},
            {"role": f"assistant, message {at}", "content": one.judged}
            if numbered
            else {"role": "assistant", "content": one.reply},
        )
    ]


def one_answer(prompts: Prompts, *roles: str) -> Solver:
    """Return the solver of an eval in which the model under test answers once."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:  # Inspect's own signature
        state.output = await Cast(prompts, state, *roles).reply(state.messages)
        state.messages.append(state.output.message)
        return state

    return solve
