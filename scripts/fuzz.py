"""Fuzz one reader, guided by what it covers: python scripts/fuzz.py config -max_total_time=600 .

The readers are traits, config, answer, rows, marks and exchange. Whatever is raised besides a clear refusal ends the
run, and the input that did it lies beside, to be made a test. Needs `pip install atheris`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import atheris

with atheris.instrument_imports(include=["habitus", "yaml"]):
    from habitus.audit.agree import read_marks
    from habitus.audit.dataset import Reading
    from habitus.config import load_config
    from habitus.errors import UserError
    from habitus.models.exchange import _Answers
    from habitus.models.structured import Unreadable, parse
    from habitus.records import Trait
    from habitus.traits.document import read_traits

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(mkdtemp()) / "given.jsonl"
READERS: dict[str, Callable[[], object]] = {
    "traits": lambda: read_traits(FILE),
    "config": lambda: load_config(FILE),
    "answer": lambda: parse(FILE.read_text(encoding="utf-8", errors="replace"), Trait),
    "rows": lambda: list(Reading(str(FILE))),
    "marks": lambda: read_marks(FILE, [], []),
    "exchange": lambda: _Answers(FILE.parent).look(),
}


def main() -> None:
    """Fuzz the reader that is named first; what follows is for libFuzzer."""
    read = READERS[sys.argv.pop(1)]

    def once(data: bytes) -> None:
        FILE.write_bytes(data)
        try:
            read()
        except (UserError, Unreadable):
            return

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
