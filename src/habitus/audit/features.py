"""The habits of assistants that have a name: formatting, stock phrases, ways to open and to close."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from habitus.audit.corpus import lowered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from habitus.audit.corpus import Corpus, Flags, Ints

WORDING = {
    "hedge": "maybe|perhaps|possibly|probably|arguably|somewhat; it depends; might be|have|want|need|help|not|also; "
    "may not|vary|depend; can vary; tends|tend to; in some cases",
    "booster": "very|really|truly|incredibly|extremely|absolutely|definitely|certainly|clearly|crucial|essential|vital|"
    "remarkable|powerful|significantly",
    "honesty claim": "honest|honestly|genuinely|candidly|frankly; to be clear|fair|blunt|direct|transparent",
    "I understand": "i understand|hear; i can understand|hear|imagine|see",
    "apology": "sorry|apologize|apologise|apologies",
    "speaks as an AI": "as an ai; i'm|i an ai; as a language|large; i don't|can't|cannot have access|feelings|personal",
    "first person": "i|i'm|i've|i'd|i'll|my|me",
    "not just X": "not|isn't|aren't|wasn't|doesn't|don't just|only|merely|simply; more than just",
    "worth noting": "important|worth|crucial|essential to|noting|remember|mentioning note|that|to|mentioning; "
    "it's worth; it is worth; keep in mind",
    "disclaimer": "consult a|your|with; seek professional|medical|legal; professional|medical|legal advice|help",
    "AI vocabulary": "delve|delves|tapestry|testament|landscape|realm|multifaceted|nuanced|foster|fostering|leverage|"
    "underscore|underscores|pivotal|seamless|seamlessly|robust|holistic|intricate|navigate|navigating|embark",
    "worn first name": "sarah|emily|emma|lily|elena|elara|maya|aria|luna|chen|marcus|ethan|liam|sophia|olivia|amelia|"
    "jake|alex|priya|rachel",
}
_VALIDATION = (
    "that|this sounds|must; i can hear|see|imagine|understand; i hear|understand you|how|that; "
    "makes complete|total|perfect|sense|a sense|lot; completely|totally|perfectly|entirely understandable|valid; "
    "what a difficult|hard|tough|painful; i'm so|really|very sorry; you're|you are not|right alone|to; your feelings"
)
OPENING = {
    "sure": (0, "sure|certainly|absolutely; of course"),
    "here is": (2, "here|here's is|are|it|a|some|the; here's"),
    "praise of the question": (2, "great|good|excellent|interesting|fantastic|wonderful question|idea|point|choice"),
    "validation": (2, _VALIDATION),
    "conclusion first": (
        30,
        "bottom line; short answer|version; up front; in one|a|short sentence|word|short|nutshell; tl dr; tldr",
    ),
    "title or heading": (0, ""),
    "restates the request": (4, "to answer|create|write|make|find; there are|is several|many|a|some|no; when it"),
}
CLOSING = {
    "offer": "let me know; would you like; do you want; want me to; shall i; feel free; happy|glad to help|assist; "
    "would it help; i can also|help; don't hesitate; if you'd|you like|want|need|have; reach out",
    "summary": "overall; in conclusion|summary|short|essence|sum; ultimately; remember; to summarize|sum",
    "good wishes": "good luck; i hope; hope this|that|it; enjoy; best of; have a; happy",
}
_LIST_MARKS = ("-", "*", "•", "–", "·")
_EMOJI = ((0x1F000, 0x1FAFF), (0x2600, 0x27BF), (0x2B00, 0x2BFF))
_FEW = 3
_REACH = 12


class Features:
    """Where in a corpus each named habit shows: yields kind, name and the tokens at which it does."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.words = corpus.tokens[corpus.at]
        self.document = corpus.document[corpus.at]
        self.firsts = np.searchsorted(self.document, np.arange(corpus.records)).astype(np.int32)
        lasts = np.searchsorted(self.document, np.arange(corpus.records), side="right") - 1
        sentence = corpus.sentence[corpus.at]
        self.offset = np.arange(len(self.words), dtype=np.int32) - self.firsts[self.document]
        self.is_last = sentence == sentence[lasts[self.document]] if len(sentence) else np.zeros(0, np.bool_)

    def __iter__(self) -> Iterator[tuple[str, str, Ints]]:
        """Yield every habit, whether or not it shows."""
        yield from self._formatting()
        at = self.corpus.at
        for name, spelled in WORDING.items():
            found = at[self._matches(spelled)]
            yield "wording", name, self._spoken(found) if name == "first person" else found
        yield "wording", "not X but Y", at[self._contrasts()]
        yield "wording", "triplet", self._triplets()
        for name, (within, spelled) in OPENING.items():
            if spelled:
                found = self._matches(spelled)
                yield "opening", name, at[found[self.offset[found] <= within]]
        yield "opening", "title or heading", self._headed()
        for name, spelled in CLOSING.items():
            found = self._matches(spelled)
            yield "closing", name, at[found[self.is_last[found]]]
        yield "closing", "question", self._questions()

    def _matches(self, spelled: str) -> Ints:
        """Return the words at which one of several runs begins; `a|b c; d` is `a c`, `b c` or `d`."""
        found = [self._run(run.split()) for run in spelled.split("; ")]
        return np.unique(np.concatenate(found))

    def _run(self, run: list[str]) -> Ints:
        tables = [self.corpus.table(one.split("|")) for one in run]
        found = np.flatnonzero(tables[0][self.words])
        found = found[found + len(run) <= len(self.words)]
        for step, table in enumerate(tables[1:], start=1):
            found = found[table[self.words[found + step]]]
            found = found[self.document[found + step] == self.document[found]]
        return found

    def _spoken(self, found: Ints) -> Ints:
        """Return the tokens that are no numeral or index: an `I` before a mark is that of a king, a list or a loop."""
        tokens = self.corpus.tokens
        is_bare = self.corpus.table(["i"])[tokens[found]]
        ahead = np.minimum(found + 1, len(tokens) - 1)
        return found[~is_bare | self._is_word[tokens[ahead]]]

    def _contrasts(self) -> Ints:
        """Return the words `not` that a `but` follows in the same sentence."""
        sentence = self.corpus.sentence[self.corpus.at]
        nots = np.flatnonzero(self.corpus.table(["not", "isn't", "aren't", "wasn't"])[self.words])
        but = self.corpus.table(["but"])[self.words]
        found = np.zeros(len(nots), np.bool_)
        for step in range(2, _REACH):
            ahead = np.minimum(nots + step, len(self.words) - 1)
            found |= but[ahead] & (sentence[ahead] == sentence[nots])
        return nots[found]

    def _triplets(self) -> Ints:
        """Return the tokens that begin `word, word, and word`."""
        tokens = self.corpus.tokens
        comma, joint = self.corpus.table([","])[tokens], self.corpus.table(["and", "or"])[tokens]
        found = np.flatnonzero(comma)
        found = found[(found > 0) & (found + 4 < len(tokens))]
        found = found[comma[found + 2] & joint[found + 3]]
        found = found[self._is_word[tokens[found - 1]] & self._is_word[tokens[found + 1]]]
        return found[self.corpus.document[found - 1] == self.corpus.document[found + 4]] - 1

    @cached_property
    def _is_word(self) -> Flags:
        return self.corpus.that(lambda token: token[0].isalnum())

    @cached_property
    def _line_starts(self) -> Flags:
        """Whether a token is the first of its line."""
        tokens, starts = self.corpus.tokens, self.corpus.starts
        begins = np.zeros(len(tokens), np.bool_)
        begins[1:] = self.corpus.that(lambda token: token[0] == "\n")[tokens[:-1]]
        begins[starts[:-1][starts[:-1] < len(tokens)]] = True
        return begins

    def _marks(self, *marks: str) -> Flags:
        return self.corpus.table(marks)[self.corpus.tokens]

    def _formatting(self) -> Iterator[tuple[str, str, Ints]]:
        tokens, begins = self.corpus.tokens, self._line_starts
        bold = self._marks("**")
        number = self.corpus.that(lambda token: len(token) < _FEW and token.isdecimal())[tokens] & begins
        after = np.zeros(len(tokens), np.bool_)
        after[1:] = number[:-1]
        after &= self._marks(".", ")")
        item = begins & self._marks(*_LIST_MARKS) & ~self._emphasised()
        lead = np.zeros(len(tokens), np.bool_)
        lead[1:] = bold[1:] & (begins[1:] | item[:-1] | after[:-1])
        lead[:1] = bold[:1]
        line = self.corpus.that(lambda token: token[0] == "\n")[tokens]
        before = np.zeros(len(tokens), np.bool_)
        before[:-1] = line[1:]
        heading = begins & self.corpus.that(lambda token: set(token) == {"#"})[tokens]
        for name, where in {
            "headings": heading,
            "bullets": item,
            "numbered list": after,
            "bold": bold,
            "bold lead-in": lead,
            "table": begins & self._marks("|"),
            "code block": begins & self._marks("```"),
            "em dash": self._marks("—"),
            "emoji": self.corpus.that(_is_emoji)[tokens],
            "exclamation mark": self._marks("!"),
            "semicolon": self._marks(";"),
            "question mark": self._marks("?"),
            "colon at the end of a line": before & self._marks(":"),
        }.items():
            yield "formatting", name, np.flatnonzero(where).astype(np.int32)

    def _emphasised(self) -> Flags:
        """Return the asterisks of lines that end with one as well: `*She smiles.*` is no item of a list."""
        tokens, stars = self.corpus.tokens, self._marks("*")
        ends = np.ones(len(tokens), np.bool_)
        ends[:-1] = self._line_starts[1:] | self.corpus.that(lambda token: token[0] == "\n")[tokens[1:]]
        line = np.cumsum(self._line_starts)
        closed = np.unique(line[stars & ends & ~self._line_starts])
        return stars & self._line_starts & np.isin(line, closed)

    def _headed(self) -> Ints:
        """Return the first tokens of the records that begin with a heading or a line in bold."""
        starts = self._first_tokens()
        return starts[self.corpus.that(lambda one: one == "**" or set(one) == {"#"})[self.corpus.tokens[starts]]]

    def _first_tokens(self) -> Ints:
        starts, stops = self.corpus.starts[:-1], self.corpus.starts[1:]
        return starts[starts < stops]

    def _questions(self) -> Ints:
        """Return the question marks with which records end; quotation marks and the like may follow."""
        tokens, document = self.corpus.tokens, self.corpus.document
        counts = self.corpus.that(lambda token: token[0].isalnum() or lowered(token) in "?!.…:,;")[tokens]
        places = np.flatnonzero(counts)
        last = np.append(document[places][1:] != document[places][:-1], [True] * bool(len(places))).astype(np.bool_)
        places = places[last]
        return places[self._marks("?")[places]]


def _is_emoji(token: str) -> bool:
    return len(token) == 1 and any(low <= ord(token) <= high for low, high in _EMOJI)
