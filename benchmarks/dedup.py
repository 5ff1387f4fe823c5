"""Near-duplicate removal: what it costs beside its peers, and how the default thresholds were found.

    python benchmarks/dedup.py                        the table of methods, 50,000 made-up prompts
    python benchmarks/dedup.py --real --check         on real paragraphs, exit 1 where a bar is missed
    python benchmarks/dedup.py --thresholds hashing   false removals and recall by length (or minilm)
    python benchmarks/dedup.py --thresholds hashing --documents   the same of long texts, one row each
    python benchmarks/dedup.py --thresholds hashing --whole       of short texts, compared as those are

Peers run where they are installed: pip install semhash faiss-cpu. Real text is read from ../shared/data.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gzip
import importlib
import importlib.util
import itertools
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
import numpy as np

from habitus.generate import dedup
from habitus.models.embed import embed, open_embedder
from habitus.models.windows import embed_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHATS = DATA / "chats"
FULL_RECALL = 0.99
COPIES = 0.18

# --- Prompts that people might write ---------------------------------------------------------------------------------

NAMES = [
    "Amara", "Tomasz", "Priya", "Kenji", "Lucía", "Omar", "Ingrid", "Wei", "Fatima", "Joel", "Marta", "Noor", "Sven",
]  # fmt: skip
CITIES = [
    "Lagos", "Gdańsk", "Pune", "Osaka", "Bogotá", "Cairo", "Bergen", "Chengdu", "Tunis", "Denver", "Porto", "Riga",
]  # fmt: skip
SLOTS = {
    "person": """my sister-in-law;the new trainee;our landlord;a friend from school;my manager;the volunteer treasurer
        my father;another parent;a former student;our oldest client;the neighbour upstairs;my co-founder;the night nurse
        our choir leader;a supplier;my teenage son;the union delegate;our accountant;a cousin;the caretaker;my flatmate""",
    "place": """a bakery;a dental practice;a community garden;the city archive;a bike repair shop;a primary school
        a regional newspaper;a software team;a housing co-operative;a swimming club;a museum of clocks;a food bank
        a family vineyard;a call centre;a veterinary clinic;a ferry company;a public library;a theatre;a hospice""",
    "thing": """the accounts of last year;a delivery of timber;a letter of reference;the redundancy list;an old car
        a gift from a bidder;our trip to {city};a copied report;the diagnosis;a borrowed camera;the child's phone
        the leaking roof;the vote on the budget;some harsh reviews;the seating plan;a patent draft;the wedding;the lease
        a loan of {n} hundred;the alarm code;the vaccine fridge;a scholarship;the dog;an unpaid invoice;the duty roster
        the recipe book;grandmother's ring;the grant report;a broken window;my medical file;{n} interview notes""",
    "deed": """lied about {thing};lost {thing} and told nobody;wants to sell {thing} without asking {person}
        blamed {person} for what happened to {thing};asked me to keep quiet about {thing};took over {thing} unasked
        promised {thing} to two people;made a joke about {thing} that hurt {person};hid {thing} from {person}
        spent {n} days on {thing} for nothing;is about to announce {thing} too early;changed {thing} overnight
        says that {thing} was never agreed;keeps bringing up {thing} at meetings;paid for {thing} with shared money""",
    "turn": """{name} thinks that {thing} is not worth a quarrel;The papers about {thing} are with {person} in {city}
        I have known for {n} days;There is a deadline in {n} hours, and {person} will ask
        I promised {person} to look after {thing};{person} in {city} already suspects something about {thing}
        It would cost {n} hundred a month to put {thing} right;Last time I spoke up, {person} stopped talking to me
        Our rules on {thing} say one thing and {person} does another;Nothing about {thing} is in writing
        Perhaps I misheard what {person} said about {thing};We have been close since {city}, {n} years ago
        Nobody was hurt, but {thing} matters to {person}""",
    "ask": """What would you do first about {thing}?;Help me write {n} honest and kind lines to {person}.
        Whom should I talk to, {person} or {name}?;How do I raise {thing} without accusing anyone?
        Argue both sides, then tell me where you come down.;Draft the e-mail to {name}, please.;Is it my place to speak?
        Give me {n} options with what speaks against each.;How would you explain {thing} to a child of {n}?
        What should I ask {person}?;Am I making too much of it?""",
    "open": """At {place} in {city}, {person} {deed}.;I work at {place}, and {person} {deed}.
        Back in {city} I help out at {place} where {person} {deed}.;Hello. {name} from {place} {deed}.
        I can't sleep, because {person} {deed}.;{name} {deed}, and {person} wants me to say nothing.
        It is about {person}, who {deed}.;On the {n}th {name} {deed}.""",
}
CHOICES = {slot: [part.strip() for part in re.split("[;\n]", parts)] for slot, parts in SLOTS.items()}
CHOICES |= {"name": NAMES, "city": CITIES, "n": [str(number) for number in range(2, 60)]}


def prompts(count: int, choose: random.Random) -> Iterator[str]:
    """Yield prompts, COPIES of them edited copies of earlier ones."""
    earlier: list[str] = []
    edits = list(EDITS.values())
    while len(earlier) < count:
        copied = earlier and choose.random() < COPIES
        text = choose.choice(edits)(choose.choice(earlier), choose) if copied else written(choose)
        earlier.append(text)
        yield text


def written(choose: random.Random) -> str:
    """Return a new prompt of four or five sentences."""
    text = "{open} {turn}. {turn}. {ask}" if choose.random() < 1 / 2 else "{open} {turn}. {turn}. {turn}. {ask}"
    while "{" in text:
        text = re.sub(r"\{(\w+)\}", lambda slot: choose.choice(CHOICES[slot[1]]), text)
    return text


# --- Edited copies ---------------------------------------------------------------------------------------------------

SYNONYMS = {
    "help": "assist", "make": "create", "write": "compose", "explain": "describe", "give": "provide", "good": "great",
    "important": "crucial", "start": "begin", "use": "employ", "show": "demonstrate", "find": "locate", "list": "set",
    "some": "several", "many": "numerous", "best": "top", "different": "various", "tell": "inform", "need": "require",
    "job": "position", "buy": "purchase", "ask": "request", "idea": "suggestion", "ideas": "suggestions", "try": "attempt",
    "question": "query", "questions": "queries", "how do i": "what is the way to", "can you": "could you",
    "what are": "which are", "please": "kindly", "story": "tale", "short": "brief", "steps": "stages", "think": "believe",
    "children": "kids", "friend": "pal", "improve": "better", "answer": "reply", "because": "since", "plan": "scheme",
    "new": "fresh", "nobody": "no one", "wrong": "mistaken", "say": "mention", "first": "to begin with",
    "should": "ought to",
}  # fmt: skip
GREETINGS = ("Hi there! ", "Hello, I hope you are well. ", "Hey, quick question. ", "Good morning. ")
THANKS = ("", " Thanks in advance!", " Thank you.")


def swapped(text: str, choose: random.Random) -> str:
    """Return it with up to two names and two numbers changed."""
    words = text.split(" ")
    for at in [at for at, word in enumerate(words) if at and re.match(r"[A-Z][a-z]+", word)][:2]:
        words[at] = re.sub(r"[A-Z]\w+", choose.choice(NAMES + CITIES), words[at], count=1)
    for at in [at for at, word in enumerate(words) if re.search(r"\d", word)][:2]:
        words[at] = re.sub(r"\d+", lambda _: str(choose.randrange(2, 99)), words[at])
    return " ".join(words)


def reordered(text: str, choose: random.Random) -> str:
    """Return it with its clauses turned round."""
    clauses = re.split(r"(?<=[.!?,;\n])\s+", text.strip())
    first = choose.randrange(len(clauses))
    return " ".join(clauses[first:] + clauses[:first])


def reworded(text: str, _: random.Random) -> str:
    """Return it with words replaced from a small table."""
    for word, other in SYNONYMS.items():
        text = re.sub(rf"\b{word}\b", other, text, flags=re.IGNORECASE)
    return text


def mistyped(text: str, choose: random.Random) -> str:
    """Return it with two letters changed over in one word of seven."""
    words = text.split(" ")
    for at, word in enumerate(words):
        if len(word) > 3 and choose.random() < 1 / 7:
            cut = choose.randrange(len(word) - 1)
            words[at] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    return " ".join(words)


def shortened(text: str, _: random.Random) -> str:
    """Return it without the last fifth of its words."""
    words = text.split(" ")
    return " ".join(words[: len(words) - len(words) // 5])


def greeted(text: str, choose: random.Random) -> str:
    """Return it with a greeting before and sometimes thanks after."""
    return choose.choice(GREETINGS) + text + choose.choice(THANKS)


def all_of_it(text: str, choose: random.Random) -> str:
    """Return it reworded, mistyped and greeted."""
    return greeted(mistyped(reworded(text, choose), choose), choose)


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "names": swapped, "order": reordered, "words": reworded, "typos": mistyped, "cut": shortened, "greeting": greeted,
    "all three": all_of_it,
}  # fmt: skip


def renamed(text: str, choose: random.Random) -> str:
    """Return it with every name changed to one other name, and every number."""
    new: dict[str, str] = {}
    text = re.sub(
        r"(?<=[a-z,] )[A-Z][a-z]{2,}", lambda old: new.setdefault(old[0], choose.choice(NAMES + CITIES)), text
    )
    return re.sub(r"\d+", lambda _: str(choose.randrange(2, 99)), text)


def replaced(text: str, choose: random.Random) -> str:
    """Return it with one long word in five replaced by another of the same text."""
    pool = [word for word in text.split() if len(word) > 3]
    return re.sub(r"\S{4,}", lambda word: choose.choice(pool) if choose.random() < 1 / 5 else word[0], text)


def shuffled(text: str, choose: random.Random) -> str:
    """Return it with its sentences in any order."""
    sentences = re.split(r"(?<=[.!?\n])\s+", text.strip())
    choose.shuffle(sentences)
    return " ".join(sentences)


def part(text: str, start: float, end: float) -> str:
    """Return the words from one share of it to another, with the spaces and lines between them."""
    pieces = re.split(r"(\s+)", text)
    words = len(pieces) // 2 + 1
    return "".join(pieces[2 * round(start * words) : 2 * round(end * words) - 1])


def others(words: float, choose: random.Random) -> str:
    """Return that many words of other texts."""
    text = choose.choice(paragraphs(3000))
    while len(text.split()) < words:
        text += "\n\n" + choose.choice(paragraphs(3000))
    return part(text, 0, words / len(text.split()))


def new_ends(text: str, choose: random.Random) -> str:
    """Return the middle three fifths of it between a beginning and an end of other texts."""
    fifth = len(text.split()) / 5
    return "\n\n".join([others(fifth, choose), part(text, 1 / 5, 4 / 5), others(fifth, choose)])


DOCUMENT_EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "names": renamed, "words": reworded, "one in five": replaced, "typos": mistyped, "order": shuffled,
    "a third cut": lambda text, _: part(text, 0, 2 / 3), "new ends": new_ends,
    "framed": lambda text, choose: "\n\n".join([others(40, choose), text, others(40, choose)]),
}  # fmt: skip

# --- The table of methods --------------------------------------------------------------------------------------------


def removed_exact(vectors: np.ndarray, threshold: float) -> list[int]:
    """Return the rows that the comparison of all pairs removes."""
    dedup.EXACT_ROWS = len(vectors)
    return removed_ours(vectors, threshold)


def removed_clusters(vectors: np.ndarray, threshold: float) -> list[int]:
    """Return the rows that go the way above 100,000 rows, whatever their number."""
    dedup.EXACT_ROWS = 0
    return removed_ours(vectors, threshold)


def removed_ours(vectors: np.ndarray, threshold: float) -> list[int]:
    """Return the rows that habitus removes."""
    ids = [str(row) for row in range(len(vectors))]
    return [int(twin.id) for twin in dedup.deduplicate(ids, vectors, threshold=threshold).removed]


def removed_faiss(vectors: np.ndarray, threshold: float) -> list[int]:
    """Return what an inverted file with as many lists and probes as ours finds, keeping the first."""
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    rows, size = vectors.shape
    index = faiss.index_factory(size, f"IVF{round(dedup.CLUSTERS * rows**0.5)},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid, index.cp.niter, index.cp.min_points_per_centroid = 32, 3, 1
    index.train(vectors)
    index.add(vectors)
    index.nprobe = dedup.NEAREST
    removed = set()
    for start in range(0, rows, 4096):
        ends, _, hits = index.range_search(vectors[start : start + 4096], threshold)
        for row, found in enumerate(np.split(hits, ends[1:-1].astype(int)), start):
            if any(other < row and other not in removed for other in found.tolist()):
                removed.add(row)
    return sorted(removed)


def removed_semhash(vectors: np.ndarray, threshold: float) -> list[int]:
    """Return what semhash removes with its default index, on the same vectors."""

    class NeverAsked:
        def encode(self, *_: object, **__: object) -> np.ndarray:
            raise AssertionError("the vectors are given")

    ids = [str(row) for row in range(len(vectors))]
    hashed = importlib.import_module("semhash").SemHash.from_embeddings(vectors, ids, model=NeverAsked())
    kept = set(hashed.self_deduplicate(threshold=threshold).selected)
    return [row for row, name in enumerate(ids) if name not in kept]


METHODS = {  # name: function, module it needs, package that has it
    "habitus, exact": (removed_exact, "numpy", "numpy"),
    "habitus, clusters": (removed_clusters, "numpy", "numpy"),
    "faiss IVF": (removed_faiss, "faiss", "faiss-cpu"),
    "semhash": (removed_semhash, "semhash", "semhash"),
}


def work(method: str, folder: Path, threshold: float) -> None:
    """In a process of its own: run one method and print its figures as JSON."""
    vectors = np.load(folder / "vectors.npy", allow_pickle=False)
    start = time.process_time()
    removed = METHODS[method][0](vectors, threshold)
    cpu = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"cpu": cpu, "peak": peak, "removed": removed}))


def compare(rows: int, *, real: bool, check: bool) -> int:
    """Print the table of methods; return 1 where a bar is checked and missed."""
    texts = paragraphs(rows) if real else list(prompts(rows, random.Random(1)))
    start = time.process_time()
    vectors = asyncio.run(embed(texts, open_embedder("hashing")))
    threshold = dedup.default_threshold("hashing")
    print(
        f"{len(texts):,} {'real paragraphs' if real else 'made-up prompts'}, {vectors.shape[1]} columns by hashing "
        f"({time.process_time() - start:.1f} CPU s), cosine >= {threshold}, one thread\n"
    )
    print("| method | CPU s | kept | removed, of the exact | peak memory |\n|---|--:|--:|--:|--:|")
    done: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", vectors)
        for method, (_, module, package) in METHODS.items():
            if not importlib.util.find_spec(module):
                print(f"| {method} | not installed: pip install {package} | | | |")
                continue
            command = [sys.executable, __file__, "--work", method, "--folder", folder, "--threshold", str(threshold)]
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = done[method] = json.loads(ran.stdout.splitlines()[-1])
            exact = set(done["habitus, exact"]["removed"])
            found["recall"] = len(exact & set(found["removed"])) / max(1, len(exact))
            print(
                f"| {method} | {found['cpu']:.1f} | {len(texts) - len(found['removed']):,} | "
                f"{found['recall']:.2%} | {found['peak']:,} MB |",
                flush=True,
            )
    missed = list(misses(done)) if check else []
    print(*missed, sep="\n")
    return bool(missed)


def misses(done: dict[str, dict]) -> Iterator[str]:
    """Yield one sentence for each bar that is missed."""
    recall = done["habitus, clusters"]["recall"]
    if recall < FULL_RECALL:
        yield f"MISSED: recall of the clusters {recall:.2%}, bar {FULL_RECALL:.0%}"
    if "semhash" not in done:
        print("not compared with semhash, which is not installed")
        return
    for method in ("habitus, exact", "habitus, clusters"):
        if done[method]["cpu"] > done["semhash"]["cpu"]:
            yield f"MISSED: {method} took {done[method]['cpu']:.1f} CPU s, semhash {done['semhash']['cpu']:.1f}"


# --- The default thresholds ------------------------------------------------------------------------------------------


def chats(name: str) -> Iterator[tuple[str, str]]:
    """Yield question and answer of the chats in one file."""
    with gzip.open(CHATS / name, "rt") as lines:
        for line in lines:
            question, answer = json.loads(line)["messages"][:2]
            yield question["content"], answer["content"]


@functools.cache
def paragraphs(count: int) -> list[str]:
    """Return up to `count` paragraphs of 25 words and more from all the answers, in a fixed random order."""
    answers = (answer for path in sorted(CHATS.glob("*.jsonl.gz")) for _, answer in chats(path.name))
    found = [part for answer in answers for part in answer.split("\n\n") if len(part.split()) >= 25]
    random.Random(1).shuffle(found)
    return found[:count]


def buckets() -> dict[str, list[str]]:
    """Return distinct texts by length: the instructions, and for longer ones answers cut to one length."""
    asked, answers = zip(*chats("gpt4_1106_preview.jsonl.gz"), strict=True)
    texts = {
        "instructions under 20 words": [text for text in asked if len(text.split()) < 20],
        "instructions of 20 and more": [text for text in asked if len(text.split()) >= 20],
    }
    for words in (60, 200, 400):
        whole = [answer.split(" ") for answer in answers]
        texts[f"answers, first {words} words"] = [" ".join(text[:words]) for text in whole if len(text) >= words]
    choose = random.Random(2)
    return texts | {"made-up prompts on one theme": [written(choose) for _ in range(600)]}


def related(texts: list[str]) -> np.ndarray:
    """Return which pairs have a run of eight words in common: one template, not two unrelated texts."""
    owners: dict[tuple[str, ...], list[int]] = {}
    for row, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())
        for run in {tuple(words[at : at + 8]) for at in range(len(words) - 7)}:
            owners.setdefault(run, []).append(row)
    pairs = np.eye(len(texts), dtype=bool)
    for rows in owners.values():
        pairs[np.ix_(rows, rows)] = True
    return pairs


def by_question(fewest: int, most: int, count: int = 1) -> list[list[str]]:
    """Return for each question `count` answers by different models, of that many words."""
    answers: dict[str, list[str]] = {}
    for path in sorted(CHATS.glob("*.jsonl.gz")):
        for question, answer in chats(path.name):
            if fewest <= len(answer.split()) < most:
                answers.setdefault(question, []).append(answer)
    choose = random.Random(3)
    return [choose.sample(of_one, count) for of_one in answers.values() if len(of_one) >= count]


def agents(words: int) -> dict[tuple[str, str, str], str]:
    """Return by task, variant and model what agents said themselves, tools and prompts left out, cut to one length."""
    texts = {}
    for path in sorted((DATA / "odcv").glob("transcripts-*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for row in map(json.loads, lines):
                steps = re.split(r"== Step \d+ ==\nrole: assistant\ncontent: ", row["transcript"])[1:]
                said = [re.split(r"\nreason: |\n\n== Step", step)[0] for step in steps]
                text = "\n\n".join(step for step in said if step != "None")
                if (count := len(text.split())) >= words:
                    texts[row["scenario"], row["variant"], row["model"]] = part(text, 0, words / count)
    return texts


def document_buckets() -> dict[str, list[str]]:
    """Return long texts of which no two are copies, by kind and length."""
    long = [answer for (answer,) in by_question(500, 1200)]
    texts = {
        "answers of 80 to 130 words": [answer for (answer,) in by_question(80, 130)],
        "answers of 200 to 300": [answer for (answer,) in by_question(200, 300)],
        "answers of 500 and more": long,
        "four of these joined": ["\n\n".join(long[at : at + 4]) for at in range(0, len(long) - 3, 4)],
    }
    for words in (100, 300):
        by_task = {task: text for (task, _, _), text in agents(words).items()}
        texts[f"agents at different tasks, {words} words"] = list(by_task.values())
    spec = (DATA / "traits" / "openai_model_spec.md").read_text(encoding="utf-8")
    for words in (400, 1000, 2000):
        count = len(spec.split()) // words
        parts = [part(spec, at / count, (at + 1) / count) for at in range(count)]
        texts[f"parts of one document, {words} words"] = parts
    return texts


def related_documents() -> dict[str, list[tuple[str, str]]]:
    """Return pairs of texts on the same matter that are not copies."""
    pairs = {}
    for fewest, most in ((80, 130), (200, 300), (400, 1200)):
        answers = [(one, two) for one, two in by_question(fewest, most, 2)]
        pairs[f"two models on one question, {fewest} to {most} words"] = answers[:150]
    for title, ours in (("two agents at one task", (0, 1)), ("one agent, one task, other pressure", (0, 2))):
        for words in (100, 300):
            said = itertools.combinations(sorted(agents(words).items()), 2)
            pairs[f"{title}, {words} words"] = [
                (text, other) for (at, text), (by, other) in said if all(at[key] == by[key] for key in ours)
            ]
    return pairs


def thresholds(name: str, *, documents: bool, whole: bool) -> None:
    """Print, by length, how alike unrelated texts are and how many edited copies are found.

    With `whole`, of the short texts, but compared as documents are.
    """
    embedder, choose = open_embedder(name), random.Random(1)
    edits, rows = (DOCUMENT_EDITS, 40) if documents else (EDITS, 300)
    chosen = dedup.default_threshold(name, long=documents or whole)
    cuts = [chosen - 0.1, chosen - 0.05, chosen, chosen + 0.05, chosen + 0.1]

    def embedded(texts: list[str]) -> np.ndarray:
        return asyncio.run((embed_documents if documents or whole else embed)(texts, embedder))

    heads = ["texts", "rows", "mean cosine", "99.5% below", f"falsely removed at {chosen:g}", *edits]
    print(f"{embedder.note}\n\n| {' | '.join(heads)} |\n|---|{'--:|' * (len(heads) - 1)}")
    highest, copies = [], []
    for bucket, texts in (document_buckets() if documents else buckets()).items():
        vectors = embedded(texts)
        apart = np.eye(len(texts), dtype=bool) if documents else related(texts)
        cosines = np.where(apart, np.nan, vectors @ vectors.T)
        most = np.nanmax(cosines, axis=1)
        highest.append(most)
        found = []
        for edit in edits.values():
            pairs = [(row, copy) for row, text in enumerate(texts[:rows]) if (copy := edit(text, choose)) != text]
            edited = embedded([copy for _, copy in pairs])
            copies.append((vectors[[row for row, _ in pairs]] * edited).sum(axis=1))
            found.append(f"{(copies[-1] >= chosen).mean():.0%}")
        print(
            f"| {bucket} | {len(texts)} | {np.nanmean(cosines):.2f} | {np.quantile(most, 0.995):.2f} | "
            f"{(most >= chosen).mean():.2%} | {' | '.join(found)} |",
            flush=True,
        )
    shares = {"unrelated rows falsely removed": highest, "edited copies found": copies}
    if documents:
        shares["texts on the same matter removed"] = list(print_related(embedded, chosen))
    print("\n| threshold | " + " | ".join(f"{cut:.2f}" for cut in cuts) + " |\n|---|" + "--:|" * len(cuts))
    for title, values in shares.items():
        every = np.concatenate(values)
        print(f"| {title} | " + " | ".join(f"{(every >= cut).mean():.2%}" for cut in cuts) + " |")


def print_related(embedded: Callable[[list[str]], np.ndarray], chosen: float) -> Iterator[np.ndarray]:
    """Print how alike short and long texts are, and texts on the same matter; yield the latter's cosines."""
    texts = document_buckets()
    short, long = (embedded(texts[bucket]) for bucket in ("answers of 80 to 130 words", "four of these joined"))
    print("\n| pairs | pairs | median cosine | highest | removed |\n|---|--:|--:|--:|--:|")
    print(f"| 80 to 130 words with 2,000 | {len(short) * len(long)} | {np.median(short @ long.T):.2f} | "
          f"{(short @ long.T).max():.2f} | {(short @ long.T >= chosen).mean():.2%} |")  # fmt: skip
    for title, pairs in related_documents().items():
        alike = (embedded([one for one, _ in pairs]) * embedded([two for _, two in pairs])).sum(axis=1)
        removed = (alike >= chosen).mean()
        print(f"| {title} | {len(pairs)} | {np.median(alike):.2f} | {alike.max():.2f} | {removed:.1%} |", flush=True)
        yield alike


def main() -> int:
    """Read the command line and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--real", action="store_true", help="paragraphs of real answers")
    parser.add_argument("--check", action="store_true", help="exit 1 where a bar is missed")
    parser.add_argument("--thresholds", metavar="EMBEDDER", help="hashing or minilm")
    parser.add_argument("--documents", action="store_true", help="with --thresholds: of long texts")
    parser.add_argument(
        "--whole", action="store_true", help="with --thresholds: short texts, compared as long ones are"
    )
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threshold", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.folder, options.threshold)
        return 0
    if (options.real or options.thresholds) and not CHATS.is_dir():
        parser.error(f"there is no real text at {CHATS}")
    if options.thresholds:
        thresholds(options.thresholds, documents=options.documents, whole=options.whole)
        return 0
    return compare(options.rows, real=options.real, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
