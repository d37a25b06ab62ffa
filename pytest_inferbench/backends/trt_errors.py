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
_NO_GPU = "catchCudaError"  # a builder without a GPU looks for one at every error, and tells

QDQ_HINT = (
    "TensorRT takes symmetric Q/DQ graphs with signed zero points of 0 and no quantized biases;"
    ' ONNX Runtime\'s default is neither. Use the recipe int8-trt (quantization scheme "trt"):'
    " give trt and trt-build the fp32 model, and they make that of it; or quantize with"
    " ActivationSymmetric=True, QuantizeBias=False and QInt8."
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
        said = _plain(self.description)
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
    relevant = [each for each in said if not each.startswith("[") or _NO_GPU not in each]
    words = [each for each in dict.fromkeys(map(_plain, relevant or said)) if each]
    text = "".join(f"\n    {each}" for each in words[-_MOST_SHOWN:]) or " it gives no reason"
    lower = text.lower()
    hint = ""
    if any(word in lower for word in _QDQ_WORDS):
        hint = QDQ_HINT
    elif "hw-specific datatypes" in lower:
        hint = (
            "Devices of that compute capability have no arithmetic of that type: leave the"
            " capability out of compute_capabilities, or the precision out."
        )
    elif "no runners that implement" in lower:
        hint = (
            "This TensorRT parses that layer and has no kernel for it there. If it suppresses boxes"
            ' (NonMaxSuppression), set fused_nms = "loop", or leave that to the host.'
        )
    elif "cuda runtime" in lower:
        hint = "It needs a working GPU and driver; the backend trt-build needs neither."
    elif "workspace" in lower or "out of memory" in lower:
        hint = (
            "Raise workspace_mib in the backend's settings, or lower the profile's largest shape."
        )
    return InferbenchError("IB-365", f"{runtime} cannot build {what}:{text}", hint)


def _plain(said: str) -> str:
    """Return text on one line, without what is only said because there is no GPU."""
    lines = said.splitlines()
    told = [line for line in lines if _NO_GPU not in line] or lines
    return " ".join(" ".join(told).split())


def _hint(faults: Sequence[ParserFault]) -> str:
    if any(fault.is_quantization for fault in faults):
        return QDQ_HINT
    missing = sorted({fault.op for fault in faults if fault.lacks_plugin})
    if "EfficientNMS_TRT" in missing:
        return (
            'This TensorRT has no such plugin: set fused_nms = "layer" (NonMaxSuppression) or'
            ' "loop" (plain operators), or leave suppression to the host.'
        )
    if missing:
        return (
            f"It has neither an operator nor a plugin {', '.join(missing)}: export the model"
            " without it, or load a plugin library (plugins in the backend's settings)."
        )
    return ""
