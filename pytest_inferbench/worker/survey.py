"""What another interpreter has, here or over ssh: takes an environment, gives facts or a reason.

One plain command, before and without any worker: a script on the command line that reads our
modules from its standard input. It needs neither numpy nor anything of ours there, is bounded in
time, and starts on any Python, so that one that is too old can be named.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_inferbench.worker.bundle import collect
from pytest_inferbench.worker.gateway import OLDEST_PYTHON, python_command

if TYPE_CHECKING:
    from pytest_inferbench.worker.client import Environment

_ANSWER = "inferbench survey "
_VERSION = "inferbench python "
_MODULE = "pytest_inferbench.worker.facts"
_CHILD = "pytest_inferbench.worker.child"

# A Python starts with its environment's variables or not at all: hence the second one. The first
# must not read ahead of the line that is meant for it.
_FIRST = """\
import os, sys
print("inferbench python %d.%d.%d" % sys.version_info[:3])
sys.stdout.flush()
if sys.version_info < (3, 10): sys.exit(0)
import json
line = b""
while not line.endswith(b"\\n"):
    byte = os.read(0, 1)
    if not byte: sys.exit(0)
    line += byte
asked = json.loads(line.decode())
os.environ.update(asked["env"])
os.execv(sys.executable, [sys.executable, "-c", asked["then"]])
"""
_SECOND = """\
import json, sys
sys.path[:] = [p for p in sys.path if p]
asked = json.load(sys.stdin)
scope = {"__name__": asked["child"]}
exec(compile(asked["sources"][asked["child"]], "shipped/child.py", "exec"), scope)
sys.meta_path.insert(0, scope["ShippedModules"](asked["sources"]))
import importlib
found = importlib.import_module(asked["module"]).survey(asked["names"])
print("inferbench survey " + json.dumps(found))
"""


class NoAnswerError(Exception):
    """An interpreter told nothing; the text is the reason."""


def survey(environment: Environment, names: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """Return what `worker.facts.survey` says in an environment.

    Args:
        environment: Where to ask.
        names: The distributions to ask for.
        timeout_s: For all of it.

    Raises:
        NoAnswerError: With the reason.
    """
    first = {"env": dict(environment.env), "then": _SECOND}
    asked = {
        "child": _CHILD,
        "module": _MODULE,
        "names": list(names),
        "sources": collect([_MODULE]),
    }
    try:
        done = subprocess.run(
            python_command(environment, _FIRST),
            input=f"{json.dumps(first)}\n{json.dumps(asked)}",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(f"nothing came within {timeout_s:g} s") from error
    except OSError as error:
        raise NoAnswerError(str(error)) from error
    return _answer(done)


def _answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    lines = done.stdout.splitlines()
    for line in lines:
        if line.startswith(_ANSWER):
            found: dict[str, Any] = json.loads(line.removeprefix(_ANSWER))
            return found
    version = next((x.removeprefix(_VERSION) for x in lines if x.startswith(_VERSION)), None)
    if version and tuple(map(int, version.split("."))) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise NoAnswerError(f"it is Python {version}, and {oldest} is the oldest that will do")
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    raise NoAnswerError(f"exit code {done.returncode}: {said[-1] if said else 'it said nothing'}")
