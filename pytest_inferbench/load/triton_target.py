"""Triton, or any server of KServe's protocol, as a target: takes a plan, gives clients.

HTTP or gRPC, tensors in the request or in system shared memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load import kserve_grpc, kserve_http
from pytest_inferbench.load.grpc_wire import Call, GrpcConnection
from pytest_inferbench.load.http_wire import HttpConnection, Reply
from pytest_inferbench.load.inputs import expected_from, samples_for
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.shared_memory import Region
from pytest_inferbench.load.target import compare, own_samples
from pytest_inferbench.load.tensors import ModelSpec, Place, from_raw, to_raw
from pytest_inferbench.load.wire import RequestError, address_of

if TYPE_CHECKING:
    from pytest_inferbench.load.tensors import Array

    Sample = dict[str, Array]

_ALIGNED = 64


class _Http:
    """KServe's protocol over HTTP on one connection."""

    def __init__(self, plan: LoadPlan) -> None:
        self._address = address_of(plan.url)
        self._binary = plan.encoding == "binary"
        self._connection = HttpConnection(self._address, plan.request_timeout_s)
        self.close = self._connection.close

    def prepared(
        self, spec: ModelSpec, sample: Sample, places: Mapping[str, Place] | None
    ) -> bytes:
        headers, body = kserve_http.infer(spec, sample, binary=self._binary, places=places)
        path = f"{kserve_http.model_path(spec.name)}/infer"
        return kserve_http.request("POST", self._address.authority, path, headers, body)

    def size(self, prepared: bytes) -> int:
        return len(prepared)

    def send(self, prepared: bytes) -> Reply:
        reply = self._connection.exchange(prepared)
        if reply.status != 200:
            raise RequestError(f"HTTP {reply.status}: {kserve_http.error_of(reply.body):.200}")
        return reply

    def spec(self, model: str) -> ModelSpec:
        return kserve_http.spec_of(self._control("GET", kserve_http.model_path(model)))

    def register(self, place: Place, key: str) -> None:
        self._control(
            "POST", _region_path(place.region, "register"), kserve_http.register(place, key)
        )

    def unregister(self, region: str) -> None:
        self._control("POST", _region_path(region, "unregister"))

    def answer(self, reply: Reply, elsewhere: Collection[str] = ()) -> Sample:
        outputs = kserve_http.answer(reply.head, reply.body)
        return {name: array for name, array in outputs.items() if name not in elsewhere}

    def _control(self, method: str, path: str, body: bytes = b"") -> bytes:
        return self.send(kserve_http.request(method, self._address.authority, path, {}, body)).body


class _Grpc:
    """KServe's protocol over gRPC on one connection."""

    def __init__(self, plan: LoadPlan) -> None:
        self._address = address_of(plan.url)
        self._connection = GrpcConnection(self._address, plan.request_timeout_s)
        self.close = self._connection.close

    def prepared(self, spec: ModelSpec, sample: Sample, places: Mapping[str, Place] | None) -> Call:
        return self._call("ModelInfer", kserve_grpc.infer(spec, sample, places))

    def size(self, prepared: Call) -> int:
        return len(prepared.framed)

    def send(self, prepared: Call) -> Reply:
        return Reply(200, b"", self._connection.call(prepared))

    def spec(self, model: str) -> ModelSpec:
        message = kserve_grpc.metadata(model)
        return kserve_grpc.spec_of(self.send(self._call("ModelMetadata", message)).body)

    def register(self, place: Place, key: str) -> None:
        message = kserve_grpc.register(place, key)
        self.send(self._call("SystemSharedMemoryRegister", message))

    def unregister(self, region: str) -> None:
        message = kserve_grpc.unregister(region)
        self.send(self._call("SystemSharedMemoryUnregister", message))

    def answer(self, reply: Reply, elsewhere: Collection[str] = ()) -> Sample:
        return kserve_grpc.answer(reply.body, elsewhere)

    def _call(self, method: str, message: bytes) -> Call:
        return Call(self._address, f"{kserve_grpc.SERVICE}/{method}", message)


class TritonTarget:
    """A model on a server, with inputs, and what each must be answered."""

    def __init__(self, plan: LoadPlan, clients: int) -> None:
        self._plan = plan
        self._clients = clients
        self._link = self._open()
        self._regions: list[Region] = []
        try:
            self.spec = self._link.spec(plan.model)
            wanted = max(plan.samples, clients)
            self._samples = samples_for(self.spec.inputs, plan, wanted)
            self._expected = self._answers()
            if plan.shared_memory:
                self._inputs = self._shared_inputs()
        except RequestError as error:
            self.close()
            raise InferbenchError(
                "IB-834",
                f"no load on {plan.model!r} at {plan.url}: {error}",
                "Is it served there, and does it take these inputs?",
            ) from None
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise InferbenchError(
                "IB-834", f"{plan.url} does not speak KServe's protocol: {error!r:.200}"
            ) from None

    def client(self, number: int) -> TritonClient:
        """Return a client of its own number, counted from 0 in each process."""
        mine = own_samples(number, self._clients, len(self._samples))
        link = self._open()
        if not self._plan.shared_memory:
            prepared = [link.prepared(self.spec, self._samples[each], None) for each in mine]
            return TritonClient(self, link, prepared, mine, None, {})
        region, outputs = self._shared_outputs(link)
        empty = self._samples
        prepared = [
            link.prepared(self.spec, empty[each], {**self._inputs[each], **outputs})
            for each in mine
        ]
        return TritonClient(self, link, prepared, mine, region, outputs)

    def close(self) -> None:
        """Give back shared memory, here and on the server."""
        for region in self._regions:
            with contextlib.suppress(RequestError):
                self._link.unregister(region.name)
            region.close()
        self._regions = []
        self._link.close()

    def check(self, sample: int, answer: Sample) -> None:
        """Compare an answer with the one that a sample must have.

        Raises:
            RequestError: It is another.
        """
        compare(answer, self._expected, sample, self._plan)

    def shape_of(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Return the type and shape that an output has."""
        spec = next(each for each in self.spec.outputs if each.name == name)
        return spec.datatype, self._expected[0][name].shape

    def _open(self) -> _Http | _Grpc:
        return _Grpc(self._plan) if address_of(self._plan.url).grpc else _Http(self._plan)

    def _answers(self) -> Sequence[Sample]:
        """Ask once, so that a plan that cannot work fails here; for each sample if it is checked.

        A file says what is expected, where there is one.
        """
        plan = self._plan
        if plan.expected is not None:
            expected = expected_from(plan.expected, self.spec.outputs, plan.batch)
            if len(expected) < len(self._samples):
                raise InferbenchError(
                    "IB-833",
                    f"{plan.expected} holds {len(expected)} answers for "
                    f"{len(self._samples)} inputs",
                )
            self._ask(0)
            return expected
        return [self._ask(at) for at in range(len(self._samples) if plan.verify else 1)]

    def _ask(self, sample: int) -> Sample:
        prepared = self._link.prepared(self.spec, self._samples[sample], None)
        return self._link.answer(self._link.send(prepared))  # type: ignore[arg-type]

    def _shared_inputs(self) -> list[dict[str, Place]]:
        """Put every sample into one region, and return where each lies."""
        raws = [
            {spec.name: to_raw(sample[spec.name]) for spec in self.spec.inputs}
            for sample in self._samples
        ]
        sizes = [{name: len(raw) for name, raw in each.items()} for each in raws]
        region, places = self._region(self._link, sizes)
        for sample, where in zip(raws, places, strict=True):
            for name, raw in sample.items():
                region.write(where[name].offset, raw)
        return places

    def _shared_outputs(self, link: _Http | _Grpc) -> tuple[Region, dict[str, Place]]:
        """Make a region for one client's answers, by its own connection: others make theirs."""
        first = self._expected[0]
        sizes = {spec.name: len(to_raw(first[spec.name])) for spec in self.spec.outputs}
        region, (places,) = self._region(link, [sizes])
        return region, places

    def _region(
        self, link: _Http | _Grpc, sizes: Sequence[Mapping[str, int]]
    ) -> tuple[Region, list[dict[str, Place]]]:
        total = sum(_up(size) for each in sizes for size in each.values())
        region = Region(total)
        self._regions.append(region)
        link.register(Place(region.name, 0, region.size), region.key)
        region.unlink()
        places: list[dict[str, Place]] = []
        offset = 0
        for each in sizes:
            places.append({})
            for name, size in each.items():
                places[-1][name] = Place(region.name, offset, size)
                offset += _up(size)
        return region, places


class TritonClient:
    """One connection, with requests that are made.

    Attributes:
        sizes: Bytes of each of its requests.
    """

    def __init__(
        self,
        target: TritonTarget,
        link: _Http | _Grpc,
        prepared: Sequence[bytes | Call],
        samples: Sequence[int],
        region: Region | None,
        outputs: Mapping[str, Place],
    ) -> None:
        self._target, self._link, self._prepared = target, link, prepared
        self._samples, self._region, self._outputs = samples, region, outputs
        self._send = link.send
        self.sizes = [link.size(each) for each in prepared]  # type: ignore[arg-type]

    def exchange(self, number: int) -> Reply:
        """Make a request.

        Raises:
            RequestError: It was not answered well.
        """
        return self._send(self._prepared[number])  # type: ignore[arg-type]

    def check(self, number: int, reply: Reply) -> None:
        """Compare an answer with the one that its own inputs must have.

        Raises:
            RequestError: It is another.
        """
        try:
            answer = self._link.answer(reply, self._outputs)
            for name, place in self._outputs.items():
                assert self._region is not None
                raw = self._region.read(place.offset, place.size)
                answer[name] = from_raw(raw, *self._target.shape_of(name))
        except (KeyError, TypeError, ValueError):
            raise RequestError("wrong answer: it cannot be read") from None
        self._target.check(self._samples[number], answer)

    def close(self) -> None:
        """End the connection."""
        self._link.close()


def _region_path(region: str, verb: str) -> str:
    return f"/v2/systemsharedmemory/region/{region}/{verb}"


def _up(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
