"""What a failed parse or build says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.backends.trt_errors import ParserFault, build_error, parse_error

text = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
faults = st.builds(ParserFault, st.integers(0, 10_000), text, text, text)


@given(st.lists(faults, min_size=1, max_size=20))
def test_every_fault_is_shown_by_node(found):
    error = parse_error("tensorrt-10 10.9", "model.onnx", found)
    assert error.code == "IB-362"
    for fault in found:
        assert f"node {fault.index} {fault.name} [{fault.op}]: {fault.description}" in error.message


@given(st.integers(21, 60))
def test_of_very_many_the_rest_is_counted(count):
    found = [ParserFault(index, f"n{index}", "Op", "no") for index in range(count)]
    message = parse_error("tensorrt-10 10.9", "model.onnx", found).message
    assert message.count("\n") == 21
    assert f"and {count - 20} more" in message


def test_a_fault_of_no_node_is_one_of_the_model():
    message = parse_error("t", "m.onnx", [ParserFault(-1, "", "", "Failed to parse")]).message
    assert "the model: Failed to parse" in message
    assert "it gives no reason" in parse_error("t", "m.onnx", []).message


def test_quantization_that_tensorrt_does_not_take_names_the_recipe():
    for op, said in (
        ("DequantizeLinear", "Invalid Node"),
        ("Conv", "Non-zero zero point is not supported"),
        ("Conv", "input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8"),
    ):
        assert "int8-trt" in parse_error("t", "m", [ParserFault(0, "n", op, said)]).hint
    assert "int8-trt" in build_error("t", "m", ["zero point must be 0"]).hint
    assert "int8-trt" not in parse_error("t", "m", [ParserFault(0, "n", "Conv", "no")]).hint


def test_an_operator_that_nothing_implements_is_named():
    said = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
    assert "nor a plugin Nope" in parse_error("t", "m", [ParserFault(0, "n", "Nope", said)]).hint
    fused = parse_error("t", "m", [ParserFault(0, "n", "EfficientNMS_TRT", said)]).hint
    assert 'fused_nms = "layer"' in fused
    assert '"loop"' in fused


def test_what_is_only_said_for_want_of_a_gpu_is_left_out_unless_it_is_all():
    noise = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime"
    assert noise not in build_error("t", "m", ["no runners", noise, f"cause\n{noise}"]).message
    only = build_error("t", "m", [noise])
    assert noise in only.message
    assert "trt-build" in only.hint
