"""Budgets: takes what the user wrote for a metric, gives the limit that holds for a cell. Pure.

A budget is a single value, or a table by precision and by hardware id, nested either way. The most
specific entry wins: precision and hardware, then precision, then hardware, then `default`; what no
entry covers falls to the package's own default for that precision or class of hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pytest_inferbench.backends.catalog import PRECISIONS
from pytest_inferbench.settings.metrics import DEFAULTS, METRICS, PER_OUTPUT, Better, Metric
from pytest_inferbench.settings.spelling import dotted, unknown
from pytest_inferbench.settings.units import QUANTITY, example, quantity

if TYPE_CHECKING:
    from pytest_inferbench.settings.speedups import Speedup

Origin = Literal["default", "settings"]

HARDWARE_CLASSES = ("cpu-", "nvidia-", "jetson-")
"""How the id of a device class starts."""

OF_TWO = ("speedup", "load_speedup")
"""The tables inside `budgets` that compare two cells."""

OUTPUTS = "outputs"
"""The table inside `budgets` that holds budgets for one output alone."""


@dataclass(frozen=True)
class Budget:
    """A limit on one metric.

    Attributes:
        limit: A fraction (0.05 for +5 %, and for -5 % where higher is better) when relative, else
            in `unit`.
        unit: The unit of the metric.
        text: As it was written, for messages.
        origin: Whether the user wrote it.
    """

    metric: str
    kind: Literal["relative", "absolute"]
    limit: float
    better: Better
    unit: str
    text: str
    origin: Origin

    def holds(self, value: float) -> bool:
        """Whether a figure in `unit` is within an absolute limit; what is no number is not."""
        return value >= self.limit if self.better == "higher" else value <= self.limit


Scope = tuple[str | None, str | None]
"""The precision and the hardware id an entry is for; None where it is for all."""

Rules = dict[Scope, Budget | None]
"""One metric's entries; None switches the budget off there."""


class Budgets(dict[str, Rules]):
    """A model's budgets as the user wrote them, by metric.

    Attributes:
        outputs: Those for one output alone, by its name.
        speedups: Those that concern two cells, one caller each.
        load_speedups: Those that concern two cells under load.
    """

    speedups: tuple[Speedup, ...] = ()
    load_speedups: tuple[Speedup, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, Budgets] = {}


def parse_budgets(
    written: Any,
    report: Callable[[str, str], None],
    metrics: Mapping[str, Metric] = METRICS,
) -> Budgets:
    """Read a `budgets` table.

    Args:
        written: What the TOML held.
        report: Called with the key below `budgets` and the fault, for each fault.
        metrics: What may be named, those of registered tasks included.
    """
    if not isinstance(written, dict):
        report("", f"expected a table of budgets, got {written!r:.60}")
        return Budgets()
    outputs = written.get(OUTPUTS, {})
    budgets = _parse_table({k: v for k, v in written.items() if k != OUTPUTS}, report, metrics)
    if not isinstance(outputs, dict):
        report(OUTPUTS, f"expected a table of budgets by output, got {outputs!r:.60}")
        return budgets
    of_one = {name: metrics[name] for name in PER_OUTPUT}
    for output, table in outputs.items():
        key = dotted(OUTPUTS, output)

        def report_below(below: str, text: str, key: str = key) -> None:
            report(f"{key}.{below}" if below else key, text)

        budgets.outputs[output] = _parse_table(table, report_below, of_one)
    return budgets


def _parse_table(
    written: Any, report: Callable[[str, str], None], metrics: Mapping[str, Metric]
) -> Budgets:
    budgets = Budgets()
    if not isinstance(written, dict):
        report("", f"expected a table of budgets, got {written!r:.60}")
        return budgets
    for name, value in written.items():
        if name in OF_TWO and "p50" in metrics:
            from pytest_inferbench.settings.speedups import parse_speedups

            setattr(budgets, f"{name}s", parse_speedups(value, report, name))
            continue
        metric = metrics.get(name)
        if metric is None:
            others = OF_TWO if "p50" in metrics else ()
            report(dotted(name), unknown(name, "budget", [*metrics, *others]))
            continue
        rules = budgets[name] = {}
        for key, scope, leaf in _leaves(metric.name, value, (None, None), report):
            if scope in rules:
                report(key, "the same precision and hardware have a budget above already")
                continue
            try:
                rules[scope] = parse_budget(metric, leaf)
            except ValueError as error:
                report(key, str(error))
    return budgets


def parse_budget(metric: Metric, value: object, origin: Origin = "settings") -> Budget | None:
    """Read a single budget; `false` gives None.

    Raises:
        ValueError: It cannot be read, or no measurement could ever meet or miss it.
    """
    if value is False:
        return None
    if value is True:
        raise ValueError('a budget is a limit, or false to switch it off; "true" says neither')
    match = QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match and (match["unit"] == "%" or match["sign"] == "+"):
        kind: Literal["relative", "absolute"] = "relative"
        limit = _relative(metric, str(value), match["sign"], match["number"], match["unit"])
    else:
        kind, limit = "absolute", quantity(value, metric.unit)
        if limit not in metric.bounds:
            unit = "" if metric.unit in ("ratio", "value") else f" {metric.unit}"
            raise ValueError(f"{value!r:.60}: a limit on {metric.name} is {metric.bounds}{unit}")
    text = value if isinstance(value, str) else f"{value}"
    return Budget(metric.name, kind, limit, metric.better, metric.unit, text, origin)


def resolve(
    rules: Mapping[Scope, Budget | None],
    metric: str,
    precision: str,
    hardware: str,
    registered: Mapping[str, Metric] = MappingProxyType({}),
) -> Budget | None:
    """Return the budget that holds at a precision on a hardware, None if there is none.

    Args:
        rules: What was written for the metric.
        metric: Its name.
        precision: Of the cell.
        hardware: Of the cell.
        registered: The metrics of registered tasks, which bring their own defaults.
    """
    for scope in _scopes(precision, hardware):
        if scope in rules:
            return rules[scope]
    hardware_class = hardware.partition("-")[0]
    if (own := registered.get(metric)) is not None:
        return _default_of(own, own.defaults, precision, hardware_class)
    return _default(metric, precision, hardware_class)


def output_budgets(
    budgets: Budgets, metric: str, precision: str, hardware: str
) -> dict[str, Budget | None]:
    """Return the budgets that hold for one output alone, by output; None where it is off."""
    found = {}
    for output, own in budgets.outputs.items():
        rules = own.get(metric, {})
        scope = next((each for each in _scopes(precision, hardware) if each in rules), None)
        if scope is not None:
            found[output] = rules[scope]
    return found


def _scopes(precision: str, hardware: str) -> tuple[Scope, ...]:
    """What an entry may be for and hold here, the most specific first."""
    return (precision, hardware), (precision, None), (None, hardware), (None, None)


@cache
def _default(metric: str, precision: str, hardware_class: str) -> Budget | None:
    return _default_of(METRICS[metric], DEFAULTS.get(metric, {}), precision, hardware_class)


def _default_of(
    metric: Metric, written: Mapping[str, str | float], precision: str, hardware_class: str
) -> Budget | None:
    value = written.get(precision, written.get(hardware_class, written.get("default")))
    return None if value is None else parse_budget(metric, value, "default")


def _relative(metric: Metric, text: str, sign: str, number: str, unit: str) -> float:
    absolute = f"an absolute limit, such as {example(metric.unit)}"
    if not metric.relative:
        raise ValueError(f'"{text}": {metric.name} takes {absolute}, no change in percent')
    worse, named = ("-", "minus") if metric.better == "higher" else ("+", "plus")
    if unit != "%":
        raise ValueError(
            f'"{text}": a change is given in percent ("{worse}5%"), {absolute}, has no sign'
        )
    if sign != worse:
        raise ValueError(
            f'"{text}": what may get worse has an explicit {named}: "{worse}{number}%"'
        )
    limit = float(number) / 100
    if not 0 < limit < float("inf"):
        raise ValueError(f'"{text}": no two measurements are equal; allow a change above 0 %')
    if worse == "-" and limit >= 1:
        raise ValueError(f'"{text}": nothing loses all of it; allow a loss below 100 %')
    return limit


def _leaves(
    key: str, value: Any, scope: Scope, report: Callable[[str, str], None]
) -> Iterator[tuple[str, Scope, object]]:
    """Yield each single budget of a (nested) table with its key and what it is for."""
    if not isinstance(value, dict):
        yield key, scope, value
        return
    if not value:
        report(key, "an empty table sets no budget; remove it, or write false to switch it off")
    precision, hardware = scope
    for name, inner in value.items():
        here = f"{key}.{dotted(name)}"
        if name == "default" and not isinstance(inner, dict):
            yield here, scope, inner
        elif name in PRECISIONS and precision is None:
            yield from _leaves(here, inner, (name, hardware), report)
        elif name.startswith(HARDWARE_CLASSES) and hardware is None:
            yield from _leaves(here, inner, (precision, name), report)
        elif name == "default" or name in PRECISIONS or name.startswith(HARDWARE_CLASSES):
            report(here, "cannot stand inside another of its kind")
        else:
            known = (*PRECISIONS, "default")
            classes = ", ".join(f"{name}..." for name in HARDWARE_CLASSES)
            report(here, f"{unknown(name, 'precision', known)} (hardware ids are {classes})")
