"""Has the model loaded again, under load: does every caller get the right answer meanwhile?"""

from __future__ import annotations

import os
import time

from pytest_inferbench.serving.chaos.seen import Seen, improper, recovery, statuses, wrong_answers
from pytest_inferbench.serving.chaos.stage import Stage, Staging, staged
from pytest_inferbench.serving.chaos.traffic import Traffic

_CALLERS = 4
_WARM = 32
"""Right answers to wait for: well above what callers may have on its way."""

_TIMES = 3
_PATIENCE_S = 20.0
_PROPER = frozenset({503})


def reloaded(staging: Staging) -> Seen:
    """Load the model anew three times while callers ask, its files looking changed each time."""
    faults: list[str] = []
    reloads_s = []
    with staged(staging) as stage:
        _ = stage.process  # of somebody else's server no files are touched
        with Traffic(stage.asker(), _CALLERS) as traffic:
            traffic.wait_for_right(_WARM, _PATIENCE_S)
            happened_s = time.monotonic()
            for _ in range(_TIMES):
                before, started_s = _counted(stage), time.monotonic()
                _touch(stage)
                stage.server.control.load(stage.model)
                reloads_s.append(time.monotonic() - started_s)
                # One that was not loaded again went on counting; a new one began at none, and may
                # have answered many by now.
                if _counted(stage) - traffic.right_since(started_s) > before // 2:
                    faults.append("the model was not loaded again, though its files are newer")
                if not traffic.wait_for_right(_WARM, _PATIENCE_S):
                    faults.append(f"no right answers came within {_PATIENCE_S:g} s after loading")
        replies = traffic.replies
    went = recovery(replies, happened_s)
    return Seen(
        (*faults, *wrong_answers(replies), *improper(replies, _PROPER)),
        (),
        {
            "reload_s": max(reloads_s),
            "slowest_s": went.slowest_s,
            "requests": float(len(replies)),
            "failed": float(went.affected),
            **statuses(replies),
        },
    )


def _counted(stage: Stage) -> int:
    """Return how many inferences the model has counted: a new one begins at none."""
    return int(stage.server.control.statistics(stage.model).get("inference_count", 0))


def _touch(stage: Stage) -> None:
    """Make the model's files look changed; links stay what they are, and their targets too."""
    now = time.time()
    for path in stage.files():
        if path.parent.parent.name == stage.model or path.name == "config.pbtxt":
            os.utime(path, (now, now), follow_symlinks=False)
