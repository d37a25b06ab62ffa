"""What a user of Locust writes with tritonclient, for the comparison: one request a task.

Latencies are kept raw, because Locust's own are rounded to milliseconds; that adds nothing else.
Told by the environment: INFERBENCH_PLAIN_OUT, INFERBENCH_PLAIN_WARMUP_S, INFERBENCH_PLAIN_S.
"""

from __future__ import annotations

import json
import os
import resource
import time
from typing import Any
from urllib.parse import urlsplit

import gevent
import grpc.experimental.gevent
import numpy as np
import tritonclient.grpc
import tritonclient.http
from locust import User, events, task

grpc.experimental.gevent.init_gevent()

MODEL, INPUT, OUTPUT, SHAPE = "convs", "images", "scores", (1, 3, 32, 32)
LATENCIES_MS: list[float] = []
CLIENTS: list[Any] = []


class PlainUser(User):
    """Makes its inputs anew for each request, as the client's examples do."""

    def on_start(self) -> None:
        """Connect."""
        address = urlsplit(self.environment.host)
        self.kind = tritonclient.http if address.scheme == "http" else tritonclient.grpc
        options = {"concurrency": 1} if address.scheme == "http" else {}
        self.client = self.kind.InferenceServerClient(address.netloc, **options)
        CLIENTS.append(self.client)
        self.image = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)

    @task
    def infer(self) -> None:
        """Ask once."""
        started = time.perf_counter()
        tensor = self.kind.InferInput(INPUT, SHAPE, "FP32")
        tensor.set_data_from_numpy(self.image)
        wanted = [self.kind.InferRequestedOutput(OUTPUT)]
        answer = self.client.infer(MODEL, [tensor], outputs=wanted)
        answer.as_numpy(OUTPUT)
        elapsed_ms = (time.perf_counter() - started) * 1e3
        LATENCIES_MS.append(elapsed_ms)
        self.environment.events.request.fire(
            request_type="infer",
            name=MODEL,
            response_time=elapsed_ms,
            response_length=0,
            exception=None,
            context={},
        )


def used_s() -> float:
    """Return the CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@events.spawning_complete.add_listener
def measure(**_: Any) -> None:
    """Measure for a while once everybody is there, then end."""
    gevent.spawn(measured)


def measured() -> None:
    """Write what a stretch showed."""
    gevent.sleep(float(os.environ["INFERBENCH_PLAIN_WARMUP_S"]))
    LATENCIES_MS.clear()
    started, cpu_s = time.perf_counter(), used_s()
    gevent.sleep(float(os.environ["INFERBENCH_PLAIN_S"]))
    seconds, latencies = time.perf_counter() - started, np.array(LATENCIES_MS)
    told = {
        "per_s": len(latencies) / seconds,
        "p50_ms": float(np.percentile(latencies, 50)),
        "p99_ms": float(np.percentile(latencies, 99)),
        "cpu": (used_s() - cpu_s) / seconds,
    }
    with open(os.environ["INFERBENCH_PLAIN_OUT"], "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(told, file)
    os._exit(0)  # open gRPC clients would hang the exit
