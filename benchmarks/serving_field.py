"""One model as teams serve it: FastAPI and torch, Triton over each protocol, and no server at all.

The built-in detector on the same images. Every way is put under load by this project's own clients
(closed loop), each run in turn with the others, so that what the machine does meanwhile meets all
of them. Beside what a client waits stand bytes on the wire, the client's time to make a body and to
read an answer, and what the server says that it computed. The last column is a decision, by p95
over the runs: as `[serving.decisions]` of a settings file has it, else under 30 ms ship, under
50 ms acceptable. What was measured is kept at once, so a run that was stopped goes on.

    pip install -e ".[ort,triton,load,service]"
    python benchmarks/serving_field.py --kept field.json [--minutes 5] [--settings inferbench.toml]
        [--markdown docs/serving-field.md]
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # its parts lie beside it
sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures" / "detector"))

from field.kept import Kept
from field.servers import MODEL, ONNX, TORCH, machine, service, triton
from field.tables import decided, field_page
from PIL import Image
from scenes import draw_split

from pytest_inferbench.backends.contract import Backend
from pytest_inferbench.backends.http_service import HttpService
from pytest_inferbench.backends.ort import OnnxRuntime
from pytest_inferbench.backends.torch_native import Torch
from pytest_inferbench.backends.triton import Triton
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.running import run_load
from pytest_inferbench.serving.decision import DEFAULT, Ladder, ladder_of
from pytest_inferbench.serving.statistics import Observer
from pytest_inferbench.serving.variant import Variant
from pytest_inferbench.settings.loader import load
from pytest_inferbench.settings.objectives import parse_objectives

SIZE, IMAGES = 192, 8
CLIENTS = (1, 8)
ALONE_CALLS = 60


@dataclass(frozen=True)
class Way:
    """One way to have the model answer.

    Attributes:
        server: "service", "triton" or "none".
        how: The encoding of a service, the protocol of a Triton, the runtime without either.
        label: As the table shows it.
    """

    server: str
    how: str
    label: str


WAYS = (
    Way("service", "image", "FastAPI + torch, JPEG in base64"),
    Way("service", "json", "FastAPI + torch, tensor in JSON"),
    Way("service", "raw", "FastAPI + torch, tensor as bytes"),
    Way("triton", "http-json", "Triton + ONNX Runtime, HTTP, tensor in JSON"),
    Way("triton", "http", "Triton + ONNX Runtime, HTTP, tensor as bytes"),
    Way("triton", "grpc", "Triton + ONNX Runtime, gRPC"),
    Way("triton", "http-shm", "Triton + ONNX Runtime, HTTP, shared memory"),
    Way("none", "torch", "in this process: torch"),
    Way("none", "ort", "in this process: ONNX Runtime"),
)


class Field:
    """All servers at once, idle but the one that is asked."""

    def __init__(self, folder: Path, open_ones: ExitStack, threads: int) -> None:
        self.threads = threads
        self.images, self.tensors = write_inputs(folder)
        self.service = open_ones.enter_context(service(threads))
        variant = Variant(parameters={"intra_op_thread_count": str(threads)})
        self.triton = open_ones.enter_context(triton(variant))
        self.sample = {"images": np.load(self.tensors)["images"][:1]}

    def plan(self, way: Way, clients: int, seconds: float) -> LoadPlan:
        """Return the load on a way's server."""
        common = {"clients": clients, "seconds": seconds, "warmup_s": 0.5}
        if way.server == "service":
            inputs = self.images if way.how == "image" else self.tensors
            url = f"{self.service}/infer"
            return LoadPlan(url, service="http_service", encoding=way.how, inputs=inputs, **common)
        url = f"grpc://{self.triton.grpc_url}" if way.how == "grpc" else self.triton.http_url
        return LoadPlan(
            url,
            model=MODEL,
            inputs=self.tensors,
            encoding="json" if way.how == "http-json" else "binary",
            shared_memory=way.how.endswith("-shm"),
            **common,
        )

    @contextmanager
    def backend(self, way: Way) -> Iterator[Backend]:
        """Have a way's backend open in this process, for one caller."""
        opened: Backend
        if way.server == "service":
            images = {"image_scale": 255, "image_layout": "nchw", "image_format": "jpeg"}
            options = {"encoding": way.how, **(images if way.how == "image" else {})}
            opened, artifact = HttpService(), f"{self.service}/infer"
        elif way.server == "triton":
            url = f"grpc://{self.triton.grpc_url}" if way.how == "grpc" else self.triton.http_url
            opened, artifact = Triton(), str(ONNX)
            options = {"url": url, "model": MODEL, "protocol": way.how}
        elif way.how == "torch":
            opened, artifact = Torch(), str(TORCH)
            options = {"device": "cpu", "threads": self.threads}
        else:
            opened, artifact = OnnxRuntime(), str(ONNX)
            options = {"intra_op_num_threads": self.threads}
        opened.open(artifact, options, "fp32")
        try:
            yield opened
        finally:
            opened.close()


def write_inputs(folder: Path) -> tuple[Path, Path]:
    """Write the same images as JPEG files and as one tensor; return both places."""
    images = folder / "images"
    images.mkdir()
    arrays = []
    for number, scene in enumerate(draw_split("val", IMAGES)):
        file = io.BytesIO()
        Image.fromarray(scene.image).resize((SIZE, SIZE)).save(file, "jpeg", quality=90)
        (images / f"{number}.jpg").write_bytes(file.getvalue())
        arrays.append(np.asarray(Image.open(file), np.float32).transpose(2, 0, 1) / 255)
    tensors = folder / "images.npz"
    np.savez(tensors, images=np.stack(arrays))
    return images, tensors


def under_load(field: Field, way: Way, clients: int, seconds: float) -> dict[str, Any]:
    """Return what so many clients saw of a way."""
    observer = Observer(field.triton.addresses(), MODEL) if way.server == "triton" else None
    before = observer.snapshot() if observer else None
    result = run_load(field.plan(way, clients, seconds))
    entry = {
        **{name: result.figure(name) for name in ("per_s", "mean", "p50", "p95", "p99")},
        "requests": result.requests,
        "failures": result.failed,
        "bytes_out": result.sent_bytes_each,
        "bytes_in": result.received_bytes_each,
        "client_cpu_ms": result.client_cpu_ms_each,
    }
    if observer and before:
        served = observer.snapshot().since(before)
        entry["compute_ms"] = served.infer_ns / max(1, served.requests) / 1e6
        observer.close()
    return entry


def without_server(field: Field, way: Way, seconds: float) -> dict[str, Any]:
    """Return what one caller in this process waits."""
    with field.backend(way) as backend:
        waits_ms = []
        until_s = time.perf_counter() + seconds + 0.5
        counted_from_s = until_s - seconds
        while (started_s := time.perf_counter()) < until_s:
            backend.infer(field.sample)
            if started_s >= counted_from_s:
                waits_ms.append((time.perf_counter() - started_s) * 1e3)
    p50, p95, p99 = np.percentile(waits_ms, [50, 95, 99])
    mean = statistics.fmean(waits_ms)
    told = {"per_s": 1e3 / mean, "mean": mean, "p50": float(p50), "p95": float(p95)}
    return {**told, "p99": float(p99), "compute_ms": mean, "failures": 0}


def alone(field: Field, way: Way) -> dict[str, Any]:
    """Return where one caller's time goes: making bodies, reading answers, the server."""
    with field.backend(way) as backend:
        for _ in range(ALONE_CALLS):
            backend.infer(field.sample)
        told = backend.describe()
    parts = ("serialize_ms", "deserialize_ms", "server_ms", "server_overhead_ms")
    return {name: told[name]["p50"] for name in parts if name in told}


def tasks(runs: int) -> Iterator[tuple[str, Callable[[Field], dict[str, Any]]]]:
    """Yield every measurement by name, round by round, so that the ways take turns."""
    for way in WAYS:
        if way.server != "none":
            yield f"{way.server} {way.how} alone", lambda field, way=way: alone(field, way)
    for run in range(runs):
        for clients in CLIENTS:
            for way in WAYS:
                name = f"{way.server} {way.how} {clients} {run}"
                if way.server != "none":
                    yield name, lambda f, w=way, c=clients: under_load(f, w, c, f.seconds)
                elif clients == 1:
                    yield name, lambda f, w=way: without_server(f, w, f.seconds)


def ladder(settings: Path | None) -> Ladder:
    """Return the settings' ladder, or the one that holds without any."""
    if settings is not None:
        serving = load(settings).serving
        if serving.decisions:
            return ladder_of(serving.decisions, serving.otherwise)

    def refuse(key: Any, text: str) -> None:
        raise ValueError(f"{key}: {text}")

    rungs: Mapping[str, Any] = {w: parse_objectives(dict(o), refuse) for w, o in DEFAULT.items()}
    return ladder_of(rungs, "do not ship")


def main() -> None:
    """Measure what is missing, then show what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kept", type=Path, required=True, help="where figures are kept (JSON)")
    parser.add_argument("--minutes", type=float, default=10.0, help="begin nothing after so long")
    parser.add_argument("--runs", type=int, default=3, help="of each way at each count of clients")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--threads", type=int, default=1, help="of each runtime")
    parser.add_argument("--settings", type=Path, help="a file with [serving.decisions]")
    parser.add_argument("--markdown", type=Path, help="write the page here")
    chosen = parser.parse_args()
    facts = {**machine(), "threads": chosen.threads, "seconds": chosen.seconds}
    kept = Kept(chosen.kept, facts)
    until_s = time.monotonic() + 60 * chosen.minutes
    missing = [(name, task) for name, task in tasks(chosen.runs) if name not in kept]
    if missing and chosen.minutes > 0:
        with ExitStack() as open_ones, tempfile.TemporaryDirectory() as folder:
            field = Field(Path(folder), open_ones, chosen.threads)
            field.seconds = chosen.seconds
            for name, task in missing:
                if time.monotonic() > until_s:
                    break
                kept.add(name, task(field))
                print(f"{name}: {kept.entries[name]}", flush=True)
    rows = [
        decided(way, clients, kept.entries, ladder(chosen.settings))
        for clients in CLIENTS
        for way in WAYS
    ]
    page = field_page([row for row in rows if row], kept.facts)
    print(page)
    if chosen.markdown:
        chosen.markdown.write_text(page)


if __name__ == "__main__":
    main()
