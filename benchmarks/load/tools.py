"""Three clients for one server: each takes an address and a number of clients, gives figures."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.running import run_load

MODEL = "convs"
TOOLS = ("perf_analyzer", "ours", "plain")
HERE = Path(__file__).parent
_TICKS_S = os.sysconf("SC_CLK_TCK")


class Measured(NamedTuple):
    """What one stretch showed; `cpu` is CPU seconds of the client a second."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu: float


def measure(tool: str, url: str, clients: int, seconds: float, analyzer: Path) -> Measured:
    """Put a server under load with one of the tools."""
    if tool == "ours":
        result = run_load(LoadPlan(url, MODEL, clients=clients, seconds=seconds))
        if result.failed:
            raise RuntimeError(f"{result.failures}")
        cpu = result.client_cpu_s / result.seconds
        return Measured(result.per_s, result.p50_ms, result.p99_ms, cpu)
    if tool == "plain":
        return _plain(url, clients, seconds)
    return _perf_analyzer(url, clients, seconds, analyzer)


def _plain(url: str, clients: int, seconds: float) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "told.json")
        told = {
            "INFERBENCH_PLAIN_OUT": str(written),
            "INFERBENCH_PLAIN_WARMUP_S": "0.5",
            "INFERBENCH_PLAIN_S": str(seconds),
        }
        command = [sys.executable, "-m", "locust", "-f", str(HERE / "plain.py"), "--headless"]
        command += ["--host", url, "-u", str(clients), "-r", str(clients), "--only-summary"]
        done = subprocess.run(
            command,
            env={**os.environ, **told},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if not written.exists():
            raise RuntimeError(done.stderr[-2000:])
        return Measured(**json.loads(written.read_text()))


def _perf_analyzer(url: str, clients: int, seconds: float, analyzer: Path) -> Measured:
    scheme, _, address = url.partition("://")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "table.csv")
        command = [str(analyzer), "-m", MODEL, "-u", address, "-i", scheme]
        command += ["--concurrency-range", str(clients), "-f", str(table), "--percentile", "99"]
        # Three windows, the fewest that it takes, none of which has to be like another.
        command += ["-p", str(int(seconds * 1000 / 3)), "-r", "3", "-s", "999"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        cpu = _cpu_of(process)
        said = process.stdout.read() if process.stdout else ""
        process.wait(60)
        if process.returncode or not table.exists():
            raise RuntimeError(said[-2000:])
        (row,) = csv.DictReader(table.read_text().splitlines())
    per_s = float(row["Inferences/Second"])
    return Measured(per_s, float(row["p50 latency"]) / 1e3, float(row["p99 latency"]) / 1e3, cpu)


def _cpu_of(process: subprocess.Popen[str]) -> float:
    """Return the CPU seconds a second of a process, from a second after its start to its end."""
    seen: list[tuple[float, float]] = []
    stat = Path(f"/proc/{process.pid}/stat")
    while process.poll() is None:
        fields = stat.read_text().rpartition(")")[2].split()
        seen.append((time.monotonic(), (int(fields[11]) + int(fields[12])) / _TICKS_S))
        time.sleep(0.1)
    # The first half second is its start, the last its report.
    steady = [each for each in seen if seen[0][0] + 0.5 <= each[0] <= seen[-1][0] - 0.2]
    (start_s, used_s), (end_s, all_s) = steady[0], steady[-1]
    return (all_s - used_s) / (end_s - start_s)
