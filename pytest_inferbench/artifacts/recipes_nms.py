"""The recipe of fused suppression: takes a detector's ONNX file, gives one that suppresses itself.

Runs in a worker that has onnx; `fused_nms` does the work on the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_inferbench.artifacts.fused_nms import Suppression, append_nms, table_size
from pytest_inferbench.backends.contract import unknown_option

_KNOWN = ("precision", "way", "layout", "confidence", "iou", "max_detections", "candidates")
_LARGE_BYTES = 1 << 30  # above it weights go beside the file, well below protobuf's 2 GiB


def build(
    recipe: Mapping[str, Any],
    model_path: str,
    output_path: str,
    calibration: Mapping[str, Any],  # noqa: ARG001 - every recipe is given them
) -> dict[str, Any]:
    """Write a model that suppresses by itself, and return facts about it.

    Args:
        recipe: ``way`` ("plugin", "layer", "loop"), ``layout`` (found by the output's shape if
            "auto"), ``confidence``, ``iou``, ``max_detections``, ``candidates``.
        model_path: The detector, at whatever precision.
        output_path: The file to write.
        calibration: Not used.

    Raises:
        InferbenchError: The model's output is no table of boxes (IB-374); IB-323 an option.
    """
    import onnx

    for key in recipe:
        if key not in _KNOWN:
            raise unknown_option(key, _KNOWN)
    model, output, way = onnx.load(model_path), Path(output_path), str(recipe.get("way", "plugin"))
    layout = str(recipe.get("layout", "auto"))
    if layout == "auto":
        rows, columns = table_size(model)
        layout = "yolov8" if rows < columns else "yolov5"
    numbers = {key: recipe[key] for key in _KNOWN[3:] if key in recipe}
    fused = append_nms(model, Suppression(layout, **numbers), way)
    large = fused.ByteSize() > _LARGE_BYTES
    onnx.save(
        fused,
        str(output),
        save_as_external_data=large,
        location=f"{output.name}.data" if large else None,
    )
    return {"way": way, "layout": layout, "nodes": len(fused.graph.node)}
