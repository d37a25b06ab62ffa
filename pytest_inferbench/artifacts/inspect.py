"""What a model is: takes a path, gives its hash, inputs, outputs and files; knows no precision.

The graph is parsed without its external data, hashes are streamed, and nothing is unpickled, so a
hostile or huge file costs no more than its own size in reads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from pytest_inferbench.artifacts.cache import sha256_of
from pytest_inferbench.errors import InferbenchError

_LFS_POINTER = b"version https://git-lfs"
_BYTES = re.compile("[0-9]{1,19}")
_NAMES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E4M3FNUZ": "float8_e4m3fnuz",
    "FLOAT8E5M2": "float8_e5m2",
    "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
}


@dataclass(frozen=True)
class TensorFacts:
    """An input or output as the file declares it.

    Attributes:
        name: Its name.
        dtype: A numpy dtype's name or a key of `contract.CARRIERS`; ``sequence_type`` or such for
            what is no tensor.
        shape: Its dimensions: a number, a symbol's name, or -1 where nothing is known; empty for
            scalars and where not even the rank is known.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model without loading its weights.

    Attributes:
        path: The ONNX file.
        sha256: Of the file; of the file and its external data, where it has any.
        size_bytes: All files together.
        inputs: What must be fed; initializers are none.
        outputs: What comes out.
        ir_version: The format's version.
        opset: The version of the standard operators; 0 if it uses none.
        external_files: Files that hold weights, in the order of their names.
    """

    path: Path
    sha256: str
    size_bytes: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    ir_version: int
    opset: int
    external_files: tuple[Path, ...]

    def signature(self) -> dict[str, list[dict[str, object]]]:
        """Return inputs and outputs as plain types, for what cannot tell its own."""
        return {
            kind: [
                {"name": each.name, "dtype": each.dtype, "shape": list(each.shape)}
                for each in tensors
            ]
            for kind, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        }


def inspect(path: Path) -> ModelFacts:
    """Read a model's facts.

    Raises:
        InferbenchError: IB-401 there is no such file; IB-402 it is no ONNX model, or a part of
            one; IB-403 it has no outputs; IB-404 its external data lies outside its folder;
            IB-405 its external data is missing or too short.
    """
    model = _parsed(path)
    external = _external_files(path, model)
    weights = {initializer.name for initializer in model.graph.initializer}
    return ModelFacts(
        path=path,
        sha256=_joint_sha256(path, external),
        size_bytes=sum(file.stat().st_size for file in (path, *external.values())),
        inputs=tuple(_tensor(path, each) for each in model.graph.input if each.name not in weights),
        outputs=tuple(_tensor(path, each) for each in model.graph.output),
        ir_version=model.ir_version,
        opset=max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0
        ),
        external_files=tuple(external.values()),
    )


def all_tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of a parsed model, those of subgraphs and functions included."""
    nodes = [node for function in model.functions for node in function.node]
    graphs = [model.graph]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
        else:
            for attribute in nodes.pop().attribute:
                yield from (attribute.t, *attribute.tensors)
                graphs += [attribute.g, *attribute.graphs]


def _parsed(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

    if not path.is_file():
        raise InferbenchError(
            "IB-401", f"there is no model file {path}", "Check the model's path in the settings."
        )
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
    if start == _LFS_POINTER:
        raise _not_a_model(path, "it is a Git LFS pointer, not the file itself", "git lfs pull")
    if size_bytes == 0:
        raise _not_a_model(path, "it is empty")
    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise _not_a_model(path, f"its {size_bytes} bytes cannot be parsed ({error})") from error
    if not model.HasField("graph") or not model.graph.node or not model.opset_import:
        part = "graph" if not model.graph.node else "list of opsets"
        raise _not_a_model(path, f"its {size_bytes} bytes hold no {part}")
    if not model.graph.output:
        raise InferbenchError(
            "IB-403",
            f"the model {path} has no outputs, so nothing of it can be compared",
            "Export it again with its outputs named.",
        )
    return model


def _not_a_model(path: Path, why: str, hint: str = "") -> InferbenchError:
    return InferbenchError(
        "IB-402",
        f"{path} is not a whole ONNX model: {why}",
        hint or "Copy or export it again; compare its size with the original's.",
    )


def _external_files(path: Path, model: Any) -> dict[str, Path]:
    """Return the files beside the model by location, each checked to be inside and long enough."""
    from onnx import TensorProto

    needed_bytes: dict[str, int] = {}
    for tensor in all_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            fields = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
            location = fields.get("location", "")
            end = _end_byte(path, _text(tensor.name), fields)
            needed_bytes[location] = max(end, needed_bytes.get(location, 0))
    return {
        location: _inside(path, location, end) for location, end in sorted(needed_bytes.items())
    }


def _end_byte(path: Path, tensor: str, fields: dict[str, str]) -> int:
    offset, length = (fields.get(key, "0") for key in ("offset", "length"))
    if not (_BYTES.fullmatch(offset) and _BYTES.fullmatch(length)):
        raise InferbenchError(
            "IB-405",
            f"the tensor {tensor!r} of {path} lies at offset {offset!r} with length {length!r},"
            " which are no numbers of bytes",
            "Export the model again.",
        )
    return int(offset) + int(length)


def _inside(path: Path, location: str, needed_bytes: int) -> Path:
    file = path.parent / location
    if not _is_inside(path, location):
        raise InferbenchError(
            "IB-404",
            f"the model {path} keeps weights in {location!r}, which is outside its folder",
            "Save the model again with its external data beside it.",
        )
    if not file.is_file():
        raise InferbenchError(
            "IB-405",
            f"the model {path} keeps weights in {location!r}, which is not there",
            "Copy the external data along with the model.",
        )
    if file.stat().st_size < needed_bytes:
        raise InferbenchError(
            "IB-405",
            f"{file} has {file.stat().st_size} bytes, and the model needs {needed_bytes}",
            "It was cut short: copy it again.",
        )
    return file


def _is_inside(path: Path, location: str) -> bool:
    windows = PureWindowsPath(location)  # splits at both kinds of slash
    if not location or windows.anchor or ".." in windows.parts:
        return False
    try:
        target = (path.parent / location).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a zero byte
        return False
    # A model that is itself a link, as in a hub's cache, may keep its data beside its target.
    return any(map(target.is_relative_to, (path.parent.resolve(), path.resolve().parent)))


def _joint_sha256(path: Path, external: dict[str, Path]) -> str:
    own = sha256_of(path)
    if not external:
        return own
    parts = [own, *(f"{location}\0{sha256_of(file)}" for location, file in external.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _tensor(path: Path, value: Any) -> TensorFacts:
    from onnx import TensorProto

    kind, name = value.type.WhichOneof("value"), _text(value.name)
    if kind != "tensor_type":
        return TensorFacts(name, str(kind), ())
    element = value.type.tensor_type.elem_type
    if element not in TensorProto.DataType.values():
        raise _not_a_model(path, f"the elements of {name!r} are of no known type ({element})")
    dtype = TensorProto.DataType.Name(element)
    return TensorFacts(
        name,
        _NAMES.get(dtype, dtype.lower()),
        tuple(
            dim.dim_value if dim.HasField("dim_value") else _text(dim.dim_param) or -1
            for dim in value.type.tensor_type.shape.dim
        ),
    )


def _text(value: str | bytes) -> str:
    """Return a string of the file; protobuf gives bytes where it is not UTF-8."""
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")
