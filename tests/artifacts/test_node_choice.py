"""What cannot be excluded from quantization, for the model has no such node; what was meant."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_inferbench.artifacts.node_choice import check_excluded
from pytest_inferbench.errors import InferbenchError

NODES = [
    SimpleNamespace(name=name, op_type=op_type)
    for name, op_type in (
        ("/head/Conv", "Conv"),
        ("/head/Softmax", "Softmax"),
        ("/neck/Add", "Add"),
        ("", "Relu"),
    )
]


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("op:Cnov", "op:Conv"),
        ("op:softmax", "op:Softmax"),
        ("/haed/Conv", "/head/Conv"),
        ("/head/conv", "/head/Conv"),
        ("Conv", "op:Conv"),
        ("relu", "op:Relu"),
    ],
)
def test_what_matches_nothing_names_what_was_meant(wanted, meant):
    with pytest.raises(InferbenchError, match=f"did you mean '{meant}'") as error:
        check_excluded(Path("net.onnx"), NODES, ["op:Add", wanted])
    assert error.value.code == "IB-432"
    assert repr(wanted) in error.value.message


@pytest.mark.parametrize("wanted", ["op:Xyzzyq", "op:", "", "op:/head/Conv/of/another/model"])
def test_where_nothing_is_near_the_types_are_told(wanted):
    with pytest.raises(InferbenchError) as error:
        check_excluded(Path("net.onnx"), NODES, [wanted])
    assert "did you mean" not in error.value.message
    assert "op:Add, op:Conv, op:Relu, op:Softmax" in error.value.hint


def test_names_and_types_that_the_model_has_pass():
    check_excluded(Path("net.onnx"), NODES, ["/head/Conv", "op:Relu", "op:Conv"])
