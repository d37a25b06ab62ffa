"""The comparison as a document: takes what was measured, gives Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {"perf_analyzer": "perf_analyzer", "ours": "our locust file", "plain": "plain Locust"}
_KEYS = ("per_s", "p50_ms", "cpu")
_MANY = 8
Rows = Sequence[Mapping[str, Any]]


def document(rows: Rows, seconds: float) -> str:
    """Return docs/load-client.md."""
    rounds = len({row["round"] for row in rows})
    counted = f"{rounds} rounds" if rounds > 1 else "a single round"
    lines = [
        "# What a client costs",
        "",
        "Written by `benchmarks/load_client.py`. The same Triton on the same machine, a model of",
        f"about a millisecond, one instance; {counted} of {seconds:g} s each, the tools in",
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
    lines += ["## Targets", "", *_targets(rows, sorted(groups)), ""]
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
        for key in _KEYS:
            ratios = _ratios(mine, key)
            middle = statistics.median(ratios)
            cells.append(f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        lines.append(f"| {protocol} | {clients} | {' | '.join(cells)} |")
    return lines


def _ratios(rows: Rows, key: str) -> list[float]:
    """Return ours over perf_analyzer's, of CPU time that a request."""
    ratios = []
    for row in rows:
        ratio = row["ours"][key] / row["perf_analyzer"][key]
        if key == "cpu":
            ratio *= row["perf_analyzer"]["per_s"] / row["ours"]["per_s"]
        ratios.append(ratio)
    return ratios


def _targets(rows: Rows, groups: Sequence[tuple[str, int]]) -> list[str]:
    """Say which targets the medians over rounds meet."""
    lines = [
        "Of the medians of ratios: requests/s at least perf_analyzer's at 8 clients and more, p50",
        "within 10 % of its at one client, CPU a request at most twice its.",
        "",
        "| | clients | requests/s >= 1 | p50 <= 1.10 | CPU <= 2 |",
        "|---|---|---|---|---|",
    ]
    for protocol, clients in groups:
        mine = [row for row in rows if (row["protocol"], row["clients"]) == (protocol, clients)]
        per_s, p50, cpu = (statistics.median(_ratios(mine, key)) for key in _KEYS)
        cells = (
            _met(per_s >= 1) if clients >= _MANY else "",
            _met(p50 <= 1.1) if clients == 1 else "",
            _met(cpu <= 2),
        )
        lines.append(f"| {protocol} | {clients} | {' | '.join(cells)} |")
    return lines


def _met(is_met: bool) -> str:
    return "met" if is_met else "**not met**"


def _median(rows: Rows, tool: str, key: str) -> float:
    return statistics.median(row[tool][key] for row in rows)
