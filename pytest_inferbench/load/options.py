"""A plan as the options of a locust file, and back: takes argparse's parser, or a plan. Pure."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.plan import ENCODINGS, LoadPlan, Service
from pytest_inferbench.load.schedule import ARRIVALS
from pytest_inferbench.settings.units import quantity


def add_options(parser: Any, service: Service) -> None:
    """Give a parser the options that make a plan, beside Locust's own."""
    group = parser.add_argument_group("load on an inference server")
    add = group.add_argument
    if service == "triton":
        add("--model", default="", help="the model's name")
        add("--shared-memory", action="store_true", help="tensors in system shared memory")
    choices = ENCODINGS[service]
    default = "binary" if service == "triton" else "json"
    add("--encoding", choices=choices, default=default, help="how tensors travel over HTTP")
    add("--batch", type=int, default=1, help="rows a request")
    add("--inputs", default="", help="an .npz or .npy file of inputs, or a folder of images")
    add("--input-shape", action="append", default=[], metavar="NAME=1,3,224,224")
    add("--samples", type=int, default=16, help="how many different requests there are")
    add("--seed", type=int, default=0, help="what inputs and arrivals are drawn from")
    add("--verify", action="store_true", help="check every answer against its inputs' own")
    add("--expected", default="", help="an .npz file of outputs to check against")
    add("--tolerance", type=float, default=1e-3, help="largest error of a checked answer")
    add("--rate", type=float, default=0.0, help="open loop: requests that are due a second")
    add("--arrivals", choices=ARRIVALS, default="poisson", help="how they follow each other")
    add("--late", default="1 ms", help="sent later than this after it was due counts as late")
    add("--warmup", default="500 ms", help="load that does not count, before that which does")
    add("--measure", default="", help="end after measuring for so long, such as 10s")
    add("--request-timeout", default="30 s", help="when a request has failed")
    add("--objective", action="append", default=[], metavar="p95=100ms")
    add("--runs", type=int, default=1, help="stretches of --measure each, one after another")
    add("--baseline", default="", help="a file of recorded sessions to compare with")
    add("--record", action="store_true", help="add this session to --baseline instead")
    add("--budget", action="append", default=[], metavar="p50=+20%%", help="what may change")
    add("--load-json", default="", help="write the results to this file")


def plan_of(options: argparse.Namespace, service: Service) -> LoadPlan:
    """Read a plan from what was parsed.

    Raises:
        InferbenchError: It makes no sense (IB-830, IB-831).
    """
    if not options.host:
        raise InferbenchError(
            "IB-830", "no server is named", "Give one, such as --host grpc://localhost:8001."
        )
    return LoadPlan(
        url=options.host,
        model=getattr(options, "model", ""),
        service=service,
        clients=options.num_users or 1,
        seconds=seconds_of(options.measure or "1 s", "--measure"),
        warmup_s=seconds_of(options.warmup, "--warmup"),
        rate_per_s=options.rate or None,
        arrivals=options.arrivals,
        late_ms=seconds_of(options.late, "--late") * 1e3,
        encoding=options.encoding,
        shared_memory=getattr(options, "shared_memory", False),
        batch=options.batch,
        inputs=Path(options.inputs) if options.inputs else None,
        shapes=dict(_shape(each) for each in options.input_shape),
        samples=options.samples,
        seed=options.seed,
        verify=options.verify,
        expected=Path(options.expected) if options.expected else None,
        tolerance=options.tolerance,
        request_timeout_s=seconds_of(options.request_timeout, "--request-timeout"),
    )


def arguments_of(plan: LoadPlan) -> list[str]:
    """Return what makes `plan_of` read the same plan."""
    arguments = [
        *("--host", plan.url, "-u", str(plan.clients), "-r", str(plan.clients)),
        *("--encoding", plan.encoding, "--batch", str(plan.batch)),
        *("--samples", str(plan.samples), "--seed", str(plan.seed)),
        *("--tolerance", repr(plan.tolerance), "--arrivals", plan.arrivals),
        *("--late", f"{plan.late_ms!r} ms", "--warmup", f"{plan.warmup_s!r} s"),
        *("--measure", f"{plan.seconds!r} s"),
        *("--request-timeout", f"{plan.request_timeout_s!r} s"),
    ]
    if plan.service == "triton":
        arguments += ["--model", plan.model, *(["--shared-memory"] if plan.shared_memory else [])]
    if plan.rate_per_s is not None:
        arguments += ["--rate", repr(plan.rate_per_s)]
    if plan.inputs is not None:
        arguments += ["--inputs", str(plan.inputs.absolute())]
    if plan.expected is not None:
        arguments += ["--expected", str(plan.expected.absolute())]
    for name, shape in plan.shapes.items():
        arguments += ["--input-shape", f"{name}={','.join(map(str, shape))}"]
    return [*arguments, *(["--verify"] if plan.verify else [])]


def seconds_of(text: str, option: str) -> float:
    """Read a length of time such as `500 ms`; a bare number is seconds.

    Raises:
        InferbenchError: It is none (IB-831).
    """
    try:
        return quantity(float(text) if text.replace(".", "", 1).isdigit() else text, "s")
    except ValueError as error:
        raise InferbenchError("IB-831", f"{option}: {error}") from None


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(",") if size)
    except ValueError:
        shape = (-1,)
    if not name or any(size < 0 for size in shape):
        raise InferbenchError(
            "IB-831", f"--input-shape: {text!r} is no NAME=SIZE,SIZE", "Such as images=1,3,224,224."
        )
    return name, shape
