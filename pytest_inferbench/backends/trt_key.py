"""The key beside an engine: what it was built by, for and from; and whether it may run here.

An engine runs only where it was built, and a runtime may not notice that it does not. Takes keys
and files; knows no runtime.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_inferbench.errors import InferbenchError

_BUILD_AGAIN = "Build it again: remove the entry from the cache (`inferbench cache --clear`)."


@dataclass(frozen=True)
class Place:
    """Where an engine is built or run.

    Attributes:
        flavour: ``tensorrt-10``, ``tensorrt-rtx`` ...
        version: The runtime's.
        device: The GPU's name; empty where there is none.
        capability: Its compute capability, such as ``8.6``; empty where there is no GPU.
        driver: The driver's version; empty where there is no GPU.
    """

    flavour: str
    version: str
    device: str = ""
    capability: str = ""
    driver: str = ""


@dataclass(frozen=True)
class EngineKey:
    """What stands in `<engine>.json`.

    Attributes:
        place: Where it was built.
        precision: What it computes in.
        flags: The builder's precision flags, by name.
        model_sha256: The graph that it was built from.
        plan_sha256: The engine's own bytes.
        capabilities: What it was compiled for; it then runs on any such device. Empty for an
            engine of the device it was built on.
    """

    place: Place
    precision: str
    flags: tuple[str, ...]
    model_sha256: str
    plan_sha256: str
    capabilities: tuple[str, ...] = ()


def key_file(plan: Path) -> Path:
    """Return where the key of an engine is kept."""
    return plan.with_name(f"{plan.name}.json")


def write_key(plan: Path, key: EngineKey) -> None:
    """Write a key beside its engine."""
    text = json.dumps(asdict(key), indent=2, sort_keys=True)
    key_file(plan).write_text(f"{text}\n", encoding="utf-8")


def read_plan(plan: Path) -> tuple[bytes, EngineKey]:
    """Return an engine's bytes with its key.

    Raises:
        InferbenchError: IB-326 there is no engine; IB-367 its bytes are not those that were built,
            or it has no key.
    """
    if not plan.is_file():
        raise InferbenchError("IB-326", f"there is no engine {plan}")
    key = _read_key(key_file(plan))
    content = plan.read_bytes()
    if hashlib.sha256(content).hexdigest() != key.plan_sha256:
        raise _damaged(f"{plan} is truncated or was changed: it is not what was built")
    return content, key


def runtime_differences(
    key: EngineKey, here: Place, precision: str, flags: tuple[str, ...]
) -> list[str]:
    """Return what differs that no device is needed to know of, each in words."""
    return _unequal(
        ("TensorRT", f"{key.place.flavour} {key.place.version}", f"{here.flavour} {here.version}"),
        ("precision", key.precision, precision),
        ("builder flags", ", ".join(key.flags), ", ".join(flags)),
    )


def device_differences(key: EngineKey, here: Place) -> list[str]:
    """Return how this device differs from what an engine was built for, each in words."""
    if key.capabilities:
        if here.capability in key.capabilities:
            return []
        return _unequal(("compute capability", ", ".join(key.capabilities), here.capability))
    built = key.place
    return _unequal(
        ("device", built.device, here.device),
        ("compute capability", built.capability, here.capability),
        ("driver", built.driver, here.driver),
    )


def refuse_stale(plan: Path, found: list[str]) -> None:
    """Refuse an engine that was not built for here, given the differences.

    Raises:
        InferbenchError: There are some (IB-366).
    """
    if found:
        raise InferbenchError(
            "IB-366", f"the engine {plan} is stale: {'; '.join(found)}", _BUILD_AGAIN
        )


def _unequal(*pairs: tuple[str, str, str]) -> list[str]:
    return [
        f"{what}: built for {was or 'none'}, here {now or 'none'}"
        for what, was, now in pairs
        if was != now
    ]


def _read_key(path: Path) -> EngineKey:
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        place = Place(**table.pop("place"))
        flags, capabilities = (tuple(table.pop(name)) for name in ("flags", "capabilities"))
        key = EngineKey(place=place, flags=flags, capabilities=capabilities, **table)
    except FileNotFoundError as error:
        raise _damaged(
            f"the engine has no key beside it ({path}), so nothing tells whose it is"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(f"the key {path} cannot be read: {error}") from error
    return key


def _damaged(what: str) -> InferbenchError:
    return InferbenchError("IB-367", what, _BUILD_AGAIN)
