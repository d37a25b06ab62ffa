"""What every backend is: takes an artifact and arrays, gives arrays; knows no runtime.

The public methods own every check, so that an adapter is only `_open`, `_infer` and `_close` and
stays under about 150 lines. A remote backend is one whose `_open` connects: the server's own times,
where it reports them, belong in what `describe` returns, since only the caller's side can be timed
here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings.spelling import nearest

Array = npt.NDArray[Any]

CARRIERS: Mapping[str, str] = {
    "bfloat16": "uint16",
    "float8_e4m3fn": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2": "uint8",
    "float8_e5m2fnuz": "uint8",
    "int4": "int8",
    "uint4": "uint8",
    "string": "str",
}
"""What travels where numpy has no dtype: raw bits, one small integer a value, or numpy's text."""

DeviceTimer = Callable[[Callable[[], object]], float]
"""Runs what `prepare` returned, waits for the device, gives the milliseconds it took there."""

PLACEMENT = ("placement", "fallback", "memcpy_nodes", "precisions", "emulated", "fused")
"""The facts about where nodes ran, and as what; docs/writing-a-backend.md says more."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output as the runtime declares it.

    Attributes:
        name: Its name.
        dtype: A numpy dtype's name, such as ``float32``, or a key of `CARRIERS`.
        shape: Its dimensions: a number, a symbol's name, or -1 where nothing is known. None
            where not even the rank is.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    def as_fields(self) -> dict[str, Any]:
        """Return plain types."""
        shape = None if self.shape is None else list(self.shape)
        return {"name": self.name, "dtype": self.dtype, "shape": shape}

    def __str__(self) -> str:
        shape = "any rank" if self.shape is None else "x".join(map(str, self.shape)) or "scalar"
        return f"{self.name}: {self.dtype} {shape}"


class Backend(ABC):
    """A way to run one artifact at a time.

    Attributes:
        inputs: What it takes, once open.
        outputs: What it gives, once open.
        distributions: Packages whose versions belong to its results.
        runs: Whether it can infer; one that only builds has nothing to do but `open`.
    """

    distributions: ClassVar[Sequence[str]] = ()
    runs: ClassVar[bool] = True
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    _is_open = False

    def open(self, artifact: str, options: Mapping[str, Any], precision: str) -> None:
        """Load an artifact.

        Args:
            artifact: The path of a file or folder; a URL for remote backends.
            options: The adapter's options; an unknown one is an error.
            precision: What to run at: fp32 means fp32.

        Raises:
            InferbenchError: It is open already, or the artifact cannot run as asked.
        """
        if self._is_open:
            raise InferbenchError("IB-313", "an artifact is already open", "Close it first.")
        self.inputs, self.outputs = map(tuple, self._open(artifact, options, precision))
        self._is_open = True

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once.

        Args:
            inputs: Every input by name; any memory layout.

        Returns:
            Every output by name, each a copy that the caller owns.

        Raises:
            InferbenchError: The inputs or outputs are not those declared; said before running.
        """
        results = self._infer(self._checked(inputs))
        if set(results) != {spec.name for spec in self.outputs}:
            raise InferbenchError(
                "IB-325",
                f"the backend gave outputs {sorted(results)}, not {_names(self.outputs)}",
            )
        return {spec.name: np.array(results[spec.name], order="C") for spec in self.outputs}

    def prepare(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Check inputs once and return what a timing loop calls."""
        return self._prepare(self._checked(inputs))

    def synchronize(self) -> None:
        """Wait until all work is done; for runtimes whose calls return early."""
        self._synchronize()

    def loaded_from_cache(self) -> bool | None:
        """Whether opening loaded what an earlier one had built; None where nothing is kept."""
        return self._loaded_from_cache()

    def device_timer(self) -> DeviceTimer | None:
        """Return what times a call on the device itself; None where that cannot be told."""
        return self._device_timer()

    def describe(self) -> dict[str, Any]:
        """Return what really runs: provider, placement, threads; plain types."""
        return dict(self._describe())

    def placement(self, inputs: Mapping[str, Array] | None = None) -> dict[str, Any]:
        """Return where nodes ran, in what and as what: those of `PLACEMENT` that are known.

        It may load the artifact a second time and run it, so it never belongs beside timing.

        Args:
            inputs: What to run on; without it, only what is known without running.
        """
        return dict(self._placement(None if inputs is None else self._checked(inputs)))

    def close(self) -> None:
        """Release the artifact; a second time does nothing."""
        if self._is_open:
            self._is_open = False
            self._close()

    @abstractmethod
    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """Load, and return the inputs and outputs."""

    @abstractmethod
    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        """Run checked, contiguous inputs."""

    @abstractmethod
    def _close(self) -> None:
        """Release what `_open` took."""

    def _prepare(self, inputs: dict[str, Array]) -> Callable[[], object]:
        """Return the call to time; override to bind inputs to the device beforehand."""
        return lambda: self._infer(inputs)

    def _synchronize(self) -> None:  # noqa: B027 - optional
        """Wait for the device; nothing to do for calls that return when done."""

    def _loaded_from_cache(self) -> bool | None:
        """Return nothing: override where `_open` builds, and keeps what it built."""
        return None

    def _device_timer(self) -> DeviceTimer | None:
        """Return nothing: override where the device can be asked, as with CUDA's events."""
        return None

    def _describe(self) -> Mapping[str, Any]:
        return {}

    def _placement(self, _inputs: dict[str, Array] | None) -> Mapping[str, Any]:
        """Return placement; override where it costs more than `_describe` may."""
        return {name: fact for name, fact in self.describe().items() if name in PLACEMENT}

    def _checked(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if not self._is_open:
            raise InferbenchError("IB-313", "no artifact is open", "Open one first.")
        expected, given = {spec.name for spec in self.inputs}, set(inputs)
        if expected != given:
            missing, unknown = sorted(expected - given), sorted(given - expected)
            raise InferbenchError(
                "IB-320",
                "; ".join(
                    f"{kind} input {', '.join(map(repr, names))}"
                    for kind, names in (("missing", missing), ("unknown", unknown))
                    if names
                ),
                f"The model takes {'; '.join(map(str, self.inputs)) or 'no inputs'}.",
            )
        for spec in self.inputs:
            _check(spec, inputs[spec.name])
        # Not ascontiguousarray: that would make a 0-d array 1-d.
        return {spec.name: np.asarray(inputs[spec.name], order="C") for spec in self.inputs}


def unknown_option(key: str, known: Sequence[str]) -> InferbenchError:
    """Return the error for an option that an adapter does not have, with the nearest it has."""
    near = nearest(key, known)
    return InferbenchError(
        "IB-323",
        f"unknown option {key!r}" + (f"; did you mean {near!r}?" if near else ""),
        f"Known: {', '.join(sorted(known))}.",
    )


def _check(spec: TensorSpec, array: Array) -> None:
    if not isinstance(array, np.ndarray) or not _carries(spec.dtype, array):
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        carrier = CARRIERS.get(spec.dtype)
        raise InferbenchError(
            "IB-321",
            f"input {spec.name!r} is {kind}, not {spec.dtype}",
            f"Declared: {spec}" + (f", carried as {carrier}." if carrier else "."),
        )
    fits = spec.shape is None or (
        len(spec.shape) == array.ndim
        and all(
            want == got
            for want, got in zip(spec.shape, array.shape, strict=True)
            if isinstance(want, int) and want >= 0
        )
    )
    if not fits:
        raise InferbenchError(
            "IB-322", f"input {spec.name!r} has shape {array.shape}", f"Declared: {spec}."
        )


def _carries(dtype: str, array: Array) -> bool:
    """Whether an array is of a dtype, or of its carrier; text may come as any text of numpy."""
    if dtype == "string":
        return array.dtype.kind in "USO"
    return bool(array.dtype == np.dtype(CARRIERS.get(dtype, dtype)))


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    return sorted(spec.name for spec in specs)
