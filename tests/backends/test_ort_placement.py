"""Where nodes ran: parsing, and ONNX Runtime's two ways of telling, held against each other."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_inferbench.backends import ort as adapter
from pytest_inferbench.backends.ort import OnnxRuntime
from pytest_inferbench.backends.ort_placement import Node, assigned, executed, nodes_of
from pytest_inferbench.errors import InferbenchError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def event(name, op, provider, takes=(), gives=(), **more):
    arguments = {"op_name": op, "provider": provider, "node_index": more.pop("index", "0")}
    arguments |= {"input_type_shape": list(takes), "output_type_shape": list(gives)}
    return {"cat": "Node", "ph": "X", "name": f"{name}_kernel_time", "args": arguments, **more}


FLOATS = {"float": [1, 8, 4, 4]}
PROFILE = [
    {"cat": "Session", "name": "model_loading_uri", "dur": 3, "args": {}},
    event("Memcpy_token_3", "MemcpyFromHost", CUDA, [FLOATS], [FLOATS]),
    {"cat": "Node", "name": "Conv_4_fence_before", "args": {"op_name": "Conv"}},
    event("Conv_4", "Conv", CUDA, [FLOATS, {"float": [8, 8, 3, 3]}], [FLOATS]),
    {"cat": "Kernel", "name": "cudnn_conv", "args": {"stream": "1"}},
    event("Shape_5", "Shape", CUDA, [FLOATS], [{"int64": [4]}]),
    event("Gather_6", "Gather", CPU, [{"int64": [4]}, {"int64": []}], [{"int64": []}]),
    event("q", "QuantizeLinear", CUDA, [FLOATS, {"float": []}], [{"uint8": [1, 8, 4, 4]}]),
    event("Memcpy_token_4", "MemcpyToHost", CUDA, [{"uint8": [1, 8, 4, 4]}], [{"uint8": [1]}]),
    event("c", "QLinearConv", CPU, [{"uint8": [1, 8, 4, 4]}, {"float": []}], [{"uint8": [1]}]),
    event("Conv_4", "Conv", CUDA, [FLOATS], [FLOATS]),
    event("h", "MatMul", CUDA, [{"float16": [4, 4]}, {"float16": [4, 4]}], [{"float16": [4, 4]}]),
    event("i", "NonZero", CPU, [FLOATS], [{"int64": [4, 20]}]),
]


def test_a_profile_tells_fallback_copies_and_precisions():
    facts = executed(nodes_of(json.loads(json.dumps(PROFILE))), CUDA, "fp32")
    assert facts == {
        "placement": {CPU: 3, CUDA: 4},
        "fallback": [
            {"node": "c", "op": "QLinearConv", "provider": CPU},
            {"node": "i", "op": "NonZero", "provider": CPU},
        ],
        "memcpy_nodes": 2,
        "precisions": {"fp16": 1, "fp32": 2, "int8": 1},
    }


def test_the_precision_that_no_node_computes_in_is_only_stored():
    nodes = nodes_of(PROFILE[:4])
    facts = executed(nodes, CUDA, "int8")
    assert facts["precisions"] == {"fp32": 1}
    assert "no node computes in int8: 1 in fp32" in facts["emulated"]
    assert executed(nodes, CUDA, "tf32")["precisions"] == {"tf32": 1}
    assert "emulated" not in executed(nodes, CUDA, "tf32")


def test_what_a_compiled_node_computes_in_is_not_guessed():
    nodes = [
        Node("TRTKernel_0", "TRTKernel_graph_0", "TensorrtExecutionProvider", (("float", ()),))
    ]
    assert "precisions" not in executed(nodes, "TensorrtExecutionProvider", "fp16")


def test_an_assignment_proves_no_fallback_only_where_all_is_on_one():
    here, there = Node("a", "Conv", CUDA), Node("b", "Gather", CPU)
    assert assigned([here, here], CUDA) == {"placement": {CUDA: 2}, "fallback": []}
    assert assigned([here, there], CUDA) == {"placement": {CPU: 1, CUDA: 1}}


@pytest.fixture
def chain_of(tmp_path):
    def write(*ops, dtype=TensorProto.FLOAT, constants=()):
        names = [f"t{number}" for number in range(len(ops))] + ["y"]
        names[0] = "x"
        nodes = [
            helper.make_node(op, [a, *extra], [b], name=f"{op}_{a}")
            for (op, *extra), a, b in zip(ops, names[:-1], names[1:], strict=True)
        ]
        x = helper.make_tensor_value_info("x", dtype, (2, 2))
        y = helper.make_tensor_value_info("y", dtype, None)
        graph = helper.make_graph(nodes, "chain", [x], [y], constants)
        path = tmp_path / "chain.onnx"
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opsets), path)
        return str(path)

    return write


@pytest.mark.parametrize("level", ["all", "disable_all"])
def test_both_ways_of_telling_agree_on_the_cpu(chain_of, monkeypatch, level):
    artifact = chain_of(("Relu",), ("MatMul", "w"), ("Sigmoid",), constants=[weights()])
    backend = OnnxRuntime()
    backend.open(artifact, {"graph_optimization_level": level}, "fp32")
    by_assignment = backend.placement()
    if not hasattr(backend._session, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime tells no assignment")
    assert by_assignment == {"placement": {CPU: 3}, "fallback": []}
    seen = []
    monkeypatch.setattr(adapter, "nodes_of", lambda events: seen.extend(nodes_of(events)) or seen)
    by_profile = backend.placement({"x": np.ones((2, 2), np.float32)})
    assert by_profile["fallback"] == []
    assert by_profile["memcpy_nodes"] == 0
    assert by_profile["precisions"] == {"fp32": 3}
    assert "emulated" not in by_profile
    told = backend._session.get_provider_graph_assignment_info()
    names = {(node.name, node.op_type) for part in told for node in part.get_nodes()}
    assert names == {(node.name, node.op) for node in seen}
    assert {node.provider for node in seen} == set(by_assignment["placement"])


def test_an_older_runtime_tells_by_its_profile_alone(chain_of, monkeypatch):
    backend = OnnxRuntime()
    backend.open(chain_of(("Relu",), ("Sigmoid",)), {}, "fp32")
    monkeypatch.setattr(adapter, "assigned_in", lambda session, provider: {})
    assert "placement" not in backend.describe()
    assert backend.placement() == {}
    facts = backend.placement({"x": np.ones((2, 2), np.float32)})
    assert facts["placement"] == {CPU: 2}
    assert facts["fallback"] == []


def test_fp16_on_this_cpu_is_said_to_be_stored_only_if_it_is(chain_of):
    half = TensorProto.FLOAT16
    artifact = chain_of(("MatMul", "w"), dtype=half, constants=[weights(half)])
    backend = OnnxRuntime()
    backend.open(artifact, {}, "fp16")
    facts = backend.placement({"x": np.ones((2, 2), np.float16)})
    assert sum(facts["precisions"].values()) == 1
    assert ("emulated" in facts) == (facts["precisions"] == {"fp32": 1})


def test_an_empty_profile_proves_nothing(chain_of, monkeypatch):
    backend = OnnxRuntime()
    backend.open(chain_of(("Relu",)), {}, "fp32")
    monkeypatch.setattr(adapter, "nodes_of", lambda _events: [])
    with pytest.raises(InferbenchError, match="names no node") as caught:
        backend.placement({"x": np.ones((2, 2), np.float32)})
    assert caught.value.code == "IB-335"


def test_placement_checks_inputs_first(chain_of):
    backend = OnnxRuntime()
    backend.open(chain_of(("Relu",)), {}, "fp32")
    with pytest.raises(InferbenchError, match="unknown input 'z'"):
        backend.placement({"z": np.ones((2, 2), np.float32)})


def weights(dtype=TensorProto.FLOAT):
    return helper.make_tensor("w", dtype, (2, 2), [1.0, 0.0, 0.0, 1.0])
