"""What load is made on: takes a plan, gives clients with their requests made beforehand.

A target is made once a process, a client once a user. Only `exchange` is timed; `check` is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pytest_inferbench.load.http_wire import Reply
from pytest_inferbench.load.inputs import unlike
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.wire import RequestError

if TYPE_CHECKING:
    from pytest_inferbench.load.tensors import Array


class Client(Protocol):
    """One that asks, and waits for the answer before it asks again."""

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of each of its requests."""

    def exchange(self, number: int) -> Reply:
        """Make a request of one of its samples.

        Raises:
            RequestError: It was not answered well.
        """

    def check(self, number: int, reply: Reply) -> None:
        """Compare an answer with the one that the sample must have.

        Raises:
            RequestError: It is another.
        """

    def close(self) -> None:
        """End its connection."""


class Target(Protocol):
    """A server, with all that is to be asked of it."""

    def client(self, number: int) -> Client:
        """Return a client of its own number, counted from 0 in each process."""

    def close(self) -> None:
        """Give back what is held beyond connections."""


def target_of(plan: LoadPlan, clients: int) -> Target:
    """Return the target of a plan, its requests made.

    Args:
        plan: The plan.
        clients: How many clients this process will have at most.

    Raises:
        InferbenchError: The server does not answer, or does not serve what is planned.
    """
    if plan.service == "http_service":
        from pytest_inferbench.load.service_target import ServiceTarget

        return ServiceTarget(plan, clients)
    from pytest_inferbench.load.triton_target import TritonTarget

    return TritonTarget(plan, clients)


def own_samples(client: int, clients: int, samples: int) -> list[int]:
    """Return the samples of a client: its own alone, where there are enough."""
    if samples >= clients:
        return list(range(client % clients, samples, clients))
    return [client % samples]


def compare(
    reply: dict[str, Array], expected: Sequence[dict[str, Array]], sample: int, plan: LoadPlan
) -> None:
    """Compare an answer with the expected one, and name whose it is if it is another's.

    Raises:
        RequestError: It is another.
    """
    how = unlike(reply, expected[sample], plan.tolerance)
    if not how:
        return
    others = (each for each in expected if each is not expected[sample])
    if any(not unlike(reply, each, plan.tolerance) for each in others):
        raise RequestError("wrong answer: it belongs to another request")
    raise RequestError(f"wrong answer: {how}")
