"""The comparison as a document: takes what was measured, gives Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {"perf_analyzer": "perf_analyzer", "ours": "our locust file", "plain": "plain Locust"}
Rows = Sequence[Mapping[str, Any]]


def document(rows: Rows, seconds: float) -> str:
    """Return docs/load-client.md."""
    rounds = len({row["round"] for row in rows})
    lines = [
        "# What a client costs",
        "",
        "Written by `benchmarks/load_client.py`. The same Triton on the same machine, a model of",
        f"about a millisecond, one instance; {rounds} rounds of {seconds:g} s each, the tools in",
        "turn and the turn turning; medians over rounds. The clients share the machine's",
        f"{os.cpu_count()} cores ({platform.machine()}) with the server, and with whoever else",
        "works there.",
        "",
        "- **perf_analyzer** of `tritonclient` 2.51, as it is.",
        "- **our locust file**: `locustfiles/triton.py`, requests made beforehand.",
        "- **plain Locust**: a `User` with `tritonclient`, as its examples have it; raw latencies.",
        "",
        "CPU is the client's, a request.",
        "",
        "| | clients | client | requests/s | p50 ms | p99 ms | CPU ms |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = list(dict.fromkeys((row["protocol"], row["clients"]) for row in rows))
    for protocol, clients in sorted(groups, key=lambda each: (each[0] != "http", each[1])):
        mine = [row for row in rows if (row["protocol"], row["clients"]) == (protocol, clients)]
        lines += [_line(protocol, clients, tool, mine) for tool in NAMES]
    lines += ["", "## Against perf_analyzer", "", *_against(rows, sorted(groups)), ""]
    return "\n".join(lines)


def _line(protocol: str, clients: int, tool: str, rows: Rows) -> str:
    per_s, p50, p99 = (_median(rows, tool, key) for key in ("per_s", "p50_ms", "p99_ms"))
    cpu = statistics.median(1e3 * row[tool]["cpu"] / row[tool]["per_s"] for row in rows)
    return (
        f"| {protocol} | {clients} | {NAMES[tool]} | {per_s:.0f} | {p50:.2f} | {p99:.2f} "
        f"| {cpu:.3f} |"
    )


def _against(rows: Rows, groups: Sequence[tuple[str, int]]) -> list[str]:
    lines = [
        "Our locust file over perf_analyzer, round by round; the median, and least to most:",
        "",
        "| | clients | requests/s | p50 | CPU a request |",
        "|---|---|---|---|---|",
    ]
    for protocol, clients in groups:
        mine = [row for row in rows if (row["protocol"], row["clients"]) == (protocol, clients)]
        cells = []
        for key in ("per_s", "p50_ms", "cpu"):
            ratios = []
            for row in mine:
                ratio = row["ours"][key] / row["perf_analyzer"][key]
                if key == "cpu":
                    ratio *= row["perf_analyzer"]["per_s"] / row["ours"]["per_s"]
                ratios.append(ratio)
            middle = statistics.median(ratios)
            cells.append(f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        lines.append(f"| {protocol} | {clients} | {' | '.join(cells)} |")
    return lines


def _median(rows: Rows, tool: str, key: str) -> float:
    return statistics.median(row[tool][key] for row in rows)
