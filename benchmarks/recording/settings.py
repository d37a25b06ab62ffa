"""The settings that a record is made with: takes what a machine has, gives TOML. Pure.

Two files, because the built-in detector brings its own data and is there only where no model is
named: `detector` asks everything of it, `models` has graphs that users ship.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_inferbench.initial.writing import quoted

BATCHES = (1, 2, 4, 8, 16, 32, 64)
CLIENTS = (1, 8, 16, 32)
GRAPHS = ("resnet18", "vit-b32")
"""Architectures that are built here, for ONNX Runtime and for torch."""

_GPU_BACKENDS = (
    "ort-cuda",
    "ort-cuda-host",
    "ort-cuda-graph",
    "ort-trt",
    "trt",
    "torch",
    "torch-compile",
)
_CPU_BACKENDS = ("ort-cpu", "openvino", "torch", "torch-compile")
_VARIANTS = """
# The same session with its inputs and outputs in the host's memory, and replayed as a graph.
[backends.ort-cuda-host]
like = "ort-cuda"
bind = false

[backends.ort-cuda-graph]
like = "ort-cuda"
cuda_graph = true
"""


@dataclass(frozen=True)
class Machine:
    """What decides which cells a record has.

    Attributes:
        hardware: The id that baselines are kept under.
        gpus: How many GPUs.
    """

    hardware: str
    gpus: int

    @property
    def backends(self) -> tuple[str, ...]:
        """What is asked: those that cannot run here are told as such."""
        return _GPU_BACKENDS if self.gpus else _CPU_BACKENDS

    @property
    def precisions(self) -> tuple[str, ...]:
        """What is asked of each; fp16 and bf16 are emulated on most CPUs, and left out there."""
        return ("fp32", "fp16", "bf16", "int8") if self.gpus else ("fp32", "int8")


def detector(machine: Machine, baselines: Path, runs: int, run_s: float) -> str:
    """Return the settings of the built-in detector."""
    return _common(machine, baselines, runs, run_s)


def models(
    machine: Machine,
    baselines: Path,
    runs: int,
    run_s: float,
    folder: Path,
    graphs: Iterable[str],
    sentences: bool,
) -> str:
    """Return the settings of the other models.

    Args:
        machine: Where they run.
        baselines: Where baselines are kept.
        runs: Launches a session.
        run_s: How long each is sampled.
        folder: What was built lies here, each in a folder of its name.
        graphs: Those of `GRAPHS` that were built.
        sentences: Whether MiniLM and its sentences are here.
    """
    parts = [_common(machine, baselines, runs, run_s)]
    parts += [_graph(name, folder) for name in graphs]
    if sentences:
        parts.append(_minilm(folder))
    return "\n".join(parts)


def serving(machine: Machine, baselines: Path) -> str:
    """Return the settings of the detector behind a server."""
    device = "gpu" if machine.gpus else "cpu"
    precisions = ("fp32", "fp16", "int8") if machine.gpus else ("fp32", "int8")
    lines = [
        f"baselines = {quoted(str(baselines))}",
        "[matrix]",
        f"backends = [{_texts(['ort-cuda' if machine.gpus else 'ort-cpu'])}]",
        f"precisions = [{_texts(precisions)}]",
        "[serving]",
        f"concurrency = {list(CLIENTS)}",
        'seconds = "1 s"',
        "[serving.variants.plain]",
        f"device = {quoted(device)}",
        "[serving.variants.batched]",
        f"device = {quoted(device)}",
        "batching = true",
        "preferred_batch_sizes = [8]",
        "queue_delay_us = 200",
        "max_batch_size = 16",
        "[serving.variants.two]",
        f"device = {quoted(device)}",
        "instances = 2",
    ]
    return "\n".join(lines) + "\n"


def _common(machine: Machine, baselines: Path, runs: int, run_s: float) -> str:
    tables: Mapping[str, Iterable[str]] = {
        "matrix": (
            f"backends = [{_texts(machine.backends)}]",
            f"precisions = [{_texts(machine.precisions)}]",
        ),
        "latency": (
            f"runs = {runs}",
            f"seconds = {run_s}",
            f"batches = {list(BATCHES)}",
        ),
        "worker": ('open_timeout = "10 min"',),  # compiling for a GPU counts as opening
        "backends.torch": (f"device = {quoted('cuda:0' if machine.gpus else 'cpu')}",),
        "backends.torch-compile": ('like = "torch"', "compile = true"),
    }
    written = [f"baselines = {quoted(str(baselines))}"]
    for name, lines in tables.items():
        written += ["", f"[{name}]", *lines]
    return "\n".join(written) + "\n" + (_VARIANTS if machine.gpus else "")


def _graph(name: str, folder: Path) -> str:
    own = folder / name
    return "\n".join(
        [
            f"[models.{name}]",
            f"path = {quoted(str(own / 'model.onnx'))}",
            'task = "tensors"',
            f"data = {quoted(str(own / 'data'))}",
            f"calibration = {quoted(str(own / 'calibration'))}",
            f"sources = {{ torch = {quoted(str(own / 'model.pt2'))} }}",
            # Seeded weights lose more to int8 than trained ones: the loss is told, not judged.
            f"[models.{name}.budgets]",
            "cosine = { int8 = false }",
            "centred_cosine = { int8 = false }",
            "",
        ]
    )


def _minilm(folder: Path) -> str:
    return "\n".join(
        [
            "[models.minilm]",
            'path = "zoo:minilm"',
            'task = "embedding"',
            f"data = {quoted(str(folder / 'zoo' / 'sentences'))}",
            'pooling = "mean"',
            "recall_at = 3",
            "",
        ]
    )


def _texts(values: Iterable[str]) -> str:
    return ", ".join(map(quoted, values))
