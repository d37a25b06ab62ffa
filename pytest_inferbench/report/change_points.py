"""Change points: takes series of a history, has Apache Otava look at them, gives steps.

Otava runs in a Python that has it, as a program of its own: it pins numpy, and the speed of the
probe beside every run depends on numpy's version.
"""

from __future__ import annotations

import json
import math
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.report.history import EXACT, History, Series, Step

PROGRAM = Path(__file__).with_name("otava_program.py")

WINDOW = 50
P_VALUE = 0.001
LEAST = 0.02
"""The smallest change, as a fraction, of figures that have noise; Otava's own p-value otherwise."""

FEWEST = 4
"""Moments that a series must have to be looked at."""

TIMEOUT_S = 600

_HINT = (
    "Give a Python that has it: `python -m venv .venvs/otava`, `.venvs/otava/bin/pip install"
    " apache-otava`, then `--otava .venvs/otava/bin/python`."
)


def is_here() -> bool:
    """Whether this Python itself has Otava."""
    try:
        version("apache-otava")
    except PackageNotFoundError:
        return False
    return True


def search(history: History, python: str) -> None:
    """Put into a history the steps that Otava finds.

    Args:
        history: What is looked at; its `searched` says by what.
        python: An interpreter that has `apache-otava`.

    Raises:
        InferbenchError: The Python cannot be started, or has none (IB-912).
    """
    long_enough = [each for each in history.all_series() if len(each.moments) >= FEWEST]
    asked = {
        "window": WINDOW,
        "p_value": P_VALUE,
        "series": [
            {"values": each.values, "least": 0.0 if each.figure in EXACT else LEAST}
            for each in long_enough
        ],
    }
    answer = _answer(python, json.dumps(asked))
    history.searched = f"Apache Otava {answer['version']}"
    for series, points in zip(long_enough, answer["points"], strict=True):
        series.steps = _steps(series, points)


def _steps(series: Series, points: list[list[float]]) -> list[Step]:
    return [
        Step(int(index), before, after, p_value)
        for index, before, after, p_value in points
        if 0 < index < len(series.moments) and all(map(math.isfinite, (before, after)))
    ]


def _answer(python: str, question: str) -> dict[str, list[list[list[float]]]]:
    try:
        done = subprocess.run(
            [python, "-I", str(PROGRAM)],
            input=question,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        found: dict[str, list[list[list[float]]]] = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason"])[-1]
        raise InferbenchError(
            "IB-912", f"{python} cannot look for change points: {last}", _HINT
        ) from error
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise InferbenchError(
            "IB-912", f"{python} cannot look for change points: {error}", _HINT
        ) from error
    return found
