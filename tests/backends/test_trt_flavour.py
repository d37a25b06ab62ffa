"""Which TensorRT is here, and what it can be told."""

from __future__ import annotations

import pytest

from pytest_inferbench.backends import trt_flavour
from pytest_inferbench.backends.trt_flavour import CAPABILITIES, Flavour, find_flavour, flavour_name
from pytest_inferbench.errors import InferbenchError


def test_the_module_and_its_version_make_the_name():
    assert flavour_name("tensorrt", "10.13.3.9") == "tensorrt-10"
    assert flavour_name("tensorrt", "11.1.0") == "tensorrt-11"
    assert flavour_name("tensorrt_rtx_bindings", "1.7.1.116") == "tensorrt-rtx"


def test_flags_choose_the_precision_where_there_are_any_and_tf32_everywhere():
    weak = Flavour(None, "tensorrt-10", "10.9", weakly_typed=True)
    strong = Flavour(None, "tensorrt-11", "11.0", weakly_typed=False)
    flags = {p: weak.precision_flags(p) for p in ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")}
    assert flags == {
        "fp32": (),
        "tf32": ("TF32",),
        "fp16": ("FP16",),
        "bf16": ("BF16",),
        "int8": ("INT8",),
        "fp8": ("FP8",),
    }
    assert [strong.precision_flags(p) for p in ("fp32", "fp16", "int8")] == [(), (), ()]
    assert strong.precision_flags("tf32") == ("TF32",)


def test_where_there_is_none_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(trt_flavour, "MODULES", ("no_such_runtime", "no_such_runtime_either"))
    for only_rtx, extra in ((False, "[trt]"), (True, "[trt-rtx]")):
        with pytest.raises(InferbenchError, match="cannot be imported here") as caught:
            find_flavour(only_rtx)
        assert caught.value.code == "IB-361"
        assert extra in caught.value.hint


def test_the_one_for_rtx_is_found_and_knows_its_capabilities():
    pytest.importorskip("tensorrt_rtx_bindings")
    flavour = find_flavour(only_rtx=True)
    assert (flavour.name, flavour.weakly_typed, flavour.is_rtx) == ("tensorrt-rtx", False, True)
    for capability in CAPABILITIES:
        assert flavour.capability(capability).name == f"SM{capability.replace('.', '')}"
    with pytest.raises(InferbenchError, match=r"compute capability 9\.0") as caught:
        flavour.capability("9.0")
    assert caught.value.code == "IB-376"
    assert "8.6" in caught.value.hint
