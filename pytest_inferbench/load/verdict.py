"""The end of a run of Locust's: takes results, prints them, writes them, gives the exit status."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.objectives import missed, objectives_of
from pytest_inferbench.load.result import LoadResult, to_text
from pytest_inferbench.load.table import lines_of


class Judge:
    """What results are held against.

    Args:
        options: Locust's options, with ours.
        folder: Where settings are looked for.
    """

    def __init__(self, options: Namespace, folder: Path) -> None:
        self._objectives = objectives_of(options.objective, folder)
        self._write_to = Path(options.load_json) if options.load_json else None

    def conclude(self, results: Sequence[LoadResult], faults: Sequence[str]) -> int:
        """Say what came of the load, and return 0 where all is well, 1 where it is not."""
        wrong = list(faults)
        if not results and not wrong:
            wrong.append(
                str(
                    InferbenchError(
                        "IB-837",
                        "nothing was measured: the run ended before its warm-up did",
                        "Give it more time with -t, or --measure 10s.",
                    )
                )
            )
        for result in results:
            wrong += missed(result, self._objectives)
            if result.failed:
                wrong.append(
                    f"{result.failed} of {result.failed + result.requests} requests failed"
                )
        for line in lines_of(results) if results else ():
            _say(line)
        for line in wrong:
            _say(f"FAILED {line}")
        if not wrong:
            met = f": {', '.join(self._objectives)} within the objectives" * bool(self._objectives)
            _say(f"PASSED{met}")
        if self._write_to is not None:
            try:
                self._write_to.write_text(to_text(results, wrong), encoding="utf-8")
            except OSError as error:
                wrong.append(f"{self._write_to} could not be written: {error}")
                _say(f"FAILED {wrong[-1]}")
        return 1 if wrong else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
