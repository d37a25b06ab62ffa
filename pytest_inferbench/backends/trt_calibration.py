"""Calibration of int8 by TensorRT itself, which only versions up to 10 can.

Takes samples; gives the calibrator that a builder asks, and the cache of scales that it leaves.
A cache says of whose activations its scales are, in a file beside it: scales of another model
would quantize to nonsense without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import Array
from pytest_inferbench.backends.device_buffers import Cuda
from pytest_inferbench.backends.trt_flavour import Flavour
from pytest_inferbench.errors import InferbenchError


@dataclass(frozen=True)
class CacheOwner:
    """Whose scales a calibration cache holds."""

    model_sha256: str
    calibration_sha256: str
    runtime: str


def samples_sha256(samples: Mapping[str, Array]) -> str:
    """Return what identifies calibration samples."""
    digest = hashlib.sha256()
    for name, array in sorted(samples.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_cache(path: Path, content: bytes, owner: CacheOwner) -> None:
    """Write a cache, and beside it whose it is."""
    path.write_bytes(content)
    said = {**asdict(owner), "sha256": hashlib.sha256(content).hexdigest()}
    _beside(path).write_text(f"{json.dumps(said, indent=2, sort_keys=True)}\n", encoding="utf-8")


def read_cache(path: Path, owner: CacheOwner) -> bytes | None:
    """Return a cache's content; None where there is none.

    Raises:
        InferbenchError: It belongs to something else, or nothing tells to what (IB-369).
    """
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        said: dict[str, Any] = json.loads(_beside(path).read_text(encoding="utf-8"))
        of = {name: str(said[name]) for name in (*asdict(owner), "sha256")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _foreign(
            path, f"nothing tells whose it is ({_beside(path).name}: {error})"
        ) from error
    wanted = {**asdict(owner), "sha256": hashlib.sha256(content).hexdigest()}
    words = {
        "model_sha256": "it was made from another model",
        "calibration_sha256": "it was made from other calibration samples",
        "runtime": f"it was made by {of['runtime']}",
        "sha256": "it was changed after it was made",
    }
    wrong = [words[name] for name, value in wanted.items() if of[name] != value]
    if wrong:
        raise _foreign(path, " and ".join(wrong))
    return content


def sample_shapes(samples: Mapping[str, Array], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shape of one sample by input.

    Raises:
        InferbenchError: IB-430 there are none; IB-431 they do not fit the model.
    """
    lengths = {len(array) if array.ndim else 0 for array in samples.values()} or {0}
    if 0 in lengths:
        raise InferbenchError(
            "IB-430",
            "there are no calibration samples, and int8 by calibration needs some",
            "Set the model's `calibration` to a folder that has samples.",
        )
    if set(samples) != set(inputs) or len(lengths) > 1:
        given = ", ".join(f"{len(array)} of {name}" for name, array in samples.items())
        raise InferbenchError(
            "IB-431",
            f"the calibration samples do not fit the model: there are {given}, and it takes"
            f" {', '.join(inputs)}",
            "Give every input as many samples as the others.",
        )
    for name, array in samples.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InferbenchError(
                "IB-431", f"calibration samples of the input {name!r} hold NaN or infinity"
            )
    return {name: array.shape[1:] for name, array in samples.items()}


def make_calibrator(
    flavour: Flavour, samples: Mapping[str, Array], cuda: Cuda, cached: bytes | None
) -> Any:
    """Return a calibrator; after the build its `written` holds the cache, unless one was given."""
    base: Any = flavour.trt.IInt8EntropyCalibrator2
    buffers = {name: cuda.allocate(array[0].nbytes) for name, array in samples.items()}
    stream = cuda.stream()
    order = iter(range(len(next(iter(samples.values())))))

    class Calibrator(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.written: bytes | None = cached

        def get_batch_size(self) -> int:
            return next((int(a.shape[1]) for a in samples.values() if a.ndim > 1), 1)

        def get_batch(self, names: list[str]) -> list[int] | None:
            index = next(order, None)
            if index is None:
                return None
            for name in names:
                cuda.upload(buffers[name], np.ascontiguousarray(samples[name][index]), stream)
            cuda.synchronize(stream)
            return [buffers[name] for name in names]

        def read_calibration_cache(self) -> bytes | None:
            return cached

        def write_calibration_cache(self, cache: Any) -> None:
            self.written = bytes(cache)

    return Calibrator()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _foreign(path: Path, why: str) -> InferbenchError:
    return InferbenchError(
        "IB-369",
        f"the calibration cache {path} cannot be used: {why}",
        "Remove it, or leave calibration_cache out of the backend's settings: it is made anew.",
    )
