"""Requests that are small to send and large to read: does the server outlive them?

Each has a server of its own, for some versions die of one: JSON that is nested deeper than a stack
is, and a body in a great many chunks. A version that is known to die of it is told as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytest_inferbench.serving.chaos.malformed import REFUSALS, Good
from pytest_inferbench.serving.chaos.seen import Seen
from pytest_inferbench.serving.chaos.stage import Stage, Staging, staged, wait_until_gone
from pytest_inferbench.serving.chaos.wire import Ending, exchange, request_of

DEPTHS = (1_000, 100_000, 1_000_000)
CHUNKS = (1_000, 100_000, 1_000_000)
_ANSWERED_S = 15.0
_ENDS_S = 1.0


@dataclass(frozen=True)
class Giant:
    """A kind of request, by how large it is.

    Attributes:
        sizes: In the order that they are tried.
        request: The bytes for a size.
        known_to: The last version of Triton that is known to die of it.
        reference: Where that is written.
    """

    sizes: tuple[int, ...]
    request: Callable[[Good, int], bytes]
    known_to: str
    reference: str


def nested(good: Good, depth: int) -> bytes:
    """Return a request whose JSON is lists in lists."""
    content = b'{"inputs":' + b"[" * depth + b"]" * depth + b"}"
    return request_of(good.path, content, {"Content-Type": "application/json"})


def chunked(good: Good, count: int) -> bytes:
    """Return a request whose body comes in chunks of one byte, and is no JSON."""
    head = f"POST {good.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + b"1\r\nA\r\n" * count + b"0\r\n\r\n"


GIANTS: Mapping[str, Giant] = {
    "nested JSON": Giant(
        DEPTHS, nested, "2.68.0", "pull request 156 of triton-inference-server/common"
    ),
    "chunks of a byte": Giant(CHUNKS, chunked, "2.59.0", "CVE-2025-23310 and CVE-2025-23311"),
}
"""Name -> what is sent."""


def giants(staging: Staging) -> Seen:
    """Send each kind of giant, growing, until the server dies or the largest was refused."""
    faults: list[str] = []
    deaths: list[str] = []
    figures: dict[str, float] = {}
    for name, giant in GIANTS.items():
        with staged(staging) as stage, stage.asker() as asker:
            _ = stage.process  # somebody else's server is not brought down
            version = str(stage.server.control.metadata().get("version", ""))
            good = Good(asker.path, asker.bodies[0])
            died_at, endings = _send(stage, giant, good)
            figures[f"{name.replace(' ', '_')}_withstood"] = float(
                max((size for size in endings if size != died_at), default=0)
            )
            if died_at:
                said = f"the server ({version}) dies of {name}, {died_at} of them"
                if is_up_to(version, giant.known_to):
                    deaths.append(f"{said}, as versions to {giant.known_to} do: {giant.reference}")
                else:
                    faults.append(said)
                continue
            faults += [
                f"{name}, {size} of them: {ending}"
                for size, ending in endings.items()
                if not _is_refusal(ending)
            ]
            if not (reply := asker.ask(0)).is_right:
                faults.append(f"after {name} a good request: {reply.wrong or reply.said}")
    return Seen(tuple(faults), (), figures, tuple(deaths))


def _send(stage: Stage, giant: Giant, good: Good) -> tuple[int, dict[int, Ending]]:
    """Return the size that the server died of, or 0, and how each ended."""
    endings: dict[int, Ending] = {}
    for size in giant.sizes:
        request = giant.request(good, size)
        ending = exchange(stage.address, request, half_close=False, within_s=_ANSWERED_S)
        endings[size] = ending
        if ending.status is None and wait_until_gone(stage.process, _ENDS_S):
            return size, endings
    return 0, endings


def _is_refusal(ending: Ending) -> bool:
    """Whether it was refused; 500 too, for which the malformed requests have a word."""
    return ending.status in REFUSALS or ending.status == 500 or ending.how == "closed"


def is_up_to(version: str, last: str) -> bool:
    """Whether a version such as "2.51.0" is another, or older; one that cannot be read is not."""
    try:
        ours, theirs = (tuple(map(int, each.split(".")[:3])) for each in (version, last))
    except ValueError:
        return False
    return ours <= theirs
