"""What clients cost, and what they see: perf_analyzer, this project's locust files, plain Locust.

All of them on the same server in turn, at 1, 8, 16 and 64 clients, over HTTP and gRPC, in rounds
whose order turns; a round is left off when the time is up, and taken up again by the next call.

    python benchmarks/load_client.py --perf-analyzer PATH --for 80   # measures, and adds to a file
    python benchmarks/load_client.py --table                         # writes docs/load-client.md

`perf_analyzer` is in the wheel `tritonclient==2.51.0`; `libb64.so.0d` and `libcudart.so.12`, which
it wants, are in `nvidia-pytriton` under other names. LD_LIBRARY_PATH has to lead to them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from load.served import served
from load.table import document
from load.tools import TOOLS, Measured, measure

RESULTS = Path(__file__).parent / "results/load-client.jsonl"
DOCUMENT = Path(__file__).parents[1] / "docs/load-client.md"
CLIENTS = (1, 8, 16, 64)
PROTOCOLS = ("http", "grpc")


def cells(rounds: int) -> Iterator[tuple[int, str, int]]:
    """Yield each round's protocols and numbers of clients."""
    yield from itertools.product(range(rounds), PROTOCOLS, CLIENTS)


def recorded() -> list[dict[str, object]]:
    """Return what was measured so far."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def record(rounds: int, seconds: float, limit_s: float, analyzer: Path) -> None:
    """Measure what is not measured yet, until the time is up."""
    give_up_s = time.monotonic() + limit_s
    done = {(each["round"], each["protocol"], each["clients"]) for each in recorded()}
    left = [cell for cell in cells(rounds) if cell not in done]
    if not left:
        return
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as urls:
        for number, protocol, clients in left:
            if time.monotonic() + len(TOOLS) * (seconds + 3) > give_up_s:
                break
            turn = number % len(TOOLS)
            found: dict[str, Measured] = {}
            for tool in TOOLS[turn:] + TOOLS[:turn]:
                found[tool] = measure(tool, urls[protocol], clients, seconds, analyzer)
                print(number, protocol, clients, tool, found[tool], flush=True)
            told = {tool: each._asdict() for tool, each in found.items()}
            line = {"round": number, "protocol": protocol, "clients": clients, **told}
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")


def main() -> None:
    """Measure, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--perf-analyzer", type=Path)
    parser.add_argument("--for", dest="limit_s", type=float, default=600.0, help="seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each is measured")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if not options.table:
        if options.perf_analyzer is None:
            parser.error("--perf-analyzer is needed to measure")
        record(options.rounds, options.seconds, options.limit_s, options.perf_analyzer)
    if recorded():
        DOCUMENT.write_text(document(recorded(), options.seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
