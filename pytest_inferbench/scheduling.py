"""xdist: all tests of a cell go to one process, so that its worker opens once.

Takes node ids and the ids of cells; gives each node id its group. Imported only under xdist.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class CellScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist carries no types here
    """xdist's scheduling by scope, where the scope of our tests is their cell."""

    def __init__(self, config: pytest.Config, log: Any, cell_ids: Iterable[str]) -> None:
        super().__init__(config, log)
        self._cell_ids = frozenset(cell_ids)

    def _split_scope(self, nodeid: str) -> str:
        return cell_in(nodeid, self._cell_ids) or nodeid


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
