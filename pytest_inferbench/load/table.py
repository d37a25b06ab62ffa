"""Results of load as text: takes results, gives lines. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_inferbench.load.result import LoadResult

_HEADS = (
    "protocol",
    "clients",
    "req/s",
    "mean",
    "p50",
    "p90",
    "p95",
    "p99",
    "sd ms",
    "failed",
    "late",
    "sent B",
    "recv B",
    "client CPU",
)


def lines_of(results: Sequence[LoadResult]) -> list[str]:
    """Return a table, a line a result, and what failed below it."""
    rows = [_HEADS, *(_row(each) for each in results)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADS))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    for each in results:
        lines += [f"  {count} x {reason}" for reason, count in sorted(each.failures.items())]
    return lines


def _row(result: LoadResult) -> tuple[str, ...]:
    asked = str(result.clients)
    if result.rate_per_s is not None:
        asked = f"{result.rate_per_s:g}/s"
    times = (f"{result.figure(name):.2f}" for name in ("mean", "p50", "p90", "p95", "p99", "sd"))
    late = "" if result.rate_per_s is None else str(result.late)
    share = result.client_cpu_s / result.seconds if result.seconds else math.nan
    return (
        result.protocol,
        asked,
        f"{result.per_s:.1f}",
        *times,
        str(result.failed),
        late,
        f"{result.sent_bytes_each:.0f}",
        f"{result.received_bytes_each:.0f}",
        f"{share:.0%}",
    )
