"""Meeting a service: takes its options, gives what it tells of itself and what it takes and gives.

Asks for its health, then for its metadata unless its health told them. What it tells must agree
with what was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_inferbench.backends.http_connection import Answer, Connections
from pytest_inferbench.backends.http_options import (
    TEXTS_TO_VECTORS,
    HttpOptions,
    Signature,
    contradiction,
    read_signature,
)
from pytest_inferbench.errors import InferbenchError

_NOT_THERE = frozenset({404, 405, 501})


def greet(connections: Connections, chosen: HttpOptions, precision: str) -> dict[str, Any]:
    """Return what the service tells of itself, once it says that it is well.

    Raises:
        InferbenchError: It is not healthy (IB-383), or runs at another precision (IB-388).
    """
    health = connections.ask("GET", chosen.health, chosen.headers)
    if health.status != 200:
        raise InferbenchError(
            "IB-383",
            f"the service is not healthy: GET {chosen.base}{chosen.health} answered "
            f"{health.status}: {health.head!r}",
            "Wait until it is, or name the right path with the option health.",
        )
    told = _facts(health)
    if "inputs" not in told and chosen.style != "openai":
        metadata = connections.ask("GET", chosen.metadata, chosen.headers)
        if metadata.status == 200:
            told |= _facts(metadata)
        elif metadata.status not in _NOT_THERE:
            raise bad_status(f"GET {chosen.base}{chosen.metadata}", metadata)
    if str(told.get("precision", precision)).lower() != precision:
        raise InferbenchError(
            "IB-388",
            f"{chosen.url.geturl()} runs {told['precision']!r}, and {precision} was asked for",
            "A service runs what it runs: ask for that precision, or name another URL.",
        )
    return told


def signature_of(chosen: HttpOptions, told: Mapping[str, Any]) -> Signature:
    """Return inputs and outputs: as the service tells them, else as the option does.

    Raises:
        InferbenchError: Nobody tells them, they differ, or the style cannot carry them (IB-387).
    """
    url = chosen.url.geturl()
    # An OpenAI service takes texts, whatever the model inside it takes.
    theirs = read_signature(told, url) if chosen.style != "openai" else None
    ours = read_signature(chosen.signature, "the option signature") if chosen.signature else None
    differs = contradiction(theirs, ours) if theirs and ours else ""
    if differs:
        raise InferbenchError(
            "IB-387", f"{url} is not what the model declares: {differs}", "Is it the same model?"
        )
    known = theirs or ours or (TEXTS_TO_VECTORS if chosen.style == "openai" else None)
    if known is None:
        raise InferbenchError(
            "IB-387",
            f"{url} does not tell its inputs and outputs, and none are given",
            "Let GET /metadata tell them, or give the option signature.",
        )
    if chosen.style != "infer" and max(map(len, known)) != 1:
        raise InferbenchError(
            "IB-387",
            f"the style {chosen.style!r} has one input and one output, and {url} has "
            f"{len(known[0])} and {len(known[1])}",
            'Use style = "infer".',
        )
    return known


def bad_status(where: str, answer: Answer) -> InferbenchError:
    """Return the error for an answer whose status is not 200 (IB-384)."""
    target = answer.headers.get("Location") if 300 <= answer.status < 400 else None
    hint = f"It redirects to {target!r}, which is not followed: name that URL." if target else ""
    return InferbenchError(
        "IB-384",
        f"{where} answered {answer.status}: {answer.head!r}",
        hint or "See the service's own log.",
    )


def _facts(answer: Answer) -> dict[str, Any]:
    """Return a JSON object; nothing where the body is anything else, such as `ok`."""
    try:
        fields = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
