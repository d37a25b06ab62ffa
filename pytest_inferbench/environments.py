"""What is installed where: takes settings and hardware, gives facts about each environment.

Reads distribution metadata, by a bounded command where it is another interpreter or another host;
imports no runtime. One that does not answer costs its own cells and nothing else.
"""

from __future__ import annotations

import dataclasses
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.matrix import EnvironmentFacts
from pytest_inferbench.worker.facts import installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_inferbench.hardware import Hardware
    from pytest_inferbench.settings.schema import EnvironmentSettings, Settings

_ALSO_RECORDED = ("numpy", "onnx", "nncf")
_PARCEL = "inferbench_environments"
_MEMORY_SHARE = 0.8
_HERE_S = 60.0
_THERE_S = 30.0


def environment_facts(
    settings: Settings, hardware: Hardware, wanted: Iterable[str]
) -> list[EnvironmentFacts]:
    """Return the default environment and every declared one, in that order.

    Args:
        settings: What declares them.
        hardware: This host's devices.
        wanted: The distributions that backends need.
    """
    names = sorted({*wanted, *_ALSO_RECORDED})
    default = EnvironmentFacts(
        "default",
        installed(names),
        hardware.cpu,
        hardware.gpus,
        python=sys.executable,
        facts={"python": platform.python_version(), **hardware.facts},
    )
    if not settings.environments:
        return [default]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(settings.environments)) as pool:  # a silent host costs its own time
        declared = pool.map(
            lambda item: _declared(item[0], item[1], default, names), settings.environments.items()
        )
        return [default, *declared]


def send_facts(environments: Iterable[EnvironmentFacts], parcel: dict[str, Any]) -> None:
    """Put facts among what a process of a parallel session is given, as plain types."""
    parcel[_PARCEL] = [dataclasses.asdict(facts) for facts in environments]


def facts_sent(parcel: Mapping[str, Any]) -> tuple[EnvironmentFacts, ...]:
    """Return what `send_facts` put there; nothing where it did not."""
    return tuple(EnvironmentFacts(**plain) for plain in parcel.get(_PARCEL, ()))


def misdeclared(environments: Mapping[str, EnvironmentFacts], needed: Iterable[str]) -> str:
    """Return what the settings say wrongly of the environments needed; empty if nothing."""
    wrong = (environments[name] for name in dict.fromkeys(needed) if environments[name].misdeclared)
    return "\n".join(facts.unreachable or "" for facts in wrong)


def check_hardware(
    environment: str, declared: str | None, found: Iterable[str], host: str | None
) -> None:
    """Refuse a machine that is not what the settings say.

    Args:
        environment: Its name.
        declared: The hardware id in the settings, if any.
        found: The ids of the machine.
        host: How `ssh` reaches it; None for this one.

    Raises:
        InferbenchError: IB-208.
    """
    ids = tuple(found)
    if declared is not None and declared not in ids:
        raise InferbenchError(
            "IB-208",
            f"environments.{environment}.hardware says {declared}, and"
            f" {host or 'this machine'} is {', '.join(ids)}",
            "Correct it; `inferbench doctor` prints what every environment's machine is.",
        )


def most_memory_mib(facts: EnvironmentFacts) -> float | None:
    """Return the memory a worker may take when the settings do not say: most of what is free.

    Of another host it is most of what there is: what is free there was not asked a moment ago.
    """
    if facts.host is not None:
        there = facts.facts.get("memory_mib", "")
        return int(there) * _MEMORY_SHARE if there.isdecimal() else None
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    available = next(x for x in text.splitlines() if x.startswith("MemAvailable:"))
    return int(available.split()[1]) / 1024 * _MEMORY_SHARE


def _declared(
    name: str, environment: EnvironmentSettings, default: EnvironmentFacts, names: list[str]
) -> EnvironmentFacts:
    facts = dataclasses.replace(
        default,
        name=name,
        backends=tuple(environment.backends),
        hardware=environment.hardware,
        python=environment.python or ("python3" if environment.ssh else sys.executable),
        host=environment.ssh,
    )
    if environment.ssh is None and environment.python is None:
        return facts
    try:
        found = _asked(name, environment, names)
    except InferbenchError as error:
        why = f"[{error.code}] {error.message}. {error.hint}"
        silent = dataclasses.replace(facts, distributions={}, unreachable=why)
        if environment.ssh is None:
            return dataclasses.replace(silent, misdeclared=True)
        return dataclasses.replace(silent, gpus=(), facts={})
    facts = dataclasses.replace(
        facts,
        distributions=found["distributions"],
        facts={**facts.facts, "python": found["python"]},
        unreachable=_no_numpy(name, found),
    )
    if environment.ssh is None:
        return facts
    return dataclasses.replace(
        facts,
        cpu=found["cpu"],
        gpus=tuple(found["gpus"]),
        facts={"python": found["python"], **found["facts"]},
    )


def _asked(name: str, environment: EnvironmentSettings, names: list[str]) -> dict[str, Any]:
    from pytest_inferbench.worker.client import Environment
    from pytest_inferbench.worker.survey import NoAnswerError, survey

    where = Environment(name, environment.python, environment.ssh, environment.env)
    try:
        return survey(where, names, _THERE_S if environment.ssh else _HERE_S)
    except NoAnswerError as error:
        if environment.ssh is None:
            raise InferbenchError(
                "IB-203",
                f"environments.{name}.python: {environment.python} did not answer: {error}",
                "Give the path of a Python interpreter, 3.10 or newer.",
            ) from error
        raise InferbenchError(
            "IB-203",
            f"environment {name} did not answer: {environment.python or 'python3'} on"
            f" {environment.ssh}: {error}",
            "`ssh` to it must work without a question, and find a Python, 3.10 or newer.",
        ) from error


def _no_numpy(name: str, found: dict[str, Any]) -> str | None:
    if "numpy" in found["distributions"]:
        return None
    return f"environment {name} has no numpy, which every worker needs"
