"""Puts non-maximum suppression into a detector's graph: takes an ONNX model, gives another.

What comes out is one output in the layout ``end-to-end``: [batch, detections, 6] with corners,
score and class, padded with rows of score 0. Three ways: TensorRT's plugin `EfficientNMS_TRT`;
ONNX's `NonMaxSuppression`, which newer TensorRT has as a layer of its own; and a loop over plain
operators, for a TensorRT that has neither. The last two run on every other runtime too. All
suppress by class. Runs where onnx is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_inferbench.errors import InferbenchError

WAYS = ("plugin", "layer", "loop")
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
        candidates: How many of an image's best boxes the loop looks at: it compares each with
            each. The other ways look at all of them.
    """

    layout: str
    confidence: float = 0.001
    iou: float = 0.7
    max_detections: int = 300
    candidates: int = 1024


def append_nms(model: Any, wanted: Suppression, way: str = "plugin") -> Any:
    """Return a copy of a model that suppresses by itself.

    Args:
        model: An `onnx.ModelProto` with one output in fp32.
        wanted: The layout of that output, and what to keep.
        way: One of `WAYS`.

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
    {"plugin": _plugin, "layer": _layer, "loop": _loop}[way](
        graph, boxes, scores, wanted, anchors, classes
    )
    batch = fused.graph.output[0].type.tensor_type.shape.dim[0]
    candidates = wanted.candidates if way == "loop" else anchors * classes
    most = wanted.max_detections if way == "plugin" else _most(wanted, anchors, classes, candidates)
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
    most = _most(wanted, anchors, classes, anchors * classes)
    best, at = _best(graph, flat, most, "kept")
    labels, chosen = _of_flat(graph, at, boxes, anchors)
    _joined(graph, chosen, best, graph.node("Cast", [labels], to=1))


def _loop(
    graph: _Graph, boxes: str, scores: str, wanted: Suppression, anchors: int, classes: int
) -> None:
    """Find what greedy suppression keeps, as the one set that is in keeping with itself.

    A box stays if no better one that stays suppresses it. Begun with all and repeated until
    nothing changes, that ends with just those which the greedy way keeps, in as many rounds as the
    longest chain of boxes that suppress each other.
    """
    count = min(wanted.candidates, anchors * classes)
    by_class = graph.node("Transpose", [scores], perm=[0, 2, 1])
    size = graph.constant([0, classes * anchors], "int64")
    best, at = _best(graph, graph.node("Reshape", [by_class, size]), count, "candidates")
    labels, chosen = _of_flat(graph, at, boxes, anchors)
    over = _suppresses(graph, chosen, labels, wanted.iou, count)
    above = graph.node("Greater", [best, graph.constant(wanted.confidence, "float32")])
    valid = graph.node(
        "Unsqueeze", [graph.node("Cast", [above], to=1), graph.constant([1], "int64")]
    )
    kept = graph.node(
        "Loop",
        [graph.constant(count, "int64"), graph.constant(True, "bool"), valid],
        body=_round(over, valid, count),
    )
    staying = graph.node("Mul", [best, graph.node("Squeeze", [kept, graph.constant([1], "int64")])])
    most = _most(wanted, anchors, classes, count)
    final, rows = _best(graph, staying, most, "kept")
    label = graph.node("GatherElements", [labels, rows], axis=1)
    _joined(graph, _boxes_at(graph, chosen, rows), final, graph.node("Cast", [label], to=1))


def _suppresses(graph: _Graph, boxes: str, labels: str, iou: float, count: int) -> str:
    """Return, as 1 and 0, whether each box (row), if it stays, suppresses each other (column)."""
    import numpy as np

    one, two = graph.constant([1], "int64"), graph.constant([2], "int64")

    def against(name: str, values: str) -> str:
        return graph.node(
            name, [graph.node("Unsqueeze", [values, two]), graph.node("Unsqueeze", [values, one])]
        )

    names = [f"{_DOMAIN}/{side}" for side in ("x1", "y1", "x2", "y2")]
    graph.nodes("Split", [boxes, graph.constant([1] * 4, "int64")], names, axis=2)
    x1, y1, x2, y2 = (graph.node("Squeeze", [name, two]) for name in names)
    nothing = graph.constant(0, "float32")
    axes = ((x1, x2), (y1, y2))

    def length(end: str, start: str) -> str:
        return graph.node("Max", [graph.node("Sub", [end, start]), nothing])

    sides = [length(end, start) for start, end in axes]
    overlaps = [length(against("Min", end), against("Max", start)) for start, end in axes]
    shared = graph.node("Mul", overlaps)
    joint = graph.node("Sub", [against("Add", graph.node("Mul", sides)), shared])
    # multiplied out, so that two boxes without area are not 0 / 0
    limit = graph.node("Mul", [joint, graph.constant(iou, "float32")])
    over = graph.node("And", [graph.node("Greater", [shared, limit]), against("Equal", labels)])
    better = graph.constant(np.triu(np.ones((count, count)), 1), "float32")
    return graph.node("Mul", [graph.node("Cast", [over], to=1), better])


def _round(over: str, valid: str, count: int) -> Any:
    """Return the body of the loop: which boxes stay, given which stayed a round before."""
    from onnx import TensorProto, helper

    def value(name: str, dtype: int, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, dtype, shape)

    node = helper.make_node
    nodes = [
        node("MatMul", ["stayed", over], ["hits"]),
        node("Constant", [], ["half"], value_float=0.5),
        node("Less", ["hits", "half"], ["free"]),
        node("Cast", ["free"], ["freed"], to=1),
        node("Mul", ["freed", valid], ["stay"]),
        node("Sub", ["stay", "stayed"], ["changed"]),
        node("Abs", ["changed"], ["change"]),
        node("ReduceMax", ["change"], ["largest"], keepdims=0),
        node("Greater", ["largest", "half"], ["again"]),
    ]
    shape = [None, 1, count]
    return helper.make_graph(
        nodes,
        "round",
        [
            value("round", TensorProto.INT64, []),
            value("go_on", TensorProto.BOOL, []),
            value("stayed", TensorProto.FLOAT, shape),
        ],
        [value("again", TensorProto.BOOL, []), value("stay", TensorProto.FLOAT, shape)],
    )


def _best(graph: _Graph, scores: str, count: int, name: str) -> tuple[str, str]:
    """Return the best scores of each image, best first, and where they are."""
    names = [f"{_DOMAIN}/{name}", f"{_DOMAIN}/{name}_at"]
    best, at = graph.nodes("TopK", [scores, graph.constant([count], "int64")], names, axis=1)
    return best, at


def _of_flat(graph: _Graph, at: str, boxes: str, anchors: int) -> tuple[str, str]:
    """Return the labels and boxes of places in a flat table of classes by anchors."""
    per_class = graph.constant(anchors, "int64")
    label = graph.node("Div", [at, per_class])
    anchor = graph.node("Sub", [at, graph.node("Mul", [label, per_class])])
    return label, _boxes_at(graph, boxes, anchor)


def _boxes_at(graph: _Graph, boxes: str, rows: str) -> str:
    wide = graph.node("Unsqueeze", [rows, graph.constant([2], "int64")])
    rows_of_four = graph.node("Expand", [wide, graph.constant([1, 1, 4], "int64")])
    return graph.node("GatherElements", [boxes, rows_of_four], axis=1)


def _most(wanted: Suppression, anchors: int, classes: int, candidates: int) -> int:
    """Return how many rows there can be."""
    return min(wanted.max_detections, classes * anchors, candidates)


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
