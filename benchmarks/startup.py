"""What the plugin costs a pytest run that does not use it.

Runs `pytest -q` in an unrelated project with the plugin installed, alternating between on and
`-p no:inferbench`, so that the machine's drift falls on both. Prints the median of the paired
differences with an interval from the order statistics, and the modules that were imported for it.

    python benchmarks/startup.py [--pairs 25]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAVY = ("numpy", "onnx", "onnxruntime", "rich", "msgspec", "execnet", "filelock", "pynvml")

_IMPORTED = """
import sys
import pytest
status = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
print("IMPORTED", *sorted(name for name in sys.modules if "." not in name))
"""


def seconds(folder: Path, *options: str) -> float:
    """Time one run of pytest, process start included."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def heavy_imports(folder: Path) -> list[str]:
    """Return which heavy packages a run imports with the plugin that it does not without."""

    def imported(*options: str) -> set[str]:
        command = [sys.executable, "-c", _IMPORTED, *options]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        line = next(x for x in done.stdout.splitlines() if x.startswith("IMPORTED"))
        return set(line.split()[1:])

    return sorted((imported() - imported("-p", "no:inferbench")) & set(HEAVY))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=25)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_unrelated.py").write_text("def test_it():\n    assert 1 + 1 == 2\n")
        seconds(folder), seconds(folder, "-p", "no:inferbench")  # byte-compile both paths
        differences_ms = sorted(
            (seconds(folder) - seconds(folder, "-p", "no:inferbench")) * 1000 for _ in range(pairs)
        )
        quarter = pairs // 4
        print(
            f"plugin on - plugin off: median {statistics.median(differences_ms):+.1f} ms"
            f" (middle half {differences_ms[quarter]:+.1f} to {differences_ms[-quarter - 1]:+.1f})"
            f" over {pairs} pairs"
        )
        print("heavy packages imported for it:", ", ".join(heavy_imports(folder)) or "none")


if __name__ == "__main__":
    main()
