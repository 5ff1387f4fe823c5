"""The logs of a study as a folder that Inspect View reads without Inspect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspect_ai.log import bundle_log_dir

if TYPE_CHECKING:
    from pathlib import Path


def bundle(evals: Path, folder: Path) -> Path:
    """Write Inspect View with all logs into a folder, in place of what an earlier bundle left there, and return it."""
    bundle_log_dir(str(evals), str(folder), overwrite=True)
    return folder
