"""Folders for what ONNX Runtime's TensorRT provider keeps: takes options, gives them with a key.

An engine runs only where it was built, and the provider does not notice all that it depends on. So
what it keeps lies in a subfolder of the user's, named after where we are and what is asked: after a
change of driver, device, runtime or options there is another folder, and nothing in it yet. The
subfolder is named by a pure function; only `place_of` looks at what is here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_inferbench.backends.device_buffers import driver_version, find_device
from pytest_inferbench.backends.ort_providers import FOLDERS, TENSORRT, chain, provider_of
from pytest_inferbench.backends.trt_flavour import find_flavour
from pytest_inferbench.backends.trt_key import Place
from pytest_inferbench.errors import InferbenchError

_DIGITS = 16
# Where it is kept says nothing of what it is; nor does a GPU's number, its name does.
_NOT_OF_THE_KEY = ("trt_engine_cache_path", "trt_timing_cache_path", "device_id")


def with_key(options: Mapping[str, Any], precision: str, runtime: str) -> dict[str, Any]:
    """Return an adapter's options, its folders replaced by those of here; others as they are.

    Args:
        options: The adapter's.
        precision: What is run at.
        runtime: ONNX Runtime's version.
    """
    if provider_of(options) != TENSORRT or not any(folder in options for folder in FOLDERS):
        return dict(options)
    number = chain(options, precision)[0][1].get("device_id", "0")
    place = place_of(int(number) if number.isdigit() else 0)  # the provider refuses others itself
    return in_place(options, precision, runtime, place)


def in_place(
    options: Mapping[str, Any], precision: str, runtime: str, place: Place
) -> dict[str, Any]:
    """Return the options with a subfolder for each folder of theirs; pure.

    Args:
        options: The adapter's.
        precision: What is run at.
        runtime: ONNX Runtime's version.
        place: Where we are, as far as it is known.
    """
    own = chain(options, precision)[0][1]
    name = subfolder(place, runtime, precision, own)
    keyed = {each: str(Path(options[each]) / name) for each in FOLDERS if each in options}
    return {**options, **keyed}


def subfolder(place: Place, runtime: str, precision: str, own: Mapping[str, str]) -> str:
    """Return the name of the folder for what is built at a place for the provider's options; pure.

    Args:
        place: TensorRT, the GPU and the driver; what is empty is not known.
        runtime: ONNX Runtime's version.
        precision: What is run at: TF32, for one, is no option of the provider.
        own: The provider's options.
    """
    asked = {key: value for key, value in own.items() if key not in _NOT_OF_THE_KEY}
    key = [asdict(place), runtime, precision, asked]
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def place_of(device_id: int) -> Place:
    """Return where we are, as the key of a native engine tells it; what cannot be known is empty.

    Without PyCUDA and cuda-python the driver is known all the same, from the kernel.
    """
    try:
        flavour = find_flavour()
        name, version = ("", "") if flavour.is_rtx else (flavour.name, flavour.version)
    except InferbenchError:
        name, version = "", ""  # its libraries may be here without its module
    device = find_device(device_id)
    if device is None:
        return Place(name, version, driver=driver_version(0))
    return Place(name, version, device.name, device.capability, device.driver)
