"""What would have a process that measures be measured itself: names of environment variables.

Takes an environment; gives the names in it by which coverage tools start in every Python below the
one that they run in. A worker that traces its own lines is slower, and its figures are the tool's.
"""

from __future__ import annotations

from collections.abc import Iterable

_PREFIXES = ("COV_CORE_", "COVERAGE_PROCESS_")  # pytest-cov before 7, and coverage itself


def tracing(names: Iterable[str]) -> list[str]:
    """Return those of an environment's names that start a coverage tool."""
    return sorted(name for name in names if name.startswith(_PREFIXES))
