"""Build the documentation as a site, from docs/ and the recipes' READMEs, into build/site.

Links to files that are no pages become plain words, as the site has nothing but pages.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build" / "docs"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def places() -> dict[Path, Path]:
    """Return where each page lies in the site, by where it lies in the repository."""
    found = {path: Path(path.name) for path in sorted((ROOT / "docs").glob("*.md"))}
    found |= {path: Path("recipes") / f"{path.parent.name}.md" for path in sorted(ROOT.glob("recipes/*/README.md"))}
    return found | {ROOT / "recipes" / "README.md": Path("recipes") / "index.md"}


def relinked(source: Path, target: Path, pages: dict[Path, Path]) -> str:
    """Return a page's text with its links as they are in the site."""

    def link(found: re.Match[str]) -> str:
        words, path, anchor = found[1], (source.parent / found[2]).resolve(), found[3] or ""
        if path not in pages:
            return words
        return f"[{words}]({'../' * (len(target.parts) - 1)}{pages[path].as_posix()}{anchor})"

    return LINK.sub(link, source.read_text(encoding="utf-8"))


def main() -> None:
    """Lay the pages out and build them."""
    pages = places()
    shutil.rmtree(PAGES, ignore_errors=True)
    for source, target in pages.items():
        path = PAGES / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(relinked(source, target, pages), encoding="utf-8")
    for picture in (ROOT / "docs").glob("*.svg"):
        shutil.copy(picture, PAGES)
    done = subprocess.run([sys.executable, "-m", "zensical", "build", "--clean"], cwd=ROOT, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
