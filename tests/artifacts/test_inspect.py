"""Sound models are read without their weights; every unsound one is refused by name."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser

from pytest_inferbench.artifacts.inspect import TensorFacts, inspect
from pytest_inferbench.errors import InferbenchError


def code_of(path: Path) -> str:
    with pytest.raises(InferbenchError) as caught:
        inspect(path)
    assert path.name in caught.value.message
    return caught.value.code


def relocate(path: Path, **fields: str) -> None:
    """Overwrite fields of the first tensor that lies outside the file."""
    model = onnx.load(str(path), load_external_data=False)
    tensor = next(each for each in model.graph.initializer if each.external_data)
    for entry in tensor.external_data:
        entry.value = fields.pop(entry.key, entry.value)
    for key, value in fields.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def test_facts(detector: Path) -> None:
    facts = inspect(detector)
    assert facts.inputs == (TensorFacts("images", "float32", ("n", 3, 32, 32)),)
    assert [output.name for output in facts.outputs] == ["boxes", "best", "index"]
    assert facts.outputs[2] == TensorFacts("index", "int64", ("n", 5))
    assert (facts.ir_version, facts.opset, facts.external_files) == (9, 17, ())
    assert facts.size_bytes == detector.stat().st_size
    assert facts.sha256 == hashlib.sha256(detector.read_bytes()).hexdigest()


def test_initializers_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones(3, np.float32), "w")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        [value("x", TensorProto.BFLOAT16, None), value("w", TensorProto.FLOAT, [3])],
        [value("y", TensorProto.STRING, [None, 3])],
        [weight],
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    facts = inspect(tmp_path / "m.onnx")
    assert facts.inputs == (TensorFacts("x", "bfloat16", ()),)
    assert facts.outputs == (TensorFacts("y", "string", (-1, 3)),)


def test_external_data_is_hashed_and_counted(split_detector: Path) -> None:
    facts = inspect(split_detector)
    weights = split_detector.parent / "weights.bin"
    assert facts.external_files == (weights,)
    assert facts.size_bytes == split_detector.stat().st_size + weights.stat().st_size
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert inspect(split_detector).sha256 != facts.sha256


def test_missing(tmp_path: Path) -> None:
    assert code_of(tmp_path / "none.onnx") == "IB-401"
    assert code_of(tmp_path) == "IB-401"


def test_empty_and_pointer(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    assert code_of(path) == "IB-402"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InferbenchError, match="git lfs pull") as caught:
        inspect(path)
    assert caught.value.code == "IB-402"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_no_truncation_passes(detector: Path, share: float) -> None:
    data = detector.read_bytes()
    path = detector.parent / "cut.onnx"
    path.write_bytes(data[: int(share * len(data))])
    assert code_of(path) == "IB-402"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_no_garbage_passes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    assert code_of(tmp_path / "m.onnx") in {"IB-402", "IB-403"}


def test_no_outputs(tmp_path: Path) -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => () { y = Relu(x) }'
    )
    onnx.save(model, tmp_path / "m.onnx")
    assert code_of(tmp_path / "m.onnx") == "IB-403"


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../weights.bin", "a/../../w", "C:\\w", "..\\w", "", "w\0"]
)
def test_external_data_outside(split_detector: Path, location: str) -> None:
    (split_detector.parent.parent / "weights.bin").write_bytes(bytes(10**6))
    relocate(split_detector, location=location)
    assert code_of(split_detector) == "IB-404"


def test_external_data_behind_a_link_outside(split_detector: Path) -> None:
    weights = split_detector.parent / "weights.bin"
    outside = split_detector.parent.parent / "weights.bin"
    weights.rename(outside)
    weights.symlink_to(outside)
    assert code_of(split_detector) == "IB-404"


def test_a_linked_model_keeps_its_data_beside_its_target(split_detector: Path) -> None:
    snapshot = split_detector.parent.parent / "snapshot"
    snapshot.mkdir()
    for name in (split_detector.name, "weights.bin"):
        (snapshot / name).symlink_to(Path("..") / "split" / name)
    assert inspect(snapshot / split_detector.name).sha256 == inspect(split_detector).sha256


def test_external_data_missing_or_short(split_detector: Path) -> None:
    weights = split_detector.parent / "weights.bin"
    os.truncate(weights, weights.stat().st_size - 1)
    assert code_of_data(split_detector) == "IB-405"
    weights.unlink()
    assert code_of(split_detector) == "IB-405"


def code_of_data(path: Path) -> str:
    with pytest.raises(InferbenchError) as caught:
        inspect(path)
    assert "weights.bin" in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("field", ["offset", "length"])
def test_external_data_at_no_number(split_detector: Path, field: str) -> None:
    relocate(split_detector, **{field: "-4"})
    assert code_of(split_detector) == "IB-405"


def test_external_data_of_a_subgraph_is_found(tmp_path: Path) -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (bool c, float[1] x) => (float[1] y) {
        y = If (c) <then_branch = t () => (float[1] p) { k = Constant <value = float[1] {1}> ()
        p = Add(x, k) }, else_branch = e () => (float[1] q) { q = Relu(x) }> }"""
    )
    branch = model.graph.node[0].attribute[0].g
    constant = branch.node[0].attribute[0].t
    constant.ClearField("float_data")
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="gone.bin")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert code_of(path) == "IB-405"


def test_external_data_in_a_loop_of_links(split_detector: Path) -> None:
    weights = split_detector.parent / "weights.bin"
    weights.unlink()
    weights.symlink_to(weights)
    assert code_of(split_detector) in {"IB-404", "IB-405"}


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), data=st.binary(min_size=1, max_size=8))
def test_a_damaged_graph_is_read_or_refused(
    split_detector: Path, place: float, data: bytes
) -> None:
    content = bytearray(split_detector.read_bytes())
    start = int(place * len(content))
    content[start : start + len(data)] = data
    path = split_detector.parent / "damaged.onnx"
    path.write_bytes(content)
    with contextlib.suppress(InferbenchError):
        facts = inspect(path)
        assert all(isinstance(each.name, str) for each in (*facts.inputs, *facts.outputs))
