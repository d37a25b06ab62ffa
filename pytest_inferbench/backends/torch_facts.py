"""What torch can do and did: takes torch, a device, a precision; gives settings, facts, errors.

Knows neither files nor budgets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pytest_inferbench.backends.contract import Array, DeviceTimer, TensorSpec
from pytest_inferbench.errors import InferbenchError

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
_TF32_CAPABILITY = 8
# What a CPU says of itself if it computes in the type; without it, weights are stored in it alone.
_INSTRUCTIONS = {
    "fp16": ({"avx512_fp16", "amx_fp16", "asimdhp"}, "fp16"),
    "bf16": ({"avx512_bf16", "amx_bf16", "bf16"}, "bf16"),
}


def device(torch: Any, name: str, precision: str) -> str:
    """Return the device, once it is known to be there and to have the precision.

    Raises:
        InferbenchError: IB-324 it is not there; IB-352 it has no such precision.
    """
    try:
        asked = torch.device(name)
    except RuntimeError as error:
        raise InferbenchError(
            "IB-323", f"option 'device' cannot be {name!r}", "It can be: cpu, cuda, cuda:1."
        ) from error
    if asked.type not in ("cpu", "cuda"):
        raise InferbenchError(
            "IB-323", f"option 'device' cannot be {name!r}", "It can be: cpu, cuda, cuda:1."
        )
    there = torch.cuda.device_count() if asked.type == "cuda" and torch.cuda.is_available() else 0
    if asked.type == "cuda" and (asked.index or 0) >= there:
        raise InferbenchError(
            "IB-324",
            f"this torch {torch.__version__} has no {name}: it sees {there} CUDA devices",
            "Install torch built for CUDA, and check nvidia-smi and CUDA_VISIBLE_DEVICES.",
        )
    if precision not in PRECISIONS:
        raise _impossible(precision, f"torch has {', '.join(PRECISIONS)}")
    if precision == "tf32" and asked.type == "cpu":
        raise _impossible(precision, "only NVIDIA GPUs compute in tf32")
    if precision == "tf32" and torch.cuda.get_device_capability(asked)[0] < _TF32_CAPABILITY:
        raise _impossible(precision, f"{torch.cuda.get_device_name(asked)} is older than Ampere")
    return str(asked)


def set_up(torch: Any, precision: str, threads: int | None) -> dict[str, Any]:
    """Set what holds for the whole process; return what held before.

    fp32 means fp32: torch lets convolutions use tf32 unless it is told not to.
    """
    before = {
        "matmul": torch.get_float32_matmul_precision(),
        "cudnn": torch.backends.cudnn.allow_tf32,
        "threads": torch.get_num_threads(),
    }
    allowed = precision == "tf32"
    # This sets the switch of cuBLAS as well.
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    if threads is not None:
        torch.set_num_threads(threads)
    return before


def put_back(torch: Any, before: Mapping[str, Any]) -> None:
    """Undo `set_up`."""
    torch.set_float32_matmul_precision(before["matmul"])
    torch.backends.cudnn.allow_tf32 = before["cudnn"]
    torch.set_num_threads(before["threads"])


def ran(torch: Any, module: Any, device: str, precision: str) -> dict[str, Any]:
    """Return what is loaded, and where and how it computes."""
    weights = [next(each.parameters(recurse=False), None) for each in module.modules()]
    layers = [weight for weight in weights if weight is not None]
    found: dict[str, Any] = {
        "device": device,
        "threads": torch.get_num_threads(),
        "placement": dict(Counter(str(layer.device) for layer in layers)),
        "precisions": dict(Counter(_name(torch, layer.dtype, device) for layer in layers)),
        "torch_cuda": torch.version.cuda,
    }
    if device == "cpu":
        lacking = _emulated(precision)
        return {**found, "emulated": lacking} if lacking else found
    return {
        **found,
        "device_name": torch.cuda.get_device_name(device),
        "cudnn": torch.backends.cudnn.version(),
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
    }


def compiled() -> dict[str, Any]:
    """Return how many graphs were compiled so far."""
    from torch._dynamo.utils import counters

    return {
        "compiled_graphs": int(counters["stats"].get("unique_graphs", 0)),
        "graph_breaks": sum(counters["graph_break"].values()),
    }


def zeros(inputs: Sequence[TensorSpec]) -> dict[str, Array] | None:
    """Return the smallest inputs, a batch of one; None where more than the batch is open."""
    arrays: dict[str, Array] = {}
    for spec in inputs:
        first, *rest = spec.shape if spec.shape else (1,)
        sizes = [first if isinstance(first, int) and first >= 0 else 1]
        sizes += [size for size in rest if isinstance(size, int) and size >= 0]
        if spec.shape is None or len(sizes) != len(rest) + 1:
            return None
        arrays[spec.name] = np.zeros(sizes if spec.shape else (), spec.dtype)
    return arrays


@contextmanager
def explained(torch: Any, artifact: str, mode: str, inputs: Mapping[str, Array]) -> Iterator[None]:
    """Raise what torch raises meanwhile as an error of ours, as `failure` words it."""
    try:
        yield
    except InferbenchError:
        raise
    except Exception as error:
        raise failure(torch, error, artifact, mode, inputs) from error


def failure(
    torch: Any, error: Exception, artifact: str, mode: str, inputs: Mapping[str, Array]
) -> Exception:
    """Return what to raise for what torch raised while it ran."""
    said = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    if mode and isinstance(error, torch._dynamo.exc.TorchDynamoException):
        return InferbenchError(
            "IB-354",
            f"torch.compile ({mode}) failed on {artifact}: {said}",
            "On a CPU it needs a C++ compiler (g++ or clang; CXX names another), on a GPU Triton;"
            " else set compile = false.",
        )
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return InferbenchError("IB-357", f"memory ran out while {artifact} ran: {said}")
    shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in inputs.items())
    return InferbenchError(
        "IB-355",
        f"torch refused to run {artifact} on {shapes}: {said}",
        "Sizes that were fixed at export must be kept (export with dynamic_shapes), and what names"
        " its type inside the graph cannot be converted: leave that precision out.",
    )


def _name(torch: Any, dtype: Any, device: str) -> str:
    if dtype is torch.float32 and device != "cpu" and torch.backends.cudnn.allow_tf32:
        return "tf32"
    name = str(dtype).removeprefix("torch.")
    return _NAMES.get(name, name)


def _emulated(precision: str) -> str:
    """Say what this CPU lacks for a precision; nothing where that cannot be read."""
    needed, name = _INSTRUCTIONS.get(precision, (set(), ""))
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = (line.partition(":") for line in text.splitlines())
    flags = next((v.split() for k, _, v in lines if k.strip() in ("flags", "Features")), [])
    if not needed or not flags or needed.intersection(flags):
        return ""
    return f"this CPU has no {name} instructions: weights are {name}, sums are made in fp32"


def _impossible(precision: str, why: str) -> InferbenchError:
    return InferbenchError(
        "IB-352",
        f"torch cannot run {precision} here: {why}",
        f"Leave {precision} out of the model's precisions, or choose another device.",
    )


def device_timer(torch: Any, device: str) -> DeviceTimer:
    """Return what times a call between two events of the device's current stream."""
    with torch.cuda.device(device):
        started, stopped = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def time_ms(call: Callable[[], object]) -> float:
        with torch.cuda.device(device):
            started.record()
            call()
            stopped.record()
            stopped.synchronize()
        return float(started.elapsed_time(stopped))

    return time_ms
