"""The shape of the settings: typed, frozen, with every default. Knows neither files nor pytest.

A field's name carries its unit; the TOML key, where it differs, is given by `name=`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from pytest_inferbench.backends.catalog import backend_of_variant
from pytest_inferbench.settings.budgets import Budget, Budgets, output_budgets, resolve
from pytest_inferbench.settings.metrics import METRICS, Metric
from pytest_inferbench.settings.objectives import Objectives
from pytest_inferbench.settings.speedups import Speedup

Count = Annotated[int, Meta(ge=1)]
Names = Annotated[tuple[str, ...], Meta(min_length=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Channels = tuple[float, float, float]


# What is written with a unit or belongs to a folder is read by convert.py, which knows these types
# by identity; the values are plain floats and strings, fit to be sent to a worker.
Seconds = Annotated[float, Meta(description='a duration: "1 s", "500 ms" or bare seconds')]
Mebibytes = Annotated[float, Meta(description='memory: "8 GiB", "200 MiB" or bare MiB')]
Sources = Annotated[dict[str, str], Meta(description="paths, made absolute, or URLs, by kind")]
Pin = Annotated[str, Meta(description='CPUs as "0,1", written [0, 1]; or "auto"')]
ModelPath = Annotated[Path, Meta(description="a path, made absolute, or a named model's name")]
TaskName = Annotated[str, Meta(description="the name of a task, built in or registered")]
Interpreter = Annotated[str, Meta(description="a path, made absolute, or a bare name on PATH")]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the settings."""


class QuantizationSettings(_Table, frozen=True, kw_only=True):
    """How int8 artifacts are made."""

    method: Literal["minmax", "entropy", "percentile"] | None = None
    percentile: Annotated[float, Meta(gt=50, le=100)] | None = None
    per_channel: bool = True
    exclude: tuple[str, ...] = ()
    openvino: Literal["nncf", "qdq"] = "nncf"
    trt: Literal["qdq", "calibrator"] = "qdq"


class PreprocessSettings(_Table, frozen=True, kw_only=True):
    """How images become inputs; what is not set is as `style` has it."""

    style: Literal["imagenet", "clip", "squash", "letterbox"] = "imagenet"
    resize: Count | None = None
    mean: Channels | None = None
    std: Channels | None = None
    scale: Annotated[float, Meta(gt=0)] | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None


class SpeechSettings(_Table, frozen=True, kw_only=True):
    """How a speech model's decoder is driven."""

    prompt: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    end: Annotated[int, Meta(ge=0)] | None = None
    suppress: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    max_tokens: Count = 224
    vocabulary: Path | None = None


class ModelSettings(_Table, frozen=True, kw_only=True):
    """One model: its file, its task and its data."""

    path: ModelPath
    task: TaskName
    data: Path | None = None
    calibration: Path | None = None
    sources: Sources = {}
    samples: Count | None = None
    calibration_samples: Count = 64
    shapes: dict[str, tuple[Count, ...]] = {}
    layout: Literal["auto", "yolov8", "yolov5", "end-to-end", "detr", "rt-detr"] = "auto"
    output: str | None = None
    pooling: Literal["none", "cls", "mean", "last"] = "none"
    labels: Path | None = None
    threshold: float | None = None
    recall_at: Count = 10
    preprocess: PreprocessSettings = PreprocessSettings()
    speech: SpeechSettings = SpeechSettings()
    options: dict[str, Any] = {}
    rtol: NotNegative = 1e-3
    atol: NotNegative = 1e-5
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
    batches: tuple[Count, ...] = ()
    pin: Pin | None = None
    burst_s: Seconds = field(name="burst", default=0.03)
    round_s: Seconds = field(name="round", default=0.6)
    compare_s: Seconds = field(name="compare_for", default=60.0)

    def same_speed_on(self, device: str) -> float:
        """Return by how much the probes beside runs may differ: on a GPU, by anything.

        The probe times CPUs. A device's own clocks say whether it was disturbed, and sixteen
        idle CPUs were seen to differ by a fifth beside a GPU that did not.
        """
        return self.same_speed if device in ("cpu", "remote") else math.inf


class ServingSettings(_Table, frozen=True, kw_only=True):
    """How servers are put under load, and which variants of them there are."""

    concurrency: Annotated[tuple[Count, ...], Meta(min_length=1)] = (1, 8)
    runs: Annotated[int, Meta(ge=3)] = 3
    run_s: Seconds = field(name="seconds", default=2.0)
    warmup_s: Seconds = field(name="warmup", default=0.5)
    burst_s: Seconds = field(name="burst", default=0.5)
    compare_s: Seconds = field(name="compare_for", default=180.0)
    objectives: Objectives = field(default_factory=Objectives)
    decisions: dict[str, Objectives] = {}
    otherwise: str = "do not ship"
    price_per_hour: NotNegative | None = None
    price_per_gpu_hour: NotNegative | None = None
    variants: dict[str, dict[str, Any]] = {}


class Settings(_Table, frozen=True, kw_only=True):
    """Everything a user can set.

    Attributes:
        source: The file it came from, None for the defaults; no key of the file.
        registered_metrics: Those of registered tasks; no key of the file.
    """

    models: dict[str, ModelSettings] = {}
    matrix: MatrixSettings = MatrixSettings()
    environments: dict[str, EnvironmentSettings] = {}
    backends: dict[str, dict[str, Any]] = {}
    worker: WorkerSettings = WorkerSettings()
    latency: LatencySettings = LatencySettings()
    serving: ServingSettings = ServingSettings()
    baselines: Path = Path("baselines")
    cache: Path | None = None
    lock: Path | None = None
    source: Path | None = field(name="_source", default=None)
    registered_metrics: dict[str, Metric] = field(name="_registered_metrics", default={})

    def backends_of(self, model: str) -> tuple[str, ...]:
        """Return a model's backends: its own, or the matrix's and every variant of serving."""
        return self.models[model].backends or tuple(
            dict.fromkeys((*self.matrix.backends, *map(backend_of_variant, self.serving.variants)))
        )

    def budget(self, model: str, metric: str, precision: str, hardware: str) -> Budget | None:
        """Return the budget of a model's metric at a precision on a hardware, if it has one."""
        settings, registered = self.models[model], self.registered_metrics
        known = registered.get(metric) or METRICS[metric]
        if known.task not in (None, settings.task):
            return None
        rules = settings.budgets.get(metric, {})
        return resolve(rules, metric, precision, hardware, registered)

    def output_budgets(
        self, model: str, metric: str, precision: str, hardware: str
    ) -> dict[str, Budget | None]:
        """Return a metric's budgets for one output alone, by output; None where it is off."""
        return output_budgets(self.models[model].budgets, metric, precision, hardware)

    def speedups(self, model: str, backend: str, precision: str) -> tuple[Speedup, ...]:
        """Return how many times as fast as which others a model's cell must be."""
        asked = self.models[model].budgets.speedups
        return tuple(each for each in asked if each.candidate == (backend, precision))

    def load_speedups(self, model: str, backend: str, precision: str) -> tuple[Speedup, ...]:
        """Return how many times as much as which others a model's cell must get through."""
        asked = self.models[model].budgets.load_speedups
        return tuple(each for each in asked if each.candidate == (backend, precision))
