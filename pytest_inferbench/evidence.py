"""What stands behind a cell's figures, as plain types: runs, baseline, rounds, the file that ran.

Takes launches, recorded sessions, comparisons, a cell's run; gives what a report of a test carries
to the results document, whatever the verdict. Knows no budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_inferbench.recording import Seen, environment_of, short

if TYPE_CHECKING:
    from pytest_inferbench.baselines.schema import Session
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.comparing import Comparison, Round
    from pytest_inferbench.launches import Launch

_TABLES = ("latency_ms", "device_ms", "parts_ms", "stages_ms")
_NUMBERS = (
    *("probe_ms", "cold_start_ms", "peak_mib", "growth_mib", "device_mib", "device_growth_mib"),
    *("watts", "joules", "steal_share", "other_share"),
)
TIMED_BY_CLIENTS = (
    *("load_throughput", "load_mean", "load_p50", "load_p90", "load_p95", "load_p99"),
)
"""What a round under load tells; of throughput it is the time that one answer takes."""

_NOT_SHOWN = ("environment", "samples")
"""What a recorded session says that nobody draws: the last one's differences are told in words."""


@dataclass(frozen=True)
class _Opened:
    versions: Mapping[str, str] = field(default_factory=dict)
    pinned: str = ""


def of_runs(launches: Sequence[Launch]) -> list[dict[str, Any]]:
    """Return every run of a cell, those set aside included, with why."""
    return [
        {
            **{name: _short(getattr(each, name)) for name in _TABLES},
            **{
                name: short(value)
                for name in _NUMBERS
                if (value := getattr(each, name)) is not None
            },
            "samples": each.samples,
            "calls_per_sample": each.calls_per_sample,
            "watts_over_time": [[short(at), short(watts)] for at, watts in each.watts_over_time],
            "power_source": each.power_source,
            "set_aside": each.set_aside,
        }
        for each in launches
    ]


def of_sessions(stored: Sequence[Session]) -> list[dict[str, Any]]:
    """Return recorded sessions, run by run, without what nobody draws."""
    import msgspec

    plain: list[dict[str, Any]] = msgspec.to_builtins(list(stored))
    return [{k: v for k, v in each.items() if k not in _NOT_SHOWN} for each in plain]


def of_rounds(comparisons: Mapping[str, Comparison]) -> list[dict[str, Any]]:
    """Return comparisons side by side, by their names, round by round."""
    from pytest_inferbench.comparing import METRICS
    from pytest_inferbench.side_by_side import UNDER_LOAD

    return [
        {
            "name": name,
            "label": each.label,
            "seconds": short(each.seconds),
            "rounds": [
                _round(one, TIMED_BY_CLIENTS if UNDER_LOAD in name else METRICS)
                for one in each.rounds
            ],
            "set_aside": list(each.set_aside),
        }
        for name, each in comparisons.items()
    ]


def traced(run: CellRun) -> dict[str, Any]:
    """Return which file a cell's figures are of, what it ran with and beside, as far as it got."""
    if "artifact" not in vars(run):
        return {}
    loads = [each for runs in run.loads.values() for each in runs]
    rounds = [one.candidate for each in run.comparisons.values() for one in each.rounds]
    measured: list[Seen] = [*run.launches, *run.sweeps, *loads]
    opened = _Opened(rounds[-1].versions if rounds else run.versions)
    ran = environment_of(run, measured[0] if measured else opened)
    beside = of_rounds(run.comparisons)
    return {
        "artifact": run.artifact.sha256,
        "ran": ran,
        **({"comparisons": beside} if beside else {}),
    }


def _round(one: Round, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    return {
        "candidate": {name: short(one.candidate.figure(name)) for name in metrics},
        "partner": {name: short(one.partner.figure(name)) for name in metrics},
        "change": {name: short(math.expm1(one.log_ratio(name))) for name in metrics},
    }


def _short(table: Mapping[str, float]) -> dict[str, float]:
    return {name: short(value) for name, value in table.items()}
