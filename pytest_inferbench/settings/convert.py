"""Takes parsed TOML and a table's type; gives the typed table and notes every fault on the way.

msgspec stops at the first fault, so tables are walked here and msgspec converts the leaves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from pytest_inferbench.named.references import parse_reference
from pytest_inferbench.settings.budgets import Budgets, parse_budgets
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.objectives import Objectives, parse_objectives
from pytest_inferbench.settings.schema import (
    Interpreter,
    Mebibytes,
    ModelPath,
    Pin,
    Seconds,
    Sources,
    TaskName,
)
from pytest_inferbench.settings.spelling import dotted, nearest, unknown
from pytest_inferbench.settings.task_kinds import BUILT_IN, TaskKind
from pytest_inferbench.settings.units import positive

_Table = TypeVar("_Table", bound=msgspec.Struct)
_FAULTY: Any = object()
_MSGSPEC_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<where>[^`]*)`)?", re.DOTALL)


class Problems:
    """The faults found, by key; of several at one key the first stands."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}
        self._explained: set[str] = set()

    def add(self, key: str, text: str) -> None:
        """Note a fault, unless an earlier one explains it."""
        if key not in self._explained:
            self._found.setdefault(key, text.replace("\n", "\\n"))

    def explain(self, key: str) -> None:
        """Note that what is found at `key` follows from a fault noted elsewhere."""
        self._explained.add(key)

    def lines(self) -> list[str]:
        """Return one line a fault, in the order they were found."""
        return [f"{key}: {text}" for key, text in self._found.items()]


class Converter:
    """Builds typed tables; relative paths belong to `folder`."""

    def __init__(
        self, folder: Path, problems: Problems, tasks: Mapping[str, TaskKind] = BUILT_IN
    ) -> None:
        self._folder = folder
        self._problems = problems
        self._tasks = tasks
        registered = {metric.name: metric for kind in tasks.values() for metric in kind.metrics}
        self._metrics = {**METRICS, **registered}
        self._readers: dict[Any, Callable[[Any], object]] = {
            Seconds: lambda value: positive(value, "s"),
            Mebibytes: lambda value: positive(value, "MiB"),
            Path: self._path,
            ModelPath: self._model_path,
            Interpreter: self._interpreter,
            Sources: self._sources,
            Pin: _pin,
            TaskName: self._task,
        }

    def table(self, kind: type[_Table], data: Any, *key: str) -> _Table | None:
        """Build one table, without its faulty keys where it has defaults for them."""
        here = dotted(*key)
        if not isinstance(data, dict):
            self._problems.add(here, f"expected a table, got {data!r:.60}")
            return None
        fields = _fields(kind)
        for name in (name for name in data if name not in fields):
            self._problems.add(dotted(*key, name), unknown(name, "key", list(fields)))
            close = nearest(name, fields)
            if close and close not in data:
                self._problems.explain(dotted(*key, close))
        values = {}
        complete = True
        for name, info in fields.items():
            if name in data:
                kind_of = str if _is_elsewhere(info.type, data) else info.type
                value = self._value(kind_of, data[name], *key, name)
                if value is not _FAULTY:
                    values[info.name] = value
            if info.required and info.name not in values:
                complete = False
                self._problems.add(dotted(*key, name), "is required")
        return kind(**values) if complete else None

    def _value(self, kind: Any, value: Any, *key: str) -> Any:
        if get_origin(kind) in (Union, UnionType):  # TOML has no null: "or None" is the default
            kind = get_args(kind)[0]
        if kind in (Budgets, Objectives):
            return self._limits(kind, value, *key)
        if _is_table(kind):
            built = self.table(kind, value, *key)
            return _FAULTY if built is None else built
        if get_origin(kind) is dict and isinstance(value, dict):
            inner = get_args(kind)[1]
            if _is_table(inner) or inner is Objectives:
                tables = {
                    name: self._value(inner, data, *key, name) for name, data in value.items()
                }
                return {name: table for name, table in tables.items() if table is not _FAULTY}
        try:
            return self._leaf(kind, value, key[-1])
        except (ValueError, msgspec.ValidationError) as error:
            self._add_error(dotted(*key), error)
            return _FAULTY

    def _limits(self, kind: Any, value: Any, *key: str) -> Budgets | Objectives:
        def report(below: Sequence[str], text: str) -> None:
            self._problems.add(".".join([dotted(*key), *below]), text)

        if kind is Objectives:
            return parse_objectives(value, report)
        return parse_budgets(value, lambda below, text: report([below], text), self._metrics)

    def _leaf(self, kind: Any, value: Any, name: str) -> Any:
        if reader := self._readers.get(kind):
            return reader(value)
        if get_origin(kind) is Literal and isinstance(value, str) and value not in get_args(kind):
            raise ValueError(unknown(value, name, get_args(kind)))
        return msgspec.convert(value, kind)

    def _path(self, value: Any) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError(f"expected a path, got {value!r:.60}")
        try:
            return self._folder / Path(value).expanduser()
        except RuntimeError as error:  # ~someone who is not known here
            raise ValueError(f"{value!r:.60}: {error}") from error

    def _model_path(self, value: Any) -> Path:
        path = self._path(value)
        return path if parse_reference(value) is None else Path(value)

    def _sources(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise ValueError(f"expected a table of paths and URLs, got {value!r:.60}")
        return {
            kind: each if "://" in each else str(self._model_path(each))
            for kind, each in value.items()
        }

    def _task(self, value: Any) -> str:
        name = msgspec.convert(value, str)
        if name not in self._tasks:
            raise ValueError(unknown(name, "task", self._tasks))
        return name

    def _interpreter(self, value: Any) -> str:
        path = self._path(value)
        return str(path) if os.sep in value else str(value)

    def _add_error(self, key: str, error: Exception) -> None:
        match = _MSGSPEC_MESSAGE.fullmatch(str(error))
        what, where = (match["what"], match["where"] or "") if match else (str(error), "")
        what = what.replace("`object`", "`table`")
        where = where.replace("[...]", "")
        self._problems.add(f"{key}{where}", what[:1].lower() + what[1:])


def _pin(value: Any) -> str:
    """Return CPUs as the worker is told of them."""
    if value == "auto":
        return "auto"
    numbers = value if isinstance(value, list) else []
    plain = all(isinstance(cpu, int) and not isinstance(cpu, bool) and cpu >= 0 for cpu in numbers)
    if not numbers or not plain or len(set(numbers)) < len(numbers):
        raise ValueError(f'expected CPUs such as [0, 1], each once, or "auto", got {value!r:.60}')
    return ",".join(map(str, sorted(numbers)))


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """A table's keys; msgspec evaluates every annotation anew, so a kind is asked once."""
    # A leading underscore marks what is not the user's to set.
    return {
        f.encode_name: f for f in msgspec.structs.fields(kind) if not f.encode_name.startswith("_")
    }


def _is_elsewhere(kind: Any, data: dict[str, Any]) -> bool:
    """Whether it is a path of another machine, which knows its own folders and homes."""
    return "ssh" in data and Interpreter in get_args(kind)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
