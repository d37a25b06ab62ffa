"""Plugin providers: takes an options table, gives the devices that a library offers here."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pytest_inferbench.errors import InferbenchError

_LOCK = threading.Lock()
_LIBRARIES: dict[str, str] = {}  # registered in this process: name to path


def plugin_devices(ort: Any, provider: str, options: Mapping[str, Any]) -> list[Any]:
    """Return the devices of a plugin provider; none for a provider that the runtime has built in.

    Raises:
        InferbenchError: IB-324 there is no such provider; IB-333 the runtime knows no plugins, the
            library does not load, or it has no device here.
    """
    library = options.get("library")
    if library:
        _register(ort, str(options.get("library_name", provider)), str(library))
    elif provider in ort.get_available_providers():
        return []
    offered = ort.get_ep_devices() if hasattr(ort, "get_ep_devices") else []
    devices = [each for each in offered if each.ep_name == provider]
    if devices:
        return devices
    names = sorted({*ort.get_available_providers(), *(each.ep_name for each in offered)})
    if library:
        raise InferbenchError(
            "IB-333",
            f"{library} loads, and offers {provider} no device on this machine",
            f"Devices are offered to: {', '.join(sorted({d.ep_name for d in offered}))}.",
        )
    raise InferbenchError(
        "IB-324",
        f"this ONNX Runtime {ort.__version__} has no {provider}",
        f"It has: {', '.join(names)}. A plugin needs the option `library`.",
    )


def _register(ort: Any, name: str, library: str) -> None:
    if not hasattr(ort, "register_execution_provider_library"):
        raise InferbenchError(
            "IB-333",
            f"ONNX Runtime {ort.__version__} cannot load a provider from a library",
            "ONNX Runtime 1.23 and newer can.",
        )
    with _LOCK:
        if _LIBRARIES.get(name) == library:
            return
        try:
            ort.register_execution_provider_library(name, library)
        except Exception as error:
            raise InferbenchError(
                "IB-333",
                f"ONNX Runtime {ort.__version__} could not load the provider library {library}"
                f" as {name!r}: {error}",
                "Check the option `library`, and that the library is built for this version.",
            ) from error
        _LIBRARIES[name] = library
