"""TensorRT's recipe: takes a graph, gives an engine with its key beside it; knows no cache.

TensorRT up to 10 is told the precision by flags and may calibrate int8 itself; all others compute
in the types of the graph, which other recipes convert first. Runs in the worker of the target
environment, on the target device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pytest_inferbench.artifacts.cache import sha256_of
from pytest_inferbench.backends.contract import unknown_option
from pytest_inferbench.backends.device_buffers import Device, find_device, open_device
from pytest_inferbench.backends.trt_calibration import (
    CacheOwner,
    make_calibrator,
    read_cache,
    sample_shapes,
    samples_sha256,
    write_cache,
)
from pytest_inferbench.backends.trt_engine import (
    BUILD_OPTIONS,
    BuildRequest,
    Built,
    EngineBuilder,
    build_request,
    inspect_engine,
)
from pytest_inferbench.backends.trt_flavour import (
    Flavour,
    default_capabilities,
    find_flavour,
    make_log,
)
from pytest_inferbench.backends.trt_key import EngineKey, Place, write_key
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]

INT8_WAYS = ("qdq", "calibrator")
"""How int8 comes about: by the graph's Q/DQ nodes, or by TensorRT's own calibration."""

_KNOWN = ("precision", "int8", "calibration_cache", *BUILD_OPTIONS)


def build(
    recipe: Mapping[str, Any],
    model_path: str,
    output_path: str,
    calibration: Mapping[str, Array],
) -> dict[str, Any]:
    """Build an engine, and return facts about it.

    Args:
        recipe: ``precision``; ``int8`` (one of `INT8_WAYS`); ``calibration_cache``, a file to
            take scales from and keep them in; and the options of `trt_engine.build_request`.
        model_path: The graph, converted unless flags or the calibrator do it.
        output_path: The engine to write; its key goes to `<output_path>.json`, the calibration
            cache, if there is one, to `<output_path>.calibration`.
        calibration: Inputs by name, for the calibrator, stacked on a leading axis of samples.

    Raises:
        InferbenchError: IB-361 there is no TensorRT; IB-362 the graph cannot be parsed; IB-363,
            IB-364 its profiles; IB-365 the builder refused; IB-368 the graph is not converted;
            IB-369 a calibration cache of another model; IB-430, IB-431 the samples; IB-323 an
            option.
    """
    model, output = Path(model_path), Path(output_path)
    options = {key: value for key, value in recipe.items() if key in BUILD_OPTIONS}
    precision, way = str(recipe["precision"]), str(recipe.get("int8", "qdq"))
    flavour = find_flavour()
    _refuse_unknown(flavour, recipe, way)
    device = find_device()
    builder = EngineBuilder(flavour, model, build_request(precision, options))
    capabilities = _capabilities(flavour, device, builder.request)
    model_sha256 = sha256_of(model)
    if precision == "int8" and way == "calibrator":
        built = _calibrated(builder, recipe, model_sha256, output, calibration)
    else:
        built = builder.build(capabilities)
    output.write_bytes(built.plan)
    place = Place(flavour.name, flavour.version)
    if device is not None:
        place = Place(flavour.name, flavour.version, device.name, device.capability, device.driver)
    key = EngineKey(
        place,
        precision,
        tuple(builder.flags),
        model_sha256,
        hashlib.sha256(built.plan).hexdigest(),
        capabilities,
    )
    write_key(output, key)
    return {**built.facts, **_inspected(flavour, device, built), "compiled_for": list(capabilities)}


def _refuse_unknown(flavour: Flavour, recipe: Mapping[str, Any], way: str) -> None:
    for key in recipe:
        if key not in _KNOWN:
            raise unknown_option(key, _KNOWN)
    if way not in INT8_WAYS or (way == "calibrator" and not flavour.weakly_typed):
        raise InferbenchError(
            "IB-323",
            f"option 'int8' cannot be {way!r} with {flavour.name} {flavour.version}",
            "It can be: qdq"
            + (
                ", calibrator."
                if flavour.weakly_typed
                else " (calibrators came to an end with TensorRT 10)."
            ),
        )


def _capabilities(
    flavour: Flavour, device: Device | None, request: BuildRequest
) -> tuple[str, ...]:
    """Return what to compile for: nothing where the builder takes the device that it is on."""
    if request.capabilities or not flavour.is_rtx:
        for each in request.capabilities:
            flavour.capability(each)
        return request.capabilities
    if device is None:
        return default_capabilities(request.precision)
    flavour.capability(device.capability)
    return (device.capability,)


def _calibrated(
    builder: EngineBuilder,
    recipe: Mapping[str, Any],
    model_sha256: str,
    output: Path,
    samples: Mapping[str, Array],
) -> Built:
    """Build with TensorRT's own calibration, from a cache of this model if there is one."""
    flavour = builder.flavour
    shapes = sample_shapes(samples, {each.name: each for each in builder.parsed.inputs})
    owner = CacheOwner(model_sha256, samples_sha256(samples), f"{flavour.name} {flavour.version}")
    kept = Path(str(recipe["calibration_cache"])) if recipe.get("calibration_cache") else None
    cached = read_cache(kept, owner) if kept else None
    cuda = open_device()
    with cuda.active():
        try:
            calibrator = make_calibrator(flavour, samples, cuda, cached)
            built = builder.build(calibrate=(calibrator, shapes))
            written = calibrator.written
        finally:
            cuda.close()
    if written:
        for path in (output.with_name(f"{output.name}.calibration"), *([kept] if kept else [])):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_cache(path, written, owner)
    return Built(
        built.plan,
        {
            **built.facts,
            "samples": len(next(iter(samples.values()))),
            "calibration": "from the cache" if cached else "made anew",
        },
    )


def _inspected(flavour: Flavour, device: Device | None, built: Built) -> dict[str, Any]:
    """Return the engine's own layers, which only a device that can load it tells."""
    if device is None:
        return {}
    log = make_log(flavour.trt)
    runtime = flavour.trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(built.plan)
    if engine is None:
        return {"not_inspected": " ".join(" ".join(log.errors).split())[:300]}
    return inspect_engine(flavour, engine)
