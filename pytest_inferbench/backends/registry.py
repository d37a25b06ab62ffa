"""The catalog of one gate: the package's backends, those of third parties, the settings' variants.

Takes what others registered and the settings' tables; gives backends by name. Knows no runtime:
a third party's module is imported for its `BackendInfo` alone, its adapter in the worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any

from pytest_inferbench.backends.catalog import CATALOG, BackendInfo
from pytest_inferbench.errors import InferbenchError

ENTRY_POINTS = "inferbench.backends"
"""The group in which a distribution names its backends: ``name = module:INFO``."""

LIKE = "like"
"""The key of `[backends.NAME]` that makes NAME a variant of another backend."""


def installed_backends() -> dict[str, BackendInfo]:
    """Return what installed distributions register by entry point.

    Raises:
        InferbenchError: One cannot be imported, or is no `BackendInfo` (IB-211).
    """
    found = []
    for point in metadata.entry_points(group=ENTRY_POINTS):
        where = (
            f"the entry point {point.name!r} of {point.dist.name if point.dist else 'a package'}"
        )
        try:
            info = point.load()
        except Exception as error:
            raise InferbenchError(
                "IB-211",
                f"{where} cannot be imported: {type(error).__name__}: {error}",
                "Its module must import no runtime: name the adapter as text.",
            ) from error
        if getattr(info, "name", point.name) != point.name:
            raise InferbenchError("IB-211", f"{where} is of a backend named {info.name!r}")
        found.append((where, info))
    return checked(found)


def checked(named: Iterable[tuple[str, object]]) -> dict[str, BackendInfo]:
    """Return backends by name.

    Args:
        named: Each with the words for where it comes from.

    Raises:
        InferbenchError: One is no `BackendInfo`, or takes a name that is taken (IB-211).
    """
    found: dict[str, BackendInfo] = {}
    for where, info in named:
        if not isinstance(info, BackendInfo):
            raise InferbenchError(
                "IB-211",
                f"{where} is {type(info).__name__}, not a BackendInfo",
                "docs/writing-a-backend.md shows one.",
            )
        if info.name in CATALOG or info.name in found:
            raise InferbenchError(
                "IB-211", f"{where} registers the backend {info.name!r}, a name that is taken"
            )
        found[info.name] = info
    return found


def catalog_of(
    registered: Mapping[str, BackendInfo], tables: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, BackendInfo]:
    """Return every backend that a gate knows.

    Args:
        registered: What third parties registered.
        tables: The settings' `[backends.NAME]`; one that is `like` another is a variant of it, and
            that other may be a variant too, declared before it or after.
    """
    known = {**CATALOG, **registered}
    waiting = {
        name: table[LIKE] for name, table in tables.items() if LIKE in table and name not in known
    }
    while ready := [name for name, like in waiting.items() if like in known]:
        for name in ready:
            known[name] = dataclasses.replace(known[waiting.pop(name)], name=name)
    return MappingProxyType(
        {name: _where_asked(info, users_options(name, tables)) for name, info in known.items()}
    )


def _where_asked(info: BackendInfo, options: Mapping[str, Any]) -> BackendInfo:
    """Keep the devices that the option `device` agrees with.

    A backend of several devices has cells on each of them; one that is told `cuda:0` would run
    its cells of the CPU there as well, under the CPU's name.
    """
    asked = str(options.get("device", "")).partition(":")[0]
    if not asked or not info.device_options:
        return info
    agreeing = tuple(
        device
        for device in info.devices
        if str(info.options_on(device).get("device", device)).partition(":")[0] == asked
    )
    return dataclasses.replace(info, devices=agreeing) if agreeing else info


def circle_of(name: str, tables: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the variants that are `like` one another from a name back to it; none is well."""
    passed = [name]
    while True:
        like = tables.get(passed[-1], {}).get(LIKE)
        if like == name:
            return tuple(passed)
        if not isinstance(like, str) or like in passed:
            return ()
        passed.append(like)


def users_options(name: str, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the settings' tables have for a backend's adapter.

    A variant takes the options of what it is `like`, and its own are the last word.
    """
    table = tables.get(name, {})
    own = {key: value for key, value in table.items() if key != LIKE}
    return {**users_options(table[LIKE], tables), **own} if LIKE in table else own
