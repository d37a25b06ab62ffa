"""Several results documents as one: takes `Results`, gives `Results`. Pure, and linear.

Sessions are never mixed. A cell that two sessions have stands twice, each with its session, so that
neither a failure nor an older figure hides behind the other; a session that two documents hold is
taken once. Cells of one model stand together, and equal cells beside each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from pytest_inferbench import __version__
from pytest_inferbench.report.document import CellResult, Results, SessionResult
from pytest_inferbench.report.messages import counted, first_of
from pytest_inferbench.report.table import in_several_sessions

_NAMED = 8


def merge(
    documents: Sequence[Results], names: Sequence[str] = (), left_out: Sequence[str] = ()
) -> Results:
    """Return one document with the sessions of all.

    Args:
        documents: In any order; sessions stand by when they ended.
        names: What to call the session of each, where it has no name of its own.
        left_out: Why other documents cannot be merged.
    """
    called = [*names, *[""] * (len(documents) - len(names))]
    taken: dict[str, tuple[SessionResult, int, int]] = {}
    twice: list[str] = []
    for number, (document, name) in enumerate(zip(documents, called, strict=True)):
        for index, session in enumerate(document.sessions):
            named = session if session.name else msgspec.structs.replace(session, name=name)
            if session.id in taken:
                twice.append(f"{taken[session.id][0].name or session.id} ({name or 'again'})")
            else:
                taken[session.id] = (named, number, index)
    # of those that ended in the same second any fixed order will do
    ordered = sorted(taken.values(), key=lambda each: (each[0].recorded, each[0].id))
    place = {(number, index): new for new, (_, number, index) in enumerate(ordered)}
    sessions = _with_names([session for session, _, _ in ordered])
    merged = Results(
        inferbench=__version__,
        recorded=max((session.recorded for session in sessions), default=""),
        sessions=sessions,
        cells=_together(_placed(documents, place, "cells")),
        serving=tuple(_placed(documents, place, "serving")),
        onnx_ops=tuple(_placed(documents, place, "onnx_ops")),
    )
    said = [*_said(merged, twice), *_of_documents(documents, sessions, place)]
    absent = [*left_out, *(each for document in documents for each in document.left_out)]
    return msgspec.structs.replace(
        merged, notices=tuple(dict.fromkeys(said)), left_out=tuple(dict.fromkeys(absent))
    )


def _placed(documents: Sequence[Results], place: dict[tuple[int, int], int], what: str) -> list:  # type: ignore[type-arg]
    """Return the parts of all documents whose session was taken, in the order of sessions."""
    found = [
        msgspec.structs.replace(part, session=place[number, part.session])
        for number, document in enumerate(documents)
        for part in getattr(document, what)
        if (number, part.session) in place
    ]
    return sorted(found, key=lambda part: part.session)


def _together(cells: Iterable[CellResult]) -> tuple[CellResult, ...]:
    """Return cells by model, then by cell, each in the order in which it is met first."""
    models: dict[str, dict[str, list[CellResult]]] = {}
    for cell in cells:
        models.setdefault(cell.model, {}).setdefault(cell.id, []).append(cell)
    return tuple(each for ids in models.values() for same in ids.values() for each in same)


def _with_names(sessions: Sequence[SessionResult]) -> tuple[SessionResult, ...]:
    """Return sessions each of which has a name of its own."""
    named = []
    seen: Counter[str] = Counter()
    taken = {session.name for session in sessions}
    for session in sessions:
        name = session.name or str(session.host.get("cpu") or "session")
        seen[name] += 1
        while seen[name] > 1 and (again := f"{name} ({seen[name]})") in taken:
            seen[name] += 1
        name = again if seen[name] > 1 else name
        taken.add(name)
        named.append(msgspec.structs.replace(session, name=name))
    return tuple(named)


def _said(merged: Results, twice: Sequence[str]) -> list[str]:
    lines = []
    several = dict.fromkeys(cell.id for cell in in_several_sessions(merged))
    if several:
        lines.append(
            f"{counted(len(several), 'cell')} in more than one session, each shown with its"
            f" session: {first_of(list(several), _NAMED)}"
        )
    if twice:
        lines.append(f"the same session in several files is taken once: {', '.join(twice)}")
    return lines


def _of_documents(
    documents: Sequence[Results],
    sessions: Sequence[SessionResult],
    place: dict[tuple[int, int], int],
) -> list[str]:
    """Return what each session said at its end, with its name; what was merged before has names."""
    lines = []
    for number, document in enumerate(documents):
        own = len(document.sessions) == 1 and (number, 0) in place
        name = f"{sessions[place[number, 0]].name}: " if own else ""
        if own or len(document.sessions) > 1:
            lines += [f"{name}{notice}" for notice in document.notices]
    return lines
