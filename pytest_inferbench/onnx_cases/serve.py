"""Runs one case in the worker: takes a model's bytes and inputs, gives outputs or where it failed.

Shipped to workers. A case is opened, run and closed in one call, with a backend of its own; what an
adapter raises is told, not raised, because where it was raised is part of the result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pytest_inferbench.backends import contract
from pytest_inferbench.backends.contract import Array, Backend, TensorSpec
from pytest_inferbench.errors import InferbenchError

_TEXT = "string"


def run_case(
    backend: Backend,
    arrays: Mapping[str, Array],
    *,
    options: Mapping[str, Any],
    precision: str,
    sets: int,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Run every data set of a case.

    Args:
        backend: A new one of the adapter's class.
        arrays: ``model``, the bytes of an ONNX file, and ``set/name`` for every input.
        options: The adapter's options.
        precision: What to run at.
        sets: How many data sets there are.

    Returns:
        Fields and outputs. ``stage`` is where it ended: "open", "types" (the adapter cannot be
        handed such arrays), "infer" or "done"; ``error`` is what was raised there; ``types`` the
        type of each output; ``ran`` what the backend says of itself. Outputs are ``set/name``.
    """
    fields: dict[str, Any] = {"stage": "open"}
    outputs: dict[str, Array] = {}
    with tempfile.TemporaryDirectory(prefix="inferbench-case-") as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(arrays["model"].tobytes())
        try:
            backend.open(str(path), options, precision)
            fields["ran"] = {
                key: value
                for key, value in backend.describe().items()
                if key in ("provider", "device", "placement", "fallback")
            }
            fields["stage"] = "types"
            specs = {spec.name: spec for spec in (*backend.inputs, *backend.outputs)}
            for spec in specs.values():
                _check_type(spec)
            fields["stage"] = "infer"
            fields["types"] = {}
            for number in range(sets):
                answers = backend.infer(_inputs(arrays, number, specs))
                for name, each in answers.items():
                    fields["types"][name] = _type_name(specs[name], each)
                    outputs[f"{number}/{name}"] = _sent(each)
            fields["stage"] = "done"
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the result
            fields["error"] = _described(error, str(path))
        finally:
            backend.close()
    return fields, outputs


def _check_type(spec: TensorSpec) -> None:
    if spec.dtype in _carriers():
        return
    try:
        np.dtype(spec.dtype)
    except TypeError as error:
        raise TypeError(f"{spec.name!r} is {spec.dtype}, which the adapter has no array for") from (
            error
        )


def _type_name(spec: TensorSpec, array: Array) -> str:
    if array.dtype.kind in "OUS":
        return _TEXT
    return spec.dtype if spec.dtype in _carriers() else array.dtype.name


def _carriers() -> Mapping[str, str]:
    """What travels as plain integers under a name of its own."""
    carriers: Mapping[str, str] = getattr(contract, "CARRIERS", {})
    return carriers


def _inputs(
    arrays: Mapping[str, Array], number: int, specs: Mapping[str, TensorSpec]
) -> dict[str, Array]:
    start = f"{number}/"
    found = {key[len(start) :]: each for key, each in arrays.items() if key.startswith(start)}
    return {
        name: each.astype(object) if name in specs and specs[name].dtype == "object" else each
        for name, each in found.items()
    }


def _sent(array: Array) -> Array:
    """Text as numpy's own text, for objects cannot be sent."""
    if array.dtype.kind != "O":
        return array
    # Not `astype(str)`: that keeps the width of an empty text, which is none.
    return np.array([str(each) for each in array.reshape(-1)], np.str_).reshape(array.shape)


def _described(error: Exception, path: str) -> dict[str, str]:
    """Tell of an error without the file's name, which is another one every time."""
    code = error.code if isinstance(error, InferbenchError) else ""
    message = error.message if isinstance(error, InferbenchError) else str(error)
    return {"code": code, "type": type(error).__name__, "message": message.replace(path, "it")}
