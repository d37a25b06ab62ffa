"""`[serving]`: takes typed settings, notes what types cannot say; makes variants backends. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pytest_inferbench.backends.catalog import backend_of_variant
from pytest_inferbench.backends.registry import LIKE
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.variant import KEYS, Variant
from pytest_inferbench.settings.convert import Problems
from pytest_inferbench.settings.names import check_name
from pytest_inferbench.settings.schema import ServingSettings, Settings
from pytest_inferbench.settings.spelling import dotted, unknown

_BASE = "triton-http"

PATHS = ("preprocess",)
"""Keys of a variant that are paths."""

OWN = ("url", "metrics_url", "model", "timeout_s", "ready_s")
"""Keys of a variant that are the adapter's own: a server that somebody else runs, and patience."""


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


def with_variants(settings: Settings) -> Settings:
    """Return settings in which every variant of serving is a backend, like the server's own.

    What `[backends.triton-NAME]` says beside it has the last word. Paths belong to the folder of
    the settings, as all of theirs do.
    """
    folder = settings.source.parent if settings.source else Path()
    tables = {}
    for name, fields in settings.serving.variants.items():
        backend = backend_of_variant(name)
        own = {**fields, **settings.backends.get(backend, {})}
        paths = {key: str(folder / Path(own[key]).expanduser()) for key in PATHS if own.get(key)}
        tables[backend] = {LIKE: _BASE, **own, **paths}
    return msgspec.structs.replace(settings, backends={**settings.backends, **tables})


def _check_variant(key: str, fields: Mapping[str, Any], problems: Problems) -> None:
    keys = (*KEYS, *OWN)
    for name in fields:
        if name not in keys:
            problems.add(f"{key}.{dotted(name)}", unknown(name, "key", keys))
    try:
        Variant.from_fields({name: value for name, value in fields.items() if name in KEYS})
    except InferbenchError as error:
        problems.add(key, error.message)
