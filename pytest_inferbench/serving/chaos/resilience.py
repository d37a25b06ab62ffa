"""What a test holds for a cell's resilience: takes the cell's run, gives questions to ask.

Each question has a server of its own, started by this process as the cell's variant says and ended
with the question. Where the cell's server is somebody else's, only what does not break it is asked.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.conformance.probes import ROUNDING
from pytest_inferbench.serving.chaos.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.serving.chaos.stage import Staging

_SAMPLES = 12
"""Of which some may be answered alike: then fewer are asked for."""


class Resilience:
    """The questions that one cell's server is asked."""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    def stub_killed(self) -> Seen:
        """The process that runs the model is killed under load; it is noticed and mended."""
        from pytest_inferbench.serving.chaos.stub import stub_killed

        return stub_killed(self._staging)

    def server_killed(self) -> Seen:
        """The server is killed under load and started again; nothing of the first is left."""
        from pytest_inferbench.serving.chaos.restart import server_killed

        return server_killed(self._staging)

    def reloaded(self) -> Seen:
        """The model is loaded again under load; nobody gets a wrong answer, or none."""
        from pytest_inferbench.serving.chaos.reload import reloaded

        return reloaded(self._staging)

    def malformed(self) -> Seen:
        """Hundreds of malformed requests are refused, and the server lives."""
        from pytest_inferbench.serving.chaos.attack import malformed_requests

        return malformed_requests(self._staging)

    def giants(self) -> Seen:
        """Requests that are large to read are refused, and the server lives."""
        from pytest_inferbench.serving.chaos.giants import giants

        return giants(self._staging)

    def slow_clients(self) -> Seen:
        """A hundred slow clients hold nobody up."""
        from pytest_inferbench.serving.chaos.slow import slow_clients

        return slow_clients(self._staging)

    def crowd(self) -> Seen:
        """A thousand connections at once are all answered."""
        from pytest_inferbench.serving.chaos.crowd import crowd

        return crowd(self._staging)

    def overflow(self) -> Seen:
        """A bounded queue refuses what it cannot hold, properly."""
        from pytest_inferbench.serving.chaos.overflow import queue_overflow

        return queue_overflow(self._staging)

    @cached_property
    def _staging(self) -> Staging:
        return staging_of(self._run)


def staging_of(run: CellRun) -> Staging:
    """Return what a server for a cell is made of.

    Raises:
        NotAsked: The cell's server is reached by gRPC alone, or all of its data are the same.
        InferbenchError: There is no server on this host, and none can be installed.
    """
    from pytest_inferbench.backends.triton_options import read_options
    from pytest_inferbench.serving.chaos.stage import Staging

    fields = run.open_fields()
    chosen = read_options(fields["options"])
    inputs = different(run.inputs)
    tolerance = ROUNDING[run.cell.precision]
    if not chosen.url:
        path = Path(fields["artifact"])
        return Staging(inputs, tolerance, chosen.installation, path, chosen.variant)
    if not chosen.url.startswith("http"):
        raise NotAsked("the server is reached by gRPC alone: its HTTP is what is asked")
    return Staging(inputs, tolerance, url=chosen.url, model=chosen.model)


def different(samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return some of a model's data that are not the same, and have one shape.

    Raises:
        NotAsked: There is but one: an answer to the wrong caller would not be seen.
    """
    import numpy as np

    found: list[Mapping[str, Any]] = []
    for sample in samples:
        same_shape = not found or all(
            array.shape == found[0][name].shape for name, array in sample.items()
        )
        is_new = all(
            any(not np.array_equal(array, other[name]) for name, array in sample.items())
            for other in found
        )
        if same_shape and is_new:
            found.append(sample)
        if len(found) == _SAMPLES:
            break
    if len(found) < 2:
        raise NotAsked(
            "the model has one sample of data: an answer to the wrong caller is not seen"
        )
    return found
