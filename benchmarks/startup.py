"""What the plugin costs a pytest run that does not use it.

Runs `pytest -q` in an unrelated project with the plugin installed, alternating between on and
`-p no:inferbench`, so that the machine's drift falls on both. Prints the median and the middle half
of the paired differences, by the clock and in CPU time (which other processes disturb less), and
the modules that were imported for it.

    python benchmarks/startup.py [--pairs 25]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAVY = ("numpy", "onnx", "onnxruntime", "rich", "msgspec", "execnet", "pynvml")

_IMPORTED = """
import sys
import pytest
status = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
print("IMPORTED", *sorted(name for name in sys.modules if "." not in name))
"""


def cost_ms(folder: Path, *options: str) -> tuple[float, float]:
    """Time one run of pytest, process start included: by the clock, and in CPU time."""
    used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        check=True,
        capture_output=True,
        env=compiled(folder),
    )
    elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - used.ru_utime + after.ru_stime - used.ru_stime
    return elapsed * 1000, cpu * 1000


def compiled(folder: Path) -> dict[str, str]:
    """Return an environment where modules are compiled once, as for users, whatever ours says."""
    without = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**without, "PYTHONPYCACHEPREFIX": str(folder / ".bytecode")}


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
    with tempfile.TemporaryDirectory() as created:
        folder = Path(created)
        (folder / "test_unrelated.py").write_text("def test_it():\n    assert 1 + 1 == 2\n")
        cost_ms(folder), cost_ms(folder, "-p", "no:inferbench")  # byte-compile both paths
        costs = [(cost_ms(folder), cost_ms(folder, "-p", "no:inferbench")) for _ in range(pairs)]
        for which, name in enumerate(("by the clock", "in CPU time")):
            differences = sorted(on[which] - off[which] for on, off in costs)
            low, high = differences[pairs // 4], differences[-(pairs // 4) - 1]
            print(
                f"plugin on - plugin off, {name}: median {statistics.median(differences):+.1f} ms"
                f" (middle half {low:+.1f} to {high:+.1f}) over {pairs} pairs"
            )
        print("heavy packages imported for it:", ", ".join(heavy_imports(folder)) or "none")


if __name__ == "__main__":
    main()
