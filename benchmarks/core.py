"""What the core install weighs, and how fast the command line starts.

    python benchmarks/core.py [--check]

Installs this checkout without extras into a fresh virtual environment. Bars: 40 MB of packages (files as installed, without
pip itself and without byte code), no torch, no Inspect, no numpy; `habitus --help` in 0.15 s CPU.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
BARS = {"MB": 40.0, "CPU s": 0.15}
HEAVY = {"torch", "inspect_ai", "numpy", "transformers"}
RUNS = 7


def weight(packages: Path) -> float:
    """Return the size of all installed files in MB."""
    own = {"pip", "setuptools", "pkg_resources", "_distutils_hack"}
    files = (
        path
        for path in packages.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.relative_to(packages).parts[0].split("-")[0] not in own
    )
    return sum(path.stat().st_size for path in files) / 1e6


def cpu_of(command: list[str]) -> float:
    """Return the least CPU seconds that a command took over some runs."""
    taken = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def main() -> None:
    """Print the table, and with --check hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        constraints = str(ROOT / "constraints.txt")
        install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", constraints, str(ROOT)]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        heavy = sorted(HEAVY & {path.name for path in packages.iterdir()})
        figures = {"MB": weight(packages), "CPU s": cpu_of([str(Path(folder) / "bin" / "habitus"), "--help"])}
        floor = cpu_of([str(python), "-c", "import click"])
        count = len(list(packages.glob("*.dist-info")))
    print(f"core install      {figures['MB']:6.1f} MB in {count} packages, bar {BARS['MB']:.0f}")
    print(f"heavy packages    {', '.join(heavy) or 'none'}")
    print(
        f"habitus --help    {figures['CPU s']:6.3f} s CPU, bar {BARS['CPU s']} (python -c 'import click': {floor:.3f})"
    )
    missed = [f"{figures[name]:.3f} {name}, bar {bar}" for name, bar in BARS.items() if figures[name] > bar]
    missed += [f"{name} in the core install" for name in heavy]
    if missed and arguments.check:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
