"""What collecting many of our items costs beside a bare parametrize of as many.

Both collect 10,000 items with `--collect-only -q` in a process of their own, alternating. The bare
one is what a user would write without the plugin: `pytest.mark.parametrize` with ids. Prints the
difference by the clock and in CPU time, which other processes disturb less.

    python benchmarks/collection.py [--items 10000] [--pairs 5]
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

BACKENDS = ("ort-cpu",)
PRECISIONS = ("fp32", "fp16")

OURS = "def test_it(cell):\n    pass\n"
BARE = """
import pytest

IDS = [f"model-{{i}}-ort-cpu-fp32-cpu" for i in range({items})]

@pytest.mark.parametrize("cell", range({items}), ids=IDS)
def test_it(cell):
    pass
"""


def cost_s(folder: Path, items: int, *options: str) -> tuple[float, float]:
    """Time one collection, by the clock and in CPU time; check that it collected everything."""
    used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "test_it.py", *options],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=compiled(folder),
    )
    elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert f"{items} tests collected" in done.stdout, done.stdout[-500:]
    return elapsed, after.ru_utime - used.ru_utime + after.ru_stime - used.ru_stime


def compiled(folder: Path) -> dict[str, str]:
    """Return an environment where modules are compiled once, as for users, whatever ours says."""
    without = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**without, "PYTHONPYCACHEPREFIX": str(folder / ".bytecode")}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    models = arguments.items // (len(BACKENDS) * len(PRECISIONS))
    with tempfile.TemporaryDirectory() as created:
        ours, bare = Path(created, "ours"), Path(created, "bare")
        ours.mkdir()
        bare.mkdir()
        (ours / "test_it.py").write_text(OURS)
        (ours / "model.onnx").write_bytes(b"collection never opens it")
        (ours / "inferbench.toml").write_text(
            f"[matrix]\nbackends = {list(BACKENDS)}\nprecisions = {list(PRECISIONS)}\n"
            + "".join(
                f'[models.m{i}]\npath = "model.onnx"\ntask = "tensors"\n' for i in range(models)
            )
        )
        (bare / "test_it.py").write_text(BARE.format(items=arguments.items))
        pairs = [
            (cost_s(ours, arguments.items), cost_s(bare, arguments.items, "-p", "no:inferbench"))
            for _ in range(arguments.pairs + 1)
        ][1:]  # the first pair compiles
        for which, name in enumerate(("by the clock", "in CPU time")):
            differences = [on[which] - off[which] for on, off in pairs]
            print(
                f"collecting {arguments.items} items, ours - bare parametrize, {name}:"
                f" median {statistics.median(differences):+.2f} s,"
                f" largest {max(differences):+.2f} s over {arguments.pairs} pairs"
            )


if __name__ == "__main__":
    main()
