"""Collects the cases of the installed `onnx` package into two files; a program of its own.

`python -m pytest_inferbench.onnx_cases.generate FOLDER` writes `cases.bin`, one frame a case, and
`index.json`, which says where each one is. It has a process to itself because importing the node
cases takes seconds, seeds numpy's random numbers and warns a lot.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_inferbench.onnx_cases.tensors import packed

CASES_FILE = "cases.bin"
INDEX_FILE = "index.json"
_DISK_KINDS = ("simple", "pytorch-operator", "pytorch-converted")
_EXPANDED = "_expanded"


def generate(folder: Path) -> None:
    """Write both files."""
    import onnx

    rows, frames_end = [], 0
    with (folder / CASES_FILE).open("wb") as file:
        for case, model, sets in _collected():
            frame = _frame(case, model, sets)
            rows.append(
                {**_row(case, model), "offset": frames_end, "size_bytes": file.write(frame)}
            )
            frames_end += len(frame)
    _name_ops(rows)
    rows.sort(key=lambda row: row["name"])
    text = json.dumps({"onnx": onnx.__version__, "cases": rows})
    (folder / INDEX_FILE).write_text(text, encoding="utf-8")


Sets = list[tuple[dict[str, Any], dict[str, Any]]]


def _collected() -> Iterator[tuple[Any, Any, Sets]]:
    """Give every case with its model, and of each data set the inputs and outputs by name."""
    from onnx.backend.test.loader import load_model_tests

    yield from map(_node, load_model_tests(kind="node"))
    for kind in _DISK_KINDS:
        yield from map(_from_disk, load_model_tests(kind=kind))
    yield from map(_light, load_model_tests(kind="real"))


def _node(case: Any) -> tuple[Any, Any, Sets]:
    graph = case.model.graph
    sets = [
        (_named(graph.input, inputs), _named(graph.output, outputs))
        for inputs, outputs in case.data_sets
    ]
    return case, case.model, sets


def _named(infos: Iterable[Any], values: Iterable[Any]) -> dict[str, Any]:
    return {info.name: value for info, value in zip(infos, values)}  # noqa: B905 - optional ones


def _from_disk(case: Any) -> tuple[Any, Any, Sets]:
    import onnx

    model = onnx.load(Path(case.model_dir, "model.onnx"))
    sets: Sets = []
    for folder in sorted(Path(case.model_dir).glob("test_data_set*")):
        inputs, outputs = (
            {
                info.name: _read(folder / f"{kind}_{i}.pb", info.type)
                for i, info in enumerate(infos)
                if (folder / f"{kind}_{i}.pb").is_file()
            }
            for kind, infos in (("input", model.graph.input), ("output", model.graph.output))
        )
        sets.append((inputs, outputs))
    return case, model, sets


def _light(case: Any) -> tuple[Any, Any, Sets]:
    """A known network without its weights: the package holds its output for a made-up input."""
    import onnx
    from onnx.backend.test.runner import Runner

    path = Path(onnx.__file__).parents[1] / case.url
    model = onnx.load(path)
    weights = {each.name for each in model.graph.initializer}
    inputs = {
        info.name: Runner.generate_dummy_data(info, name=case.model_name)
        for info in model.graph.input
        if info.name not in weights
    }
    outputs = {
        info.name: _read(path.with_name(f"{path.stem}_output_{i}.pb"), info.type)
        for i, info in enumerate(model.graph.output)
    }
    case.kind = "light"
    return case, model, [(inputs, outputs)]


def _read(path: Path, declared: Any) -> Any:
    import onnx

    if not declared.HasField("tensor_type"):
        return None
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return tensor


def _frame(case: Any, model: Any, sets: Sets) -> bytes:
    import numpy as np
    import onnx

    from pytest_inferbench.worker.protocol import encode

    arrays: dict[str, Any] = {"model": np.frombuffer(model.SerializeToString(), np.uint8)}
    types: dict[str, str] = {}
    if _not_tensors(model) is None:
        for i, (inputs, outputs) in enumerate(sets):
            for kind, values in (("in", inputs), ("out", outputs)):
                for name, value in values.items():
                    if isinstance(value, onnx.TensorProto):
                        value = onnx.numpy_helper.to_array(value)  # noqa: PLW2901
                    key = f"{kind}/{i}/{name}"
                    arrays[key], types[key] = packed(value)
    return encode({"sets": len(sets), "types": types, "rtol": case.rtol, "atol": case.atol}, arrays)


def _row(case: Any, model: Any) -> dict[str, Any]:
    nodes = model.graph.node
    opsets = {each.domain: each.version for each in model.opset_import}
    only = nodes[0] if len(nodes) == 1 else None
    domain = only.domain if only is not None else next(iter(opsets))
    return {
        "name": case.name,
        "kind": case.kind,
        "op": _op(only) if only is not None else "",
        "opset": opsets.get(domain, 0),
        "ir": model.ir_version,
        "not_tensors": _not_tensors(model),
    }


def _op(node: Any) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)


def _name_ops(rows: list[dict[str, Any]]) -> None:
    """An op spelt out in simpler ones counts for the op; a whole model for its kind."""
    by_name: Mapping[str, str] = {row["name"]: row["op"] for row in rows if row["op"]}
    for row in rows:
        if not row["op"]:
            spelt_out = by_name.get(row["name"].partition(_EXPANDED)[0])
            row["op"] = spelt_out or f"({row['kind']} models)"


def _not_tensors(model: Any) -> str | None:
    """Return which inputs or outputs are no tensors; None where all are."""
    for what, infos in (("input", model.graph.input), ("output", model.graph.output)):
        for info in infos:
            held = str(info.type.WhichOneof("value")).removesuffix("_type")
            if held != "tensor":
                return f"the {what} {info.name!r} is no tensor ({held.replace('_', ' ')})"
    return None


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
