"""What the Triton backends are told: takes a table of options, gives it checked.

The keys are those of a variant, and a few of the adapter's own. Knows no server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pytest_inferbench.backends.contract import unknown_option
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.command import READY_S, Installation
from pytest_inferbench.serving.variant import KEYS, OVER_GRPC, Variant

DEFAULT_NAME = "model"
_OWN: Mapping[str, tuple[type[Any], ...]] = {
    "url": (str,),
    "metrics_url": (str,),
    "model": (str,),
    "timeout_s": (int, float),
    "ready_s": (int, float),
    "prepared": (bool,),
    "signature": (Mapping,),
    "installation": (Mapping,),
}


@dataclass(frozen=True)
class TritonOptions:
    """The options, checked.

    Attributes:
        variant: How the model is served, and by which protocol it is asked.
        model: What it is called in the server.
        url: The server's, where it is not ours to start.
        metrics_url: Where that one exports metrics, if not at its port 8002.
        installation: Where the programs of a server are that is.
        timeout_s: How long one answer may take.
        ready_s: How long the server may take until it is ready.
        prepared: Whether timed calls send a request that was made beforehand.
        signature: What the model takes and gives, where its file does not tell.
    """

    variant: Variant
    model: str = DEFAULT_NAME
    url: str = ""
    metrics_url: str = ""
    installation: Installation | None = None
    timeout_s: float = 60.0
    ready_s: float = READY_S
    prepared: bool = False
    signature: Mapping[str, Any] | None = None


def read_options(options: Mapping[str, Any]) -> TritonOptions:
    """Return the options with their defaults.

    Raises:
        InferbenchError: One is unknown or cannot be what it is (IB-323), the variant contradicts
            itself (IB-800), its protocol is not the URL's (IB-807), or there is no server to
            start (IB-813).
    """
    for key, value in options.items():
        _check(key, value)
    variant = Variant.from_fields({k: v for k, v in options.items() if k in KEYS})
    url = str(options.get("url", ""))
    if url:
        _check_scheme(url, variant.protocol)
    elif not options.get("installation"):
        raise InferbenchError(
            "IB-813",
            "no Triton server can be started where this cell runs",
            "Name one that runs already: --inferbench-triton-url, or the option url.",
        )
    installation = options.get("installation")
    return TritonOptions(
        variant=variant,
        model=str(options.get("model") or DEFAULT_NAME),
        url=url,
        metrics_url=str(options.get("metrics_url", "")),
        installation=Installation.from_fields(installation) if installation else None,
        timeout_s=float(options.get("timeout_s", 60.0)),
        ready_s=float(options.get("ready_s", READY_S)),
        prepared=bool(options.get("prepared", False)),
        signature=options.get("signature"),
    )


def _check(key: str, value: Any) -> None:
    if key in KEYS:
        return
    if key not in _OWN:
        raise unknown_option(key, (*KEYS, *_OWN))
    wanted = _OWN[key]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        names = " or ".join(each.__name__ for each in wanted)
        raise InferbenchError("IB-323", f"option {key!r} cannot be {value!r}", f"It takes {names}.")
    if key.endswith("_s") and not 0 < float(value) < float("inf"):
        raise InferbenchError("IB-323", f"option {key!r} cannot be {value!r}", "It is more than 0.")


def _check_scheme(url: str, protocol: str) -> None:
    scheme = urlsplit(url).scheme
    wanted = "grpc" if protocol in OVER_GRPC else "http"
    if scheme != wanted:
        port = {"grpc": 8001, "http": 8000}[wanted]
        raise InferbenchError(
            "IB-807",
            f"the protocol {protocol} needs a {wanted} address, and {url} is none",
            f"Such as {wanted}://host:{port}; both are ports of one server.",
        )
