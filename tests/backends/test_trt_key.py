"""The key beside an engine: what it refuses, and how it says so."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_inferbench.backends.trt_key import (
    EngineKey,
    Place,
    device_differences,
    key_file,
    read_plan,
    refuse_stale,
    runtime_differences,
    write_key,
)
from pytest_inferbench.errors import InferbenchError

PLAN = b"an engine's bytes, as far as its key is concerned"
HERE = Place("tensorrt-10", "10.9.0.34", "NVIDIA L4", "8.9", "570.86.15")
KEY = EngineKey(HERE, "int8", ("INT8",), "a" * 64, hashlib.sha256(PLAN).hexdigest())

words = st.text(st.characters(codec="utf-8"), max_size=12)
places = st.builds(Place, words, words, words, words, words)
keys = st.builds(
    EngineKey, places, words, st.tuples(words), words, words, st.lists(words).map(tuple)
)


def written(folder, key=KEY, content=PLAN):
    plan = folder / "model.plan"
    plan.write_bytes(content)
    write_key(plan, key)
    return plan


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys)
def test_a_key_is_read_as_it_was_written(tmp_path, key):
    key = replace(key, plan_sha256=KEY.plan_sha256)
    assert read_plan(written(tmp_path, key)) == (PLAN, key)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(PLAN) - 1), st.booleans())
def test_a_plan_cut_or_changed_anywhere_is_refused(tmp_path, at, cut):
    content = PLAN[:at] if cut else PLAN[:at] + bytes([PLAN[at] ^ 1]) + PLAN[at + 1 :]
    with pytest.raises(InferbenchError, match="truncated or was changed") as caught:
        read_plan(written(tmp_path, content=content))
    assert caught.value.code == "IB-367"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"place": 3}', '{"place": {"x": 1}}'])
def test_a_key_that_cannot_be_read_is_refused(tmp_path, text):
    plan = written(tmp_path)
    key_file(plan).write_text(text)
    with pytest.raises(InferbenchError, match="cannot be read") as caught:
        read_plan(plan)
    assert caught.value.code == "IB-367"


def test_an_engine_without_a_key_or_none_at_all_is_refused(tmp_path):
    plan = written(tmp_path)
    key_file(plan).unlink()
    with pytest.raises(InferbenchError, match="no key beside it") as caught:
        read_plan(plan)
    assert caught.value.code == "IB-367"
    with pytest.raises(InferbenchError, match="there is no engine"):
        read_plan(tmp_path / "other.plan")


@given(keys)
def test_where_it_was_built_nothing_differs(key):
    here = key.place if not key.capabilities else replace(key.place, capability=key.capabilities[0])
    assert runtime_differences(key, here, key.precision, key.flags) == []
    assert device_differences(key, here) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"version": "10.10.0"},
            "built for tensorrt-10 10.9.0.34, here tensorrt-10 10.1",
        ),
        ({"flavour": "tensorrt-rtx"}, "TensorRT: built for tensorrt-10"),
        ({"device": "NVIDIA L40S"}, "device: built for NVIDIA L4, here NVIDIA L40S"),
        ({"capability": "9.0"}, "compute capability: built for 8.9, here 9.0"),
        ({"driver": "580.1"}, "driver: built for 570.86.15, here 580.1"),
        ({"driver": ""}, "driver: built for 570.86.15, here none"),
    ],
)
def test_what_differs_is_named(change, said):
    here = replace(HERE, **change)
    found = runtime_differences(KEY, here, "int8", ("INT8",)) + device_differences(KEY, here)
    assert len(found) == 1
    with pytest.raises(InferbenchError, match=said) as caught:
        refuse_stale("model.plan", found)
    assert caught.value.code == "IB-366"


def test_another_precision_or_other_flags_differ():
    assert runtime_differences(KEY, HERE, "fp16", ("FP16",)) == [
        "precision: built for int8, here fp16",
        "builder flags: built for INT8, here FP16",
    ]


def test_a_portable_engine_runs_on_what_it_was_compiled_for_alone():
    key = replace(KEY, place=replace(HERE, device="", driver=""), capabilities=("8.0", "8.9"))
    assert device_differences(key, HERE) == []
    assert device_differences(key, replace(HERE, driver="other", device="other")) == []
    assert device_differences(key, replace(HERE, capability="9.0")) == [
        "compute capability: built for 8.0, 8.9, here 9.0"
    ]
