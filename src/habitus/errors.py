"""Everything that can go wrong, as one tree.

    UserError                 the user can mend it: one message, exit code 2, no traceback
    └── ModelUnusable         the endpoint refuses us altogether (key, access, unknown model)
    RunStopped                the run ended early and can go on later, exit code 1
    CallFailed                one call did not end in an answer
    ├── CallRefused           the endpoint will never answer this request
    ├── CallExhausted         every try within the time allowed failed
    └── CallPending           the answer is to come from outside, later

Whatever is not in this tree is a defect of habitus and keeps its traceback.
"""

from __future__ import annotations

import difflib
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


LONGEST_WORD = 200
"""Characters of a word for which the nearest is looked for: the search takes time with their square."""


class UserError(Exception):
    """A mistake the user can mend, told as what is wrong, where, and what to do next."""

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        """Keep the three parts apart so that the terminal can lay them out."""
        super().__init__(what, where, todo)
        self.what, self.where, self.todo = what, where, todo

    def __str__(self) -> str:
        """Put the parts on one line, the place first as compilers do."""
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.todo}" if self.todo else ""
        return f"{place}{self.what}{advice}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it travel between machines."""
        return partial(type(self), self.what, where=self.where, todo=self.todo), ()


class ModelUnusable(UserError):
    """The endpoint answered 401, 403 or 404, or is not there: no call can succeed."""


class RunStopped(Exception):
    """The run ended before its work did; the same command goes on from here."""


class CallFailed(Exception):
    """One call to a model did not end in an answer."""


class CallRefused(CallFailed):
    """The endpoint rejects this very request (400, 413, 422): trying again cannot help."""


class CallExhausted(CallFailed):
    """No try within the time allowed brought an answer."""


class CallPending(CallFailed):
    """The request is written down and its answer will be brought from outside."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the closest choice, or an empty string."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6) if len(word) <= LONGEST_WORD else []
    return f" Did you mean '{found[0]}'?" if found else ""
