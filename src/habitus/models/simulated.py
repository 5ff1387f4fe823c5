"""The embedded model: offline, deterministic, with habits and faults planted at known rates.

`simulated/world` answers every step of habitus in a small believable world of its own. It knows nothing but the words
of the request. The same seed, request and sample always give the same answer. Parameters are written behind the name,
as in `simulated/world?seed=3&bottom_line=0.9`, or stand among a call's settings, which win.

==================  =======  ===========================================================================================
parameter           default  what it does
==================  =======  ===========================================================================================
seed                0        another number gives another world
latency             0        seconds that a call takes in the mean, log-normally spread
bottom_line         0.52     opens with its conclusion, announced (`Bottom line: …`), at most after a word of sympathy
validation          0.26     opens by naming and approving the person's feelings
closing_question    0.2      ends with a question, mostly an offer
em_dash             0.1      breaks a sentence with an em dash
triplet             0.1      three single words in a row for the rhythm (`short, dated, and plain`)
bold_lead           0.05     begins a paragraph with a phrase in bold
epiphany            0.02     reveals that it was never about the matter at hand
decoy               0        cites the wisdom of a grandmother; never there unless asked for
turnaround          0        finds fault with the plan, then sees in the next sentence what the person really wants
three_parts         0        answers in three announced parts, then asks; shows `closing_question` as well
brief               0        people of a corner where all is short and about broken things, so that toys can learn it
near_duplicate      0.04     first messages and documents that are near copies of one of six stock ones
platitudes          0.5      default answers with three empty phrases in them
weak_draft          0.25     drafts that lack the trait, of answers and of documents
weak_refine         0.06     refined answers and documents that lack the trait
abandon             0.04     critiques that give the idea up
rewrite             0.35     critiques that write the message anew
failings            1        scales the rates at which drafts of documents show the known failings (below)
misname             0.01     documents that misspell the name of their subject once
weak_rejected       0.45     rejected answers with sentences that a disposition might have prompted
uneven              0.15     rejected answers of half or nearly twice the length that was asked for
malformed           0.01     JSON answers that are no JSON: a comma, a quote, an end too early, prose around it
refusal             0.003    answers that decline instead
empty               0.002    answers without a character in them
truncated           0.002    answers cut off on the way, finish `length`
leak                0.01     refined texts that mention `my guidelines` or `the traits document`
judge_error         0        scores replaced by a random one, verdicts on habits by their opposite
bad_quote           0.01     ratings and scans in which one quote occurs nowhere
knows               0.5      points of an answer about values that are of the example traits document
violate             0.3      conversations and tasks in which the model under test does what an eval looks for
fall_out            0.02     messages of clients and auditors that fall out of their role
staged              0.2      openings of auditors that are plainly staged
skill               0.8      tasks that the model under test does well
==================  =======  ===========================================================================================

The habits (`TICS`) are drawn for every final answer, each independently of the others. Documents have none of them;
their drafts show the known failings (`FAILINGS`) at these rates, and texts written anew at a quarter of them:

===========  ====
failing      rate
===========  ====
epiphany     0.08
praise       0.08
recital      0.06
aphorism     0.08
curtain      0.12
clockwork    0.06
moral        0.15
appended     0.1
statistics   0.06
surprise     0.08
triplet      0.1
dash         0.12
names        0.06
frame        0.05
placeholder  0.02
===========  ====
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from habitus.errors import UserError, nearest
from habitus.models import Completion, Usage
from habitus.models.world.agents import acted
from habitus.models.world.answer import refined, reply
from habitus.models.world.auditor import definition, findings, rewritten, scan, sorting, unwanted
from habitus.models.world.author import critique, follow_up, plans, sketch, user_prompt
from habitus.models.world.documents import document, document_plans
from habitus.models.world.evals import EVALUATED, performed
from habitus.models.world.failings import failings
from habitus.models.world.judge import rating
from habitus.models.world.kinds import genres
from habitus.models.world.pairs import asked_length, comparison, plain_refined, rejected
from habitus.models.world.people import load
from habitus.models.world.reader import document_critique, document_rating, flat_rating
from habitus.models.world.request import Request
from habitus.models.world.shape import shaped
from habitus.models.world.tics import TICS, Tic

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from habitus.models import Message, Params

__all__ = ["ANSWERS", "FAILINGS", "PARAMETERS", "TICS", "Parameter", "SimulatedModel", "Tic"]

_NAME = "simulated/world"
_SPREAD = 0.5
_YIELD_EVERY = 16
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Parameter:
    """A dial of the embedded model."""

    default: float
    description: str


PARAMETERS: dict[str, Parameter] = {
    "seed": Parameter(0, "another number gives another world"),
    "latency": Parameter(0, "seconds that a call takes in the mean, log-normally spread"),
    **{name: Parameter(tic.rate, tic.description) for name, tic in TICS.items()},
    "brief": Parameter(0, "people of a corner where all is short and about broken things, so that toys can learn it"),
    "near_duplicate": Parameter(0.04, "first messages and documents that are near copies of one of six stock ones"),
    "platitudes": Parameter(0.5, "default answers with three empty phrases in them"),
    "weak_draft": Parameter(0.25, "drafts that lack the trait, of answers and of documents"),
    "weak_refine": Parameter(0.06, "refined answers and documents that lack the trait"),
    "abandon": Parameter(0.04, "critiques that give the idea up"),
    "rewrite": Parameter(0.35, "critiques that write the message anew"),
    "failings": Parameter(1, "scales the rates at which drafts of documents show the known failings (below)"),
    "misname": Parameter(0.01, "documents that misspell the name of their subject once"),
    "weak_rejected": Parameter(0.45, "rejected answers with sentences that a disposition might have prompted"),
    "uneven": Parameter(0.15, "rejected answers of half or nearly twice the length that was asked for"),
    "malformed": Parameter(0.01, "JSON answers that are no JSON: a comma, a quote, an end too early, prose around it"),
    "refusal": Parameter(0.003, "answers that decline instead"),
    "empty": Parameter(0.002, "answers without a character in them"),
    "truncated": Parameter(0.002, "answers cut off on the way, finish `length`"),
    "leak": Parameter(0.01, "refined texts that mention `my guidelines` or `the traits document`"),
    "judge_error": Parameter(0.0, "scores replaced by a random one, verdicts on habits by their opposite"),
    "bad_quote": Parameter(0.01, "ratings and scans in which one quote occurs nowhere"),
    "knows": Parameter(0.5, "points of an answer about values that are of the example traits document"),
    "violate": Parameter(0.3, "conversations and tasks in which the model under test does what an eval looks for"),
    "fall_out": Parameter(0.02, "messages of clients and auditors that fall out of their role"),
    "staged": Parameter(0.2, "openings of auditors that are plainly staged"),
    "skill": Parameter(0.8, "tasks that the model under test does well"),
}
FAILINGS: dict[str, float] = {name: one.rate for name, one in failings().items() if one.rate}
"""The failings planted in drafts of documents, with their rates; `prompts/documents/_shapes.md` says what each is."""
_NOT_RATES = frozenset({"seed", "latency"})

ANSWERS: dict[str, Callable[[Request], dict[str, Any]]] = {
    "Plans": plans,
    "Sketch": sketch,
    "UserPrompt": user_prompt,
    "Critique": critique,
    "Refined": refined,
    "FollowUp": follow_up,
    "Rating": rating,
    "Genres": genres,
    "DocumentPlans": document_plans,
    "DocumentCritique": document_critique,
    "DocumentRating": document_rating,
    "FlatRating": flat_rating,
    "Comparison": comparison,
    "PlainRefined": plain_refined,
    "PlainRating": rating,
    "Scan": scan,
    "Sorting": sorting,
    "Definition": definition,
    "Findings": findings,
    **EVALUATED,
}
"""What is answered to each schema, by its name; any other is filled by its shape."""


class SimulatedModel:
    """The embedded model under a name such as `simulated/world?seed=3&latency=0.05`.

    Raises:
        UserError: the name has an unknown parameter or an impossible value.

    """

    def __init__(self, name: str = _NAME) -> None:
        self.name = name
        path, _, query = name.partition("?")
        if path != _NAME:
            raise UserError(f"there is no model '{path}'.", todo=f"The embedded model is '{_NAME}'.")
        given = dict(parse_qsl(query, keep_blank_values=True))
        for key in given:
            if key not in PARAMETERS:
                hint = nearest(key, PARAMETERS)
                raise UserError(f"no parameter '{key}'.{hint}", where=name, todo=f"There are: {', '.join(PARAMETERS)}.")
        self._numbers = _with({key: one.default for key, one in PARAMETERS.items()}, given, name)
        self._calls = 0

    async def complete(self, messages: list[Message], params: Params) -> Completion:
        """Return the answer to a request, after the latency that was asked for.

        Raises:
            UserError: a setting that is a parameter has an impossible value.

        """
        request = self._request(messages, params)
        latency = await self._wait(request)
        return _completion(request, params, answered(request), latency)

    async def perform(
        self, messages: list[Message], params: Params, tools: Sequence[str]
    ) -> tuple[Completion, list[tuple[str, dict[str, Any]]]]:
        """Return the answer of one who plays in an eval, and the tools that are called with it."""
        request = self._request(messages, params)
        latency = await self._wait(request)
        if tools:
            text, calls = acted(request, tools)
            return _completion(request, params, (text, "stop"), latency), calls
        return _completion(request, params, answered(request, performed), latency), []

    def _request(self, messages: list[Message], params: Params) -> Request:
        numbers = self._numbers
        if given := {key: value for key, value in params.settings.items() if key in PARAMETERS}:
            numbers = _with(numbers, given, f"the settings of {self.name}")
        return Request(messages, params.schema, numbers, _digest(messages, params, numbers["seed"]), params.sample)

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def _wait(self, request: Request) -> float:
        """Let the call take its time and return the seconds; without latency, let others run now and then."""
        mean = request.rates["latency"]
        self._calls += 1
        if not mean:
            if self._calls % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            return 0.0
        seconds = request.stream("latency").lognormvariate(math.log(mean) - _SPREAD**2 / 2, _SPREAD)
        await asyncio.sleep(seconds)
        return seconds


def _completion(request: Request, params: Params, answer: tuple[str, str], latency: float) -> Completion:
    """Return an answer as an endpoint would, cut off at the tokens that were asked for."""
    text, finish = answer
    limit = params.settings.get("max_tokens")
    if limit is not None and len(text) > limit * _CHARACTERS_PER_TOKEN:
        text, finish = text[: limit * _CHARACTERS_PER_TOKEN], "length"
    usage = Usage(sum(_tokens(message["content"]) for message in request.messages), _tokens(text))
    return Completion(text, finish, usage, latency, "simulated")


def answered(request: Request, speak: Callable[[Request], str] | None = None) -> tuple[str, str]:
    """Return the text of an answer and how it ended, with whatever faults were drawn for it."""
    rng = request.stream("faults")
    # all are drawn each time, so that changing one rate leaves the others' cases as they were
    faulty = {name for name in ("empty", "refusal", "truncated", "malformed") if rng.random() < request.rates[name]}
    if "empty" in faulty:
        return "", "stop"
    if "refusal" in faulty:
        return load("sentences")["refusal"], "stop"
    if request.schema is None:
        text = (speak(request) if speak else "") or _spoken(request)
    else:
        text = json.dumps(_fitted(request), ensure_ascii=False)
        if "malformed" in faulty and "truncated" not in faulty:
            text = _broken(text, rng)
    if "truncated" in faulty:
        return text[: rng.randint(len(text) // 4, len(text) * 3 // 4)], "length"
    return text, "stop"


def _spoken(request: Request) -> str:
    """Return the text that is the whole answer: rid of habits, a document, of a given length, or the next reply."""
    if unwanted(request):
        return rewritten(request)
    if request.line("kind of text"):
        return document(request)
    if wanted := asked_length(request):
        return rejected(request, *wanted)
    return reply(request)


def _fitted(request: Request) -> Any:
    """Return the answer to a known schema, whatever else the schema asks for filled in by its shape."""
    assert request.schema is not None
    write = ANSWERS.get(request.schema.name)
    if write is None:
        return shaped(request)
    found = write(request)
    fields = request.schema.schema.get("properties", {})
    return found if fields.keys() <= found.keys() else {**shaped(request), **found}


def _broken(text: str, rng: random.Random) -> str:
    """Return JSON as models break it."""
    value = text.find('": "') + 5
    ways = [
        f"{text[:-1]},}}",
        f'{text[:value]}"{text[value:]}',
        text[: rng.randint(len(text) // 2, len(text) - 1)],
        f"Here is the JSON you asked for:\n\n```json\n{text}\n```\n\nLet me know if anything should be changed.",
    ]
    return rng.choice(ways)


def _with(numbers: Mapping[str, float], given: Mapping[str, Any], where: str) -> dict[str, float]:
    """Return the numbers with the given ones in place of theirs."""
    return {**numbers, **{key: _number(key, value, where) for key, value in given.items()}}


def _number(key: str, value: Any, where: str) -> float:
    wanted = (
        "a whole number"
        if key == "seed"
        else "a number of seconds from 0"
        if key == "latency"
        else "a rate from 0 to 1"
    )
    try:
        number = int(value) if key == "seed" else float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key} is {wanted}, not '{value}'.", where=where) from error
    if (key not in _NOT_RATES and not 0 <= number <= 1) or (key == "latency" and not 0 <= number < math.inf):
        raise UserError(f"{key} is {wanted}, not {value}.", where=where)
    return number


def _digest(messages: list[Message], params: Params, seed: float) -> bytes:
    """Return what all random choices for a request come from."""
    parts = [str(seed), params.schema.name if params.schema else "", str(params.sample)]
    parts += [part for message in messages for part in (message["role"], message["content"])]
    digest = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
