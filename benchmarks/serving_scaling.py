"""How a Triton scales with its instances: peak, saturation, efficiency, and what a million costs.

Each count of instances has a server of its own in each run, swept over counts of clients; runs take
turns. What was measured is kept at once, so a run that was stopped goes on. The price is
`price_per_hour` of `[serving]` in a settings file, or an option. On GPUs the sweep is over GPUs:
`--units gpus`, with one instance on each.

    pip install -e ".[ort,triton,load]"
    python benchmarks/serving_scaling.py --kept scaling.json [--instances 1,2] [--clients 1,2,4,8]
        [--minutes 5] [--price-per-hour 0.19] [--settings inferbench.toml]
        [--markdown docs/serving-scaling.md]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # its parts lie beside it

from field.kept import Kept
from field.servers import MODEL, ONNX, machine, triton
from field.tables import scaling_page

from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.running import run_load
from pytest_inferbench.serving.scaling import Point, Price, scale
from pytest_inferbench.serving.variant import Variant
from pytest_inferbench.settings.loader import load


def counts(text: str) -> tuple[int, ...]:
    """Read "1,2,4"."""
    found = tuple(int(each) for each in text.split(","))
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of counts above 0")
    return found


def variant_of(units: str, count: int, threads: int) -> Variant:
    """Return a server with so many instances, or an instance on each of so many GPUs."""
    if units == "gpus":
        return Variant(device="gpu", gpus=tuple(range(count)))
    parameters = {"intra_op_thread_count": str(threads)}
    return Variant(instances=count, parameters=parameters)


def measure(chosen: argparse.Namespace, kept: Kept) -> None:
    """Measure what is missing, one server after the other, as long as there is time."""
    until_s = time.monotonic() + 60 * chosen.minutes
    for run in range(chosen.runs):
        for units in chosen.instances:
            missing = [c for c in chosen.clients if f"{units} {c} {run}" not in kept]
            if not missing or time.monotonic() > until_s:
                continue
            with triton(variant_of(chosen.units, units, chosen.threads), chosen.model) as server:
                url = f"grpc://{server.grpc_url}" if chosen.protocol == "grpc" else server.http_url
                for clients in missing:
                    if time.monotonic() > until_s:
                        return
                    plan = LoadPlan(url, model=MODEL, clients=clients, seconds=chosen.seconds)
                    result = run_load(plan)
                    entry = {"per_s": result.per_s, "p95": result.p95_ms, "failed": result.failed}
                    kept.add(f"{units} {clients} {run}", entry)
                    print(f"{units} {clients} {run}: {entry}", flush=True)


def points_of(entries: Mapping[str, Any]) -> list[Point]:
    """Return the points that entries make, a run each."""
    runs: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for name, entry in entries.items():
        units, clients, _ = map(int, name.split())
        runs.setdefault((units, clients), []).append(entry)
    return [
        Point(
            units,
            clients,
            tuple(each["per_s"] for each in found),
            tuple(each["p95"] for each in found),
            sum(each["failed"] for each in found),
        )
        for (units, clients), found in runs.items()
    ]


def price_of(chosen: argparse.Namespace) -> Price | None:
    """Return the price of the options, else of the settings, if there is any."""
    serving = load(chosen.settings).serving if chosen.settings else None
    hourly = chosen.price_per_hour
    if hourly is None and serving is not None:
        hourly = serving.price_per_hour
    each = serving.price_per_gpu_hour if serving is not None and chosen.units == "gpus" else None
    return None if hourly is None and each is None else Price(hourly or 0.0, each or 0.0)


def main() -> None:
    """Measure what is missing, then show what there is."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--kept", type=Path, required=True, help="where figures are kept (JSON)")
    add("--model", type=Path, default=ONNX, help="an ONNX file; the built-in detector")
    add("--units", choices=["instances", "gpus"], default="instances", help="what is swept")
    add("--instances", type=counts, default=(1, 2), help="so many of them, one after the other")
    add("--clients", type=counts, default=(1, 2, 4, 8, 16), help="so many clients each")
    add("--protocol", choices=["http", "grpc"], default="grpc")
    add("--threads", type=int, default=1, help="of each instance on a CPU")
    add("--runs", type=int, default=3, help="of each point")
    add("--seconds", type=float, default=2.0, help="of each run")
    add(
        "--minutes",
        type=float,
        default=10.0,
        help="begin nothing after so long; 0 measures nothing",
    )
    add("--price-per-hour", type=float, help="of the machine")
    add("--settings", type=Path, help="a file with prices in [serving]")
    add("--markdown", type=Path, help="write the page here")
    chosen = parser.parse_args()
    facts = {
        **machine(),
        "model": chosen.model.stem,
        "units": chosen.units,
        "protocol": chosen.protocol,
        "threads": chosen.threads,
        "seconds": chosen.seconds,
    }
    kept = Kept(chosen.kept, facts)
    measure(chosen, kept)
    points, price = points_of(kept.entries), price_of(chosen)
    hourly = f"at {price.per_hour(1):g} an hour" if price else ""
    page = scaling_page(points, scale(points, price), kept.facts, hourly)
    print(page)
    if chosen.markdown:
        chosen.markdown.write_text(page)


if __name__ == "__main__":
    main()
