"""The tables of docs/results.md: takes baselines and results, gives Markdown. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_inferbench.report.html.references import Reference

Plain = Mapping[str, Any]
RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch", "numpy")
_HEAD = (
    "cell",
    "p50 ms",
    "p99 ms",
    "speed-up",
    "host MiB",
    "device MiB",
    "W",
    "J an inference",
    "first answer ms",
    "cosine",
    "mAP drop",
    "sessions",
    "last",
)


def model_table(cells: Mapping[str, Plain], drops: Mapping[str, float]) -> str:
    """Return a model's recorded cells on one hardware, by backend and precision.

    Args:
        cells: Those of a baseline file: `BACKEND PRECISION` -> its sessions.
        drops: By the same names, the mAP that was lost, where a record has it.
    """
    p50_ms = {name: _over(cell, "latency_ms", "p50") for name, cell in cells.items()}
    slowest = max((each for name, each in p50_ms.items() if name.endswith(" fp32")), default=None)
    rows = []
    for name, cell in cells.items():
        last = cell["sessions"][-1]
        rows.append(
            (
                name,
                _figure(p50_ms[name]),
                _figure(_over(cell, "latency_ms", "p99")),
                f"{slowest / p50_ms[name]:.2f}x" if slowest else "",
                _figure(_over(cell, "memory_mib", "peak")),
                _figure(_over(cell, "memory_mib", "device")),
                _figure(_over(cell, "energy", "watts")),
                _figure(_over(cell, "energy", "joules")),
                _figure(_over(cell, "cold_start_ms", "total")),
                _ratio(last.get("scores", {}).get("cosine")),
                _ratio(drops.get(name)),
                str(len(cell["sessions"])),
                last["recorded"][:10],
            )
        )
    return table(_HEAD, rows)


def versions_line(cells: Mapping[str, Plain]) -> str:
    """Return what the last sessions of a file ran on."""
    facts: dict[str, set[str]] = {}
    for cell in cells.values():
        environment = cell["sessions"][-1]["environment"]
        for key in ("inferbench", "python", "kernel", "nvidia_driver", "cuda_driver", *RUNTIMES):
            if key in environment:
                facts.setdefault(key, set()).add(environment[key])
    return "; ".join(f"{key} {', '.join(sorted(values))}" for key, values in facts.items())


def drops_of(results: Plain) -> dict[str, float]:
    """Return the mAP lost by each cell of a session."""
    found = {}
    for cell in results["cells"]:
        for test in cell["tests"]:
            if "map_drop" in (figures := test.get("figures") or {}):
                found[f"{cell['backend']} {cell['precision']}"] = float(figures["map_drop"])
    return found


def outcomes_table(results: Plain) -> str:
    """Return how a session's tests ended, by cell; a cell that could not run says so."""
    rows = []
    for cell in results["cells"]:
        counts = Counter(test["outcome"] for test in cell["tests"])
        why = cell["cannot_run"] or ""
        failed = ", ".join(
            sorted({_short(t["test"]) for t in cell["tests"] if t["outcome"] == "failed"})[:3]
        )
        kinds = [str(counts[kind]) for kind in ("passed", "failed", "skipped")]
        name = f"{cell['model']} on {cell['backend']} at {cell['precision']}"
        rows.append((name, cell["hardware"], *(["-"] * 3 if why else kinds), why or failed))
    head = ("cell", "hardware", "passed", "failed", "skipped", "why, or what failed")
    return table(head, rows)


def throughput_table(cells: Mapping[str, Plain]) -> str:
    """Return inferences a second by batch size, where a session has them; else nothing."""
    rows, sizes = [], sorted({int(b) for cell in cells.values() for b in _rates(cell)})
    for name, cell in cells.items():
        if rates := _rates(cell):
            rows.append((name, *(_figure(_median(rates.get(str(size)))) for size in sizes)))
    return table(("cell", *(f"batch {size}" for size in sizes)), rows) if rows else ""


def cases_table(hardware: Mapping[str, Mapping[str, Plain]]) -> str:
    """Return how ONNX's own cases ended, by hardware, cell and runtime version."""
    rows = []
    for name, cells in sorted(hardware.items()):
        for cell, versions in cells.items():
            for version, recorded in versions.items():
                kinds = ("passed", "failed", "unsupported")
                counts = [str(len(recorded.get(kind, ()))) for kind in kinds]
                rows.append((name, cell, version, *counts))
    return table(("hardware", "cell", "runtime", "passed", "failed", "unsupported"), rows)


def published_table(references: Iterable[Reference]) -> str:
    """Return figures that others published, in their own units."""
    rows = []
    for each in references:
        figures = ", ".join(f"{name} {value}" for name, value in each.figures.items())
        rows.append((each.model, each.backend, each.precision, each.hardware, figures))
    return table(("model", "backend", "precision", "hardware", "figures"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; columns that are empty in every row are left out."""
    filled = [list(row) for row in rows]
    kept = [i for i in range(len(head)) if any(row[i] for row in filled)]
    lines = [[head[i] for i in kept], ["---"] * len(kept)]
    lines += [[row[i].replace("|", "\\|").replace("\n", " ") for i in kept] for row in filled]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _over(cell: Plain, group: str, name: str) -> Any:
    """Return the median of the sessions' medians."""
    sessions = [_median((each.get(group) or {}).get(name)) for each in cell["sessions"]]
    return _median([each for each in sessions if each is not None])


def _median(values: Sequence[float] | None) -> float | None:
    known = [each for each in values or () if each is not None]
    return statistics.median(known) if known else None


def _rates(cell: Plain) -> Mapping[str, Sequence[float]]:
    return cell["sessions"][-1].get("throughput_per_s") or {}


def _short(test: str) -> str:
    return test.rpartition("::")[2].partition("[")[0]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
