"""What a runtime says it fused, as nodes of the model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.accuracy.divergence import Point
from pytest_inferbench.artifacts.fusion import Fused, fused_at, fused_layers, is_told_of
from pytest_inferbench.artifacts.outline import Graph


def graph(*nodes):
    made = [
        SimpleNamespace(op_type=op, name=name, input=["x"], output=list(outputs))
        for op, name, *outputs in nodes
    ]
    return Graph(made, [["x"] for _ in made], ["x"], ["y"])


MODEL = graph(
    ("Conv", "/l.0/Conv", "c0"),
    ("Relu", "/l.0/Relu", "r0"),
    ("Conv", "", "c1"),
    ("Relu", "", "r1"),
    ("Conv", "a,b", "c2"),
    ("Add", "b", "c3"),
    ("Split", "r0", "s0", "s1"),
    ("Tanh", "tanh", "y"),
)


def told(*names, layer="Convolution (jit)"):
    return {"layer": layer, "nodes": list(names)}


@pytest.mark.parametrize(
    ("names", "nodes"),
    [
        (("/l.0/Conv", "/l.0/Relu"), ("/l.0/Conv", "/l.0/Relu")),
        (("/l.0/Relu", "/l.0/Conv"), ("/l.0/Conv", "/l.0/Relu")),
        (("c1", "r1"), ("Conv_2", "Relu_3")),  # nodes without a name, by what they give
        (("c1", "y"), ("Conv_2", "tanh")),  # a node that gives an output, by that
        (("c0", "/l.0/Conv", "s1", "s0"), ("/l.0/Conv", "r0")),
        (("a", "b", "tanh"), ("a,b", "tanh")),  # one name, cut at its comma
        (("b", "a", "b", "a", "tanh"), ("a,b", "b", "tanh")),
        (("r0", "tanh"), ("r0", "tanh")),  # a node's name goes before a tensor's
        (("c1", "made_by_a_converter", "", "r1"), ("Conv_2", "Relu_3")),
    ],
)
def test_names_are_those_of_nodes_or_of_what_they_give(names, nodes):
    assert fused_layers([told(*names)], MODEL) == [Fused("Convolution (jit)", nodes)]


@pytest.mark.parametrize("names", [(), ("a", "b"), ("c0", "/l.0/Conv"), ("tanh", "Constant_7")])
def test_a_layer_of_one_node_is_not_told(names):
    assert fused_layers([told(*names)], MODEL) == []


def test_the_layer_of_a_point_is_that_of_its_node():
    layers = fused_layers([told("c1", "r1", layer="1"), told("c0", "/l.0/Relu", layer="0")], MODEL)
    point = Point("r0", "r0", "/l.0/Conv", "Conv", 2, covers=("/l.0/Conv", "Relu_3"))
    assert fused_at(point, layers) == Fused("0", ("/l.0/Conv", "/l.0/Relu"))
    passed = Point("t", "t", "tanh", "Tanh", 2, covers=("Relu_3", "tanh"))
    assert fused_at(passed, layers) == Fused("1", ("Conv_2", "Relu_3"))
    assert fused_at(Point("t", "t", "tanh", "Tanh", 2), layers) is None


PIECES = st.lists(st.sampled_from(["a", "b", "a,b", "b,a", "x", ",", ""]), max_size=6)


@given(st.lists(PIECES.map(lambda names: ",".join(names).split(","))))
def test_whatever_is_told_gives_layers_of_nodes_in_order(pieces):
    model = graph(("Conv", "a", "t0"), ("Conv", "a,b", "t1"), ("Conv", "b,a", "t2"))
    order = ["a", "a,b", "b,a"]
    for each in fused_layers([told(*names) for names in pieces], model):
        assert len(each.nodes) > 1
        assert list(each.nodes) == [name for name in order if name in each.nodes]


@pytest.mark.parametrize(
    ("fact", "holds"),
    [
        ([], True),
        ([told("a", "b")], True),
        (None, False),
        ({"a": "b"}, False),
        (["a"], False),
        ([{"layer": 1, "nodes": []}], False),
        ([{"layer": "a", "nodes": "a,b"}], False),
    ],
)
def test_the_form_of_the_fact(fact, holds):
    assert is_told_of(fact) is holds
