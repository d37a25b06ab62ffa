"""Puts non-maximum suppression into a detector's graph: takes an ONNX model, gives another.

What comes out is one output in the layout ``end-to-end``: [batch, detections, 6] with corners,
score and class, padded with rows of score 0. Either TensorRT's plugin does it, `EfficientNMS_TRT`,
or ONNX's own operators do, which TensorRT fuses into a layer of its own where it has no such
plugin, and which every other runtime can run too. Both suppress by class. Runs where onnx is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_inferbench.errors import InferbenchError

WAYS = ("plugin", "layer")
OUTPUT = "detections"
_DOMAIN = "fused_nms"  # the prefix of every tensor and node that is added


@dataclass(frozen=True)
class Suppression:
    """What is kept; the defaults are those of suppression on the host.

    Attributes:
        layout: ``yolov8`` ([batch, 4 + classes, anchors]) or ``yolov5``
            ([batch, anchors, 5 + classes]); boxes as centre and size.
        confidence: Boxes with a smaller score are left out.
        iou: Above which overlap the worse of two boxes goes.
        max_detections: The most that are kept of an image.
    """

    layout: str
    confidence: float = 0.001
    iou: float = 0.7
    max_detections: int = 300


def append_nms(model: Any, wanted: Suppression, way: str = "plugin") -> Any:
    """Return a copy of a model that suppresses by itself.

    Args:
        model: An `onnx.ModelProto` with one output in fp32.
        wanted: The layout of that output, and what to keep.
        way: ``plugin`` or ``layer``.

    Raises:
        InferbenchError: The model's output is not such a table (IB-374).
    """
    import onnx

    if way not in WAYS or wanted.layout not in ("yolov8", "yolov5"):
        raise _unfit(
            f"fused_nms {way!r} of the layout {wanted.layout!r} is not known",
            f"It is one of {', '.join(WAYS)}; the layout yolov8 or yolov5.",
        )
    fused = onnx.ModelProto()
    fused.CopyFrom(model)
    anchors, classes = _checked(fused, wanted.layout)
    graph = _Graph(fused)
    boxes, scores = _columns(graph, fused.graph.output[0].name, wanted.layout, classes)
    put = _plugin if way == "plugin" else _layer
    put(graph, boxes, scores, wanted, anchors, classes)
    batch = fused.graph.output[0].type.tensor_type.shape.dim[0]
    most = wanted.max_detections if way == "plugin" else _most(wanted, anchors, classes)
    shape = [batch.dim_param or batch.dim_value or None, most, 6]
    del fused.graph.output[:]
    fused.graph.output.append(
        onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, shape)
    )
    return fused


class _Graph:
    """Adds nodes and constants to a graph."""

    def __init__(self, model: Any) -> None:
        self._graph, self._count = model.graph, 0

    def node(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node with one output; return its name."""
        return self.nodes(op, inputs, [output or self._name(op)], **attributes)[0]

    def nodes(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> list[str]:
        """Add a node with outputs of given names."""
        from onnx import helper

        name = self._name(f"node_{op}")
        self._graph.node.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs

    def constant(self, values: Any, dtype: str) -> str:
        """Add a constant; return its name."""
        import numpy as np
        from onnx import numpy_helper

        name = self._name("constant")
        array = np.array(values, dtype)
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{_DOMAIN}/{what}_{self._count}"


def _columns(graph: _Graph, table: str, layout: str, classes: int) -> tuple[str, str]:
    """Return boxes as corners [batch, anchors, 4] and scores [batch, anchors, classes]."""
    if layout == "yolov8":
        table = graph.node("Transpose", [table], perm=[0, 2, 1])

    def columns(first: int, last: int) -> str:
        ends = [graph.constant([each], "int64") for each in (first, last, 2)]
        return graph.node("Slice", [table, *ends])

    half = graph.node("Mul", [columns(2, 4), graph.constant(0.5, "float32")])
    centre = columns(0, 2)
    corners = [graph.node("Sub", [centre, half]), graph.node("Add", [centre, half])]
    boxes = graph.node("Concat", corners, axis=2)
    if layout == "yolov8":
        return boxes, columns(4, 4 + classes)
    return boxes, graph.node("Mul", [columns(5, 5 + classes), columns(4, 5)])


def _plugin(
    graph: _Graph, boxes: str, scores: str, wanted: Suppression, _anchors: int, _classes: int
) -> None:
    names = [f"{_DOMAIN}/{each}" for each in ("count", "boxes", "scores", "classes")]
    _count, kept, best, labels = graph.nodes(
        "EfficientNMS_TRT",
        [boxes, scores],
        names,
        plugin_version="1",
        background_class=-1,
        max_output_boxes=wanted.max_detections,
        score_threshold=float(wanted.confidence),
        iou_threshold=float(wanted.iou),
        score_activation=0,
        class_agnostic=0,
        box_coding=0,
    )
    _joined(graph, kept, best, graph.node("Cast", [labels], to=1))


def _layer(
    graph: _Graph, boxes: str, scores: str, wanted: Suppression, anchors: int, classes: int
) -> None:
    """Suppress with `NonMaxSuppression`, then lay what it keeps out in a table of fixed size.

    It names what it keeps, however much that is; a mask of that over all scores brings it back to
    a known size, and to the order that the host has: by score, over all classes.
    """
    by_class = graph.node("Transpose", [scores], perm=[0, 2, 1])  # [batch, classes, anchors]
    kept = graph.node(
        "NonMaxSuppression",
        [
            boxes,
            by_class,
            graph.constant([min(wanted.max_detections, anchors)], "int64"),
            graph.constant([wanted.iou], "float32"),
            graph.constant([wanted.confidence], "float32"),
        ],
    )
    shape = graph.node("Shape", [by_class])
    nothing = graph.node("ConstantOfShape", [shape])
    ones = graph.node(
        "Expand",
        [
            graph.constant([1], "float32"),
            graph.node(
                "Slice",
                [graph.node("Shape", [kept]), *(graph.constant([e], "int64") for e in (0, 1, 0))],
            ),
        ],
    )
    mask = graph.node("ScatterND", [nothing, kept, ones])
    flat = graph.node(
        "Reshape",
        [graph.node("Mul", [by_class, mask]), graph.constant([0, classes * anchors], "int64")],
    )
    count = graph.constant([_most(wanted, anchors, classes)], "int64")
    best, at = graph.nodes("TopK", [flat, count], [f"{_DOMAIN}/best", f"{_DOMAIN}/at"], axis=1)
    per_class = graph.constant(anchors, "int64")
    label = graph.node("Div", [at, per_class])
    anchor = graph.node("Sub", [at, graph.node("Mul", [label, per_class])])
    rows = graph.node(
        "Expand",
        [
            graph.node("Unsqueeze", [anchor, graph.constant([2], "int64")]),
            graph.constant([1, 1, 4], "int64"),
        ],
    )
    chosen = graph.node("GatherElements", [boxes, rows], axis=1)
    _joined(graph, chosen, best, graph.node("Cast", [label], to=1))


def _most(wanted: Suppression, anchors: int, classes: int) -> int:
    """Return how many rows there can be."""
    return min(wanted.max_detections, classes * anchors)


def _joined(graph: _Graph, boxes: str, scores: str, labels: str) -> None:
    axis = graph.constant([2], "int64")
    wide = [graph.node("Unsqueeze", [each, axis]) for each in (scores, labels)]
    graph.node("Concat", [boxes, *wide], output=OUTPUT, axis=2)


def _checked(model: Any, layout: str) -> tuple[int, int]:
    """Return the number of anchors and of classes that a model's output declares."""
    opset = max(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    if opset < 13:
        raise _unfit(f"the model is of opset {opset}", "Export it with opset 13 or newer.")
    rows, columns = table_size(model)
    anchors, width = (columns, rows) if layout == "yolov8" else (rows, columns)
    classes = width - (4 if layout == "yolov8" else 5)
    if classes < 1:
        raise _unfit(
            f"the model's output has {rows} rows of {columns}, which is no table of the layout"
            f" {layout}",
            "Name the layout that it has.",
        )
    return anchors, classes


def table_size(model: Any) -> tuple[int, int]:
    """Return the rows and columns of a model's one output.

    Raises:
        InferbenchError: It has no such output (IB-374).
    """
    outputs = model.graph.output
    if len(outputs) != 1 or outputs[0].type.tensor_type.elem_type != 1:
        raise _unfit(f"the model has {len(outputs)} outputs, or not of fp32; one table is wanted")
    sizes = [dim.dim_value for dim in outputs[0].type.tensor_type.shape.dim]
    if len(sizes) != 3 or min(sizes[1:]) < 1:
        raise _unfit(
            f"the model's output {outputs[0].name!r} declares {sizes} (0 is an open dimension)",
            "Export the model with a fixed image size.",
        )
    return sizes[1], sizes[2]


def _unfit(what: str, hint: str = "") -> InferbenchError:
    return InferbenchError("IB-374", f"suppression cannot be made part of the graph: {what}", hint)
