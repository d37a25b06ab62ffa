"""Settings x environments -> cells.

Takes plain names and facts about environments; gives each cell with its markers and, if it cannot
run, the reason. Knows neither pytest nor files nor runtimes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pytest_inferbench.backends.catalog import CATALOG, BackendInfo, device_marker


@dataclass(frozen=True)
class EnvironmentFacts:
    """What is known of an environment without importing anything in it.

    Attributes:
        name: `default`, or the name in the settings.
        backends: The backends it was declared for; empty means all that nobody else claims.
        distributions: Installed versions of the packages that backends need.
        cpu: The id of its CPU.
        gpus: The ids of its GPU classes.
        hardware: The id declared in the settings, if any: it overrides what was detected.
        python: The interpreter, for messages.
        unreachable: Why nothing can run there; None where it answers.
        misdeclared: Whether the settings are at fault for that: its Python on this host is none.
        host: How `ssh` reaches its host, where that is not this one.
        facts: What must be said when two measurements of its machine differ in it.
    """

    name: str
    distributions: Mapping[str, str]
    cpu: str
    gpus: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    hardware: str | None = None
    python: str = ""
    unreachable: str | None = None
    misdeclared: bool = False
    host: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One model x backend x precision x hardware: what one test is parametrized over."""

    model: str
    backend: str
    precision: str
    hardware: str
    environment: str = "default"
    device: str = "cpu"
    cannot_run: str | None = None
    extra_markers: frozenset[str] = field(default=frozenset(), compare=False)

    @cached_property
    def id(self) -> str:
        """The cell's id in test ids, reports and the ledger."""
        return f"{self.model}-{self.backend}-{self.precision}-{self.hardware}"

    @cached_property
    def markers(self) -> frozenset[str]:
        """Every marker its tests carry."""
        return self.extra_markers | {self.precision, self.hardware}

    @property
    def baseline_key(self) -> str:
        """The cell's name inside its baseline file, where model and hardware are given."""
        return f"{self.backend} {self.precision}"

    def as_fields(self) -> dict[str, str | None]:
        """Return it as plain types, as results and `doctor --json` name it."""
        return {
            "id": self.id,
            "model": self.model,
            "backend": self.backend,
            "precision": self.precision,
            "hardware": self.hardware,
            "environment": self.environment,
            "cannot_run": self.cannot_run,
        }

    def __str__(self) -> str:
        return f"{self.model} on {self.backend} at {self.precision} ({self.hardware})"


@dataclass(frozen=True)
class ModelAxes:
    """The part of the matrix that one model spans.

    Attributes:
        sources: What it has beside its ONNX file, such as "torch".
        absent: Why the model itself is not here; None if it is.
    """

    name: str
    backends: Sequence[str]
    precisions: Sequence[str]
    sources: Collection[str] = ()
    absent: str | None = None


def build_matrix(
    models: Sequence[ModelAxes],
    environments: Sequence[EnvironmentFacts],
    catalog: Mapping[str, BackendInfo] = CATALOG,
) -> tuple[Cell, ...]:
    """Return every cell that was asked for, those that cannot run here included.

    Args:
        models: Each model with its backends and precisions.
        environments: The default environment first.
        catalog: Every backend there is.
    """
    asked = {name for model in models for name in model.backends}
    by_backend = {name: environment_of(name, environments) for name in asked}
    places = {name: list(_places(catalog[name], by_backend[name])) for name in asked}
    return tuple(
        Cell(
            model=model.name,
            backend=backend,
            precision=precision,
            hardware=place.hardware,
            environment=by_backend[backend].name,
            device=place.device,
            cannot_run=place.reason
            or model.absent
            or _unsupported(catalog[backend], precision, model),
            extra_markers=catalog[backend].markers | device_marker(place.device),
        )
        for model in models
        for backend in model.backends
        for place in places[backend]
        for precision in model.precisions
    )


def environment_of(backend: str, environments: Sequence[EnvironmentFacts]) -> EnvironmentFacts:
    """A backend runs where it was declared to, else in the default environment."""
    return next((e for e in environments[1:] if backend in e.backends), environments[0])


@dataclass(frozen=True)
class _Place:
    device: str
    hardware: str
    reason: str | None


_DEVICES = {"nvidia": "NVIDIA GPU", "directml": "DirectML device", "coreml": "Apple device"}


def _places(info: BackendInfo, environment: EnvironmentFacts) -> Iterator[_Place]:
    """Each hardware id a backend has there, with the reason if it cannot run on it."""
    found = [(device, id_) for device in info.devices for id_ in _ids(device, environment)]
    none = info.devices[0]
    for device, hardware in found or [(none, f"no-{none}")]:
        reasons = [] if found else [f"no {_DEVICES.get(device, device)} here"]
        reasons += _missing(info, environment, device)
        yield _Place(device, hardware, "; ".join(reasons) or None)


def _ids(device: str, environment: EnvironmentFacts) -> Sequence[str]:
    """The hardware ids of one kind of device, or of what is declared to be one."""
    declared = environment.hardware
    if device == "remote":
        return (declared or "remote",)
    if declared is None:
        return {"cpu": (environment.cpu,), "nvidia": environment.gpus}.get(device, ())
    is_cpu = declared.startswith("cpu-")
    return (declared,) if is_cpu == (device == "cpu") else ()


def _missing(info: BackendInfo, environment: EnvironmentFacts, device: str) -> list[str]:
    if environment.unreachable:
        return [environment.unreachable]
    reasons = []
    installed = [d for d in info.distributions if d in environment.distributions]
    if info.distributions and not installed:
        # what installing would not help with is not advised
        extra = f" (pip install 'pytest-inferbench[{info.extra}]')" if info.extra else ""
        where = "" if environment.name == "default" else f" in environments.{environment.name}"
        advice = extra if info.adapter and not where else ""
        reasons.append(f"{info.distributions[0]} is not installed{where}{advice}")
    if device == "nvidia" and any("+cpu" in environment.distributions[d] for d in installed):
        reasons.append(f"this {installed[0]} is a build for CPUs")
    if info.adapter is None:
        reasons.append(f"this version has no adapter for {info.name} yet (docs/backends.md)")
    return reasons


def _unsupported(info: BackendInfo, precision: str, model: ModelAxes) -> str | None:
    if precision not in info.precisions:
        has = ", ".join(info.precisions) or "none"
        return f"no {precision} for {info.name} in this version; it has {has} (docs/backends.md)"
    if info.source != "onnx" and info.source not in model.sources:
        return f"models.{model.name}.sources names no {info.source!r} (docs/settings.md)"
    return None
