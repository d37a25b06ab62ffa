"""The shape of the settings: typed, frozen, with every default. Knows neither files nor pytest.

A field's name carries its unit; the TOML key, where it differs, is given by `name=`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from pytest_inferbench.settings.budgets import Budget, Budgets, resolve
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.speedups import Speedup

Count = Annotated[int, Meta(ge=1)]
Names = Annotated[tuple[str, ...], Meta(min_length=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


# What is written with a unit or belongs to a folder is read by convert.py, which knows these types
# by identity; the values are plain floats and strings, fit to be sent to a worker.
Seconds = Annotated[float, Meta(description='a duration: "1 s", "500 ms" or bare seconds')]
Mebibytes = Annotated[float, Meta(description='memory: "8 GiB", "200 MiB" or bare MiB')]
Sources = Annotated[dict[str, str], Meta(description="paths, made absolute, or URLs, by kind")]
Interpreter = Annotated[str, Meta(description="a path, made absolute, or a bare name on PATH")]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the settings."""


class QuantizationSettings(_Table, frozen=True, kw_only=True):
    """How int8 artifacts are made."""

    method: Literal["minmax", "entropy", "percentile"] | None = None
    exclude: tuple[str, ...] = ()
    openvino: Literal["nncf", "qdq"] = "nncf"
    trt: Literal["qdq", "calibrator"] = "qdq"


class ModelSettings(_Table, frozen=True, kw_only=True):
    """One model: its file, its task and its data."""

    path: Path
    task: Literal["detection", "tensors"]
    data: Path | None = None
    calibration: Path | None = None
    sources: Sources = {}
    samples: Count | None = None
    calibration_samples: Count = 64
    shapes: dict[str, tuple[Count, ...]] = {}
    layout: Literal["auto", "yolov8", "yolov5", "end-to-end"] = "auto"
    backends: Names | None = None
    precisions: Names | None = None
    quantization: QuantizationSettings = QuantizationSettings()
    budgets: Budgets = field(default_factory=Budgets)


class MatrixSettings(_Table, frozen=True, kw_only=True):
    """Which cells there are, for models that do not say so themselves."""

    backends: Names = (
        "ort-cpu",
        "ort-cuda",
        "ort-trt",
        "openvino",
        "trt",
        "trt-build",
        "torch",
    )
    precisions: Names = ("fp32", "fp16", "int8")


class EnvironmentSettings(_Table, frozen=True, kw_only=True):
    """Where the workers of some backends run."""

    backends: Names
    python: Interpreter | None = None
    hardware: str | None = None
    ssh: str | None = None
    env: dict[str, str] = {}


class WorkerSettings(_Table, frozen=True, kw_only=True):
    """The limits that workers are held to."""

    open_timeout_s: Seconds = field(name="open_timeout", default=120.0)
    call_timeout_s: Seconds = field(name="call_timeout", default=60.0)
    build_timeout_s: Seconds = field(name="build_timeout", default=1800.0)
    memory_mib: Mebibytes | None = field(name="memory_limit", default=None)


class LatencySettings(_Table, frozen=True, kw_only=True):
    """How latency is sampled."""

    runs: Annotated[int, Meta(ge=3)] = 5
    run_s: Seconds = field(name="seconds", default=1.0)
    warmup_floor_s: Seconds = field(name="warmup_floor", default=0.2)
    warmup_ceiling_s: Seconds = field(name="warmup_ceiling", default=5.0)
    most_steal: Share = 0.05
    most_other: Share = 0.25
    same_speed: Annotated[float, Meta(gt=0)] = 0.08
    same_clock: Annotated[float, Meta(gt=0)] = 0.05
    most_disturbed: Share = 0.1
    most_stranger: Share = 0.05
    allow_power_cap: bool = False
    burst_s: Seconds = field(name="burst", default=0.03)
    round_s: Seconds = field(name="round", default=0.6)
    compare_s: Seconds = field(name="compare_for", default=60.0)


class Settings(_Table, frozen=True, kw_only=True):
    """Everything a user can set.

    Attributes:
        source: The file it came from, None for the defaults; no key of the file.
    """

    models: dict[str, ModelSettings] = {}
    matrix: MatrixSettings = MatrixSettings()
    environments: dict[str, EnvironmentSettings] = {}
    backends: dict[str, dict[str, Any]] = {}
    worker: WorkerSettings = WorkerSettings()
    latency: LatencySettings = LatencySettings()
    baselines: Path = Path("baselines")
    cache: Path | None = None
    lock: Path | None = None
    source: Path | None = field(name="_source", default=None)

    def budget(self, model: str, metric: str, precision: str, hardware: str) -> Budget | None:
        """Return the budget of a model's metric at a precision on a hardware, if it has one."""
        settings = self.models[model]
        if METRICS[metric].task not in (None, settings.task):
            return None
        return resolve(settings.budgets.get(metric, {}), metric, precision, hardware)

    def speedups(self, model: str, backend: str, precision: str) -> tuple[Speedup, ...]:
        """Return how many times as fast as which others a model's cell must be."""
        asked = self.models[model].budgets.speedups
        return tuple(each for each in asked if each.candidate == (backend, precision))
