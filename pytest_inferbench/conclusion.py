"""Turns judgements into a test's outcome: pass, fail with a message, or skip with a code.

Takes a handle with its judgements; leaves on the item what its report will carry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_inferbench.baselines.differences import lines_of
from pytest_inferbench.conformance.contract import NotAsked, NotHere
from pytest_inferbench.items import PAYLOAD
from pytest_inferbench.judge.verdict import Judgement, Verdict, worst
from pytest_inferbench.report.messages import failure, skip

if TYPE_CHECKING:
    from pytest_inferbench.handles import Handle
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.serving.chaos.seen import Seen

_SHOWN = 8


def conclude_item(item: pytest.Item, cell: Cell, handle: Handle) -> None:
    """Judge, note, and end the test as the worst verdict says."""
    try:
        judgements = handle.judgements()
    except (NotAsked, NotHere) as reason:
        _skip_unasked(item, cell, handle.kind, reason)
    figures = handle.figures()
    item.stash[PAYLOAD] = {
        "kind": handle.kind,
        "judgements": [plain(judgement) for judgement in judgements],
        "figures": figures,
        "addition": handle.addition(),
        **handle.details(),
        **handle.traced(),
    }
    item.user_properties += _properties(judgements, figures)
    if not judgements and handle.is_optional:
        why = f"no budget on {handle.kind}"
        item.stash[PAYLOAD]["not_asked"] = why
        pytest.skip(f"[IB-640] {cell}: not asked: {why}; it was measured only")
    if not judgements:
        pytest.skip(f"[IB-616] {cell}: no budget applies to {handle.kind}: it was measured only")
    verdict = worst([judgement.verdict for judgement in judgements])
    if verdict is Verdict.REGRESSED:
        context = dict(handle.context())
        if (found := handle.located()) is not None:
            context |= found.context
            if found.fields:
                item.stash[PAYLOAD]["divergence"] = dict(found.fields)
        differs = handle.differs()
        item.stash[PAYLOAD] |= {"context": context, "differs": lines_of(differs or ())}
        pytest.fail(failure(cell, judgements, context, differs), pytrace=False)
    if not verdict.is_reached:
        pytest.skip(skip(cell, judgements))


def conclude_question(
    item: pytest.Item, cell: Cell, question: Callable[[], list[str]], code: str = "IB-641"
) -> None:
    """Ask a cell to keep its contract: the faults fail the test; what cannot be asked is skipped.

    A skip of what does not apply is no silence: under `--inferbench-require` the cell's other tests
    decide. What applies and cannot be asked here is silence.
    """
    try:
        faults = question()
    except (NotAsked, NotHere) as reason:
        _skip_unasked(item, cell, "conformance", reason)
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        shown = "\n  ".join([*faults[:_SHOWN], *more])
        pytest.fail(f"[{code}] {cell}: {shown}", pytrace=False)


def conclude_resilience(item: pytest.Item, cell: Cell, question: Callable[[], Seen]) -> None:
    """Ask what a server withstands, and leave what was seen on the item, however it ends."""

    def asked() -> list[str]:
        seen = question()
        item.stash[PAYLOAD] = {
            "kind": "resilience",
            "resilience": {
                "question": item.name.partition("[")[0],
                "seen": dict(seen.figures),
                "known": list(seen.known),
                "deaths": list(seen.deaths),
                "faults": list(seen.faults),
            },
        }
        item.user_properties += [
            (f"inferbench.resilience.{name}", value) for name, value in seen.figures.items()
        ]
        deaths.extend(seen.deaths)
        return list(seen.faults)

    deaths: list[str] = []
    conclude_question(item, cell, asked, "IB-881")
    if deaths:
        pytest.skip(f"[IB-883] {cell}: known to fail: {'; '.join(deaths)}")


def _skip_unasked(item: pytest.Item, cell: Cell, kind: str, reason: NotAsked | NotHere) -> NoReturn:
    if isinstance(reason, NotHere):
        item.stash[PAYLOAD] = {"kind": kind}
        pytest.skip(f"[IB-643] {cell}: cannot be asked here: {reason}")
    item.stash[PAYLOAD] = {"kind": kind, "not_asked": str(reason)}
    pytest.skip(f"[IB-640] {cell}: not asked: {reason}")


def plain(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as plain types, fit for JSON and for xdist."""
    return {**dataclasses.asdict(judgement), "verdict": judgement.verdict.value}


def _properties(judgements: list[Judgement], figures: dict[str, float]) -> list[tuple[str, object]]:
    """What JUnit shows: each verdict with its figure, then every figure."""
    verdicts: list[tuple[str, object]] = [
        (f"inferbench.{j.metric}.verdict", j.verdict.value) for j in judgements
    ]
    return verdicts + [(f"inferbench.{name}", value) for name, value in figures.items()]
