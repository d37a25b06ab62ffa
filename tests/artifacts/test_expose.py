"""Graphs laid open and cut apart compute what they did; what has one meaning is compared."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.artifacts import recipes_ort
from pytest_inferbench.artifacts.expose import fed, write_cut, write_exposed
from pytest_inferbench.artifacts.outline import Outline, points

ort = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def net(tmp_path):
    """Write a net with a branch, and an If that reads from outside."""
    weights = {
        "w0": RNG.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32),
        "w1": RNG.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32),
    }
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, ["r"], [f"{op}_out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, None)],
        )
        for name, op in (("then", "Neg"), ("else", "Abs"))
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], name="conv0", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "w1"], ["c1"], name="conv1", pads=[1] * 4),
        helper.make_node("ReduceMax", ["r"], ["most"], name="max", keepdims=0),
        helper.make_node("Constant", [], ["limit"], name="limit", value_float=0.5),
        helper.make_node("Greater", ["most", "limit"], ["is_large"], name="greater"),
        helper.make_node("If", ["is_large"], ["chosen"], name="if", **branches),
        helper.make_node("Add", ["c1", "chosen"], ["y"], name="add"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


def run(path, feeds):
    session = ort.InferenceSession(str(path))
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def test_what_is_laid_open_changes_nothing(net, tmp_path):
    outline = Outline(net)
    opened = write_exposed(outline, ["c0", "chosen"], tmp_path / "open")
    found = run(opened, {"x": X})
    assert list(found) == ["y", "c0", "chosen"]
    np.testing.assert_array_equal(found["y"], run(net, {"x": X})["y"])
    assert len(outline.model.graph.output) == 1, "the outline is as it was"


def test_what_is_cut_apart_computes_the_same_from_the_same(net, tmp_path):
    outline = Outline(net)
    inside = run(write_exposed(outline, ["c0", "r", "c1", "chosen"], tmp_path / "open"), {"x": X})
    cuts = {name: list(inside[name].shape) for name in ("c0", "r", "c1", "chosen")}
    cut = write_cut(outline, cuts, ["r", "c1", "chosen", "y"], tmp_path / "cut")
    taken = {each.name for each in onnx.load(cut).graph.input}
    assert taken == {fed(name) for name in ("c0", "r", "c1", "chosen")}
    found = run(cut, {fed(name): inside[name] for name in cuts})
    for name in ("r", "c1", "chosen", "y"):
        np.testing.assert_allclose(found[name], inside[name], atol=1e-5)
    # each layer has what it is given, and not what the one before it makes
    found = run(cut, {fed(name): inside[name] * (0 if name == "c0" else 1) for name in cuts})
    assert not found["r"].any()
    np.testing.assert_allclose(found["c1"], inside["c1"], atol=1e-5)


def test_the_rest_behind_a_cut_takes_what_it_is_given(net, tmp_path):
    outline = Outline(net)
    cut = write_cut(outline, {"r": None}, ["y"], tmp_path / "cut")
    model = onnx.load(cut)
    assert [each.name for each in model.graph.input] == [fed("r")]
    assert [each.name for each in model.graph.initializer] == ["w1"]
    inside = run(write_exposed(outline, ["r"], tmp_path / "open"), {"x": X})
    np.testing.assert_allclose(run(cut, {fed("r"): inside["r"]})["y"], inside["y"], atol=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_renamed_tensors_are_known_by_what_made_them(net, tmp_path, precision):
    model = onnx.load(net)
    for node in [
        each for each in model.graph.node if each.name in ("max", "limit", "greater", "if")
    ]:
        model.graph.node.remove(node)
    model.graph.node[-1].input[1] = "c1"
    onnx.save(model, net)
    made = tmp_path / f"{precision}.onnx"
    recipes_ort.build({"precision": precision}, str(net), str(made), {"x": X[:, None]})
    outline = Outline(made)
    found = {point.tensor: point for point in points(outline, Outline(net))}
    renamed = {"fp16": "graph_input_cast_0", "int8": "x_DequantizeLinear_Output"}[precision]
    assert found[renamed].reference == "x"
    assert found["y"].reference == "y"
    if precision == "int8":
        # The Relu went into the range behind it: what is called `r` there is what a Conv made.
        assert outline.nodes[outline.made_by["r"]].op_type == "Conv"
        assert "r" not in found
        point = found["r_DequantizeLinear_Output"]
        assert (point.reference, point.node, point.op) == ("r", "conv0", "Conv")
        assert point.covers == ("conv0", "relu")
        assert point.quantized


def test_points_are_in_order_and_know_their_parents(net):
    outline = Outline(net)
    found = points(outline, outline)
    names = [point.tensor for point in found]
    assert names == ["c0", "r", "c1", "most", "chosen", "y"], "no constants, no booleans"
    by_name = {point.tensor: [names[i] for i in point.parents] for point in found}
    assert by_name["y"] == ["c1", "chosen"]
    assert by_name["chosen"] == ["r", "most"], "what a branch reads from outside counts"
    assert all(parent < i for i, point in enumerate(found) for parent in point.parents)


def test_nodes_out_of_order_are_put_in_order(net):
    model = onnx.load(net)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, net)
    names = [each.name for each in Outline(net).nodes]
    assert names.index("conv0") < names.index("relu") < names.index("if") < names.index("add")


def test_sizes_follow_the_inputs(net):
    sizes = Outline(net).sizes({"x": [5, 3, 8, 8]})
    assert (sizes["c0"], sizes["r"]) == (5 * 4 * 64, 5 * 4 * 64)
