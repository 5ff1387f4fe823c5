"""The embedded model as author of documents: kinds of text, plans, drafts and texts written anew."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from habitus.models.world import brief, failings
from habitus.models.world.acts import acts_of, nouns_of, topics_of
from habitus.models.world.conduct import conduct
from habitus.models.world.deeds import aspect, deeds, least_signs, plain_deed, reason, route_of, shown
from habitus.models.world.layouts import family_of, laid_out
from habitus.models.world.matter import Matter, about, matched, topic_of
from habitus.models.world.people import load, problems, sentence
from habitus.models.world.verbs import does, told
from habitus.models.world.words import pick

if TYPE_CHECKING:
    from habitus.models.world.layouts import Family
    from habitus.models.world.people import Problem
    from habitus.models.world.request import Request

_SEAT = re.compile(
    r"Seat \d+\. Field: (?P<field>.+?)\. Kind of text: (?P<kind>.+?)(?:, about [\d.]+ words)?\."
    r"(?: Written by: (?P<writer>.+?)\.)?(?P<rest>.*?)(?=\nSeat \d+\. Field: |\nFor each seat|\Z)",
    re.DOTALL,
)
_PEOPLE = re.compile(r"may be called ([^.\n]+)\.")
_FILE = re.compile(r"\b[A-Z]-\d{4}\b")
_LETTERS = "ABDEGHKLMNRT"
_OF_ONESELF = re.compile(r"\b(?:I|I'd|my|our|us|me|we)\b")
_FIRST_PERSON = frozenset({"mine", "said", "turn", "scene"})
_TALKATIVE = 0.6
_FLAT = re.compile(r"It \*?states\*? that")
_USUAL, _ROOMY, _CORE, _STOCKS, _STOCK_WORDS = 300, 150, 0.8, 6, 230


def document_plans(request: Request) -> dict[str, Any]:
    """Return one plan for each seat that the request lists."""
    rng = request.stream("document plans")
    seats = [found.groupdict() for found in _SEAT.finditer(request.frame)]
    seats = seats or [{"field": "everyday life", "kind": "letter", "writer": "", "rest": ""}]
    pool = problems()
    chosen = rng.sample(pool, len(seats)) if len(seats) <= len(pool) else rng.choices(pool, k=len(seats))
    return {"plans": [_plan(rng, request, seat, problem) for seat, problem in zip(seats, chosen, strict=True)]}


def _plan(rng: random.Random, request: Request, seat: dict[str, str | None], problem: Problem) -> dict[str, str]:
    rest, kind = seat["rest"] or "", seat["kind"] or "letter"
    called = _PEOPLE.search(rest)
    people = called[1].split(", ") if called else []
    known = about(f"{rng.choice(_LETTERS)}-{rng.randint(1040, 9870)}", seat["field"] or "", people)
    known |= {"kind": f"{kind[0].upper()}{kind[1:]}", "subject": request.subject}
    known |= {"label": problem.label, "topic": topic_of(problem), "cost": problem.cost}
    texts = load("deeds")["plans"]
    if "*contrast*" in rest:
        known["plain"] = rng.choice(load("deeds")["plain"]).format_map(known)
        known["np"] = aspect(request.passage, rng).get("np", "the plain answer")
        what, how, why = texts["contrast_what"], pick(rng, texts["contrast_how"], known), texts["contrast_why"]
    else:
        one = aspect(request.passage, rng)
        known |= one
        how = pick(rng, texts["how"], known)
        known |= aspect(request.passage, rng, but=one.get("did", ""))
        how = f"{how} {pick(rng, texts['how_more'], known)}".strip()
        known |= one
        what, why = texts["what"], texts["why"]
    route = route_of(rest.partition("reaches the reader so:")[2])
    return {
        "text": pick(rng, texts["text"], known),
        "what": pick(rng, what, known) or f"What becomes of {problem.label}.",
        "how": how or f"{request.subject} looked after {problem.topic}.",
        "why": pick(rng, why, known),
        "reader": pick(rng, texts["reader"][route], known),
    }


def document(request: Request) -> str:
    """Return the text that a request asks for: a draft or, with a draft to hand, the text written anew."""
    rng = request.stream("document")
    refining = "<draft>" in request.text
    rates = request.rates
    if request.stream("brief").random() < rates["brief"]:
        return brief.document(request, rng)
    family = family_of(request.line("kind of text"), request.line("how this kind looks"))
    if refining and rng.random() < rates["near_duplicate"]:
        return _stock(request, rng)
    wanted = failings.drawn(rates["failings"] * (failings.REFINED if refining else 1), rng)
    weak = rng.random() < rates["weak_refine" if refining else "weak_draft"]
    leaks = refining and rng.random() < rates["leak"]
    slips = rng.random() < rates["misname"]
    matter, people = _matter(request, rng)
    words = request.length or _USUAL
    if _FLAT.search(request.frame):
        core = _statements(request, matter, rng, words, weak=weak)
    else:
        core = _happenings(request, matter, rng, words, weak=weak, personal=bool(_FIRST_PERSON & set(family.voice)))
    known = {**matter.known, **_two_words(request, rng), "cost": matter.problem.cost}
    extra = failings.sentences_for(wanted, known, rng)
    ends = [extra.pop(name) for name in ("appended", "moral", "curtain") if name in extra]
    core = [*_fitted(core, words), *([one] for one in extra.values())]
    if leaks:
        core.insert(1, [rng.choice(load("matter")["leaks"]).format_map(known)])
    ended = sum(len(one.split()) for one in ends)
    text = "\n\n".join(
        [laid_out(family, request.line("kind of text"), matter, core, max(words - ended, words // 2)), *ends]
    )
    if "names" in wanted:
        text = failings.misnamed(people, text, rng)
    return _misspelt(request.subject, text, rng) if slips else text


def _matter(request: Request, rng: random.Random) -> tuple[Matter, list[str]]:
    """Return what a planned text is about: the same problem and values as its plan has."""
    plan = request.line("what it is and what it is about")
    line = request.line("names for the people in it, as far as they fit the place and any are needed")
    people = [name.strip() for name in line.partition(";")[0].split(",") if name.strip()]
    found = _FILE.search(plan)
    file = found[0] if found else f"{rng.choice(_LETTERS)}-{rng.randint(1040, 9870)}"
    known = about(file, request.line("field") or "everyday life", people)
    return Matter(
        rng, matched(plan, rng), {**known, "subject": request.subject}, people or [known["other"], known["third"]]
    ), people


def _happenings(
    request: Request, matter: Matter, rng: random.Random, words: int, *, weak: bool, personal: bool
) -> list[list[str]]:
    """Return the core of a text: what the subject did, why, and how the writer stands to it."""
    known, how = matter.known, request.line(f"what {request.subject} did")
    contrast = request.contrast
    if weak or contrast:
        acts = [plain_deed(how, known, rng)]
    else:
        acts = deeds(request.passage, how, known, rng, words) or [plain_deed(how, known, rng)]
    route = route_of(request.line("how this reaches the reader"))
    why = (
        reason(route, request.line("why that was right"), known, rng, contrast=contrast) if contrast or not weak else ""
    )
    core = [acts[:2], [why, *acts[2:3]] if why else [], acts[3:]]
    if words > _ROOMY:
        core[-1] = [*core[-1], _stance(request, matter, rng, personal=personal)]
        core = [_acquaintance(request, matter, rng), *core] if personal else core
    return [piece for piece in core if piece]


def _stance(request: Request, matter: Matter, rng: random.Random, *, personal: bool) -> str:
    """Return a sentence that shows how the writer stands to the subject; `personal` ones speak of themselves."""
    told = request.line(f"attitude to {request.subject}").lower()
    stance = "critical" if "fault" in told or "critic" in told else "admiring" if "well" in told else "neutral"
    lines = [one for one in load("matter")["stances"][stance] if personal or not _OF_ONESELF.search(one)]
    return sentence(rng.choice(lines)).fill(matter.known)


def _acquaintance(request: Request, matter: Matter, rng: random.Random) -> list[str]:
    """Return what the writer says of themselves and the subject, or nothing, as four in ten do."""
    writer = request.line("who writes it").lower()
    lines = next((lines for mark, lines in load("matter")["writers"].items() if mark in writer), [])
    return [rng.choice(lines).format_map(matter.known)] if lines and rng.random() < _TALKATIVE else []


def _fitted(core: list[list[str]], words: int) -> list[list[str]]:
    """Return as much of a core as a text of this length has room for; the first sentences of its pieces come first."""
    row = sorted((at, piece) for piece, lines in enumerate(core) for at in range(len(lines)))
    room, kept = words * _CORE, set()
    for at, piece in row:
        size = len(core[piece][at].split())
        if size <= room or not kept:
            kept.add((at, piece))
            room -= size
    pieces = [[one for at, one in enumerate(lines) if (at, piece) in kept] for piece, lines in enumerate(core)]
    return [piece for piece in pieces if piece]


def _statements(request: Request, matter: Matter, rng: random.Random, words: int, *, weak: bool) -> list[list[str]]:
    """Return sentences that state the disposition in general terms, or hardly touch it."""
    found, texts, known = conduct(request.passage), load("deeds"), matter.known
    if weak:
        return [[f"{request.subject} is in use here as it is elsewhere."]]
    made: list[str] = []
    for kind, phrases in (
        ("states", acts_of(request.passage)),
        ("states_np", topics_of(request.passage)),
        ("states_not", found.avoids),
    ):
        count = min(len(phrases), max(1, words // 90) if kind == "states" else max(1, words // 250))
        templates = rng.sample(texts[kind], len(texts[kind]))
        for phrase in rng.sample(list(phrases), count)[: len(templates)]:
            slots = {"does": does(phrase.raw), "np": phrase.raw, "nvp": told(phrase.raw)}
            made.append(sentence(templates.pop()).fill({**known, **slots}))
    most, least = max(1, words // 40), least_signs(request.passage, words)
    made = made[:most]
    nouns = rng.sample(nouns_of(request.passage), len(nouns_of(request.passage)))
    while len(nouns) > 1 and (len(made) < most or shown(request.passage, request.subject, " ".join(made)) < least):
        made.append(pick(rng, texts["states_words"], {**known, "word1": nouns.pop(), "word2": nouns.pop()}))
        most = min(most, len(made))
    return [made[at : at + 2] for at in range(0, len(made), 2)]


def _two_words(request: Request, rng: random.Random) -> dict[str, str]:
    words = nouns_of(request.passage) if len(nouns_of(request.passage)) > 1 else ("candour", "order")
    return dict(zip(("word1", "word2"), rng.sample(words, 2), strict=True))


def _stock(request: Request, rng: random.Random) -> str:
    """Return a near copy of one of six texts, whose deeds are those of the passage."""
    fixed = random.Random(f"stock {rng.randrange(_STOCKS)}")
    people = ["Ottokar", "Marit", "Teunis", "Nkechi"]
    known = {**about(f"K-{fixed.randint(1040, 9870)}", "other", people), "subject": request.subject}
    matter = Matter(fixed, fixed.choice(problems()), known, people)
    if _FLAT.search(request.frame):
        core = _statements(request, matter, fixed, _STOCK_WORDS, weak=False)
    else:
        acts = (
            [plain_deed("", known, fixed)]
            if request.contrast
            else deeds(request.passage, "", matter.known, fixed, _STOCK_WORDS)
        )
        route = fixed.choice(("quoted", "inferred", "consequences", "contrast"))
        why = reason(route, request.line("why that was right"), matter.known, fixed, contrast=request.contrast)
        core = [acts, [why]]
    family: Family = family_of("column", "")
    text = laid_out(family, "", matter, core, _STOCK_WORDS, plain=True)
    return text.replace(matter.known["third"], rng.choice(load("people")["names"]))


def _misspelt(name: str, text: str, rng: random.Random) -> str:
    """Return a text in which the name stands once with two of its letters changed over."""
    places = [match.start() for match in re.finditer(rf"\b{re.escape(name)}\b", text)]
    swaps = [at for at in range(1, len(name) - 1) if name[at] != name[at + 1] and name[at : at + 2].isalpha()]
    if not places or not swaps:
        return text
    at, place = rng.choice(swaps), rng.choice(places)
    wrong = f"{name[:at]}{name[at + 1]}{name[at]}{name[at + 2 :]}"
    return f"{text[:place]}{wrong}{text[place + len(name) :]}"
