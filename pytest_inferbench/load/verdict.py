"""The end of a run of Locust's: takes results, prints them, writes them, gives the exit status."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.load import baseline
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
        self._objectives, self._beyond = objectives_of(options.objective, folder)
        self._write_to = Path(options.load_json) if options.load_json else None
        self._baseline = Path(options.baseline) if options.baseline else None
        self._budgets = baseline.budgets_of(options.budget)
        self._record = bool(options.record)
        self._sessions = baseline.read(self._baseline, new=self._record) if self._baseline else []
        self._undecided = 0
        if self._record and self._baseline is None:
            raise InferbenchError("IB-841", "--record, and no --baseline to record into")

    def conclude(self, results: Sequence[LoadResult], faults: Sequence[str]) -> int:
        """Say what came of the load, and return 0 where all is well, 1 where it is not."""
        faults, wrong = list(faults), []
        if not results and not faults:
            faults.append(nothing("the run ended before its warm-up did"))
        for result in results:
            if not result.requests and not result.failed:
                faults.append(nothing(f"{result.clients} clients got no answer"))
            wrong += missed(result, self._objectives)
            if result.failed:
                wrong.append(
                    f"{result.failed} of {result.failed + result.requests} requests failed"
                )
        for line in lines_of(results) if results else ():
            _say(line)
        if self._beyond:
            _say(f"not judged here: {', '.join(self._beyond)}, which only the server knows")
        wrong += self._against_baseline(results, fit=not wrong and not faults)
        for line in (*faults, *wrong):
            _say(f"FAILED {line}")
        if not wrong and not faults:
            met = f": {', '.join(self._objectives)} within the objectives" * bool(self._objectives)
            some = f", {self._undecided} undecided" * bool(self._undecided)
            _say(f"PASSED{some}{met}")
        if self._write_to is not None:
            try:
                text = to_text(results, faults, wrong)
                self._write_to.write_text(text, encoding="utf-8")
            except OSError as error:
                wrong.append(f"{self._write_to} could not be written: {error}")
                _say(f"FAILED {wrong[-1]}")
        return 1 if wrong or faults else 0

    def _against_baseline(self, results: Sequence[LoadResult], *, fit: bool) -> list[str]:
        """Say how results stand against what was recorded; return what regressed."""
        if self._baseline is None or not results:
            return []
        if self._record:
            if not fit:
                return ["nothing is recorded of a run that failed"]
            try:
                baseline.write(self._baseline, [*self._sessions, results])
            except InferbenchError as error:
                return [str(error)]
            _say(f"recorded as session {len(self._sessions) + 1} of {self._baseline}")
            return []
        regressed = []
        for key, judgements in baseline.judged(results, self._sessions, self._budgets).items():
            for each in judgements:
                change = f" {each.change.value:+.1%}" if each.change is not None else ""
                line = f"{key}: {each.metric} {each.verdict.value}{change}"
                line += f" (budget {each.budget}) [{each.code}] {each.detail}"
                if each.verdict is Verdict.REGRESSED:
                    regressed.append(line)
                    continue
                _say(line)
                self._undecided += each.verdict in (Verdict.MISSING, Verdict.INCONCLUSIVE)
        return regressed


def nothing(why: str) -> str:
    """Say that nothing was measured, and why."""
    return str(
        InferbenchError(
            "IB-837", f"nothing was measured: {why}", "Give it more time with -t, or --measure 10s."
        )
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
