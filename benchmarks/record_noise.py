"""Records what launches of one unchanged model look like on this machine, for the judge's tests.

A trace is a series of runs, each a fresh worker measured as a session measures it, with the probe
of the machine's own speed and the reason to set it aside. The tests draw sessions from it, so that
the judge's error rates are checked on real noise.

    python benchmarks/record_noise.py --to fixtures/noise/launches-quiet.json [--runs 200]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from quality.models import write_models

from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import detect
from pytest_inferbench.launches import launch_once

_SETTINGS = """
[models.blocks]
path = "{path}"
task = "tensors"
backends = ["ort-cpu"]
precisions = ["fp32"]
"""


def main() -> None:
    """Record, and write what there is after every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=30.0, help="stop after so long")
    parser.add_argument("--beside", default="nothing", help="what else ran, in words")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    trace = {"hardware": detect().cpu, "beside": options.beside, "runs": []}
    with tempfile.TemporaryDirectory(prefix="inferbench-noise-") as scratch:
        model = write_models(Path(scratch))["+0%"]
        (Path(scratch) / "inferbench.toml").write_text(_SETTINGS.format(path=model))
        gate = Gate.from_folder(Path(scratch))
        run = gate.run_of(gate.cells[0])
        fields = run.open_fields()
        while len(trace["runs"]) < options.runs and time.monotonic() < until:
            with gate.host.exclusive():
                launch = launch_once(run, fields)
            trace["runs"].append(
                {
                    "at_s": round(time.time()),
                    **{name: round(launch.latency_ms[name], 5) for name in ("p5", "p50", "p99")},
                    "memory": round(launch.peak_mib, 3),
                    "probe_ms": round(launch.probe_ms, 5),
                    "set_aside": launch.set_aside,
                }
            )
            lines = ",\n  ".join(json.dumps(each) for each in trace["runs"])
            head = json.dumps({**trace, "runs": "RUNS"}, indent=1)
            options.to.write_text(head.replace('"RUNS"', f"[\n  {lines}\n ]") + "\n")
        gate.close()
    print(f"{len(trace['runs'])} runs in {options.to}")


if __name__ == "__main__":
    main()
