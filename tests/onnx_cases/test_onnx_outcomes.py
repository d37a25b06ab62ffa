"""What a case's end means: refusals, differences, and what was recorded."""

from __future__ import annotations

import math
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.onnx_cases.outcomes import (
    Earlier,
    Kind,
    Outcome,
    Verdict,
    compared,
    ended_early,
    fell_back,
    rule,
)
from pytest_inferbench.onnx_cases.tensors import Mismatch, _numbers, cannot_compare, compare, packed

KINDS = st.sampled_from(Kind)
EARLIER = st.none() | st.builds(Earlier, st.none() | KINDS, st.just("rt 1.0"))


def error(message, kind="Fail", code=""):
    return {"code": code, "type": kind, "message": message}


@given(kind=KINDS, earlier=EARLIER, updating=st.booleans())
def test_only_what_passed_passes(kind, earlier, updating):
    ruling = rule(Outcome(kind, "why"), earlier, "rt 2.0", updating=updating)
    assert ruling.passes == (kind is Kind.PASSED)
    assert not (ruling.passes and ruling.fails)
    if updating:
        assert not ruling.fails, "what is recorded is not failed as well"


@given(kind=KINDS, earlier=EARLIER)
def test_a_regression_is_what_passed_and_does_not_and_names_both_versions(kind, earlier):
    ruling = rule(Outcome(kind), earlier, "rt 2.0", updating=False)
    passed_before = earlier is not None and earlier.kind is Kind.PASSED
    assert (ruling.verdict is Verdict.REGRESSED) == (passed_before and kind is not Kind.PASSED)
    if ruling.verdict is Verdict.REGRESSED:
        assert ruling.code == "IB-631"
        assert "rt 1.0" in ruling.text
        assert "rt 2.0" in ruling.text


@given(kind=KINDS.filter(lambda kind: kind is not Kind.PASSED))
def test_an_improvement_names_what_it_was(kind):
    ruling = rule(Outcome(Kind.PASSED), Earlier(kind, "rt 1.0"), "rt 2.0", updating=False)
    assert (ruling.verdict, ruling.code) == (Verdict.IMPROVED, "IB-634")
    assert kind.value in ruling.text


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (None, Kind.FAILED, Verdict.FAILED),
        (None, Kind.CRASHED, Verdict.FAILED),
        (None, Kind.UNSUPPORTED, Verdict.UNSUPPORTED),
        (Kind.FAILED, Kind.FAILED, Verdict.KNOWN),
        (Kind.CRASHED, Kind.TIMED_OUT, Verdict.KNOWN),
        (Kind.CRASHED, Kind.FAILED, Verdict.KNOWN),
        (Kind.FAILED, Kind.CRASHED, Verdict.FAILED),
        (Kind.UNSUPPORTED, Kind.FAILED, Verdict.FAILED),
        (Kind.FAILED, Kind.UNSUPPORTED, Verdict.UNSUPPORTED),
        (Kind.UNSUPPORTED, Kind.UNSUPPORTED, Verdict.UNSUPPORTED),
    ],
)
def test_what_never_passed_fails_only_if_it_got_worse(before, now, verdict):
    earlier = Earlier(before, "rt 1.0") if before else None
    assert rule(Outcome(now), earlier, "rt 2.0", updating=False).verdict is verdict


@pytest.mark.parametrize(
    ("stage", "said", "kind"),
    [
        ("open", error("anything"), Kind.UNSUPPORTED),
        ("types", error("'x' is float4"), Kind.UNSUPPORTED),
        ("infer", error("9 : NOT_IMPLEMENTED : no kernel"), Kind.UNSUPPORTED),
        ("infer", error("sorry", kind="NotImplementedError"), Kind.UNSUPPORTED),
        ("infer", error("1 : FAIL : shapes"), Kind.FAILED),
        ("infer", error("has shape (2,)", code="IB-322"), Kind.FAILED),
    ],
)
def test_where_it_failed_decides(stage, said, kind):
    assert ended_early(stage, said).kind is kind


def test_the_largest_error_of_all_outputs_is_kept():
    outcome = compared({"a": Mismatch("x", 1.0), "b": Mismatch("y", 3.0), "c": Mismatch("z")})
    assert (outcome.kind, outcome.max_error) == (Kind.FAILED, 3.0)
    assert compared({}).kind is Kind.PASSED


def test_a_model_of_which_nothing_ran_where_it_should_fell_back():
    node = {"node": "n", "op": "Abs", "provider": "CPU"}
    assert "Abs ran on CPU" in fell_back({"placement": {"CPU": 1, "CUDA": 0}, "fallback": [node]})
    assert fell_back({"placement": {"CPU": 1, "CUDA": 2}, "fallback": [node]}) is None
    assert fell_back({"placement": {"CPU": 1}, "fallback": []}) is None
    assert fell_back({}) is None


finite = st.floats(-1e6, 1e6, width=32)
numbers = st.lists(finite | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=1)


@given(numbers, st.sampled_from(["float32", "float64", "float16"]))
def test_an_array_is_as_near_to_itself_as_can_be(values, dtype):
    with np.errstate(over="ignore"):
        array, name = packed(np.array(values).astype(dtype))
    assert compare(array, name, array.copy(), name, 0, 0) is None


@given(numbers, numbers, st.sampled_from([0, 1e-3]))
def test_nearness_is_numpy_s(one, other, rtol):
    size = min(len(one), len(other))
    a, b = np.array(one[:size], np.float32), np.array(other[:size], np.float32)
    try:
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7)
    except AssertionError:
        near = False
    else:
        near = True
    assert (compare(b, "float32", a, "float32", rtol, 1e-7) is None) == near


@given(st.lists(st.integers(0, 255), min_size=1))
def test_whole_numbers_do_not_wrap(values):
    array = np.array(values, np.uint8)
    found = compare(array, "uint8", ~array, "uint8", 0, 0)
    assert found.max_error == max(abs(255 - 2 * value) for value in values)


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.5, -2, math.nan]).astype(ml_dtypes.bfloat16),
        np.array([1.5, -2, 3]).astype(ml_dtypes.float8_e5m2),
        np.array([1.5, -2, 3]).astype(ml_dtypes.float8_e4m3fn),
        np.array([[1, -8, 7]]).astype(ml_dtypes.int4),
        np.array([0, 15, 7]).astype(ml_dtypes.uint4),
        np.array(["", "ä", "text"], dtype=object),
        np.array([b"text"], dtype=object),
        np.array([], dtype=object),
        np.float32(3),
        np.zeros((0, 3), np.float16),
        np.array(True),
    ],
)
def test_every_type_can_be_sent_and_compared(value):
    from pytest_inferbench.worker.protocol import decode, encode

    array, name = packed(value)
    assert array.shape == np.shape(value)
    _, arrays = decode(encode({}, {"x": array}))
    assert compare(array, name, arrays["x"], name, 0, 0) is None


def test_bfloat16_has_two_units_in_the_last_place():
    one = np.float32(1).astype(ml_dtypes.bfloat16)
    near, far = (np.array([x], np.float32).astype(ml_dtypes.bfloat16) for x in (1.0156, 1.03))
    expected, name = packed(np.array([one]))
    assert compare(expected, name, packed(near)[0], name, 1e-3, 1e-7) is None
    assert compare(expected, name, packed(far)[0], name, 1e-3, 1e-7).max_error > 0.02


def test_shape_and_type_are_part_of_the_answer():
    zeros = np.zeros(3, np.float32)
    assert "shape" in compare(zeros, "float32", zeros.reshape(3, 1), "float32", 1, 1).text
    assert "type" in compare(zeros, "float32", zeros.astype("f8"), "float64", 1, 1).text
    texts = np.array(["a", "b"])
    assert "1 of 2 texts" in compare(texts, "string", np.array(["a", "c"]), "string", 1, 1).text


BLOCKED = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np
from types import SimpleNamespace as Some
from pytest_inferbench.onnx_cases.index import DataSet
from pytest_inferbench.onnx_cases.runner import _outcome

def end(type_name, carrier):
    array = np.array(["1", "2", "3"]) if carrier == "str" else np.arange(3, dtype=carrier)
    sets = [DataSet({}, {"y": array}, {"y": type_name})]
    reply = Some(fields={"types": {"y": type_name}}, arrays={"0/y": array.copy()})
    return _outcome(Some(sets=sets, rtol=1e-3, atol=1e-7), reply)

for each in sys.argv[1:]:
    outcome = end(*each.split(":"))
    print(outcome.kind.value, "|", outcome.detail)
"""


def test_without_ml_dtypes_only_what_needs_it_is_unsupported_and_says_so():
    readable = ["float32:float32", "int64:int64", "int4:int8", "bfloat16:uint16", "string:str"]
    needy = ["float8_e4m3fn:uint8", "float8_e5m2:uint8"]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *readable, *needy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [kind.strip(" |") for kind, *_ in lines] == ["passed"] * 5 + ["unsupported"] * 2
    for name, (_, detail) in zip(("float8_e4m3fn", "float8_e5m2"), lines[5:], strict=True):
        assert detail.startswith(f"by the harness: {name} cannot be read: ml_dtypes is not inst")


def test_a_type_that_ml_dtypes_does_not_know_cannot_be_compared():
    assert "does not know it" in cannot_compare("float3_of_the_future")
    assert cannot_compare("float8_e4m3fn") == ""


@given(st.lists(st.integers(0, 0xFFFF), min_size=1))
def test_bfloat16_reads_as_ml_dtypes_reads_it(bits):
    carrier = np.array(bits, np.uint16)
    theirs = carrier.view(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(_numbers(carrier, "bfloat16"), theirs)
