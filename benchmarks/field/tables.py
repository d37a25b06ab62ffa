"""The pages that the comparisons write: takes kept figures, gives Markdown. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_inferbench.serving.decision import Ladder, decide
from pytest_inferbench.serving.scaling import SATURATED, Point, Scaled

_FIELD = """# One model as teams serve it

The built-in detector (fp32, 3 x 192 x 192), on {hardware} with {cpus} CPUs: clients, servers and
runtimes share them. Each runtime has {threads} thread. Closed loop, {seconds:g} s a run, medians of
{runs}; the ways take turns in each run. Written by `benchmarks/serving_field.py`.

- **p50, p95, mean**: what a client waits, in ms. **/s**: answers a second.
- **out, in**: bytes on the wire a request, HTTP's or gRPC's own included.
- **write, read**: the client's own time to make a body and to read an answer into arrays, in ms,
  median of one caller alone. Under load bodies are made beforehand and answers are not read.
- **compute**: what the server says that inference took, in ms: of a service its median for one
  caller alone, of Triton its mean under this load.
- **around**: what a service takes beside inference, by its own account: reading the request, such
  as a JPEG, and writing the answer; median for one caller alone.
- **decision**: by the 95th percentile over the runs, as `docs/serving.md` says.
"""
_FIELD_HEAD = (
    "| way | /s | p50 | p95 | mean | out | in | write | read | compute | around | client CPU ms"
    " | decision |"
)
_SCALING = """# How a Triton scales here

The model `{model}` on {hardware} with {cpus} CPUs: clients and server share them, so the peak is
the machine's and not the server's alone. Over {protocol}, closed loop, {seconds:g} s a run, medians
of {runs}. Written by `benchmarks/serving_scaling.py`. The rules are those of docs/serving.md:
saturation is the lowest concurrency that reaches {saturated:.0%} of the peak, efficiency the peak
over the fewest instances' times as many, the cost is at the peak.
"""


def decided(
    way: Any, clients: int, entries: Mapping[str, Any], ladder: Ladder
) -> dict[str, Any] | None:
    """Return what a way came to at so many clients; None where nothing was measured."""
    prefix = f"{way.server} {way.how} "
    runs = [entry for name, entry in entries.items() if name.startswith(f"{prefix}{clients} ")]
    if not runs:
        return None
    figures = {
        name: statistics.median(run[name] for run in runs)
        for name in runs[0]
        if isinstance(runs[0][name], (int, float))
    }
    told = {name: [float(run[name]) for run in runs] for name in ("p50", "p95", "p99", "per_s")}
    told["failures"] = [_failed_share(run) for run in runs]
    alone = entries.get(f"{prefix}alone", {})
    if "server_ms" in alone and "compute_ms" not in figures:
        figures["compute_ms"] = alone["server_ms"]
    return {
        "label": way.label,
        "clients": clients,
        "runs": len(runs),
        "decision": str(decide(ladder, told)),
        **alone,
        **figures,
    }


def _failed_share(run: Mapping[str, Any]) -> float:
    """Return which share of the requests failed; all, where how many did not was not kept."""
    failed, good = float(run["failures"]), float(run.get("requests", 0))
    return failed / (failed + good) if failed else 0.0


def field_page(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """Return the page of the comparison."""
    runs = min((row["runs"] for row in rows), default=0)
    lines = [_FIELD.format(runs=counted(runs, "run"), **facts)]
    for clients in dict.fromkeys(row["clients"] for row in rows):
        lines += [
            f"## {counted(clients, 'client')}",
            "",
            _FIELD_HEAD,
            "|---" + "|---:" * 11 + "|---|",
        ]
        lines += [_field_row(row) for row in rows if row["clients"] == clients]
        lines.append("")
    return "\n".join(lines)


def _field_row(row: Mapping[str, Any]) -> str:
    cells = [
        row["label"],
        _number(row.get("per_s"), 0),
        *(_number(row.get(name), 2) for name in ("p50", "p95", "mean")),
        *(_number(row.get(name), 0, ",") for name in ("bytes_out", "bytes_in")),
        *(_number(row.get(name), 2) for name in ("serialize_ms", "deserialize_ms", "compute_ms")),
        _number(row.get("server_overhead_ms"), 2),
        _number(row.get("client_cpu_ms"), 2),
        row["decision"],
    ]
    return f"| {' | '.join(cells)} |"


def scaling_page(
    points: Sequence[Point], rows: Sequence[Scaled], facts: Mapping[str, Any], price: str
) -> str:
    """Return the page of the sweep."""
    runs = min((len(point.per_s) for point in points), default=0)
    cost = f"cost of a million ({price})" if price else "cost of a million"
    lines = [
        _SCALING.format(runs=counted(runs, "run"), saturated=SATURATED, **facts),
        "| instances | peak /s | at clients | p95 there, ms | saturated from | efficiency"
        f" | {cost} |",
        "|---:" * 7 + "|",
    ]
    for row in rows:
        reached = "not reached" if row.is_lower_bound else str(row.saturation)
        cells = [
            str(row.units),
            f"{'>= ' if row.is_lower_bound else ''}{row.peak_per_s:.0f}",
            str(row.at_concurrency),
            f"{row.peak_p95_ms:.2f}",
            reached,
            f"{row.efficiency:.0%}",
            "" if row.cost_per_million is None else f"{row.cost_per_million:.3g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    concurrencies = sorted({point.concurrency for point in points})
    found = {(point.units, point.concurrency): point for point in points}
    lines += ["", "Answers a second (p95 in ms):", ""]
    lines.append(f"| instances | {' | '.join(counted(c, 'client') for c in concurrencies)} |")
    lines.append("|---:" * (len(concurrencies) + 1) + "|")
    for units in sorted({point.units for point in points}):
        cells = [
            f"{point.rate_per_s:.0f} ({point.tail_ms:.1f})" if point else ""
            for each in concurrencies
            for point in [found.get((units, each))]
        ]
        lines.append(f"| {units} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def counted(count: int, what: str) -> str:
    """Return a count with its noun."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _number(value: float | None, digits: int, grouped: str = "") -> str:
    return "" if value is None else f"{value:{grouped}.{digits}f}"
