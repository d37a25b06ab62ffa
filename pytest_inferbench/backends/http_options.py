"""What the `http` backend is told: takes a URL and a table of options, gives them checked.

Also reads a signature, whether a service or the settings tell it. Knows no connection.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np

from pytest_inferbench.backends.contract import TensorSpec, unknown_option
from pytest_inferbench.backends.http_images import ImageForm
from pytest_inferbench.errors import InferbenchError

STYLES = {"infer": "/infer", "embed": "/embed", "openai": "/embeddings"}
_CHOICES: Mapping[str, Sequence[str]] = {
    "style": tuple(STYLES),
    "encoding": ("json", "raw", "base64", "image"),
    "encoding_format": ("float", "base64"),
    "image_format": ("png", "jpeg"),
    "image_layout": ("nhwc", "nchw"),
}
_TYPES: Mapping[str, tuple[type[Any], ...]] = {
    "headers": (Mapping,),
    "timeout_s": (int, float),
    "model": (str,),
    "health": (str,),
    "metadata": (str,),
    "verify": (bool, str),
    "prepared": (bool,),
    "signature": (Mapping,),
    "image_scale": (int, float),
    "jpeg_quality": (int,),
    "max_response_mib": (int, float),
}
_POSITIVE = ("timeout_s", "image_scale", "jpeg_quality", "max_response_mib")
_OURS = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "host"}
    | {"transfer-encoding", "x-tensors"}
)

Signature = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]

TEXTS_TO_VECTORS: Signature = (
    (TensorSpec("input", "string", ("batch",)),),
    (TensorSpec("embedding", "float32", ("batch", "width")),),
)
"""What every OpenAI embeddings service takes and gives, where nobody says otherwise."""


@dataclass(frozen=True)
class HttpOptions:
    """The options, checked; docs/http-service.md says what each does."""

    url: SplitResult
    style: str
    encoding: str
    headers: Mapping[str, str]
    timeout_s: float
    model: str
    health: str
    metadata: str
    verify: bool | str
    prepared: bool
    signature: Mapping[str, Any] | None
    encoding_format: str
    image: ImageForm
    limit_bytes: int

    @property
    def base(self) -> str:
        """Scheme, host and port."""
        return f"{self.url.scheme}://{self.url.netloc}"

    @property
    def target(self) -> str:
        """Path and query, as a request line has them."""
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")

    def tls(self) -> ssl.SSLContext | None:
        """Return how to trust the service: None for plain http."""
        if self.url.scheme == "http":
            return None
        try:
            return tls_context(self.verify)
        except OSError as error:  # ssl.SSLError is one
            raise InferbenchError(
                "IB-323", f"option 'verify' cannot be {self.verify!r}: {error}", "Give a PEM file."
            ) from error


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, a file's, or anyone."""
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def read_options(url: str, options: Mapping[str, Any]) -> HttpOptions:
    """Return the options with their defaults.

    Raises:
        InferbenchError: The URL is of no use (IB-380), or an option is unknown or cannot be what
            it is (IB-323).
    """
    for key, value in options.items():
        _check(key, value)
    parts = _split(url)
    style = str(options.get("style") or _style_of(parts))
    encoding = str(options.get("encoding", "json"))
    if style == "openai" and not options.get("model"):
        raise _refused("model", options.get("model"), "An OpenAI service is asked for one by name.")
    if style == "openai" and encoding != "json":
        raise _refused("encoding", encoding, "An OpenAI request is JSON; see encoding_format.")
    return HttpOptions(
        url=parts,
        style=style,
        encoding=encoding,
        headers=_headers(options.get("headers", {})),
        timeout_s=float(options.get("timeout_s", 30)),
        model=options.get("model", ""),
        health=_path(options, "health", "/health" if style == "openai" else "/healthz"),
        metadata=_path(options, "metadata", "/metadata"),
        verify=options.get("verify", True),
        prepared=options.get("prepared", False),
        signature=options.get("signature"),
        encoding_format=options.get("encoding_format", "float"),
        image=ImageForm(
            format=options.get("image_format", "png"),
            quality=options.get("jpeg_quality", 95),
            scale=float(options.get("image_scale", 1)),
            layout=options.get("image_layout", "nhwc"),
        ),
        limit_bytes=int(options.get("max_response_mib", 256) * 2**20),
    )


def read_signature(told: Mapping[str, Any], who: str) -> Signature | None:
    """Return inputs and outputs, or None where neither is told.

    Args:
        told: ``{"inputs": [{"name", "dtype", "shape"}], "outputs": [...]}``, perhaps among more.
        who: Who tells it, for the error.

    Raises:
        InferbenchError: It is told, and not in that form (IB-387).
    """
    if "inputs" not in told and "outputs" not in told:
        return None
    try:
        inputs = tuple(map(_spec, told["inputs"]))
        outputs = tuple(map(_spec, told["outputs"]))
        for specs in (inputs, outputs):
            if not specs or len({spec.name for spec in specs}) != len(specs):
                raise ValueError("there are none, or two of a name")
    except (KeyError, TypeError, ValueError) as error:
        raise InferbenchError(
            "IB-387",
            f"{who} tells inputs and outputs that cannot be read: {type(error).__name__}: {error}",
            'Each is {"name": "x", "dtype": "float32", "shape": [1, "n", -1]}.',
        ) from error
    return inputs, outputs


def contradiction(told: Signature, known: Signature) -> str:
    """Return in what two signatures differ, as text; empty where they can both be true."""
    for kind, ours, theirs in zip(("inputs", "outputs"), known, told, strict=True):
        by_name = {spec.name: spec for spec in theirs}
        if set(by_name) != {spec.name for spec in ours}:
            return f"its {kind} are {sorted(by_name)}, not {sorted(spec.name for spec in ours)}"
        for spec in ours:
            other = by_name[spec.name]
            if other.dtype != spec.dtype or not _can_agree(spec, other):
                return f"it has {other}, not {spec}"
    return ""


def _can_agree(one: TensorSpec, other: TensorSpec) -> bool:
    if one.shape is None or other.shape is None:
        return True
    fixed = (
        (a, b)
        for a, b in zip(one.shape, other.shape, strict=False)
        if isinstance(a, int) and isinstance(b, int) and min(a, b) >= 0
    )
    return len(one.shape) == len(other.shape) and all(a == b for a, b in fixed)


def _spec(told: Mapping[str, Any]) -> TensorSpec:
    name, dtype, shape = told["name"], str(told["dtype"]), told.get("shape")
    dtype = "string" if dtype in {"str", "string", "object"} else np.dtype(dtype).name
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name {name!r}")
    if shape is None:
        return TensorSpec(name, dtype, None)
    if not isinstance(shape, list | tuple) or not all(
        type(n) in {int, str, type(None)} for n in shape
    ):
        raise ValueError(f"the shape {shape!r}")
    return TensorSpec(name, dtype, tuple(-1 if n is None else n for n in shape))


def _check(key: str, value: Any) -> None:
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise _refused(key, value, f"It can be: {', '.join(_CHOICES[key])}.")
        return
    if key not in _TYPES:
        raise unknown_option(key, [*_CHOICES, *_TYPES])
    wanted: tuple[type[Any], ...] = _TYPES[key]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise _refused(key, value, f"It takes {' or '.join(each.__name__ for each in wanted)}.")
    if key in _POSITIVE and not 0 < float(value) < float("inf"):
        raise _refused(key, value, "It is more than 0.")
    if key == "jpeg_quality" and int(value) > 100:
        raise _refused(key, value, "It is at most 100.")


def _refused(key: str, value: Any, hint: str) -> InferbenchError:
    return InferbenchError("IB-323", f"option {key!r} cannot be {value!r}", hint)


def _path(options: Mapping[str, Any], key: str, default: str) -> str:
    path = str(options.get(key, default))
    if not re.fullmatch(r"/[!-~]*", path):
        raise _refused(key, path, "It is a path of the same service, such as /healthz.")
    return path


def _headers(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the user's headers, with ``${NAME}`` replaced from the worker's environment."""
    headers = {}
    for name, value in given.items():
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) or name.lower() in _OURS:
            raise _refused(
                "headers", name, "It is not a header's name, or one that the backend itself sets."
            )
        missing = [key for key in re.findall(r"\$\{(\w+)\}", str(value)) if key not in os.environ]
        if missing:
            raise InferbenchError(
                "IB-323",
                f"the header {name!r} needs {', '.join(missing)}, which the environment lacks",
                "Set it where the worker runs.",
            )
        text = re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], str(value))
        if not re.fullmatch(r"[\t -~]*", text):  # not shown: it may be a secret
            raise InferbenchError(
                "IB-323",
                f"the header {name!r} has line breaks or is not ASCII",
                "Quote or encode it.",
            )
        headers[name] = text
    return headers


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError as error:
        raise _no_url(url, str(error)) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine:
        raise _no_url(url, "it needs http:// or https://, a host, and a path")
    if parts.username is not None or parts.password is not None:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise _no_url(
            shown, 'a name or password stands in it; use headers = { Authorization = "…" }'
        )
    if parts.fragment or not re.fullmatch(r"[!-~]+", url):
        raise _no_url(url, "it has a #fragment, or characters that need %-encoding")
    return parts


def _style_of(parts: SplitResult) -> str:
    for style, end in STYLES.items():
        if parts.path.rstrip("/").endswith(end):
            return style
    raise InferbenchError(
        "IB-380",
        f"the path {parts.path or '/'!r} of {parts.geturl()} says no style",
        f"It ends in {', '.join(STYLES.values())}, or the option style is one of "
        f"{', '.join(STYLES)}.",
    )


def _no_url(url: str, why: str) -> InferbenchError:
    return InferbenchError(
        "IB-380", f"{url!r} is not the URL of a service: {why}", "Such as http://host:8000/infer."
    )
