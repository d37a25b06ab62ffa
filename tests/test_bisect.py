"""The layer at which a candidate diverges, found with real runtimes: scales, overflow, ranges."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.backends.catalog import CATALOG
from pytest_inferbench.bisect import Question, of_cell, of_files, parse_shapes
from pytest_inferbench.cli import main
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate
from pytest_inferbench.report.divergence import as_fields, lines

THIRD_PARTY = Path(__file__).parent / "third_party"
RNG = np.random.default_rng


def save(path, nodes, inputs, outputs, weights, opset=17):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, kind, shape) for n, kind, shape in inputs],
        [helper.make_tensor_value_info(n, kind, shape) for n, kind, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    onnx.save(model, path)
    return path


def deep(path, layers, scaled=None, by=1.1):
    """Write a net of Conv and Relu or Add, in which one weight may be scaled."""
    rng, nodes, weights, name = RNG(0), [], {}, "x"
    for i in range(layers):
        into = 3 if i == 0 else 8
        weight = rng.normal(0, (2 / (into * 9)) ** 0.5, (8, into, 3, 3)).astype(np.float32)
        weights[f"w{i}"] = weight * np.float32(by if i == scaled else 1)
        conv = helper.make_node(
            "Conv", [name, f"w{i}"], [f"c{i}"], name=f"/layer.{i}/Conv", pads=[1, 1, 1, 1]
        )
        op, more = ("Add", [name]) if i and i % 3 == 0 else ("Relu", [])
        out = "y" if i == layers - 1 else f"r{i}"
        nodes += [conv, helper.make_node(op, [f"c{i}", *more], [out], name=f"/layer.{i}/{op}")]
        name = out
    shape = ["n", 3, 16, 16], ["n", 8, 16, 16]
    return save(path, nodes, [("x", 1, shape[0])], [("y", 1, shape[1])], weights)


SETTINGS = """
cache = ".cache"
lock = ".lock"
[models.net]
path = "net.onnx"
task = "tensors"
samples = 6
[models.net.budgets]
cosine = {cosine}
[matrix]
backends = ["{backend}"]
precisions = ["{precision}"]
[worker]
open_timeout = "60 s"
"""


@pytest.fixture
def gate(tmp_path):
    """Make the gate of a folder whose model is net.onnx."""
    made = []

    def make(backend="ort-cpu", precision="fp32", cosine=0.9999, registered=()):
        text = SETTINGS.format(backend=backend, precision=precision, cosine=cosine)
        (tmp_path / "inferbench.toml").write_text(text)
        made.append(Gate.from_folder(tmp_path, registered=registered))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def compare(gate, tmp_path):
    """Compare net.onnx with candidate.onnx."""

    def run(**question):
        net = tmp_path / "net.onnx"
        return of_files(gate(), net, tmp_path / "candidate.onnx", Question(**question))

    return run


def named(found):
    return None if found.finding.culprit is None else found.curve.points[found.finding.culprit].node


def test_a_weight_scaled_deep_inside_is_named_by_the_command(tmp_path, monkeypatch, capsys):
    deep(tmp_path / "net.onnx", 20)
    deep(tmp_path / "candidate.onnx", 20, scaled=13)
    (tmp_path / "inferbench.toml").write_text(
        SETTINGS.format(backend="ort-cpu", precision="fp32", cosine=0.9999)
    )
    monkeypatch.chdir(tmp_path)
    assert main(["bisect", "net.onnx", "candidate.onnx"]) == 1
    said = capsys.readouterr().out
    assert "first layer that diverges: /layer.13/Conv (Conv), node 27 of 40: error 0 -> 0.1" in said
    assert main(["bisect", "net.onnx", "net.onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "agrees"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["ort-cpu", "openvino"])
def test_in_a_graph_of_two_hundred_nodes_the_one_is_named(compare, tmp_path, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    deep(tmp_path / "net.onnx", 100)
    deep(tmp_path / "candidate.onnx", 100, scaled=57)
    found = compare(backend=backend)
    assert (found.nodes, named(found)) == (200, "/layer.57/Conv")
    assert found.finding.kind == "layer"


def test_small_slices_find_the_same(compare, tmp_path):
    deep(tmp_path / "net.onnx", 12)
    deep(tmp_path / "candidate.onnx", 12, scaled=7)
    found = compare(slice_mib=0.2)
    assert found.slices > 5
    assert found.fused is None, "ONNX Runtime does not tell"
    assert named(found) == "/layer.7/Conv"
    assert all(reading.error is not None for reading in found.curve.readings)
    assert all(reading.own is not None for reading in found.curve.readings)


def test_what_grows_and_shrinks_is_not_taken_for_the_fault(compare, tmp_path):
    """A shift of logits that a softmax forgives, and behind it the true fault, which is smaller."""

    def net(path, shift=0.0, scale=1.0):
        weights = {
            "w0": RNG(0).normal(0, 0.3, (16, 16)).astype(np.float32),
            "shift": np.full(16, 1 + shift, np.float32),
            "w1": RNG(1).normal(0, 1, (16, 16)).astype(np.float32) * np.float32(scale),
        }
        nodes = [
            helper.make_node("MatMul", ["x", "w0"], ["m0"], name="first"),
            helper.make_node("Add", ["m0", "shift"], ["logits"], name="shift"),
            helper.make_node("Softmax", ["logits"], ["p"], name="softmax", axis=-1),
            helper.make_node("MatMul", ["p", "w1"], ["m1"], name="second"),
            helper.make_node("Tanh", ["m1"], ["y"], name="tanh"),
        ]
        return save(path, nodes, [("x", 1, [4, 16])], [("y", 1, [4, 16])], weights)

    net(tmp_path / "net.onnx")
    net(tmp_path / "candidate.onnx", shift=5.0, scale=1.1)
    found = compare()
    by_node = {p.node: r for p, r in zip(found.curve.points, found.curve.readings, strict=True)}
    assert by_node["shift"].own > 10 * by_node["second"].own, "the decoy is the larger error"
    assert named(found) == "second"
    net(tmp_path / "candidate.onnx", shift=5.0)
    assert compare().finding.kind == "recovers"


def test_a_fault_that_a_large_neighbour_hides_for_a_while_is_named(compare, tmp_path):
    """Beside something large the error is within tolerance, and comes out again behind it."""

    def net(path, scale=1.0):
        weights = {
            "w0": RNG(0).normal(0, 0.3, (8, 8)).astype(np.float32) * np.float32(scale),
            "big": np.full((4, 8), 1000, np.float32),
        }
        nodes = [
            helper.make_node("MatMul", ["x", "w0"], ["small"], name="fault"),
            helper.make_node("Mul", ["x", "big"], ["large"], name="large"),
            helper.make_node("Concat", ["small", "large"], ["both"], name="concat", axis=1),
            helper.make_node("Split", ["both"], ["y", "z"], name="split", axis=1),
        ]
        outputs = [("y", 1, [4, 8]), ("z", 1, [4, 8])]
        return save(path, nodes, [("x", 1, [4, 8])], outputs, weights)

    net(tmp_path / "net.onnx")
    net(tmp_path / "candidate.onnx", 1.5)
    found = compare()
    by_node = {
        p.tensor: r.error for p, r in zip(found.curve.points, found.curve.readings, strict=True)
    }
    assert by_node["both"] < 0.01 < by_node["y"], "it dips below the tolerance"
    assert named(found) == "fault"


def test_the_first_of_two_faults_is_named_and_the_other_told(compare, tmp_path):
    deep(tmp_path / "net.onnx", 12)
    model = onnx.load(deep(tmp_path / "candidate.onnx", 12, scaled=3, by=1.3))
    (weight,) = (each for each in model.graph.initializer if each.name == "w8")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.3), "w8"))
    onnx.save(model, tmp_path / "candidate.onnx")
    found = compare()
    assert named(found) == "/layer.3/Conv"
    assert "/layer.8/Conv" in lines(found)["also"]


def overflowing(path):
    """A net whose third layer goes beyond what fp16 holds, and comes back."""
    weights = {
        "w0": RNG(0).normal(0, 0.3, (16, 16)).astype(np.float32),
        "up": np.full(16, 6e4, np.float32),  # fp16 can hold it
        "down": np.full(16, 1e-5, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m"], name="matmul"),
        helper.make_node("Relu", ["m"], ["r"], name="relu"),
        helper.make_node("Mul", ["r", "up"], ["u"], name="overflow"),
        helper.make_node("Sqrt", ["u"], ["s"], name="sqrt"),
        helper.make_node("Mul", ["s", "down"], ["y"], name="down"),
    ]
    return save(path, nodes, [("x", 1, [8, 16])], [("y", 1, [8, 16])], weights)


SPOILER = '''
"""OpenVINO, which loads one weight wrongly."""

from __future__ import annotations

from pathlib import Path

from pytest_inferbench.backends.openvino_native import OpenVino


class Spoiler(OpenVino):
    def _open(self, artifact, options, precision):
        import onnx
        from onnx import numpy_helper

        model = onnx.load(artifact)
        for weight in model.graph.initializer:
            if weight.name == "w5":
                scaled = numpy_helper.to_array(weight) * 1.1
                weight.CopyFrom(numpy_helper.from_array(scaled.astype("float32"), "w5"))
        path = Path(artifact).with_name(f"spoiled-{Path(artifact).name}")
        onnx.save(model, path)
        return super()._open(str(path), options, precision)
'''


def test_the_command_tells_what_the_layer_is_fused_with(compare, tmp_path):
    pytest.importorskip("openvino")
    deep(tmp_path / "net.onnx", 5)
    deep(tmp_path / "candidate.onnx", 5, scaled=2)
    found = compare(backend="openvino")
    assert found.fused.nodes == ("/layer.2/Conv", "/layer.2/Relu")


def test_what_the_layer_is_fused_with_is_told(gate, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    (tmp_path / "openvino_spoiler.py").write_text(SPOILER)
    monkeypatch.syspath_prepend(tmp_path)
    info = replace(CATALOG["openvino"], name="spoiler", adapter="openvino_spoiler:Spoiler")
    deep(tmp_path / "net.onnx", 8)
    made = gate("spoiler", registered=[("this test", info)])
    run = made.run_of(made.cells[0])
    found = of_cell(run)
    assert named(found) == "/layer.5/Conv"
    assert found.fused.nodes == ("/layer.5/Conv", "/layer.5/Relu")
    assert lines(found)["first layer that diverges"].startswith("/layer.5/Conv (Conv), node 11")
    said = lines(found)["runs as one"]
    assert said.startswith("Convolution (")
    assert said.endswith(") of /layer.5/Conv, /layer.5/Relu")
    assert as_fields(found)["culprit"]["fused"]["nodes"] == ["/layer.5/Conv", "/layer.5/Relu"]


def test_where_fp16_overflows_is_named(gate, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(THIRD_PARTY)  # numpy computes in fp16 what ONNX Runtime does not
    from inferbench_reference import INFO

    overflowing(tmp_path / "net.onnx")
    made = gate("onnx-reference", "fp16", registered=[("this test", INFO)])
    found = of_cell(made.run_of(made.cells[0]))
    assert found.finding.kind == "non-finite"
    assert named(found) == "overflow"
    assert (
        "node 3 of 5: the first value that is not finite"
        in lines(found)["first layer that diverges"]
    )


def test_what_overflows_only_when_it_is_looked_at_is_not_named(gate, tmp_path):
    """ONNX Runtime's CPU computes fp16 in fp32, and rounds what leaves the graph."""
    overflowing(tmp_path / "net.onnx")
    made = gate(precision="fp16")
    found = of_cell(made.run_of(made.cells[0]))
    assert np.isfinite(found.seen_error)
    assert named(found) != "overflow"


def test_a_range_that_is_too_small_is_named_among_int8_layers(compare, tmp_path, gate):
    deep(tmp_path / "net.onnx", 10)
    made = gate(precision="int8")
    path = made.run_of(made.cells[0]).artifact.path
    model = onnx.load(path)
    (scale,) = (each for each in model.graph.initializer if each.name == "r4_scale")
    narrow = numpy_helper.to_array(scale) / np.float32(5)
    scale.CopyFrom(numpy_helper.from_array(narrow, "r4_scale"))
    onnx.save(model, tmp_path / "candidate.onnx")
    found = compare(tolerance=0.2, precision="int8")
    assert named(found) == "/layer.4/Conv"
    assert found.curve.points[found.finding.culprit].quantized
    assert found.finding.kind == "layer"


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "precision"), [("ort-cpu", "int8"), ("openvino", "int8")])
def test_where_no_layer_stands_out_it_says_so(gate, tmp_path, backend, precision):
    if backend == "openvino":
        pytest.importorskip("nncf")
    deep(tmp_path / "net.onnx", 8)
    made = gate(backend, precision, cosine=0.9999999)
    found = of_cell(made.run_of(made.cells[0]))
    assert found.finding.kind == "spread"
    assert not found.notes, "what was looked at is what the test saw"
    assert len(found.curve.points) > 8
    assert any(point.quantized for point in found.curve.points)


def test_control_flow_whole_numbers_and_missing_outputs_are_lived_with(compare, tmp_path):
    def net(path, scale=1.0):
        rng = RNG(3)
        weights = {
            "w0": rng.normal(0, 0.4, (8, 8)).astype(np.float32),
            "w1": rng.normal(0, 0.4, (8, 8)).astype(np.float32) * np.float32(scale),
            "k": np.array([4], np.int64),
            "zero": np.array(0, np.float32),
            "axes": np.array([0, 1], np.int64),
        }
        branches = {}
        for branch, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
            out = helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, None)
            inner = [
                helper.make_node("MatMul", ["m0", "w1"], [f"{op}_m"]),  # read from outside
                helper.make_node(op, [f"{op}_m"], [f"{op}_out"]),
            ]
            branches[branch] = helper.make_graph(inner, branch, [], [out])
        nodes = [
            helper.make_node("MatMul", ["x", "w0"], ["m0"], name="first"),
            helper.make_node("ReduceSum", ["m0", "axes"], ["sum"], name="sum", keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["is_positive"], name="greater"),
            helper.make_node("If", ["is_positive"], ["chosen"], name="if", **branches),
            helper.make_node("Dropout", ["chosen"], ["d", ""], name="dropout"),
            helper.make_node("TopK", ["d", "k"], ["top", "indices"], name="top"),
            helper.make_node("SequenceConstruct", ["top", "top"], ["list"], name="list"),
            helper.make_node("ConcatFromSequence", ["list"], ["y"], name="concat", axis=1),
        ]
        return save(path, nodes, [("x", 1, ["n", 8])], [("y", 1, ["n", 8])], weights)

    net(tmp_path / "net.onnx")
    net(tmp_path / "candidate.onnx", 1.2)
    found = compare(shapes={"x": [4, 8]})
    assert named(found) == "if"
    assert not found.failures


def test_weights_beside_the_file_stay_there(compare, tmp_path):
    for name, scaled in (("net.onnx", None), ("candidate.onnx", 4)):
        model = onnx.load(deep(tmp_path / name, 6, scaled))
        onnx.save(
            model,
            tmp_path / name,
            save_as_external_data=True,
            location=f"{name}.bin",
            size_threshold=64,
        )
    assert (tmp_path / "candidate.onnx").stat().st_size < 4096
    assert named(compare()) == "/layer.4/Conv"


def test_nothing_is_left_behind(compare, tmp_path):
    deep(tmp_path / "net.onnx", 3)
    deep(tmp_path / "candidate.onnx", 3, 1)
    compare()
    assert not list((tmp_path / ".cache").iterdir())


def test_graphs_without_a_tensor_in_common_are_told_so(compare, tmp_path):
    deep(tmp_path / "net.onnx", 2)
    model = onnx.load(deep(tmp_path / "candidate.onnx", 2))
    for node in model.graph.node:
        node.output[0] += "_other"
        node.input[0] += "_other" if node.input[0] != "x" else ""
    model.graph.output[0].name += "_other"
    model.graph.node[1].input[0] = model.graph.node[0].output[0]
    onnx.save(model, tmp_path / "candidate.onnx")
    with pytest.raises(InferbenchError, match="nothing inside them can be compared") as caught:
        compare()
    assert caught.value.code == "IB-564"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"backend": "torch"}, "no backend that runs ONNX"),
        ({"backend": "ort-coreml"}, "cannot run here"),
        ({"precision": "fp7"}, "no precision"),
    ],
)
def test_a_question_that_cannot_be_asked_is_an_error(compare, tmp_path, question, words):
    deep(tmp_path / "net.onnx", 2)
    deep(tmp_path / "candidate.onnx", 2)
    with pytest.raises(InferbenchError, match=words) as caught:
        compare(**question)
    assert caught.value.code == "IB-565"


def test_shapes_are_read_from_text():
    assert parse_shapes(["a=1,3,8,8", "b=2x4"]) == {"a": [1, 3, 8, 8], "b": [2, 4]}
    for wrong in ("a", "=1,2", "a=one"):
        with pytest.raises(InferbenchError, match="no shape"):
            parse_shapes([wrong])
