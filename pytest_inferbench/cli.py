"""The command `inferbench`: what can be asked without running a gate.

Takes arguments; prints. Exit status 0 when done, 1 when something asked about is wrong, 2 for bad
arguments. The work is in the parts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pytest_inferbench import __version__
from pytest_inferbench.errors import InferbenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(
        prog="inferbench",
        description="Companion of the pytest plugin: the gate itself is `pytest`.",
        epilog="example: inferbench doctor",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    doctor = commands.add_parser(
        "doctor",
        help="what this machine is and which cells it can run",
        epilog="example: inferbench doctor",
    )
    doctor.add_argument("--settings", type=Path, help="settings file (default: the one here)")
    doctor.set_defaults(run=_doctor)

    cache = commands.add_parser(
        "cache",
        help="list or clear the built artifacts",
        epilog="example: inferbench cache --clear",
    )
    cache.add_argument("--clear", action="store_true", help="remove every entry")
    cache.add_argument("--settings", type=Path, help="settings file (default: the one here)")
    cache.set_defaults(run=_cache)

    bisect = commands.add_parser(
        "bisect",
        help="the first layer at which one ONNX file diverges from another",
        epilog="example: inferbench bisect model.onnx model-int8.onnx",
    )
    bisect.add_argument("reference", type=Path, help="the file to compare with")
    bisect.add_argument("candidate", type=Path, help="the file that may be wrong")
    bisect.add_argument("--backend", default="ort-cpu", help="runs the candidate (%(default)s)")
    bisect.add_argument("--precision", default="fp32", help="what it is asked for (%(default)s)")
    bisect.add_argument("--data", type=Path, metavar="FOLDER", help="tensors (default: random)")
    bisect.add_argument("--samples", type=int, default=2, help="how many of them (%(default)s)")
    bisect.add_argument(
        "--shape", action="append", default=[], metavar="INPUT=1,3,640,640", help="a dynamic input"
    )
    bisect.add_argument(
        "--tolerance", type=float, default=0.01, help="relative L2 error (%(default)s)"
    )
    bisect.add_argument("--json", type=Path, help="write the whole curve there")
    bisect.add_argument("--settings", type=Path, help="settings file (default: the one here)")
    bisect.set_defaults(run=_bisect)

    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except InferbenchError as error:
        print(error, file=sys.stderr)
        return 1
    return status


def _doctor(options: argparse.Namespace) -> int:
    from pytest_inferbench.gate import Gate

    gate = Gate.from_folder(Path.cwd(), options.settings)
    print(f"inferbench {__version__}")
    print(f"cpu       {gate.hardware.cpu}")
    print(f"gpus      {', '.join(gate.hardware.gpus) or 'none'}")
    for name, value in sorted(gate.hardware.facts.items()):
        print(f"          {name}: {value}")
    for environment in gate.environments.values():
        where = f" on {environment.host}" if environment.host else ""
        print(f"\nenvironment {environment.name}: {environment.python}{where}")
        if environment.unreachable:
            print(f"          {environment.unreachable}")
        elif environment.host:
            print(f"          is {', '.join((environment.cpu, *environment.gpus))}")
        for package, version in sorted(environment.distributions.items()):
            print(f"          {package} {version}")
    print("\ncells")
    for cell in gate.cells:
        print(f"  {'can run   ' if not cell.cannot_run else 'cannot run'} {cell}")
        if cell.cannot_run:
            print(f"             {cell.cannot_run}")
    return 0


def _cache(options: argparse.Namespace) -> int:
    from pytest_inferbench.gate import Gate

    cache = Gate.from_folder(Path.cwd(), options.settings).cache
    entries = cache.entries()
    what = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    print(f"{cache.root}: {what}, {cache.total_bytes() / 2**20:.1f} MiB")
    if options.clear:
        cache.remove([entry.key for entry in entries])
        print("cleared")
        return 0
    for entry in entries:
        what = ", ".join(f"{key} {value}" for key, value in entry.describe.items())
        built = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.built_at))
        print(f"  {entry.key[:12]}  {entry.size_bytes / 2**20:8.1f} MiB  {built}  {what}")
    return 0


def _bisect(options: argparse.Namespace) -> int:
    from pytest_inferbench.bisect import Question, compare_files, parse_shapes
    from pytest_inferbench.gate import Gate

    gate = Gate.from_folder(Path.cwd(), options.settings)
    gate.say = lambda line: print(line, file=sys.stderr)
    question = Question(
        backend=options.backend,
        precision=options.precision,
        data=options.data,
        samples=options.samples,
        shapes=parse_shapes(options.shape),
        tolerance=options.tolerance,
    )
    text, agrees = compare_files(gate, options.reference, options.candidate, question, options.json)
    print(text)
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
