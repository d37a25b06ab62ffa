"""xdist: all tests of a cell go to one process, so that its worker opens once.

Takes node ids and the ids of cells; gives each node id its group. xdist is imported when asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_inferbench.matrix import Cell


def cell_scheduling(config: pytest.Config, log: Any, cell_ids: Iterable[str]) -> Any:
    """Return xdist's scheduling by scope, where the scope of our tests is their cell."""
    from xdist.scheduler import LoadScopeScheduling

    known = frozenset(cell_ids)

    class CellScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist carries no types here
        def remove_node(self, node: Any) -> str | None:
            """Take over from a process that is gone: what it ran has failed, and is not run again.

            xdist's own would run it again until no more processes may be started, and would hand
            out what is finished too, at which the next process waits for ever.
            """
            work = self.assigned_work[node]
            unfinished = (test for unit in work.values() for test in unit if not unit[test])
            crashed = next(unfinished, None)
            for unit in work.values():
                if crashed in unit:
                    unit[crashed] = True
            self.assigned_work[node] = {
                scope: unit for scope, unit in work.items() if not all(unit.values())
            }
            super().remove_node(node)
            return crashed

        def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
            super().add_node_collection(node, collection)
            if node in self.registered_collections:
                self.registered_collections[node] = _Indexed(collection)

        def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
            """Forget a cell that is finished, for xdist counts all of a node's at every test."""
            super().mark_test_complete(node, item_index, duration)
            scope = self._split_scope(self.registered_collections[node][item_index])
            if all(self.assigned_work[node][scope].values()):
                del self.assigned_work[node][scope]

        def _split_scope(self, nodeid: str) -> str:
            return cell_in(nodeid, known) or nodeid

    return CellScheduling(config, log)


class _Indexed(list[str]):
    """Node ids that know where each of them stands, for xdist asks for every one."""

    def __init__(self, nodeids: Iterable[str]) -> None:
        super().__init__(nodeids)
        self._places = {nodeid: place for place, nodeid in enumerate(self)}

    def index(self, nodeid: str, *_bounds: Any) -> int:
        return self._places[nodeid]


def cells_in(nodeids: Iterable[str], cells: Mapping[str, Cell]) -> list[Cell]:
    """Return the cells that node ids are parametrized over, given every cell by its id."""
    known = frozenset(cells)
    return [cells[found] for nodeid in nodeids if (found := cell_in(nodeid, known))]


def cell_in(nodeid: str, cell_ids: frozenset[str]) -> str | None:
    """Return the id of the cell that a node id is parametrized over, if any."""
    parameters = nodeid.partition("[")[2].removesuffix("]")
    if parameters in cell_ids:
        return parameters
    # With further parameters the id stands between hyphens; ids hold hyphens themselves, so
    # every run of parts is tried, the longest first.
    parts = parameters.split("-")
    for length in range(len(parts), 0, -1):
        for start in range(len(parts) - length + 1):
            candidate = "-".join(parts[start : start + length])
            if candidate in cell_ids:
                return candidate
    return None
