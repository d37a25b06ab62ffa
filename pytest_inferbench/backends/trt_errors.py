"""What a failed parse or build says: takes the parser's errors, gives one readable message.

Knows no runtime; what TensorRT words differently from version to version is looked for in one
place, below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_inferbench.errors import InferbenchError

_MOST_SHOWN = 20
_QDQ_OPS = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"})
_QDQ_WORDS = ("zero point", "zero_point", "asymmetric quantization", "has type int32 but must")
_NO_PLUGIN = ("plugin not found", "was not found in plugin registry")
_NO_CAPABILITY = ("(cuda error", "(cudaerror")

QDQ_HINT = (
    "TensorRT takes symmetric Q/DQ graphs with signed zero points of 0 and no quantized biases;"
    " ONNX Runtime's default is neither. Use the recipe int8-trt: leave the quantization to this"
    " project (backends of the TensorRT family get it), or quantize with ActivationSymmetric=True,"
    " QuantizeBias=False and QInt8."
)


@dataclass(frozen=True)
class ParserFault:
    """One error of the ONNX parser.

    Attributes:
        index: The node's place in the graph; -1 where it is none.
        name: The node's name.
        op: Its operator.
        description: What the parser says of it.
    """

    index: int
    name: str
    op: str
    description: str

    def __str__(self) -> str:
        said = " ".join(self.description.split())
        if self.index < 0:
            return f"the model: {said}"
        return f"node {self.index} {self.name or '(unnamed)'} [{self.op or 'unknown'}]: {said}"

    @property
    def is_quantization(self) -> bool:
        """Whether it is about how the graph is quantized."""
        said = self.description.lower()
        return self.op in _QDQ_OPS or any(word in said for word in _QDQ_WORDS)

    @property
    def lacks_plugin(self) -> bool:
        """Whether it says that nothing here implements the operator."""
        said = self.description.lower()
        return any(word in said for word in _NO_PLUGIN)


def parse_error(runtime: str, model: str, faults: Sequence[ParserFault]) -> InferbenchError:
    """Return the error for a graph that was not understood, with every fault by node (IB-362)."""
    lines = [f"\n    {fault}" for fault in faults[:_MOST_SHOWN]]
    if len(faults) > _MOST_SHOWN:
        lines.append(f"\n    and {len(faults) - _MOST_SHOWN} more")
    return InferbenchError(
        "IB-362",
        f"{runtime} cannot parse {model}:{''.join(lines) or ' it gives no reason'}",
        _hint(faults),
    )


def build_error(runtime: str, what: str, said: Sequence[str]) -> InferbenchError:
    """Return the error for an engine that was not built, with what the builder said (IB-365)."""
    words = [" ".join(each.split()) for each in dict.fromkeys(said)]
    text = "".join(f"\n    {each}" for each in words[-_MOST_SHOWN:]) or " it gives no reason"
    lower = text.lower()
    hint = ""
    if any(word in lower for word in _QDQ_WORDS):
        hint = QDQ_HINT
    elif any(word in lower for word in _NO_CAPABILITY):
        hint = "It needs a working GPU and driver; the backend trt-build needs neither."
    elif "workspace" in lower or "out of memory" in lower:
        hint = (
            "Raise workspace_mib in the backend's settings, or lower the profile's largest shape."
        )
    return InferbenchError("IB-365", f"{runtime} cannot build {what}:{text}", hint)


def _hint(faults: Sequence[ParserFault]) -> str:
    if any(fault.is_quantization for fault in faults):
        return QDQ_HINT
    missing = sorted({fault.op for fault in faults if fault.lacks_plugin})
    if "EfficientNMS_TRT" in missing:
        return (
            'This TensorRT has no such plugin: set fused_nms = "layer", which uses ONNX\'s own'
            " NonMaxSuppression, or leave suppression to the host."
        )
    if missing:
        return (
            f"It has neither an operator nor a plugin {', '.join(missing)}: export the model"
            " without it, or load a plugin library (plugins in the backend's settings)."
        )
    return ""
