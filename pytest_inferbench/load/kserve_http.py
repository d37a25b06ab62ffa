"""KServe's protocol over HTTP: arrays to requests, answers to arrays. Pure; knows no connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_inferbench.load.tensors import DTYPES, ModelSpec, Place, TensorSpec, from_raw, to_raw

if TYPE_CHECKING:
    from pytest_inferbench.load.tensors import Array

_SIZE_HEADER = "Inference-Header-Content-Length"


def request(method: str, host: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a whole HTTP/1.1 request, to be sent as it is any number of times."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def model_path(model: str) -> str:
    """Return where a model is served."""
    return f"/v2/models/{quote(model, safe='')}"


def spec_of(body: bytes) -> ModelSpec:
    """Read a model's metadata.

    Raises:
        KeyError, TypeError, ValueError: It is nothing of the kind.
    """
    told = json.loads(body)

    def specs(key: str) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(each["name"], each["datatype"], tuple(int(size) for size in each["shape"]))
            for each in told[key]
        )

    return ModelSpec(told["name"], specs("inputs"), specs("outputs"))


def infer(
    spec: ModelSpec,
    inputs: Mapping[str, Array],
    *,
    binary: bool,
    places: Mapping[str, Place] | None = None,
) -> tuple[dict[str, str], bytes]:
    """Return an inference's headers and body.

    Args:
        spec: The model.
        inputs: An array for each of its inputs.
        binary: Tensors as they are in memory; else as JSON's numbers.
        places: Tensors that are in shared memory, or are to be put there, by name.
    """
    places = places or {}
    told_inputs, raws = [], []
    for each in spec.inputs:
        array = inputs[each.name]
        told: dict[str, Any] = {"name": each.name, "shape": list(array.shape)}
        told["datatype"] = each.datatype
        if each.name in places:
            told["parameters"] = _in_region(places[each.name])
        elif binary:
            raws.append(to_raw(array))
            told["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            told["data"] = _numbers(array)
        told_inputs.append(told)
    outputs = [
        {
            "name": each.name,
            "parameters": _in_region(places[each.name])
            if each.name in places
            else {"binary_data": binary},
        }
        for each in spec.outputs
    ]
    head = json.dumps({"inputs": told_inputs, "outputs": outputs}, separators=(",", ":")).encode()
    if not raws:
        return {"Content-Type": "application/json"}, head
    headers = {"Content-Type": "application/octet-stream", _SIZE_HEADER: str(len(head))}
    return headers, head + b"".join(raws)


def answer(head: bytes, body: bytes) -> dict[str, Array]:
    """Read the outputs of an answer; those in shared memory are left out.

    Raises:
        KeyError, TypeError, ValueError: It is nothing of the kind.
    """
    size = _size_of_head(head)
    told = json.loads(body[:size] if size is not None else body)
    rest = memoryview(body)[size or 0 :]
    outputs: dict[str, Array] = {}
    for each in told["outputs"]:
        parameters = each.get("parameters", {})
        if "binary_data_size" in parameters:
            raw = rest[: parameters["binary_data_size"]]
            rest = rest[parameters["binary_data_size"] :]
            outputs[each["name"]] = from_raw(raw, each["datatype"], each["shape"])
        elif "data" in each:
            outputs[each["name"]] = _array(each)
    return outputs


def error_of(body: bytes) -> str:
    """Return what a refusal says, in one line."""
    try:
        said = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        said = body[:200].decode("latin-1")
    return " ".join(str(said).split())


def register(place: Place, key: str) -> bytes:
    """Return the body that makes a region of shared memory known."""
    return json.dumps({"key": key, "offset": place.offset, "byte_size": place.size}).encode()


def _array(told: Mapping[str, Any]) -> Array:
    import numpy as np

    return np.asarray(told["data"], np.dtype(DTYPES[told["datatype"]])).reshape(told["shape"])


def _numbers(array: Array) -> list[Any]:
    if array.dtype.kind in "OSU":
        return [each.decode() if isinstance(each, bytes) else str(each) for each in array.ravel()]
    numbers: list[Any] = array.ravel().tolist()
    return numbers


def _in_region(place: Place) -> dict[str, Any]:
    return {
        "shared_memory_region": place.region,
        "shared_memory_offset": place.offset,
        "shared_memory_byte_size": place.size,
    }


def _size_of_head(head: bytes) -> int | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == _SIZE_HEADER.lower().encode():
            return int(value)
    return None
