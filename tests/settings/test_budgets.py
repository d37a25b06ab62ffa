"""Budgets: parsing, tables by precision and hardware, and which entry wins."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pytest_inferbench.backends.catalog import PRECISIONS
from pytest_inferbench.settings.budgets import parse_budget, parse_budgets, resolve
from pytest_inferbench.settings.metrics import DEFAULTS, METRICS

HARDWARE = ("cpu-amd-epyc-9b14-2c", "nvidia-h200", "jetson-orin-nano-15w")


def budgets_of(written):
    """Parse a table that must be right."""
    faults = []
    budgets = parse_budgets(written, lambda key, text: faults.append((key, text)))
    assert faults == []
    return budgets


def faults_of(written):
    faults = {}
    parse_budgets(written, faults.setdefault)
    return faults


@pytest.mark.parametrize(
    ("metric", "value", "kind", "limit"),
    [
        ("p5", "+5%", "relative", 0.05),
        ("p5", "+ 2.5 %", "relative", 0.025),
        ("p99", "30 ms", "absolute", 30),
        ("p99", "0.5 s", "absolute", 500),
        ("p99", 30, "absolute", 30),
        ("p50", "120 us", "absolute", 0.12),
        ("memory", "+5%", "relative", 0.05),
        ("memory", "1.5 GiB", "absolute", 1536),
        ("memory_growth", 0, "absolute", 0),
        ("cold_start", "+20%", "relative", 0.2),
        ("cosine", 1, "absolute", 1),
        ("cosine", "0.99", "absolute", 0.99),
        ("snr_db", "40 dB", "absolute", 40),
        ("map_drop", 0, "absolute", 0),
        ("max_error", 1e-3, "absolute", 1e-3),
    ],
)
def test_a_single_budget(metric, value, kind, limit):
    budget = parse_budget(METRICS[metric], value)
    assert (budget.kind, budget.metric, budget.origin) == (kind, metric, "settings")
    assert budget.limit == pytest.approx(limit)
    assert budget.text == str(value)
    assert (budget.unit, budget.better) == (METRICS[metric].unit, METRICS[metric].better)


@pytest.mark.parametrize(
    ("metric", "value", "says"),
    [
        ("cosine", 1.01, "above 0 and at most 1"),
        ("cosine", 0, "above 0"),
        ("cosine", -0.5, "above 0"),
        ("cosine", "+5%", "absolute"),
        ("cosine", "99%", "absolute"),
        ("map", 37.3, "at most 1"),
        ("map_drop", 1, "below 1"),
        ("map_drop", -0.01, "at least 0"),
        ("map_drop", "1%", "no change in percent"),
        ("p5", "5%", r'explicit plus: "\+5%"'),
        ("p5", "30 %", "explicit plus"),
        ("p5", "-5%", "explicit plus"),
        ("p5", "+0%", "above 0 %"),
        ("p5", "+1e999%", "above 0 %"),
        ("p5", "+5", "percent"),
        ("p99", "+5 ms", "percent"),
        ("p99", "-5 ms", "above 0"),
        ("p99", 0, "above 0"),
        ("p99", "5 MiB", '"MiB" is not a unit'),
        ("memory", "30 ms", '"ms" is not a unit'),
        ("memory", "30 MB", "KiB, MiB, GiB"),
        ("p99", math.nan, "finite"),
        ("p99", 10**400, "finite"),
        ("p99", True, "false to switch"),
        ("p99", [1], "expected a number"),
        ("p99", "fast", "cannot read"),
    ],
)
def test_a_budget_that_cannot_be_says_why(metric, value, says):
    with pytest.raises(ValueError, match=says):
        parse_budget(METRICS[metric], value)


def test_false_switches_a_default_off_and_only_that_one():
    rules = budgets_of({"p50": False, "p5": {"int8": False}})
    assert resolve(rules["p50"], "p50", "fp32", "nvidia-h200") is None
    assert resolve(rules["p5"], "p5", "int8", "nvidia-h200") is None
    assert resolve(rules["p5"], "p5", "fp32", "nvidia-h200").origin == "default"


def test_what_the_table_does_not_cover_falls_to_the_default():
    rules = budgets_of({"cosine": {"fp16": 0.9}})["cosine"]
    assert resolve(rules, "cosine", "fp16", "nvidia-h200").limit == 0.9
    default = resolve(rules, "cosine", "fp32", "nvidia-h200")
    assert (default.limit, default.origin) == (DEFAULTS["cosine"]["fp32"], "default")


def test_every_default_parses_for_every_precision():
    for metric in METRICS:
        for precision in PRECISIONS:
            budget = resolve({}, metric, precision, "nvidia-h200")
            assert (budget is not None) == (metric in DEFAULTS)
            assert budget is None or budget.origin == "default"
    for metric, written in DEFAULTS.items():
        assert set(written) in ({"default"}, {"cpu", "default"}, set(PRECISIONS)), metric


def test_a_class_of_hardware_has_its_own_default():
    on_cpu = resolve({}, "p5", "int8", "cpu-amd-epyc-9b14-2c")
    on_gpu = resolve({}, "p5", "int8", "nvidia-h200")
    assert (on_cpu.text, on_gpu.text) == ("+10%", "+5%")


scopes = st.tuples(st.sampled_from([None, *PRECISIONS]), st.sampled_from([None, *HARDWARE]))


@hypothesis_settings(deadline=None)
@given(
    entries=st.dictionaries(scopes, st.integers(1, 10**6), max_size=8),
    hardware_outside=st.booleans(),
    precision=st.sampled_from(PRECISIONS),
    hardware=st.sampled_from(HARDWARE),
)
def test_the_most_specific_entry_wins_however_it_is_nested(
    entries, hardware_outside, precision, hardware
):
    table = {}
    for (for_precision, for_hardware), limit in entries.items():
        path = [name for name in (for_precision, for_hardware) if name]
        if hardware_outside:
            path.reverse()
        inner = table
        for name in path:
            inner = inner.setdefault(name, {})
        inner["default"] = limit
    rules = budgets_of({"p99": table})["p99"] if table else {}
    expected = next(
        (
            entries[scope]
            for scope in (
                (precision, hardware),
                (precision, None),
                (None, hardware),
                (None, None),
            )
            if scope in entries
        ),
        None,
    )
    budget = resolve(rules, "p99", precision, hardware)
    assert (budget.limit if budget else None) == expected


@pytest.mark.parametrize(
    ("written", "key", "says"),
    [
        ({"p55": "+5%"}, "p55", '"p5'),
        ({"speedup": 2}, "speedup", "expected a table"),
        ({"speedup": {"a / b": 2}}, 'speedup."a / b"', "is no cell"),
        ({"speedup": {"trt-int8": 2}}, "speedup.trt-int8", "a slash between"),
        ({"speedup": {"trt-fp16 / trt-fp16": 2}}, 'speedup."trt-fp16 / trt-fp16"', "same cell"),
        ({"speedup": {"trt-fp16 / trt-fp32": "fast"}}, 'speedup."trt-fp16 / trt-fp32"', "factor"),
        ({"speedup": {"trt-fp16 / trt-fp32": 0}}, 'speedup."trt-fp16 / trt-fp32"', "factor"),
        ({"cosin": 0.9}, "cosin", '"cosine"'),
        ({"cosine": {"fp61": 0.9}}, "cosine.fp61", '"fp16"'),
        ({"cosine": {"fp16": {"int8": 0.9}}}, "cosine.fp16.int8", "inside another"),
        ({"p5": {"nvidia-a": {"cpu-b": 1}}}, "p5.nvidia-a.cpu-b", "inside another"),
        ({"cosine": {"default": {"int8": 0.9}}}, "cosine.default", "inside another"),
        ({"cosine": {"fp16": {"default": 2}}}, "cosine.fp16.default", "at most 1"),
        ({"cosine": {}}, "cosine", "empty table"),
        ({"p5": {"int8": {"cpu-b": 1}, "cpu-b": {"int8": 2}}}, "p5.cpu-b.int8", "already"),
        ("+5%", "", "expected a table"),
        ({"a b": 1}, '"a b"', "unknown budget"),
    ],
)
def test_faults_name_their_key(written, key, says):
    faults = faults_of(written)
    assert list(faults) == [key]
    assert says in faults[key]


def test_one_fault_does_not_hide_the_others():
    assert list(faults_of({"p55": 1, "cosine": 2, "p99": {"fp16": "5 MiB", "int8": "5 ms"}})) == [
        "p55",
        "cosine",
        "p99.fp16",
    ]
