"""What a line of progress says of rounds side by side: the interval that is still to narrow."""

from __future__ import annotations

from pytest_inferbench.judge.statistics import Interval
from pytest_inferbench.judge.verdict import Judgement, Verdict
from pytest_inferbench.side_by_side import narrowed


def judged(metric, verdict, change=None):
    return Judgement(metric, verdict, "IB-618", 1.0, "ms", "+5%", change=change)


def test_the_first_figure_that_is_not_decided_is_told():
    change = Interval(-0.012, 0.02, 0.0604)
    found = [
        judged("p5", Verdict.PASS, Interval(-0.01, 0.0, 0.01)),
        judged("p50", Verdict.INCONCLUSIVE),
        judged("p99", Verdict.INCONCLUSIVE, change),
    ]
    assert narrowed(found) == "p99 -1.2% to +6.0%, budget +5%"
    assert narrowed(found[:2]) == ""
