"""What collecting many of our items costs beside a bare parametrize of as many.

Both collect 10,000 items with `--collect-only -q` in a process of their own, alternating. The bare
one is what a user would write without the plugin: `pytest.mark.parametrize` with ids.

    python benchmarks/collection.py [--items 10000] [--pairs 5]
"""

from __future__ import annotations

import argparse
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


def seconds(folder: Path, items: int, *options: str) -> float:
    """Time one collection, and check that it collected everything."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "test_it.py", *options],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    elapsed = time.perf_counter() - started
    assert f"{items} tests collected" in done.stdout, done.stdout[-500:]
    return elapsed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    models = arguments.items // (len(BACKENDS) * len(PRECISIONS))
    with tempfile.TemporaryDirectory() as name:
        ours, bare = Path(name, "ours"), Path(name, "bare")
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
        differences_s = [
            seconds(ours, arguments.items) - seconds(bare, arguments.items, "-p", "no:inferbench")
            for _ in range(arguments.pairs)
        ]
        print(
            f"collecting {arguments.items} items, ours - bare parametrize:"
            f" median {statistics.median(differences_s):+.2f} s,"
            f" largest {max(differences_s):+.2f} s over {arguments.pairs} pairs"
        )


if __name__ == "__main__":
    main()
