"""Which TensorRT is here: takes what can be imported, gives the module and what it can do.

There are three: TensorRT up to 10 is told precisions by flags and calibrates int8 itself; TensorRT
11 and TensorRT for RTX compute in the types that the graph says and know neither. TensorRT for RTX
builds without a GPU. Knows no model.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from pytest_inferbench.errors import InferbenchError

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
"""What is tried, in this order; the wheels of TensorRT for RTX come with or without the alias."""

DISTRIBUTIONS = (
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "tensorrt-rtx-cu13-bindings",
    "tensorrt-rtx-cu13-libs",
)

CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")
"""The compute capabilities that TensorRT for RTX compiles for unless it is told others."""

_WITH_FP8 = ("8.9", "12.0")  # the others have no such arithmetic, and nothing is built for them

_FLAGS = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}


@dataclass(frozen=True)
class Flavour:
    """A TensorRT that was imported.

    Attributes:
        trt: The module.
        name: ``tensorrt-10``, ``tensorrt-11`` and so on, or ``tensorrt-rtx``.
        version: As the module tells it.
        weakly_typed: Whether flags choose the precision, not the graph.
    """

    trt: Any
    name: str
    version: str
    weakly_typed: bool

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT for RTX: builds need no GPU, kernels are made at first use."""
        return self.name == "tensorrt-rtx"

    def precision_flags(self, precision: str) -> tuple[str, ...]:
        """Return the builder flags that a precision takes, by name; fp32 means fp32."""
        flags = ["TF32"] if precision == "tf32" else []
        if self.weakly_typed and precision in _FLAGS:
            flags.append(_FLAGS[precision])
        return tuple(flags)

    def capability(self, text: str) -> Any:
        """Return the runtime's word for a compute capability such as ``8.6``.

        Raises:
            InferbenchError: It compiles for no such thing (IB-376).
        """
        known = getattr(self.trt, "ComputeCapability", None)
        names = {} if known is None else known.__members__
        if f"SM{text.replace('.', '')}" not in names:
            has = ", ".join(map(dotted, names)) or "none: it builds on the GPU that it runs on"
            raise InferbenchError(
                "IB-376",
                f"{self.name} {self.version} cannot be told to compile for compute capability"
                f" {text}",
                f"It can for {has}.",
            )
        return names[f"SM{text.replace('.', '')}"]


def default_capabilities(precision: str) -> tuple[str, ...]:
    """Return what is compiled for where nothing is asked: what has the precision at all."""
    return _WITH_FP8 if precision == "fp8" else CAPABILITIES


def dotted(name: str) -> str:
    """Return ``8.6`` for ``SM86``; other words as they are."""
    digits = name.removeprefix("SM")
    return f"{digits[:-1]}.{digits[-1]}" if digits.isdigit() and len(digits) > 1 else name


def flavour_name(module: str, version: str) -> str:
    """Return what to call a module of a version."""
    if module.startswith("tensorrt_rtx"):
        return "tensorrt-rtx"
    return f"tensorrt-{version.partition('.')[0]}"


def find_flavour(only_rtx: bool = False) -> Flavour:
    """Return the first TensorRT that can be imported.

    Args:
        only_rtx: Take none but TensorRT for RTX, which alone builds without a GPU.

    Raises:
        InferbenchError: There is none (IB-361).
    """
    failed = []
    for name in MODULES[1:] if only_rtx else MODULES:
        try:
            trt = importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: its libraries are missing
            if not isinstance(error, ModuleNotFoundError) or error.name != name:
                failed.append(f"{name}: {error}")
            continue
        weak = hasattr(trt.BuilderFlag, "FP16")
        return Flavour(trt, flavour_name(name, trt.__version__), trt.__version__, weak)
    what = "TensorRT for RTX" if only_rtx else "TensorRT"
    extra = "trt-rtx" if only_rtx else "trt"
    raise InferbenchError(
        "IB-361",
        f"{what} cannot be imported here" + "".join(f"; {each}" for each in failed),
        f"pip install 'pytest-inferbench[{extra}]'",
    )


def make_log(trt: Any) -> Any:
    """Return a logger that keeps warnings and errors, as text, for whoever explains a failure."""
    base: Any = trt.ILogger

    class Log(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)

    return Log()
