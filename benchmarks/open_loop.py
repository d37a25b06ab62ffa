"""The open loop against MLPerf's loadgen, on the same server: the same rate, the same latencies.

Both send Poisson arrivals at a part of the capacity, which a closed loop measured before, and count
latency from when a request was due. In rounds, each first in turn; near capacity latency is mostly
queueing, so single rounds differ much. Adds to a file what was measured; `--table` alone prints it.

    python benchmarks/open_loop.py --load 0.9 --for 80        # needs mlcommons-loadgen==6.0.17
"""

from __future__ import annotations

import argparse
import array
import json
import queue
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from load.served import MODEL, served

from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.running import run_load
from pytest_inferbench.load.target import target_of
from pytest_inferbench.load.wire import RequestError

RESULTS = Path(__file__).parent / "results/open-loop.jsonl"
CLIENTS = 32
BATCH = 8  # so that a request takes the server some milliseconds, of which no client is a part
KEYS = ("mean", "p50", "p90", "p99")


def ours(url: str, rate: float, seconds: float, seed: int) -> dict[str, float]:
    """Return latencies as the locust file tells them."""
    plan = LoadPlan(url, MODEL, clients=CLIENTS, batch=BATCH, seconds=seconds, seed=seed)
    result = run_load(plan.replace(rate_per_s=rate))
    if result.failed:
        raise RuntimeError(f"{result.failures}")
    told = {key: result.figure(key) for key in KEYS}
    return {**told, "per_s": result.per_s, "late": result.late / result.requests}


def loadgens(url: str, rate: float, seconds: float, folder: Path) -> dict[str, float]:
    """Return latencies as loadgen's Server scenario tells them; threads ask with the same wire."""
    import mlperf_loadgen as loadgen

    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    target = target_of(LoadPlan(url, MODEL, clients=CLIENTS, batch=BATCH), CLIENTS)

    failures: list[str] = []

    def work(number: int) -> None:
        client = target.client(number)
        empty = array.array("B", b"\x00" * 8)
        place, size = empty.buffer_info()
        while (sample := waiting.get()) is not None:
            try:
                client.exchange(0)
            except RequestError as error:  # loadgen waits for whatever it asked, for ever
                failures.append(str(error))
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, place, size)])
        client.close()

    def issue(samples: list[Any]) -> None:
        for sample in samples:
            waiting.put(sample)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.server_target_latency_ns = 10**9
    settings.min_duration_ms = int(seconds * 1000)
    settings.min_query_count = 1
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    logs = loadgen.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(16, 16, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(system, library, settings, logs)
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)
    for _ in threads:
        waiting.put(None)
    for thread in threads:
        thread.join()
    target.close()
    if failures:
        raise RuntimeError(f"{len(failures)} requests failed: {failures[0]}")
    return _summary((folder / "mlperf_log_summary.txt").read_text())


def _summary(text: str) -> dict[str, float]:
    names = {"50.00": "p50", "90.00": "p90", "99.00": "p99"}
    found = re.findall(r"([\d.]+) percentile latency \(ns\)\s*: (\d+)", text)
    told = {names[percent]: int(value) / 1e6 for percent, value in found if percent in names}
    (mean,) = re.findall(r"Mean latency \(ns\)\s*: (\d+)", text)
    (per_s,) = re.findall(r"Completed samples per second\s*: ([\d.]+)", text)
    return {**told, "mean": int(mean) / 1e6, "per_s": float(per_s)}


def record(load: float, seconds: float, limit_s: float) -> None:
    """Measure rounds until the time is up."""
    give_up_s = time.monotonic() + limit_s
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as urls:
        url = urls["http"]
        capacity = run_load(LoadPlan(url, MODEL, clients=8, batch=BATCH, seconds=4.0)).per_s
        number = 0
        while time.monotonic() + 2 * (seconds + 3) < give_up_s:
            rate = load * capacity
            told: dict[str, Any] = {"load": load, "capacity": capacity, "rate": rate}
            for who in ("ours", "loadgen") if number % 2 else ("loadgen", "ours"):
                if who == "ours":
                    told[who] = ours(url, rate, seconds, number)
                else:
                    told[who] = loadgens(url, rate, seconds, Path(folder))
                print(who, told[who], flush=True)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(told) + "\n")
            number += 1


def lines() -> list[str]:
    """Return a Markdown table of all rounds, by load."""
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    told = ["| load | rounds | | loadgen | our open loop | ratio, median of rounds |"]
    told.append("|---|---|---|---|---|---|")
    for load in sorted({row["load"] for row in rows}):
        mine = [row for row in rows if row["load"] == load]
        for key in ("per_s", *KEYS):
            theirs, our = ([row[who][key] for row in mine] for who in ("loadgen", "ours"))
            ratio = statistics.median(b / a for a, b in zip(theirs, our, strict=True))
            unit = "requests/s" if key == "per_s" else f"{key} ms"
            middle = [statistics.median(each) for each in (theirs, our)]
            told.append(
                f"| {load:.0%} | {len(mine)} | {unit} | {middle[0]:.2f} | {middle[1]:.2f} "
                f"| {ratio:.3f} |"
            )
    return told


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=float, default=0.9, help="share of the capacity")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each is measured")
    parser.add_argument("--for", dest="limit_s", type=float, default=600.0, help="seconds")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if not options.table:
        record(options.load, options.seconds, options.limit_s)
    print("\n".join(lines()))


if __name__ == "__main__":
    main()
