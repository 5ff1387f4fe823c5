"""Quotations: whether a text has the words that somebody says it has."""

from __future__ import annotations

import re
from functools import lru_cache

SAME = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00a0": " "})  # noqa: RUF001
"""Characters that are written in several ways."""


@lru_cache(maxsize=256)  # a text is looked at for each of its quotes
def plain(text: str) -> str:
    """Return a text without the differences that do not make a quotation false: spacing, case, kind of quote marks."""
    text = " ".join(re.sub(r"[*_`]", "", text.translate(SAME)).lower().split())
    return text.strip(" \"'.*_…")


def occurs(quote: str, text: str) -> bool:
    """Tell whether a quotation occurs in a text; an empty one does not."""
    return bool(said := plain(quote)) and said in plain(text)


def located(quote: str, text: str) -> tuple[int, int] | None:
    """Return where a quotation stands in a text, as (start, end); None where it does not occur."""
    words = re.findall(r"[^\W_]+", quote)
    found = re.search(r"[\W_]+".join(map(re.escape, words)), text, re.IGNORECASE) if words else None
    return found.span() if found else None
