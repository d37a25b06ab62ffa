"""`inferbench serve`: a Triton server with one model, for a person, until it is interrupted."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.commands.arguments import Subparsers, add_json, add_settings, add_verb
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_inferbench.gate import Gate
    from pytest_inferbench.serving.repository import Served
    from pytest_inferbench.serving.server import Server

_CHECK_S = 0.5
_FILES = (".onnx", ".xml", ".plan", ".engine", ".py")


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "serve",
        "serve a model with Triton, on the loopback address, until Ctrl-C",
        [
            "inferbench serve detector",
            "inferbench serve models/net.onnx --port 0",
            "inferbench serve detector --variant batched --precision int8",
        ],
    )
    parser.add_argument("model", help="a model of the settings, or a file")
    parser.add_argument(
        "--variant", default="http", metavar="NAME", help="the backend triton-NAME (default: http)"
    )
    parser.add_argument("--precision", default="fp32", help="of a model of the settings")
    parser.add_argument(
        "--port",
        type=int,
        default=8000,
        help="HTTP's; gRPC's and that of metrics are the next two; 0 for any (default: 8000)",
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve it."""
    from pytest_inferbench.gate import Gate

    gate = Gate.from_folder(Path.cwd(), options.settings)
    gate.say = _say
    artifact, told = _found(gate, options)
    with _stopping() as stop, tempfile.TemporaryDirectory(prefix="inferbench-models-") as folder:
        server, served = _started(Path(folder), artifact, told, options)
        try:
            _announce(server, served, as_json=options.json)
            while not stop.wait(_CHECK_S):
                _look_after(server)
            _say("stopping")
        finally:
            server.stop()
    return 0


def _found(gate: Gate, options: argparse.Namespace) -> tuple[Path, Mapping[str, Any]]:
    """Return the file to serve, and the options of its variant."""
    from pytest_inferbench.backends.registry import users_options
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.serving.provide import installed_for, model_name
    from pytest_inferbench.settings.spelling import nearest

    backend = f"triton-{options.variant}"
    served = [name for name, info in gate.catalog.items() if info.served]
    if backend not in served:
        near = nearest(backend, served)
        raise InferbenchError(
            "IB-816",
            f"there is no variant {options.variant!r}"
            + (f"; did you mean {near.removeprefix('triton-')!r}?" if near else ""),
            f"There are {', '.join(name.removeprefix('triton-') for name in served)}.",
        )
    info = gate.catalog[backend]
    told = {**info.options, **users_options(backend, gate.settings.backends)}
    file = Path(options.model)
    if options.model not in gate.settings.models and file.suffix in _FILES:
        name = model_name(file.stem)
        return file, {**told, "model": name, "installation": installed_for(gate, told)}
    if options.model not in gate.settings.models:
        known = ", ".join(gate.settings.models)
        raise InferbenchError(
            "IB-816",
            f"{options.model!r} is neither a model of the settings nor a file that can be served",
            f"The models are {known}; files end in {', '.join(_FILES)}.",
        )
    (cell, *_) = gate.matrix_of(options.model, [backend], [options.precision], on_this_host=True)
    if cell.cannot_run:
        raise InferbenchError("IB-816", f"{cell} cannot run here: {cell.cannot_run}")
    fields = CellRun(gate, cell).open_fields()
    return Path(fields["artifact"]), fields["options"]


def _started(
    folder: Path, artifact: Path, told: Mapping[str, Any], options: argparse.Namespace
) -> tuple[Server, Served]:
    from dataclasses import replace

    from pytest_inferbench.backends.triton_options import read_options
    from pytest_inferbench.serving.command import order_for
    from pytest_inferbench.serving.repository import signature_from, write_repository
    from pytest_inferbench.serving.server import start

    chosen = read_options({key: value for key, value in told.items() if key != "url"})
    signature = signature_from(chosen.signature) if chosen.signature else None
    served = write_repository(folder, chosen.model, artifact, chosen.variant, signature)
    order = order_for(folder, served.models, chosen.variant, chosen.ready_s)
    if options.port:
        ports = (options.port, options.port + 1, options.port + 2)
        order = replace(order, ports=ports)
    assert chosen.installation is not None
    return start(chosen.installation, order), served


def _announce(server: Server, served: Served, *, as_json: bool) -> None:
    if as_json:  # one line, once it answers: what waits for it can read the line and go on
        print(
            json.dumps(
                {
                    "model": served.name,
                    "pid": server.pid,
                    "addresses": server.addresses(),
                    "takes": [str(spec) for spec in served.inputs],
                    "gives": [str(spec) for spec in served.outputs],
                }
            ),
            flush=True,
        )
        return
    print(f"serving {served.name} (pid {server.pid})")
    for name, url in server.addresses().items():
        print(f"  {name:<8}{url}")
    for kind, specs in (("takes", served.inputs), ("gives", served.outputs)):
        print(f"  {kind:<8}{'; '.join(map(str, specs))}")
    print(f"try     curl -s {server.http_url}/v2/models/{served.name}")
    print(f"        pytest -m triton-grpc --inferbench-triton-url grpc://{server.grpc_url}")
    print("Ctrl-C ends it.", flush=True)


def _look_after(server: Server) -> None:
    """Load models again whose process died; the server itself does not."""
    try:
        server.check()
    except InferbenchError as error:
        if error.code != "IB-804":
            raise
        _say(error.message)
        server.mend()
        _say("loaded again")


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give what is set once this command is asked to end."""
    stop = threading.Event()
    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(name, lambda *_: stop.set()) for name in names]
    try:
        yield stop
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
