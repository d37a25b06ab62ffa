"""One session: two models compared by the gate's own code, and what peers would look at."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_inferbench.comparing import Comparison, Shown
from pytest_inferbench.gate import Gate
from pytest_inferbench.options import Options
from pytest_inferbench.side_by_side import Beside

_SETTINGS = """
[models.{name}]
path = "{path}"
task = "tensors"
backends = ["ort-cpu"]
precisions = ["fp32"]

[models.{name}.budgets]
p5 = "+2.5%"
p50 = false

[backends.ort-cpu]
intra_op_num_threads = {threads}
"""


@dataclass(frozen=True)
class Session:
    """What one comparison said, and the samples it was made of.

    Attributes:
        threads: Of the models.
        verdict: The gate's.
        code: Its code.
        change: The estimate, as a fraction.
        visible: The smallest change it could have seen; None where it cannot tell.
        seconds: What the rounds took.
        logs: By statistic, the log ratio of each round.
        pooled: By side, the minimum and the median of all samples, in ms.
        first: The same of the first launch alone.
        means: By side, the mean of each burst of all rounds, in ms.
        first_means: The same of the first launch alone.
    """

    threads: int
    verdict: str
    code: str
    change: float
    visible: float | None
    seconds: float
    logs: dict[str, list[float]]
    pooled: list[dict[str, float]]
    first: list[dict[str, float]]
    means: list[list[float]]
    first_means: list[list[float]]

    def as_fields(self) -> dict[str, Any]:
        """Return it as plain types."""
        return dataclasses.asdict(self)

    def line(self) -> str:
        """Return it in one line."""
        return (
            f"{self.verdict}, {self.change:+.1%} after {len(self.logs['p5'])} rounds,"
            f" {self.seconds:.1f} s, {'all cores' if self.threads == 0 else 'one thread'}"
        )


def judge_session(old: Path, new: Path, threads: int, scratch: Path) -> Session:
    """Compare two models in fresh workers, as `--inferbench-against-model` does."""
    folder = scratch / f"{new.stem}-{threads}"
    folder.mkdir(exist_ok=True)
    threads_text = threads or len(os.sched_getaffinity(0))
    settings = _SETTINGS.format(name="blocks", path=new, threads=threads_text)
    (folder / "inferbench.toml").write_text(settings)
    gate = Gate.from_folder(folder, options=Options(against_model=old))
    (cell,) = gate.cells
    run = gate.run_of(cell)
    try:
        budget = gate.settings.budget(cell.model, "p5", cell.precision, cell.hardware)
        assert budget is not None
        (judgement,) = Beside(run).judgements([budget])
        (comparison,) = run.comparisons.values()
        return _session(threads, judgement, comparison)
    finally:
        gate.close()


def _session(threads: int, judgement: Any, comparison: Comparison) -> Session:
    rounds = comparison.rounds
    sides = ([each.partner for each in rounds], [each.candidate for each in rounds])
    return Session(
        threads=threads,
        verdict=judgement.verdict.value,
        code=judgement.code,
        change=math.expm1(comparison.compared("p5").centre),
        visible=judgement.smallest_visible,
        seconds=round(comparison.seconds, 3),
        logs={
            name: [round(each.log_ratio(name), 6) for each in rounds]
            for name in ("p5", "p50", "p90", "mean")
        },
        pooled=[_pooled(side) for side in sides],
        first=[_pooled(side[:1]) for side in sides],
        means=[_means(side) for side in sides],
        first_means=[_means(side[:1]) for side in sides],
    )


def _pooled(launches: Sequence[Shown]) -> dict[str, float]:
    ms = np.concatenate([ns for launch in launches for ns in launch.bursts]) / 1e6
    return {"min": float(ms.min()), "median": float(np.median(ms)), "samples": len(ms)}


def _means(launches: Sequence[Shown]) -> list[float]:
    return [round(float(ns.mean()) / 1e6, 5) for launch in launches for ns in launch.bursts]
