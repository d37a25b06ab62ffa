"""Which named models there are: takes the catalogs in `fixtures/`, gives their entries.

Knows neither caches nor interpreters; nothing is imported but the standard library and msgspec.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from pytest_inferbench.locate import packaged_folder
from pytest_inferbench.named.references import BUILT, SIZES, Reference, split_size
from pytest_inferbench.settings.spelling import unknown

ARCHITECTURES_FOLDER, ZOO_FOLDER = "architectures", "zoo"


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """A graph that is built here with seeded weights.

    Attributes:
        maker: The module and the function that make it.
        what: What it is, in a line.
        task: What a trained one is for.
        needs: The packages that building takes.
        source: Where its shape comes from.
        licence: That of what is built.
    """

    maker: str
    what: str
    task: str
    needs: tuple[str, ...]
    source: str
    licence: str


class ZooModel(msgspec.Struct, frozen=True, kw_only=True):
    """A trained model that a package carries.

    Attributes:
        what: What it is, in a line.
        task: What it is for.
        package: The distribution, at exactly this `version`, whose wheel has `wheel_sha256`.
        file: The file inside it, with its `sha256`.
        licence: As the package states it.
        inputs: What it takes, in words.
        converter: The script that makes ONNX of it, and what it takes; empty where it is ONNX.
        extra: Whether the extra `[zoo]` installs it; else `fixtures/zoo/fetch.py` does.
        opt_in: Why it is never taken unless it is named; empty for all others.
    """

    what: str
    task: str
    package: str
    version: str
    wheel_sha256: str
    file: str
    sha256: str
    licence: str
    inputs: str
    converter: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    extra: bool = False
    opt_in: str = ""


def folder_of(part: str) -> Path:
    """Return the folder of the exporters or of the zoo."""
    return packaged_folder("fixtures") / part


@cache
def architectures() -> Mapping[str, Architecture]:
    """Every architecture by its name."""
    text = (folder_of(ARCHITECTURES_FOLDER) / "catalog.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, Architecture])


@cache
def zoo() -> Mapping[str, ZooModel]:
    """Every trained model by its name."""
    text = (folder_of(ZOO_FOLDER) / "catalog.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, ZooModel])


def fault_of(reference: Reference) -> str | None:
    """Return what is wrong with a name, with the nearest one that there is; None if nothing is."""
    if reference.scheme == BUILT:
        known = [f"{name}-{size}" for name in architectures() for size in SIZES]
        base, size = split_size(reference.name)
        if base in architectures() and not size:
            return f'"{reference}" names no size: write "{reference}-small" or "{reference}-real"'
    else:
        known = list(zoo())
    if reference.name in known:
        return None
    listed = "`inferbench models list` shows all"
    return f"{unknown(reference.name, f'model of {reference.scheme}:', known)} ({listed})"
