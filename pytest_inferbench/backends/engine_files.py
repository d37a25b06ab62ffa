"""Engines that ONNX Runtime's TensorRT provider keeps: takes its options, tells if they were used.

The provider says nothing of it, so its folder is looked at before and after a session is made.
Runs in the worker; imports no runtime. Engines for open shapes are built by the first inference:
that one is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

Engines = dict[str, tuple[int, int]]
"""Each engine's name with its size in bytes and the time of its last change."""

_ENABLE, _FOLDER = "trt_engine_cache_enable", "trt_engine_cache_path"
_YES = ("1", "true")


def watch(provider_options: Mapping[str, str]) -> Callable[[], bool | None]:
    """Look at what is kept now; return what tells, once a session is made, whether it was used.

    It gives None where a provider with these options keeps nothing.
    """
    folder = folder_of(provider_options)
    before = engines_in(folder) if folder else {}
    return lambda: were_loaded(before, engines_in(folder)) if folder else None


def folder_of(provider_options: Mapping[str, str]) -> Path | None:
    """Return where a provider with these options keeps engines; None if it keeps none."""
    enabled = str(provider_options.get(_ENABLE, "0")).lower() in _YES
    return Path(provider_options.get(_FOLDER) or ".") if enabled else None


def engines_in(folder: Path) -> Engines:
    """Return the engines that are there."""
    if not folder.is_dir():
        return {}
    found = ((path, path.stat()) for path in folder.glob("*.engine"))
    return {path.name: (about.st_size, about.st_mtime_ns) for path, about in found}


def were_loaded(before: Engines, after: Engines) -> bool:
    """Whether opening used what was there: there was something, and nothing was added to it."""
    return bool(before) and before == after
