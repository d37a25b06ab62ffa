"""Plans: what makes none is said; what is planned survives the way through a command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.histogram import of_latencies
from pytest_inferbench.load.objectives import missed, objectives_of
from pytest_inferbench.load.options import add_options, arguments_of, plan_of
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.result import LoadResult, from_text, to_text, together
from pytest_inferbench.load.shapes import SHAPES, Step, doubling, most_clients, steps_of
from pytest_inferbench.load.table import lines_of


def parsed(plan):
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("-u", dest="num_users", type=int)
    parser.add_argument("-r")
    add_options(parser, plan.service)
    return plan_of(parser.parse_args(arguments_of(plan)), plan.service)


seconds = st.floats(1e-3, 1e5)


@given(
    st.builds(
        LoadPlan,
        url=st.sampled_from(["http://h:1", "grpc://h", "grpcs://[::1]:9"]),
        model=st.sampled_from(["m", "a model"]),
        clients=st.integers(1, 10**4),
        seconds=seconds,
        warmup_s=seconds,
        rate_per_s=st.none() | st.floats(1e-3, 1e6),
        arrivals=st.sampled_from(["poisson", "constant"]),
        late_ms=seconds,
        shared_memory=st.booleans(),
        batch=st.integers(1, 64),
        inputs=st.sampled_from([None, Path("/x/y.npz")]),
        shapes=st.dictionaries(st.sampled_from("ab"), st.tuples(st.integers(0, 9))),
        samples=st.integers(1, 99),
        seed=st.integers(0, 99),
        verify=st.booleans(),
        expected=st.sampled_from([None, Path("/x/z.npz")]),
        tolerance=st.floats(1e-9, 1),
        request_timeout_s=seconds,
    )
)
def test_options_make_the_same_plan(plan):
    again = parsed(plan)
    for name in ("seconds", "warmup_s", "late_ms", "request_timeout_s"):
        assert getattr(again, name) == pytest.approx(getattr(plan, name))
        again = again.replace(**{name: getattr(plan, name)})
    assert again == plan


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"clients": 0}, "clients is 0"),
        ({"model": ""}, "no model"),
        ({"rate_per_s": 0.0}, "rate_per_s"),
        ({"rate_per_s": float("nan")}, "rate_per_s"),
        ({"encoding": "image"}, "triton takes binary, json"),
        ({"url": "grpc://h", "encoding": "json"}, "gRPC has no JSON"),
        ({"service": "http_service", "encoding": "raw", "shared_memory": True}, "neither gRPC"),
        ({"processes": 2}, "2 processes for 1 clients"),
        ({"arrivals": "rarely"}, "arrivals are"),
    ],
)
def test_what_cannot_be_made_is_said(fields, why):
    with pytest.raises(InferbenchError, match=why) as raised:
        LoadPlan(**{"url": "http://h:1", "model": "m", **fields})
    assert raised.value.code == "IB-831"


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:99999999", "grpc://:1"])
def test_what_is_no_address_is_said(url):
    with pytest.raises(InferbenchError) as raised:
        LoadPlan(url=url, model="m")
    assert raised.value.code == "IB-830"


def part(**fields):
    latencies = [10**6 * each for each in fields.pop("ms", (1, 2, 3))]
    given_ = {"protocol": "grpc", "clients": 4, "seconds": 2.0, "requests": len(latencies)}
    return LoadResult(**{**given_, "histogram": of_latencies(latencies), **fields})


def test_parts_of_processes_are_added_up_before_anything_is_computed():
    fast = part(ms=[1] * 98, failures={"a": 1}, rate_per_s=10.0, late=1, sent_bytes=100)
    slow = part(ms=[100, 100], failures={"a": 2, "b": 1}, rate_per_s=30.0, seconds=2.2)
    both = together([fast, slow])
    assert (both.clients, both.requests, both.processes, both.rate_per_s) == (8, 100, 2, 40.0)
    assert both.failures == {"a": 3, "b": 1}
    assert both.p50_ms == pytest.approx(1, rel=1e-3)
    assert both.p99_ms == pytest.approx(100, rel=1e-3)  # the mean of both is 50.5
    assert both.per_s == pytest.approx(98 / 2.0 + 2 / 2.2)  # each by its own clock
    nothing = part(ms=(), seconds=3.0)
    assert together([fast, nothing]).per_s == pytest.approx(fast.per_s)
    assert together([nothing, part(ms=())]).seconds == pytest.approx(2.5)
    assert both.sent_bytes_each == 1
    assert from_text(to_text([both], ["x"]), "it") == ([both], ["x"])


@pytest.mark.parametrize("text", ["", "[]", '{"format": 9}', '{"format": 1, "faults": []}'])
def test_what_holds_no_results_is_said(text):
    with pytest.raises(InferbenchError) as raised:
        from_text(text, "file")
    assert raised.value.code == "IB-836"


def test_objectives_are_those_of_the_options_or_the_settings(tmp_path):
    assert objectives_of([], tmp_path).objectives == {}
    (tmp_path / "inferbench.toml").write_text(
        '[serving.objectives]\np95 = "2 ms"\nqueue_p95 = "1 ms"\n'
    )
    result = part()
    (said,) = missed(result, objectives_of([], tmp_path).objectives)
    assert objectives_of([], tmp_path).beyond == ["queue_p95"]
    assert "p95 is " in said
    assert missed(result, objectives_of(["p95=1s", "per_s=1"], tmp_path).objectives) == []
    (slow,) = missed(result, objectives_of(["per_s=2/s"], tmp_path).objectives)
    assert "per_s is 1.5 /s" in slow
    for wrong in ("p42=1ms", "p95", "p95=+5%", "p95=1 furlong", "queue_p95=5ms"):
        with pytest.raises(InferbenchError) as raised:
            objectives_of([wrong], tmp_path)
        assert raised.value.code == "IB-838"


def test_a_result_without_answers_meets_no_objective():
    nothing = part(ms=(), failures={"timeout": 3})
    objectives = objectives_of(["p95=1s", "per_s=1", "failures=0"], Path("/")).objectives
    assert len(missed(nothing, objectives)) == 3
    assert any("3 x timeout" in line for line in lines_of([nothing]))


@given(st.sampled_from(SHAPES), st.integers(1, 300), st.floats(1, 1e4))
def test_shapes_take_the_time_they_are_given(shape, most, seconds_):
    steps = steps_of(shape, most, seconds_)
    assert all(1 <= step.clients <= most for step in steps)
    assert max(step.clients for step in steps) == most
    if shape != "sweep":
        assert sum(step.seconds for step in steps) == pytest.approx(seconds_)


def test_a_sweep_doubles_or_does_what_it_is_told():
    assert doubling(1) == [1]
    assert doubling(12) == [1, 2, 4, 8, 12]
    assert steps_of("sweep", 12, 3, [1, 5]) == [Step(1, 3), Step(5, 3)]
    with pytest.raises(ValueError, match="sweep, ramp"):
        steps_of("wave", 4, 1)


def test_the_most_clients_of_a_shape_are_those_of_its_largest_step():
    assert most_clients("1,8,2", 3) == 8
    assert most_clients("", 3) == 3
    assert most_clients("", None) == 16
