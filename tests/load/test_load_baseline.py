"""Load against recorded sessions: slower is found, the same is none, noise is no regression."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.load import baseline
from pytest_inferbench.load.histogram import of_latencies
from pytest_inferbench.load.result import LoadResult

BUDGETS = baseline.budgets_of([])


def session(seed, slower=1.0, clients=8):
    draw = np.random.default_rng(seed)
    day = draw.normal(1, 0.01)
    runs = []
    for _ in range(5):
        ms = 10 * slower * day * draw.normal(1, 0.005) * draw.lognormal(0, 0.1, 500)
        per_s = 1000 * clients / ms.mean()
        runs.append(
            LoadResult(
                "grpc", clients, 500 / per_s, 500, histogram=of_latencies((ms * 1e6).astype(int))
            )
        )
    return runs


RECORDED = [session(seed) for seed in range(6)]


def verdicts(now, before=RECORDED):
    found = baseline.judged(now, before, BUDGETS)
    return {each.metric: each.verdict for judgements in found.values() for each in judgements}


def test_a_session_like_the_recorded_ones_passes():
    assert set(verdicts(session(100)).values()) == {Verdict.PASS}


def test_a_slower_one_regresses_in_both():
    assert verdicts(session(100, 1.7)) == dict.fromkeys(
        ("load_p50", "load_throughput"), Verdict.REGRESSED
    )


def test_nothing_alike_was_recorded():
    assert set(verdicts(session(1, clients=16)).values()) == {Verdict.MISSING}
    assert set(verdicts(session(1), []).values()) == {Verdict.MISSING}


def test_a_single_run_says_nothing():
    assert set(verdicts(session(100, 1.7)[:1]).values()) == {Verdict.INCONCLUSIVE}


def test_sessions_come_back_from_a_file(tmp_path):
    path = tmp_path / "kept/load.json"
    assert baseline.read(path, new=True) == []
    with pytest.raises(InferbenchError, match="no baseline of load at") as raised:
        baseline.read(path, new=False)
    assert raised.value.code == "IB-842"
    baseline.write(path, RECORDED)
    assert baseline.read(path, new=False) == RECORDED
    assert [each.name for each in path.parent.iterdir()] == ["load.json"]
    for wrong in ("", "[]", '{"format": 2}', '{"format": 1, "sessions": [[{}]]}'):
        path.write_text(wrong)
        with pytest.raises(InferbenchError) as raised:
            baseline.read(path, new=True)
        assert raised.value.code == "IB-842"


@pytest.mark.parametrize("text", ["p50=10ms", "p42=+1%", "failures=+1%", "p50", "p50=quick"])
def test_what_is_no_change_is_refused(text):
    with pytest.raises(InferbenchError) as raised:
        baseline.budgets_of([text])
    assert raised.value.code == "IB-841"
