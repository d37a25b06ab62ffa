"""What our timing adds to the time of an inference: p50 here beside two bare measurements.

Against (a) a bare loop over `InferenceSession.run_with_iobinding` in a process of its own, and (b)
OpenVINO's `benchmark_app` on the same model: its calls timed from outside, as ours are, and (shown
only) what it prints, which OpenVINO measures inside a call, without Python's way in and out. Ours
is a real worker with the same sampling code as the gate's. One model takes about 1 ms and one about
50 us, both on one thread.

A round is a fresh pair of processes that are timed in turn, in short bursts (for (b), in turn with
runs of `benchmark_app`). A side's figure in a round is the lower quartile of its bursts' p50, since
what else runs on the machine only ever adds. The interval is Student's t, 95 %, over the rounds.

Target: within 1 % for the 1 ms model, within 3 us for the 50 us model. Exit status 0: the whole
interval is within it. 1: missed. 2: the machine was too noisy to tell. It ends within 3 minutes.

    python benchmarks/harness_overhead.py [--seconds 140] [--json PATH]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.backends.catalog import CATALOG
from pytest_inferbench.judge.statistics import student_t_quantile
from pytest_inferbench.worker.client import Worker, launch
from pytest_inferbench.worker.protocol import pack_samples

BURST_S = 0.06
APP_S = 1
MIN_BURSTS = 3
ROUNDS, MIN_ROUNDS = 6, 3
LIMIT_S = 165.0
"""Whatever the machine does meanwhile, no round is begun after it, and none lasts long."""

WITHIN_SHARE, WITHIN_US = 0.01, 3.0

T = TypeVar("T")
Figures = tuple[float, float]
"""The 50th and the 5th percentile."""

BARE = """
import sys, time
import numpy as np
import onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
shape = session.get_inputs()[0].shape
image = np.random.default_rng(0).random(shape, dtype=np.float32)
binding = session.io_binding()
binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(image))
binding.bind_output("y")
clock, run = time.perf_counter_ns, session.run_with_iobinding
for line in sys.stdin:
    warm, seconds = map(float, line.split())
    end = clock() + int(warm * 1e9)
    while clock() < end:
        run(binding)
    times, end, stopped = [], clock() + int(seconds * 1e9), 0
    while stopped < end:
        started = clock()
        run(binding)
        stopped = clock()
        times.append(stopped - started)
    print(*(np.percentile(times, (50, 5)) / 1e6), flush=True)
"""

# It prints two digits, which for 1 ms is no finer than the target, so its own list is read. That
# holds what OpenVINO measures inside a call; the clock around the call is the one that we use.
APP = """
import json
import time
from openvino.tools.benchmark import benchmark, main

class Timed:
    def __init__(self, request):
        self._request, self.outside_ms = request, []
    def infer(self):
        started = time.perf_counter_ns()
        self._request.infer()
        self.outside_ms.append((time.perf_counter_ns() - started) / 1e6)
    def __getattr__(self, name):
        return getattr(self._request, name)

made, make, own = [], benchmark.Benchmark.create_infer_requests, benchmark.percentile

def timed(self, model):
    made.extend(map(Timed, make(self, model)))
    return made

def percentile(times, rank):
    outside = sorted(made[0].outside_ms[-len(times):])
    found = [[own(each, p) for p in (50, 5)] for each in (times, outside)]
    print("figures:", json.dumps(dict(zip(("inside", "outside"), found))))
    return own(times, rank)

benchmark.Benchmark.create_infer_requests, benchmark.percentile = timed, percentile
main.main()
"""


@dataclass(frozen=True)
class Model:
    """A model to time."""

    name: str
    path: Path
    shape: tuple[int, ...]


@dataclass
class Comparison:
    """Rounds of one model against one bare measurement: p50 and p5, in milliseconds."""

    model: str
    against: str
    ours_ms: list[Figures] = field(default_factory=list)
    bare_ms: list[Figures] = field(default_factory=list)

    def overhead(self, which: int, *, share: bool) -> tuple[float, float, float]:
        """Return low, estimate and high, as a share of the bare time or in microseconds."""
        pairs = [(o[which], b[which]) for o, b in zip(self.ours_ms, self.bare_ms, strict=True)]
        each = [math.log(o / b) if share else (o - b) * 1e3 for o, b in pairs]
        centre = statistics.fmean(each)
        df = len(each) - 1
        reach = student_t_quantile(0.975, df) * statistics.stdev(each) / math.sqrt(len(each))
        values = (centre - reach, centre, centre + reach)
        low, value, high = map(math.expm1, values) if share else values
        return low, value, high


def write_model(path: Path, layers: int, side: int) -> Model:
    """Write a convolutional net of fixed shape."""
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for i in range(layers):
        channels = 3 if i == 0 else 16
        weight = rng.normal(0, (2 / (channels * 9)) ** 0.5, (16, channels, 3, 3))
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        name = f"r{i}"
    nodes.append(helper.make_node("ReduceMean", [name], ["y"], axes=[2, 3], keepdims=0))
    shape = (1, 3, side, side)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 10
    onnx.save(made, path)
    return Model(path.stem, path, shape)


def calibrated(folder: Path, name: str, side: int, wanted_ms: float) -> Model:
    """Write a model of about the wanted time on this machine."""
    few, many = 2, 6
    with bare_loop(write_model(folder / "few.onnx", few, side)) as short:
        few_ms = min(short() for _ in range(4))[0]
    with bare_loop(write_model(folder / "many.onnx", many, side)) as longer:
        many_ms = min(longer() for _ in range(4))[0]
    layer_ms = max(1e-3, (many_ms - few_ms) / (many - few))
    layers = max(1, round(few + (wanted_ms - few_ms) / layer_ms))
    return write_model(folder / f"{name}.onnx", layers, side)


@contextmanager
def bare_loop(model: Model) -> Iterator[Callable[[], Figures]]:
    """Give what times a burst, in a process of its own that lives meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-c", BARE, str(model.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    ask, answer = process.stdin, process.stdout

    def burst_ms() -> Figures:
        ask.write(f"{BURST_S / 3} {BURST_S}\n")
        ask.flush()
        p50_ms, p5_ms = map(float, answer.readline().split())
        return p50_ms, p5_ms

    try:
        yield burst_ms
    finally:
        ask.close()
        process.wait(10)


@contextmanager
def our_worker(model: Model, backend: str, burst_s: float) -> Iterator[Callable[[], Figures]]:
    """Give what times a burst in one of our workers."""
    info = CATALOG[backend]
    assert info.adapter is not None
    options: dict[str, object] = {"intra_op_num_threads": 1}
    if backend == "openvino":
        options = {"inference_num_threads": 1, "config": {"ENABLE_CPU_PINNING": False}}
    rng = np.random.default_rng(0)
    inputs = [{"x": rng.random(model.shape, dtype=np.float32)} for _ in range(4)]
    with launch(modules=[info.adapter]) as worker:
        fields = {"backend_module": info.adapter, "artifact": str(model.path)}
        worker.call("open", {**fields, "options": {**info.options_on("cpu"), **options}})
        packed = pack_samples(inputs)
        yield lambda: _sampled_ms(worker, packed, burst_s)


def _sampled_ms(worker: Worker, packed: dict[str, np.ndarray], burst_s: float) -> Figures:
    fields = {"duration_s": burst_s, "warmup_floor_s": 0.0, "warmup_ceiling_s": 0.0}
    reply = worker.call("sample", {**fields, "packed": True, "probe": False}, packed)
    figures = reply.fields["percentiles_ms"]
    return figures["p50"], figures["p5"]


def benchmark_app_ms(model: Model, folder: Path) -> dict[str, Figures]:
    """Run OpenVINO's `benchmark_app` for a second; return its figures, by where they were taken."""
    options = ["-m", str(model.path), "-d", "CPU", "-api", "sync", "-hint", "none"]
    options += [
        "-nstreams",
        "1",
        "-nthreads",
        "1",
        "-infer_precision",
        "f32",
        "-pin",
        "NO",
        "-t",
        f"{APP_S}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", APP, *options],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        env={**os.environ, "DO_NOT_TRACK": "1"},
    )
    found = re.search(r"^figures: (.+)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise SystemExit(f"benchmark_app failed:\n{(done.stdout + done.stderr)[-2000:]}")
    told: dict[str, Figures] = json.loads(found[1])
    return told


Round = Mapping[str, tuple[Figures, Figures]]
"""Ours and theirs, by what it was compared with."""


def against_bare(model: Model, seconds: float) -> Round:
    """Time one round against the bare loop."""
    with our_worker(model, "ort-cpu", BURST_S) as ours, bare_loop(model) as bare:
        turns = list(_bursts(lambda: (ours(), bare()), seconds))
    mine, theirs = zip(*turns, strict=True)
    return {"run_with_iobinding": (_quiet(mine), _quiet(theirs))}


def against_app(model: Model, seconds: float, folder: Path) -> Round:
    """Time one round against `benchmark_app`, which is one long burst: ours stand around it."""
    with our_worker(model, "openvino", APP_S / 2) as ours:
        before = list(_bursts(ours, seconds / 2, least=1))
        told = benchmark_app_ms(model, folder)
        after = list(_bursts(ours, seconds / 2, least=1))
    mine = np.median([*before, *after], axis=0)
    return {f"benchmark_app {where}": (tuple(mine), figures) for where, figures in told.items()}


def _bursts(burst: Callable[[], T], seconds: float, least: int = MIN_BURSTS) -> Iterator[T]:
    end = time.monotonic() + seconds
    for number in range(1000):
        if number >= least and time.monotonic() >= end:
            return
        yield burst()


def _quiet(turns: Sequence[Figures]) -> Figures:
    p50_ms, p5_ms = np.percentile(turns, 25, axis=0)
    return float(p50_ms), float(p5_ms)


def measure(models: list[Model], folder: Path, seconds: float, end: float) -> list[Comparison]:
    """Take rounds in turn until the time is spent."""
    ways: list[Callable[[Model, float], Round]] = [against_bare]
    if _has_app():
        ways.append(lambda model, each_s: against_app(model, each_s, folder))
    made: dict[tuple[str, str], Comparison] = {}
    # launching takes about as long as timing does
    each_s = seconds / ROUNDS / len(ways) / len(models) / 2
    for _ in range(ROUNDS):
        for model in models:
            for way in ways:
                if time.monotonic() > end:
                    return list(made.values())
                for against, (ours_ms, bare_ms) in way(model, each_s).items():
                    key = model.name, against
                    comparison = made.setdefault(key, Comparison(*key))
                    comparison.ours_ms.append(ours_ms)
                    comparison.bare_ms.append(bare_ms)
    return list(made.values())


def _has_app() -> bool:
    imports = "from openvino.tools.benchmark import main"
    done = subprocess.run([sys.executable, "-c", imports], capture_output=True, check=False)
    return done.returncode == 0


def verdict(low: float, value: float, high: float, limit: float) -> str:
    """Say whether an overhead is within the limit; being faster than bare is, too."""
    if high <= limit:
        return "met"
    return "missed" if low > limit else f"not shown ({'inside' if value <= limit else 'outside'})"


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=140.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    end = time.monotonic() + min(LIMIT_S, arguments.seconds + 20)
    with tempfile.TemporaryDirectory() as created:
        folder = Path(created)
        models = [
            calibrated(folder, "1 ms model", 48, 1.0),
            calibrated(folder, "50 us model", 16, 0.05),
        ]
        comparisons = measure(models, folder, arguments.seconds, end)
    rows = [judged(each, is_share=each.model == models[0].name) for each in comparisons]
    print(f"{'model':12} {'against':22} {'bare':>9} {'ours':>9}  overhead (95 % interval)")
    for row in rows:
        print(row.pop("line"))
    if not any(each.against.startswith("benchmark_app") for each in comparisons):
        print("benchmark_app was not compared with: OpenVINO is not installed here")
    if arguments.json:
        arguments.json.write_text(json.dumps({"comparisons": rows}, indent=1) + "\n")
    # Inside a call there is no Python to call it: shown, and no target for what is timed in Python.
    verdicts = {row["verdict"] for row in rows if row["against"] != "benchmark_app inside"}
    return 1 if "missed" in verdicts else 0 if verdicts == {"met"} else 2


def judged(each: Comparison, *, is_share: bool) -> dict[str, Any]:
    """Return a comparison with its verdict, and the line to print."""
    head = f"{each.model:12} {each.against:22}"
    if len(each.ours_ms) < MIN_ROUNDS:
        line = f"{head} fewer than {MIN_ROUNDS} rounds in the time"
        return {**asdict(each), "verdict": "not shown", "line": line}
    limit = WITHIN_SHARE if is_share else WITHIN_US
    scale, unit = (100, "%") if is_share else (1, "us")
    low, value, high = each.overhead(0, share=is_share)
    said = verdict(low, value, high, limit)
    floor = each.overhead(1, share=is_share)[1]
    bare, ours = (
        statistics.median(p50_ms for p50_ms, _ in side) * 1e3
        for side in (each.bare_ms, each.ours_ms)
    )
    line = (
        f"{head} {bare:6.1f} us {ours:6.1f} us  {value * scale:+.2f} {unit}"
        f" ({low * scale:+.2f} to {high * scale:+.2f}, {len(each.ours_ms)} rounds; of p5"
        f" {floor * scale:+.2f}), target {limit * scale:g} {unit}: {said}"
    )
    figures = {"low": low * scale, "overhead": value * scale, "high": high * scale}
    figures |= {"of_p5": floor * scale, "target": limit * scale}
    return {**asdict(each), "unit": unit, **figures, "verdict": said, "line": line}


if __name__ == "__main__":
    sys.exit(main())
