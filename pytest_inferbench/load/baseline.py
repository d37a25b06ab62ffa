"""Load against what was recorded before: takes results and a file's sessions, gives judgements.

For plain Locust, where no gate knows cells: alike is what has the same protocol, clients and rate.
The stretches of one call are runs, and the call a session: `judge/` says what that means.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.rates import judge_rate_stored
from pytest_inferbench.judge.runs import Run, StoredSessions, judge_stored
from pytest_inferbench.load.result import LoadResult, of_json
from pytest_inferbench.replacing import replacing
from pytest_inferbench.settings.budgets import parse_budget
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.objectives import METRIC_OF

if TYPE_CHECKING:
    from pytest_inferbench.judge.verdict import Judgement
    from pytest_inferbench.settings.budgets import Budget

FORMAT = 1
DEFAULT = {"p50": "+20%", "per_s": "-20%"}
_JUDGED = ("per_s", "mean", "p50", "p90", "p95", "p99")

Session = Sequence[LoadResult]


def budgets_of(options: Sequence[str]) -> dict[str, Budget]:
    """Read what may change, such as `p50=+20%`; those of `DEFAULT` where nothing is said.

    Raises:
        InferbenchError: It cannot be read (IB-841).
    """
    parts = dict(each.partition("=")[::2] for each in options) or DEFAULT
    budgets = {}
    for name, text in parts.items():
        if name not in _JUDGED:
            raise _unreadable(f"{name!r} is none of {', '.join(_JUDGED)}")
        try:
            budget = parse_budget(METRICS[METRIC_OF[name]], text)
        except ValueError as error:
            raise _unreadable(str(error)) from None
        if budget is None or budget.kind != "relative":
            raise _unreadable(f"{name}={text} is no change")
        budgets[name] = budget
    return budgets


def key_of(result: LoadResult) -> str:
    """Return what makes results comparable."""
    asked = f"{result.clients} clients"
    if result.rate_per_s is not None:
        asked = f"{result.rate_per_s:g} /s due"
    return f"{result.protocol}, {asked}"


def by_key(results: Session) -> dict[str, list[LoadResult]]:
    """Return results by what makes them comparable."""
    found: dict[str, list[LoadResult]] = {}
    for result in results:
        found.setdefault(key_of(result), []).append(result)
    return found


def judged(
    results: Session, sessions: Sequence[Session], budgets: Mapping[str, Budget]
) -> dict[str, list[Judgement]]:
    """Return a judgement for each budget, by what is comparable.

    Args:
        results: This session's.
        sessions: The recorded ones.
        budgets: What may change.
    """
    keys = by_key(results)
    comparisons = len(keys) * len(budgets)
    said: dict[str, list[Judgement]] = {}
    for key, runs in keys.items():
        before = [alike for each in sessions if (alike := by_key(each).get(key))]
        for name, budget in budgets.items():
            judge = judge_rate_stored if name == "per_s" else judge_stored
            stored = StoredSessions([_runs(each, name) for each in before])
            judgement = judge(
                budget,
                _runs(runs, name),
                stored,
                hardware="cpu",  # the server may be on another than ours: the widest spread
                comparisons=comparisons,
                same_speed=math.inf,
            )
            said.setdefault(key, []).append(judgement)
    return said


def read(path: Path, *, new: bool) -> list[list[LoadResult]]:
    """Return the recorded sessions.

    Args:
        path: Their file.
        new: There may be none yet.

    Raises:
        InferbenchError: The file is missing, or cannot be trusted (IB-842).
    """
    if not path.exists():
        if new:
            return []
        raise InferbenchError(
            "IB-842",
            f"there is no baseline of load at {path}",
            "Is the path right? --record makes a new one.",
        )
    try:
        written: Any = json.loads(path.read_text(encoding="utf-8"))
        if written["format"] != FORMAT:
            raise ValueError(f"it has format {written['format']!r}, not {FORMAT}")
        return [[of_json(each) for each in session] for session in written["sessions"]]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InferbenchError(
            "IB-842",
            f"{path} is no baseline of load: {error!r:.200}",
            "Move it away and record anew with --record.",
        ) from None


def write(path: Path, sessions: Sequence[Session]) -> None:
    """Write sessions; the file is whole at any moment.

    Raises:
        InferbenchError: It cannot be written (IB-842).
    """
    text = json.dumps(
        {"format": FORMAT, "sessions": [[run.as_json() for run in each] for each in sessions]}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InferbenchError("IB-842", f"{path} cannot be written: {error}") from None


def _runs(results: Session, name: str) -> list[Run]:
    figures = (result.figure(name) for result in results if result.requests)
    return [Run(figure, 1.0) for figure in figures]


def _unreadable(why: str) -> InferbenchError:
    return InferbenchError("IB-841", f"--budget: {why}", "Such as p50=+20% or per_s=-20%.")
