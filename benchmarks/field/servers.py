"""The servers that are compared: each for the length of a `with`, on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_inferbench.artifacts.cache import ArtifactCache, default_root
from pytest_inferbench.hardware.cpu import cpu_id
from pytest_inferbench.serving.install import installation_for
from pytest_inferbench.serving.repository import write_repository
from pytest_inferbench.serving.server import Order, Server, start
from pytest_inferbench.serving.variant import Variant

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "fixtures/services/torch_service.py"
ONNX, TORCH = ROOT / "fixtures/detector/detector.onnx", ROOT / "fixtures/detector/detector.pt2"
MODEL = "detector"
_ENDS_S = 10.0


@contextmanager
def triton(variant: Variant, artifact: Path = ONNX) -> Iterator[Server]:
    """Have a Triton that serves a model as a variant says; installed in the cache on first use."""
    cache = ArtifactCache(default_root())
    installation = installation_for(variant, cache, lambda line: print(line, file=sys.stderr))
    with tempfile.TemporaryDirectory(prefix="inferbench-field-") as folder:
        served = write_repository(Path(folder), MODEL, artifact, variant)
        gpu = variant.device == "gpu"
        with start(installation, Order(Path(folder), served.models, gpu=gpu, exit_s=1)) as server:
            yield server


@contextmanager
def service(threads: int, device: str = "cpu") -> Iterator[str]:
    """Have the service of FastAPI and torch; give its address."""
    command = [sys.executable, str(SERVICE), str(TORCH), "--port", "0", "--device", device]
    process = subprocess.Popen(
        [*command, "--threads", str(threads)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise SystemExit("the service did not start")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def machine() -> dict[str, str]:
    """Return what figures were measured on."""
    return {"hardware": cpu_id(Path("/")), "cpus": str(len(os.sched_getaffinity(0)))}
