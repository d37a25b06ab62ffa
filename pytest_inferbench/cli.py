"""The command `inferbench`: what can be asked without running a gate.

Takes arguments; hands them to a verb of `commands/`. Exit status 0 when done, 1 when something
asked about is wrong, 2 for bad arguments, 130 when interrupted; a verb's `--help` and
docs/commands.md say what they mean for it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import sys
from collections.abc import Iterator, Sequence

from pytest_inferbench import __version__
from pytest_inferbench.commands import (
    baselines,
    bisect,
    cache,
    calibrate,
    doctor,
    explain,
    init,
    models,
    report,
    serve,
)
from pytest_inferbench.errors import InferbenchError

VERBS = (init, doctor, baselines, report, cache, calibrate, bisect, models, serve, explain)
"""Each adds itself; its `run` returns the exit status or raises an `InferbenchError`."""


INTERRUPTED = 130
"""What shells have a process end with that Ctrl-C ended."""


@contextlib.contextmanager
def collected_later() -> Iterator[None]:
    """Look for no cycles meanwhile: documents have none.

    Looking at all that was read, again and again, took three times as long as reading it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of every verb."""
    parser = argparse.ArgumentParser(
        prog="inferbench",
        description="Companion of the pytest plugin: the gate itself is `pytest`.",
        epilog="example: inferbench init",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in VERBS:
        verb.add(verbs)
    parser.set_defaults(reads_much=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    options = make_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # people's reasons are in any script; what a terminal cannot show must not end the command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with collected_later() if options.reads_much else contextlib.nullcontext():
            status: int = options.run(options)
        sys.stdout.flush()
    except InferbenchError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
