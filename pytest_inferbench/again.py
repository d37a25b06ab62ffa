"""An item that is run again, as plugins that rerun failures do: its regression stays one.

Takes an item with its reports; keeps the first regression on the item, and fails what runs after
it. A verdict is reached from runs of its own, and taking others until one is green is how a gate
is talked out of what it saw.
"""

from __future__ import annotations

import pytest

from pytest_inferbench.ledger import Payload, has_regressed

_FIRST = pytest.StashKey[tuple[str, Payload]]()


def remember(item: pytest.Item, report: pytest.TestReport, payload: Payload) -> None:
    """Keep what an item that regressed said, for when it is run again."""
    if report.failed and _FIRST not in item.stash and has_regressed(payload):
        item.stash[_FIRST] = (report.longreprtext.strip(), {**payload})


def stay_regressed(item: pytest.Item, payload: Payload) -> None:
    """Fail an item that regressed before in this session, with its first verdict and figures."""
    first = item.stash.get(_FIRST, None)
    if first is None:
        return
    said, kept = first
    payload.update(kept)
    again = (
        "[IB-617] run again, and not measured again: a regression stays one. To measure anew,"
        " start a new session"
    )
    pytest.fail(f"{said}\n  {again}", pytrace=False)
