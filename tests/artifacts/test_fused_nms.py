"""Suppression in the graph gives what suppression on the host gives, row by row."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pytest_inferbench.accuracy import detection
from pytest_inferbench.artifacts import recipes_nms
from pytest_inferbench.artifacts.fused_nms import OUTPUT, Suppression, append_nms
from pytest_inferbench.errors import InferbenchError

CLASSES, ANCHORS, SIZE = 3, 40, 64.0


def passing(shape, opset=17, dtype=TensorProto.FLOAT, outputs=1):
    """A detector whose table is its input."""
    names = [f"table{index}" for index in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], [name]) for name in names],
        "detector",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(name, dtype, shape) for name in names],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets)


def table(layout, batch, seed):
    """Boxes in clusters, so that there is much to suppress; scores that are never equal."""
    rng = np.random.default_rng(seed)
    centres = rng.choice(rng.uniform(10, SIZE - 10, (6, 2)), (batch, ANCHORS))
    centres = centres + rng.normal(0, 2, centres.shape)
    sizes = rng.uniform(6, 14, (batch, ANCHORS, 2))
    scores = rng.permutation(np.linspace(0, 1, batch * ANCHORS * CLASSES))
    scores = scores.reshape(batch, ANCHORS, CLASSES)
    parts = [centres, sizes, scores]
    if layout == "yolov5":
        parts.insert(2, rng.uniform(0.3, 1, (batch, ANCHORS, 1)))
    rows = np.concatenate(parts, axis=2).astype(np.float32)
    return rows.transpose(0, 2, 1).copy() if layout == "yolov8" else rows


def run(model, x):
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {"x": x})[0]


def shape_of(layout, batch="n"):
    width = CLASSES + (4 if layout == "yolov8" else 5)
    return [batch, width, ANCHORS] if layout == "yolov8" else [batch, ANCHORS, width]


def test_the_defaults_are_those_of_the_host():
    wanted = Suppression("yolov8")
    assert wanted.confidence == detection.CONFIDENCE
    assert wanted.iou == detection.IOU
    assert wanted.max_detections == detection.MAX_DETECTIONS


@settings(deadline=None, max_examples=60)
@given(
    way=st.sampled_from(["layer", "loop"]),
    layout=st.sampled_from(["yolov8", "yolov5"]),
    batch=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    iou=st.floats(0.2, 0.9),
    confidence=st.floats(0.001, 0.95),
    most=st.integers(1, 60),
)
def test_the_graph_keeps_what_the_host_keeps(way, layout, batch, seed, iou, confidence, most):
    wanted = Suppression(layout, confidence, iou, most)
    raw = table(layout, batch, seed)
    fused = run(append_nms(passing(shape_of(layout)), wanted, way), raw)
    assert fused.shape == (batch, most, 6)
    for image in range(batch):
        host = detection.decode(raw[image], layout, CLASSES, confidence)
        kept = host.take(detection.nms(*host, iou, most))
        got = detection.decode(fused[image], "end-to-end", CLASSES, confidence)
        order = np.argsort(-got.scores, kind="stable")
        np.testing.assert_allclose(got.scores[order], kept.scores, rtol=1e-5)
        np.testing.assert_array_equal(got.labels[order], kept.labels)
        np.testing.assert_allclose(got.boxes_xyxy[order], kept.boxes_xyxy, atol=1e-3)
        assert (fused[image, len(kept.scores) :, 4] == 0).all()


@pytest.mark.parametrize("way", ["layer", "loop"])
def test_where_nothing_is_above_the_confidence_all_rows_are_padding(way):
    raw = table("yolov8", 1, 0)
    raw[:, 4:] = 0
    fused = run(append_nms(passing(shape_of("yolov8")), Suppression("yolov8"), way), raw)
    assert (fused[..., 4] == 0).all()
    assert len(detection.decode(fused[0], "end-to-end", CLASSES).scores) == 0


def test_there_are_no_more_rows_than_candidates():
    wanted = Suppression("yolov8", max_detections=10_000)
    model = append_nms(passing(shape_of("yolov8")), wanted, "layer")
    declared = model.graph.output[0].type.tensor_type.shape.dim
    assert declared[1].dim_value == CLASSES * ANCHORS
    assert run(model, table("yolov8", 2, 1)).shape == (2, CLASSES * ANCHORS, 6)


@pytest.mark.parametrize("way", ["plugin", "layer", "loop"])
def test_the_model_that_was_given_stays_as_it_is(way):
    model = passing(shape_of("yolov8"))
    before = model.SerializeToString()
    append_nms(model, Suppression("yolov8"), way)
    assert model.SerializeToString() == before


def test_the_plugin_gets_corners_scores_and_what_is_wanted():
    model = append_nms(passing(shape_of("yolov5")), Suppression("yolov5", 0.25, 0.5, 77))
    (node,) = (each for each in model.graph.node if each.op_type == "EfficientNMS_TRT")
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    assert attributes["max_output_boxes"] == 77
    assert attributes["score_threshold"] == pytest.approx(0.25)
    assert attributes["iou_threshold"] == pytest.approx(0.5)
    assert attributes["box_coding"] == 0  # corners
    assert attributes["background_class"] == -1
    # its two inputs, as the operators before it compute them
    del model.graph.node[list(model.graph.node).index(node) :]
    del model.graph.output[:]
    for name in node.input:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    raw = table("yolov5", 1, 4)
    boxes, scores = session.run(list(node.input), {"x": raw})
    np.testing.assert_allclose(boxes[..., 2:] - boxes[..., :2], raw[..., 2:4], rtol=1e-4)
    np.testing.assert_allclose(scores, raw[..., 5:] * raw[..., 4:5], rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "layout"),
    [
        (passing(["n", 7, 40], opset=12), "yolov8"),
        (passing(["n", 7, "anchors"]), "yolov8"),
        (passing(["n", 4, 40]), "yolov8"),
        (passing([7, 40]), "yolov8"),
        (passing(["n", 7, 40], dtype=TensorProto.FLOAT16), "yolov8"),
        (passing(["n", 7, 40], outputs=2), "yolov8"),
        (passing(["n", 7, 40]), "end-to-end"),
    ],
)
def test_what_is_no_table_of_boxes_is_refused(model, layout):
    with pytest.raises(InferbenchError) as caught:
        append_nms(model, Suppression(layout))
    assert caught.value.code == "IB-374"


def test_the_loop_follows_a_chain_to_its_end():
    """Each box suppresses the next alone, so that every second one stays."""
    wanted = Suppression("yolov8", 0.01, 0.3)
    raw = np.zeros((1, 4 + CLASSES, ANCHORS), np.float32)
    raw[0, 0], raw[0, 1], raw[0, 2:4] = 5.0 * np.arange(ANCHORS), 8, 10
    raw[0, 4] = np.linspace(0.9, 0.1, ANCHORS)
    fused = run(append_nms(passing(shape_of("yolov8")), wanted, "loop"), raw)[0]
    kept = fused[fused[:, 4] > 0]
    np.testing.assert_allclose(kept[:, 0] + 5, 10.0 * np.arange(ANCHORS // 2), atol=1e-4)


def test_the_loop_compares_no_more_than_the_best_candidates():
    model = append_nms(passing(shape_of("yolov8")), Suppression("yolov8", candidates=16), "loop")
    raw = table("yolov8", 1, 3)
    fused = run(model, raw)
    assert fused.shape == (1, 16, 6)
    best = np.sort(raw[0, 4:].ravel())[-16:]
    assert fused[fused[..., 4] > 0][:, 4].min() >= best[0]


def test_the_recipe_finds_the_layout_and_writes_a_model(tmp_path):
    onnx.save(passing(shape_of("yolov5")), tmp_path / "in.onnx")
    recipe = {"precision": "fp16", "way": "layer", "iou": 0.5, "max_detections": 20}
    facts = recipes_nms.build(recipe, str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), {})
    assert (facts["way"], facts["layout"]) == ("layer", "yolov5")
    assert run(onnx.load(tmp_path / "out.onnx"), table("yolov5", 1, 2)).shape == (1, 20, 6)
    with pytest.raises(InferbenchError, match="did you mean 'iou'"):
        recipes_nms.build({"ious": 1}, str(tmp_path / "in.onnx"), str(tmp_path / "x.onnx"), {})


def test_a_tensorrt_without_plugin_and_layer_compiles_the_loop(tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings")
    from pytest_inferbench.backends.trt_build import TensorRtBuild

    model = append_nms(passing(shape_of("yolov8")), Suppression("yolov8"), "loop")
    onnx.save(model, tmp_path / "m.onnx")
    backend = TensorRtBuild()
    backend.open(str(tmp_path / "m.onnx"), {"compute_capabilities": ["8.6"]}, "fp32")
    assert backend.describe()["capabilities"]["8.6"]["plan_bytes"] > 0
    assert backend.outputs[0].name == OUTPUT


def test_a_tensorrt_without_the_plugin_says_what_to_use_instead(tmp_path):
    """TensorRT for RTX 1.7 has no EfficientNMS_TRT; others, with it, have never run here."""
    pytest.importorskip("tensorrt_rtx_bindings")
    from pytest_inferbench.backends.trt_build import TensorRtBuild

    onnx.save(append_nms(passing(shape_of("yolov8")), Suppression("yolov8")), tmp_path / "m.onnx")
    with pytest.raises(InferbenchError) as caught:
        TensorRtBuild().open(str(tmp_path / "m.onnx"), {"compute_capabilities": ["8.6"]}, "fp32")
    assert caught.value.code == "IB-362"
    assert "[EfficientNMS_TRT]" in caught.value.message
    assert "loop" in caught.value.hint
