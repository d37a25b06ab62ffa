"""Sources to ship: takes names of modules, gives their text; never imports or runs them.

A module brings along whatever it imports of its own top-level package, and of this one, found by
reading its syntax: a third party's adapter may build on one of ours. Anything else is the
environment's to have. A package is shipped empty unless something imports a name from it, so that
shipping ``pytest_inferbench.measure.sampling`` needs nothing else of the package.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import decode_source
from pathlib import Path

from pytest_inferbench.errors import InferbenchError

_OURS = "pytest_inferbench"
WORKER_MODULES = ("pytest_inferbench.worker.child", "pytest_inferbench.worker.servant")


def collect(modules: Iterable[str] = ()) -> dict[str, str | None]:
    """Return module name to source, None for an empty package, parents before children.

    Args:
        modules: Names beyond the worker's own; ``module:Class`` is taken as ``module``.

    Raises:
        InferbenchError: A module has no Python source here (IB-305).
    """
    wanted = [*WORKER_MODULES, *(name.partition(":")[0] for name in modules)]
    sources: dict[str, str | None] = {}
    while wanted:
        name = wanted.pop()
        if sources.get(name) is not None:
            continue
        sources[name] = text = _source(name)
        wanted += _shipped_along(name, text)
        for parent in _parents(name):
            sources.setdefault(parent, None)
    return dict(sorted(sources.items()))


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


@lru_cache(maxsize=256)
def _shipped_along(name: str, text: str) -> tuple[str, ...]:
    """Return the modules that the text imports of its own top-level package, and of ours."""
    found = {each for node in ast.walk(ast.parse(text)) for each in _imported(node, name)}
    return tuple(sorted(each for each in found if _is_shipped_with(name, each)))


def _is_shipped_with(name: str, other: str) -> bool:
    return other.partition(".")[0] in (_OURS, name.partition(".")[0])


def _imported(node: ast.AST, name: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = name if _is_package(name) else name.rpartition(".")[0]
        base = node.module or ""
        if node.level:
            kept = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*kept, *filter(None, [base])])
        if _is_shipped_with(name, base):
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield submodule if _find(submodule) else base


def _source(name: str) -> str:
    spec = _find(name)
    getter = getattr(spec and spec.loader, "get_source", None)
    text = getter(name) if getter else None
    if text is None and spec and (spec.origin or "").endswith(".py"):
        text = decode_source(Path(str(spec.origin)).read_bytes())
    if text is None:
        raise InferbenchError(
            "IB-305",
            f"the module {name!r} has no Python source here, so no worker can be given it",
            "Check the backend's module name, and that it is importable from where pytest runs.",
        )
    return str(text)


def _is_package(name: str) -> bool:
    spec = _find(name)
    return bool(spec and spec.submodule_search_locations is not None)


def _find(name: str) -> ModuleSpec | None:
    """Return the spec of a dotted name; unlike `importlib.util.find_spec`, import no parent."""
    spec, path = None, None
    for each in [*_parents(name), name]:
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        specs = (find(each, path) for find in finders if find)
        spec = next((found for found in specs if found), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
        if path is None and each != name:
            return None
    return spec
