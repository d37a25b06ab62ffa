"""Our test items: how they are made, ordered, skipped, and what their reports carry.

Takes pytest's items and reports and the gate; keeps the gate free of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferbench.again import remember, stay_regressed
from pytest_inferbench.backends.catalog import PRECISIONS
from pytest_inferbench.entry import existing_gate, gate_of
from pytest_inferbench.environments import misdeclared
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.ledger import Payload
from pytest_inferbench.partners import environment_against
from pytest_inferbench.requirements import unmet
from pytest_inferbench.scheduling import cells_in
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.spelling import nearest
from pytest_inferbench.settings.task_kinds import BUILT_IN, REGISTERED

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell

PAYLOAD = pytest.StashKey[Payload]()
"""What a test has concluded so far, on its item."""

_NO_LOCK = pytest.StashKey[InferbenchError]()
CELL = "_inferbench_cell"
"""The fixture that is parametrized over cells."""

_BUILD = "build"  # the one fixture that a backend which only builds can serve
_SPEEDUP = "speedup"  # the fixture that only cells with such a budget are given to
_LOAD_SPEEDUP = "load_speedup"  # likewise
_SERVED = frozenset({"load", _LOAD_SPEEDUP, "parity"})  # which only a server can serve
_FRESH_WORKER_FIXTURES = frozenset(
    {"latency", "memory", "cold_start", "energy", "throughput", _SPEEDUP, "load", _LOAD_SPEEDUP}
)


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell that an item is parametrized over, None if it is not ours."""
    callspec = getattr(item, "callspec", None)
    cell: Cell | None = callspec.params.get(CELL) if callspec else None
    return cell if hasattr(cell, "cannot_run") else None


def given_cell(request: pytest.FixtureRequest) -> Cell:
    """Return the cell that a test is run for.

    Raises:
        InferbenchError: The test was given none, since pytest could not see that it wants one.
    """
    if not hasattr(request, "param"):
        raise InferbenchError(
            "IB-209",
            f"{request.node.nodeid} asks for a cell while it runs, and has none",
            "Name `cell` among the test's arguments: pytest makes one test for each cell before"
            " any of them runs, so request.getfixturevalue and unittest classes come too late.",
        )
    cell: Cell = request.param
    return cell


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give a test its cells, narrowed by its `inferbench` marker."""
    try:
        gate = gate_of(metafunc.config)
        wanted = _wanted(metafunc.definition, gate)
    except pytest.UsageError as error:
        # Raised here, pytest would report it as a broken test file.
        metafunc.config.pluginmanager.register(_AfterCollection(error))
        parameters = []
    else:
        names = frozenset(metafunc.fixturenames)
        parameters = [
            _parameter(cell)
            for cell in gate.cells
            if _matches(gate, cell, wanted) and _serves(gate, cell, names)
        ]
    metafunc.parametrize(CELL, parameters, indirect=True)


class _AfterCollection:
    """Ends the run when collection is over."""

    def __init__(self, error: pytest.UsageError) -> None:
        self._error = error

    def pytest_collection_modifyitems(self) -> None:
        raise self._error


def _parameter(cell: Cell) -> Any:
    return pytest.param(cell, id=cell.id, marks=marks_of(cell.markers))


@cache
def marks_of(markers: frozenset[str]) -> tuple[pytest.MarkDecorator, ...]:
    """Return markers by their exact ids: pytest accepts hyphens, attribute syntax does not."""
    return tuple(getattr(pytest.mark, marker) for marker in sorted(markers))


def _wanted(definition: pytest.Item, gate: Gate) -> dict[str, frozenset[str]]:
    known = {
        "models": gate.settings.models,
        "backends": gate.catalog,
        "precisions": PRECISIONS,
        "tasks": {*BUILT_IN, *gate.registered_tasks, REGISTERED},
        "budgets": {**METRICS, **gate.settings.registered_metrics},
    }
    wanted: dict[str, frozenset[str]] = {}
    for marker in definition.iter_markers("inferbench"):
        if marker.args:
            raise pytest.UsageError(_not_a_list(definition, ", ".join(map(repr, marker.args))))
        for axis, names in marker.kwargs.items():
            if axis not in known:
                raise pytest.UsageError(_unknown(definition, f"{axis}=", [f"{a}=" for a in known]))
            if not isinstance(names, (list, tuple, set, frozenset)):
                raise pytest.UsageError(_not_a_list(definition, f"{axis}={names!r}"))
            for name in names:
                if name not in known[axis]:
                    raise pytest.UsageError(_unknown(definition, name, list(known[axis])))
            wanted[axis] = wanted.get(axis, frozenset(names)) & frozenset(names)
    return wanted


def _not_a_list(definition: pytest.Item, written: str) -> str:
    return (
        f"[IB-205] {definition.nodeid}: the inferbench marker was given {written}; it takes lists"
        ' by name: inferbench(models=["detector"], precisions=["int8"])'
    )


def _unknown(definition: pytest.Item, name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    hint = f"; nearest: {near!r}" if near else f"; known: {', '.join(known)}"
    return f"[IB-205] {definition.nodeid}: the inferbench marker names {name!r}{hint}"


def _matches(gate: Gate, cell: Cell, wanted: dict[str, frozenset[str]]) -> bool:
    axes = {"models": cell.model, "backends": cell.backend, "precisions": cell.precision}
    budgets = wanted.get("budgets")
    place = (cell.precision, cell.hardware)
    if budgets is not None and not any(
        gate.settings.budget(cell.model, metric, *place) for metric in budgets
    ):
        return False
    task = gate.model(cell).task
    tasks = {task, REGISTERED} if task in gate.registered_tasks else {task}
    return all(
        not tasks.isdisjoint(names) if axis == "tasks" else axes[axis] in names
        for axis, names in wanted.items()
        if axis != "budgets"
    )


def _serves(gate: Gate, cell: Cell, fixtures: frozenset[str]) -> bool:
    """Whether a cell has what a test's fixtures are about."""
    if _SPEEDUP in fixtures and not gate.settings.speedups(
        cell.model, cell.backend, cell.precision
    ):
        return False
    if _LOAD_SPEEDUP in fixtures and not gate.settings.load_speedups(
        cell.model, cell.backend, cell.precision
    ):
        return False
    if not _SERVED.isdisjoint(fixtures) and not gate.catalog[cell.backend].served:
        return False
    return _BUILD in fixtures or gate.catalog[cell.backend].runs


def arrange(gate: Gate, session: pytest.Session, items: list[pytest.Item]) -> None:
    """Order the selected items in place, and add the requirements at the end.

    Raises:
        pytest.UsageError: A selected cell is to run in a Python that is none (IB-203).
    """
    if not hasattr(session.config, "workerinput"):
        refuse_misdeclared(gate, filter(None, map(cell_of, items)))
    kept, stood_for = _one_for_each_that_cannot_run(_without_empty(items))
    if stood_for:
        session.config.hook.pytest_deselected(items=stood_for)
    items[:] = _by_cell(kept)
    timed = {
        cell.id: cell
        for item in items
        if (cell := cell_of(item)) and not _FRESH_WORKER_FIXTURES.isdisjoint(_fixtures(item))
    }
    gate.count_comparisons(timed.values())
    run = [cell.id for item in items if (cell := cell_of(item)) and not cell.cannot_run]
    gate.order = tuple(dict.fromkeys(run))
    if not hasattr(session.config, "workerinput"):
        items += [
            RequireItem.from_parent(session, name=text, nodeid=f"require::{text}", gate=gate)
            for text in gate.options.require
        ]


def refuse_misdeclared(gate: Gate, selected: Iterable[Cell]) -> None:
    """End the run where the settings say wrongly in which Python selected cells are to run.

    A process of a parallel session cannot end it: the controller does, told what was collected.

    Raises:
        pytest.UsageError: IB-203.
    """
    needed = [cell.environment for cell in selected]
    if needed and gate.options.against is not None:
        needed.append(environment_against(gate))
    if fault := misdeclared(gate.environments, needed):
        raise pytest.UsageError(fault)


def _fixtures(item: pytest.Item) -> Sequence[str]:
    names: Sequence[str] = getattr(item, "fixturenames", ())
    return names


def _without_empty(items: list[pytest.Item]) -> list[pytest.Item]:
    """A packaged test for a task or a budget that no model has is no test at all."""
    return [
        item
        for item in items
        if not (
            CELL in _fixtures(item)
            and cell_of(item) is None
            and (
                not {_SPEEDUP, *_SERVED}.isdisjoint(_fixtures(item))
                or any({"tasks", "budgets"} & {*m.kwargs} for m in item.iter_markers("inferbench"))
            )
        )
    ]


def _one_for_each_that_cannot_run(
    items: list[pytest.Item],
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    kept, stood_for, seen = [], [], set()
    for item in items:
        cell = cell_of(item)
        if cell is not None and cell.cannot_run:
            if cell.id in seen:
                stood_for.append(item)
                continue
            seen.add(cell.id)
        kept.append(item)
    return kept, stood_for


def _by_cell(items: list[pytest.Item]) -> list[pytest.Item]:
    """Bring a cell's items together where its first one stands, fresh workers last."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(_group(item), []).append(item)
    return [
        item
        for group in groups.values()
        for item in sorted(group, key=lambda i: not _FRESH_WORKER_FIXTURES.isdisjoint(_fixtures(i)))
    ]


def _group(item: pytest.Item) -> str:
    cell = cell_of(item)
    return cell.id if cell is not None else item.nodeid


@contextmanager
def holding_the_host(gate: Gate, item: pytest.Item) -> Iterator[None]:
    """Hold the host's lock, shared, while an item of a cell that can run runs.

    A lock that cannot be had is that item's failure, in its setup: here it would end the session.
    """
    cell = cell_of(item)
    with ExitStack() as held:
        if cell is not None and not cell.cannot_run:
            try:
                held.enter_context(gate.host.shared(gate.progress(f"{cell}: wait for the host")))
            except InferbenchError as error:
                item.stash[_NO_LOCK] = error
        yield


def skip_if_it_cannot_run(item: pytest.Item) -> None:
    """Skip the one item that stands for a cell that cannot run here; fail one without its lock."""
    item.stash.setdefault(PAYLOAD, {}).clear()  # an item that is run again starts anew
    _drop_properties(item)
    if _NO_LOCK in item.stash:
        raise item.stash[_NO_LOCK]
    cell = cell_of(item)
    if cell is not None and cell.cannot_run:
        pytest.skip(f"[IB-204] {cell} cannot run here: {cell.cannot_run}")


def _drop_properties(item: pytest.Item) -> None:
    kept = [each for each in item.user_properties if not each[0].startswith("inferbench.")]
    item.user_properties[:] = kept


def fail_if_it_regressed(item: pytest.Item) -> None:
    """Fail an item that is run again although it had regressed."""
    stay_regressed(item, item.stash.setdefault(PAYLOAD, {}))


def annotate(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Put the payload on a report, and our own errors as text without a traceback."""
    cell = cell_of(item)
    concluded: Payload = item.stash.get(PAYLOAD, {})
    if cell is not None:
        vars(report)["inferbench"] = {"cell": cell.id, **concluded}
        vars(report)["inferbench_told"] = _taken(existing_gate(item.config))
    if call.excinfo is not None and isinstance(call.excinfo.value, InferbenchError):
        report.longrepr = f"{cell or item.nodeid}: {call.excinfo.value}"
    if cell is not None:
        remember(item, report, concluded)


def _taken(gate: Gate | None) -> list[str]:
    """Return what a gate has told since the last report, and have it forget that."""
    told = gate.told if gate else []
    taken, told[:] = list(told), []
    return taken


def note(gate: Gate, report: pytest.TestReport) -> None:
    """Enter a report in the ledger."""
    told = vars(report).get("inferbench_told", ())
    gate.notices += [notice for notice in told if notice not in gate.notices]
    if report.outcome == "rerun":  # type: ignore[comparison-overlap]  # pytest-rerunfailures
        gate.ledger.run_again(report.nodeid, _reason(report), vars(report).get("inferbench"))
        return
    gate.ledger.note(
        report.nodeid,
        outcome=report.outcome,
        reason=_reason(report),
        duration_s=report.duration,
        payload=vars(report).get("inferbench") or _of_a_crash(gate, report),
    )


def _of_a_crash(gate: Gate, report: pytest.TestReport) -> Payload | None:
    """Return the cell of a failure that nobody annotated: xdist's own, for a process that died."""
    if not report.failed:
        return None
    found = cells_in([report.nodeid], gate.cells_by_id)
    return {"cell": found[0].id} if found else None


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)  # where there is none, it is our own text
    said = crash.message if crash else report.longreprtext
    return "" if report.passed else str(said).strip().removeprefix("Failed: ")


class RequireItem(pytest.Item):
    """One `--inferbench-require` expression, run after everything it speaks of."""

    def __init__(self, *, gate: Gate, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gate = gate

    def runtest(self) -> None:
        """Fail unless every cell it names reached a verdict."""
        reason = unmet(self.name, self._gate.cells, self._gate.ledger)
        if reason is not None:
            pytest.fail(f"--inferbench-require {self.name!r}: {reason}", pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        """Name it in verbose output."""
        return "require", None, f"require::{self.name}"
