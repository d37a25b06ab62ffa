"""A plain HTTP service as a target: POST /infer or /embed, as docs/http-service.md has them.

Takes a plan, gives clients. Bodies are made by what the `http` backend sends them with; image files
of a folder are sent as they are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from http.client import parse_headers
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_inferbench.backends.contract import TensorSpec as Declared
from pytest_inferbench.backends.http_images import ImageForm
from pytest_inferbench.backends.http_options import read_signature
from pytest_inferbench.backends.http_payloads import Body, image_body, read_answer, tensor_body
from pytest_inferbench.backends.http_tensors import UnreadableError
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.http_wire import HttpConnection, Reply
from pytest_inferbench.load.inputs import samples_for
from pytest_inferbench.load.kserve_http import request
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.target import compare, own_samples
from pytest_inferbench.load.tensors import DTYPES, TensorSpec
from pytest_inferbench.load.wire import RequestError, address_of

if TYPE_CHECKING:
    from pytest_inferbench.load.tensors import Array

_IMAGES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}
_NAMES = {dtype: name for name, dtype in reversed(tuple(DTYPES.items()))}


class ServiceTarget:
    """A service, with the bodies to send it, and what each must be answered."""

    def __init__(self, plan: LoadPlan, clients: int) -> None:
        self._plan = plan
        self._clients = clients
        self._address = address_of(plan.url)
        self._path = urlsplit(plan.url).path or "/infer"
        self._style = "embed" if self._path.rstrip("/").endswith("/embed") else "infer"
        link = self._open()
        try:
            signature = self._signature(link)
            self._outputs: Sequence[Declared] = signature[1]
            bodies = self._bodies(signature[0], max(plan.samples, clients))
            self._requests = [self._request(body) for body in bodies]
            asked = self._requests if plan.verify else self._requests[:1]
            self._expected = [self._read(self._asked(link, each)) for each in asked]
        except RequestError as error:
            raise InferbenchError("IB-834", f"no load on {plan.url}: {error}") from None
        except UnreadableError as error:
            raise InferbenchError("IB-834", f"the answer of {plan.url}: {error}") from None
        finally:
            link.close()

    def client(self, number: int) -> ServiceClient:
        """Return a client of its own number, counted from 0 in each process."""
        mine = own_samples(number, self._clients, len(self._requests))
        return ServiceClient(self, self._open(), [self._requests[each] for each in mine], mine)

    def close(self) -> None:
        """Nothing is held beyond connections."""

    def check(self, sample: int, reply: Reply) -> None:
        """Compare an answer with the one that a sample must have.

        Raises:
            RequestError: It is another, or cannot be read.
        """
        try:
            answer = self._read(reply)
        except UnreadableError:
            raise RequestError("wrong answer: it cannot be read") from None
        compare(answer, self._expected, sample, self._plan)

    def _open(self) -> HttpConnection:
        return HttpConnection(self._address, self._plan.request_timeout_s)

    def _request(self, body: Body) -> bytes:
        authority = self._address.authority
        return request("POST", authority, self._path, body.headers, body.content)

    def _asked(self, link: HttpConnection, whole: bytes) -> Reply:
        return good(link.exchange(whole))

    def _read(self, reply: Reply) -> dict[str, Array]:
        headers = parse_headers(BytesIO(reply.head.split(b"\r\n", 1)[1] + b"\r\n\r\n"))
        told = {name.title(): value for name, value in headers.items()}
        return read_answer(reply.body, told, self._outputs, self._style, 0).arrays

    def _signature(self, link: HttpConnection) -> tuple[Sequence[Declared], Sequence[Declared]]:
        told: dict[str, Any] = {}
        for path in ("/healthz", "/metadata"):
            reply = link.exchange(request("GET", self._address.authority, path, {}, b""))
            if reply.status != 200:
                continue
            try:
                facts = json.loads(reply.body)
            except ValueError:
                continue
            told |= facts if isinstance(facts, dict) else {}
            if "inputs" in told:
                break
        signature = read_signature(told, self._plan.url)
        if signature is None:
            raise InferbenchError(
                "IB-834",
                f"{self._plan.url} does not tell its inputs and outputs",
                "Let GET /metadata tell them.",
            )
        return signature

    def _bodies(self, inputs: Sequence[Declared], count: int) -> list[Body]:
        plan = self._plan
        if plan.inputs is not None and plan.inputs.is_dir():
            return _files(plan.inputs, plan.batch)[:count]
        specs = [_spec(each) for each in inputs]
        if plan.encoding != "image":
            return [
                tensor_body(sample, plan.encoding, self._style)
                for sample in samples_for(specs, plan, count)
            ]
        floats = DTYPES[specs[0].datatype].startswith("float")
        layout, scale = ("nchw", 255.0) if floats else ("nhwc", 1.0)
        form = ImageForm("jpeg", scale=scale, layout=layout)
        samples = samples_for(specs, plan, count)
        if floats and plan.inputs is None:
            samples = [{name: _pixels(array) for name, array in each.items()} for each in samples]
        return [image_body(sample, form) for sample in samples]


class ServiceClient:
    """One connection, with requests that are made.

    Attributes:
        sizes: Bytes of each of its requests.
    """

    def __init__(
        self,
        target: ServiceTarget,
        link: HttpConnection,
        requests: Sequence[bytes],
        samples: Sequence[int],
    ) -> None:
        self._target, self._link, self._requests = target, link, requests
        self._samples = samples
        self.sizes = [len(each) for each in requests]

    def exchange(self, number: int) -> Reply:
        """Make a request.

        Raises:
            RequestError: It was not answered well.
        """
        return good(self._link.exchange(self._requests[number]))

    def check(self, number: int, reply: Reply) -> None:
        """Compare an answer with the one that its own inputs must have.

        Raises:
            RequestError: It is another.
        """
        self._target.check(self._samples[number], reply)

    def close(self) -> None:
        """End the connection."""
        self._link.close()


def good(reply: Reply) -> Reply:
    """Return an answer whose status is 200.

    Raises:
        RequestError: It is another.
    """
    if reply.status != 200:
        text = " ".join(reply.body[:200].decode("utf-8", "replace").split())
        raise RequestError(f"HTTP {reply.status}: {text}")
    return reply


def _spec(declared: Declared) -> TensorSpec:
    if declared.dtype not in _NAMES or declared.shape is None:
        raise InferbenchError(
            "IB-832", f"input {declared} cannot be drawn", "Only numbers of a known rank can be."
        )
    sizes = tuple(size if isinstance(size, int) else -1 for size in declared.shape)
    return TensorSpec(declared.name, _NAMES[declared.dtype], sizes)


def _pixels(array: Array) -> Array:
    """Return an image of the same kind whose values are 0 to 255 over 255."""
    import numpy as np

    whole = np.clip(np.rint(array * 64 + 128), 0, 255)
    pixels: Array = (whole / 255).astype(array.dtype)
    return pixels


def _files(folder: Path, batch: int) -> list[Body]:
    paths = sorted(each for each in folder.iterdir() if each.suffix.lower() in _IMAGES)
    if len(paths) < batch:
        raise InferbenchError(
            "IB-833", f"{folder} holds {len(paths)} images for requests of {batch}"
        )
    texts = [base64.b64encode(each.read_bytes()).decode() for each in paths]
    kinds = [_IMAGES[each.suffix.lower()] for each in paths]
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return [
        Body(json.dumps({"format": kinds[at], "images": texts[at : at + batch]}).encode(), headers)
        for at in range(0, len(texts) - batch + 1, batch)
    ]
