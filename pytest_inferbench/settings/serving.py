"""Checks `[serving]`: takes typed settings, notes what types cannot say. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pytest_inferbench.backends.catalog import backend_of_variant
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.variant import KEYS, Variant
from pytest_inferbench.settings.convert import Problems
from pytest_inferbench.settings.names import check_name
from pytest_inferbench.settings.schema import ServingSettings
from pytest_inferbench.settings.spelling import dotted, unknown

ELSEWHERE = ("url", "metrics_url")
"""Keys of a variant beside those of `Variant`: a server that somebody else runs."""


def check(serving: ServingSettings, known_backends: Collection[str], problems: Problems) -> None:
    """Note every fault."""
    for index, clients in enumerate(serving.concurrency):
        if clients in serving.concurrency[:index]:
            problems.add(f"serving.concurrency[{index}]", f"{clients} is named twice")
    if serving.otherwise in serving.decisions:
        problems.add("serving.otherwise", f'"{serving.otherwise}" is one of serving.decisions')
    for name, fields in serving.variants.items():
        key = dotted("serving", "variants", name)
        check_name("serving.variants", name, (), problems)
        backend = backend_of_variant(name)
        if backend in known_backends:
            problems.add(key, f'"{backend}" is a backend already; rename it')
        _check_variant(key, fields, problems)


def _check_variant(key: str, fields: Mapping[str, Any], problems: Problems) -> None:
    keys = (*KEYS, *ELSEWHERE)
    for name in fields:
        if name not in keys:
            problems.add(f"{key}.{dotted(name)}", unknown(name, "key", keys))
    for name in ELSEWHERE:
        if not isinstance(fields.get(name, ""), str):
            problems.add(f"{key}.{name}", f"expected a URL, got {fields[name]!r:.60}")
    try:
        Variant.from_fields({name: value for name, value in fields.items() if name in KEYS})
    except InferbenchError as error:
        problems.add(key, error.message)
