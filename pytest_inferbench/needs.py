"""What each backend still needs: takes facts of an environment, gives advice. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_inferbench.backends.catalog import CATALOG, ORT_DISTRIBUTIONS, BackendInfo
from pytest_inferbench.matrix import EnvironmentFacts, environment_of

_FROM_JETPACK = (
    "JetPack brings it, and the package index has no wheel for a Jetson: `sudo apt install"
    " nvidia-jetpack`, then a venv with --system-site-packages and numpy < 2 (docs/backends.md)"
)
_BY_JETPACK = ("trt", "ort-cuda", "ort-trt")
_ELSEWHERE = {"directml": "Windows", "coreml": "macOS"}
_GPU = (
    "an NVIDIA GPU and its driver: `nvidia-smi` must list it (in a container, start it with GPUs)"
)


@dataclass(frozen=True)
class Standing:
    """How a backend stands in an environment.

    Attributes:
        backend: Its name.
        environment: Where it would run.
        runs_on: The hardware ids that it can run on.
        packages: What is installed of it, with versions.
        needs: What is missing, a sentence each; nothing where it can run.
    """

    backend: str
    environment: str
    runs_on: tuple[str, ...]
    packages: Mapping[str, str]
    needs: tuple[str, ...]


def standings(
    environments: Mapping[str, EnvironmentFacts], catalog: Mapping[str, BackendInfo] = CATALOG
) -> list[Standing]:
    """Return how every backend stands, each in the environment that it belongs to."""
    found = []
    for name, info in catalog.items():
        found.append(_standing(info, environment_of(name, (*environments.values(),))))
    return found


def _standing(info: BackendInfo, home: EnvironmentFacts) -> Standing:
    ids = tuple(id_ for device in info.devices for id_ in _ids(device, home))
    packages = {
        each: home.distributions[each] for each in info.distributions if each in home.distributions
    }
    needs = tuple(_needs(info, home, ids, packages))
    return Standing(info.name, home.name, () if needs else ids, packages, needs)


def _ids(device: str, home: EnvironmentFacts) -> tuple[str, ...]:
    if device == "remote":
        return ("remote",)
    return {"cpu": (home.cpu,), "nvidia": home.gpus}.get(device, ())


def _needs(
    info: BackendInfo,
    home: EnvironmentFacts,
    ids: tuple[str, ...],
    packages: Mapping[str, str],
) -> Iterator[str]:
    if home.unreachable:
        yield f"environment {home.name} to answer: {home.unreachable}"
        return
    device = info.devices[0]
    if device in _ELSEWHERE:
        yield f"{_ELSEWHERE[device]}, where this version does not run (docs/backends.md)"
        return
    if info.adapter is None:
        yield "an adapter, which this version has not (docs/backends.md)"
        return
    if not ids:
        yield _GPU
    if info.distributions and not packages:
        yield _package(info, home)
    elif device == "nvidia" and any("+cpu" in version for version in packages.values()):
        yield f"a build for GPUs: this {next(iter(packages))} is one for CPUs"
    if info.source != "onnx":
        yield from _source(info, packages)


def _source(info: BackendInfo, packages: Mapping[str, str]) -> Iterator[str]:
    """What is no package is said of each model, in the cells; here only what never runs without."""
    if info.source == "http" and not packages:
        yield (
            'a service for each model: [models.NAME.sources] http = "http://host:port"'
            " (docs/http-service.md)"
        )


def _package(info: BackendInfo, home: EnvironmentFacts) -> str:
    if info.name in _BY_JETPACK and any(gpu.startswith("jetson-") for gpu in home.gpus):
        return _FROM_JETPACK
    where = "" if home.name == "default" else f" in environment {home.name}: {home.python} -m"
    others = [each for each in ORT_DISTRIBUTIONS if each in home.distributions]
    if info.distributions[0] in ORT_DISTRIBUTIONS and others and home.name == "default":
        return (
            f"{info.distributions[0]}, which overwrites {others[0]}: give it a Python of its own"
            f" (`python3 -m venv .venvs/{info.name}; .venvs/{info.name}/bin/pip install numpy"
            f" {info.distributions[0]}`) and a table: [environments.{info.name}] backends ="
            f' ["{info.name}"], python = ".venvs/{info.name}/bin/python"'
        )
    if home.name != "default":
        return f"{info.distributions[0]}{where} pip install {info.distributions[0]}"
    extra = f"'pytest-inferbench[{info.extra}]'" if info.extra else info.distributions[0]
    return f"{info.distributions[0]}: pip install {extra}"
