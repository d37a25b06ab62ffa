"""An engine inspector's report, in the spelling of the documentation of TensorRT 10 and of 11.

No engine could be loaded where this was written: that needs a GPU that its TensorRT supports.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.backends.trt_engine import fused_nodes, layer_precisions


def tensor(said, key="Format/Datatype"):
    return {"Name": "t", "Location": "Device", "Dimensions": [1, 8], key: said}


def layer(kind, *said, key="Format/Datatype"):
    inputs, outputs = [tensor(said[0], key)], [tensor(said[-1], key)]
    return {"Name": f"{kind} 1", "LayerType": kind, "Inputs": inputs, "Outputs": outputs}


TEN = [
    layer("Reformat", "Row major linear FP32 format", "Thirty-two wide channel Int8 format"),
    layer("CaskConvolution", "Thirty-two wide channel vectorized row major Int8 format"),
    layer("CaskGemmConvolution", "Channel major FP16 format where channel % 8 == 0"),
    layer("PointWiseV2", "Row major linear FP32 format"),
    layer("CaskConvolution", "Row major linear BFloat16 format"),
    layer("Constant", "Row major linear FP32 format"),
]


def test_layers_are_counted_by_what_they_read():
    counted = {"int8": 1, "fp16": 1, "fp32": 1, "bf16": 1}
    assert layer_precisions(json.dumps({"Layers": TEN, "Bindings": ["x", "y"]})) == (6, counted)


def test_the_spelling_of_eleven_is_known():
    layers = [
        layer("kgen", "Half", key="DataType"),
        layer("CaskConvolution", "Int8", "Float", key="DataType"),
        layer("kgen", "FP8", "Half", key="DataType"),
    ]
    report = json.dumps({"Layers": layers, "I/O Tensors": []})
    assert layer_precisions(report) == (3, {"fp16": 1, "fp8": 1, "int8": 1})


def test_a_report_of_names_alone_counts_layers_and_claims_nothing():
    assert layer_precisions(json.dumps({"Layers": ["conv", "relu"]})) == (2, {})


@given(st.text())
def test_a_report_that_cannot_be_read_claims_nothing(text):
    assert layer_precisions(f"~{text}") == (0, {})


def made_of(metadata, kind="CaskConvolution", **more):
    return {**layer(kind, "Row major linear FP32 format"), "Metadata": metadata, **more}


def test_layers_are_told_by_the_nodes_that_they_are_made_of():
    layers = [
        made_of(
            "[ONNX Layer: /conv/Conv]\x1f[ONNX Layer: /act[0]/Relu]",
            TacticName="sm80_xmma_fprop",
        ),
        made_of("[ONNX Layer: a]\x1e[ONNX Layer: b[1]][ONNX Layer: node_of_c | scope]", "kgen"),
        made_of("[ONNX Layer: alone]"),
        made_of("[ONNX Layer: twice]\x1f[ONNX Layer: twice]"),
        made_of("", "Reformat"),
        layer("Constant", "Row major linear FP32 format"),
        "named",
    ]
    assert fused_nodes(json.dumps({"Layers": layers})) == [
        {"layer": "CaskConvolution (sm80_xmma_fprop)", "nodes": ["/conv/Conv", "/act[0]/Relu"]},
        {"layer": "kgen", "nodes": ["a", "b[1]", "c"]},
    ]


NAMES = st.text(st.characters(codec="ascii", exclude_characters="|[]", categories=["L", "N", "P"]))


@given(st.lists(NAMES.filter(bool), min_size=2, unique=True), st.sampled_from(["", "\x1f", "\x1e"]))
def test_every_name_is_read_whatever_stands_between(names, between):
    said = between.join(f"[ONNX Layer: /{name}]" for name in names)
    (told,) = fused_nodes(json.dumps({"Layers": [made_of(said)]}))
    assert told["nodes"] == [f"/{name}" for name in names]


@given(st.text())
def test_a_report_without_names_of_nodes_fuses_nothing(text):
    assert fused_nodes(json.dumps({"Layers": [made_of(text.replace("ONNX", ""))]})) == []
    assert fused_nodes(f"~{text}") == []
