"""The same answers through the server: takes a cell's run; gives what a test holds, and faults.

The local cell runs the same artifact by the same runtime without a server. Over each protocol the
outputs are compared with its outputs, within the budgets of the cell's precision; and many clients
at once, each with data of its own, must each get the answer to their own.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.conformance.probes import ROUNDING
from pytest_inferbench.handles import Similarity
from pytest_inferbench.partners import NoPartnerError, local_of
from pytest_inferbench.serving.runs import Loaded, save_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_inferbench.accuracy.similarity import Similarity as Comparison
    from pytest_inferbench.bisect import Located
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.tasks.base import Sample

CLIENTS = 16
_SECONDS = 1.0
_WHILE_OPEN = "url"


class Parity:
    """The cell's answers beside those that the same artifact gives without a server."""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    @cached_property
    def local(self) -> CellRun:
        """The same artifact without a server.

        Raises:
            NotAsked: It cannot run here.
        """
        try:
            return local_of(self._run).run
        except NoPartnerError as error:
            raise NotAsked(str(error)) from error

    @cached_property
    def local_outputs(self) -> Sequence[Sample]:
        """What it answers to the model's data."""
        outputs = self.local.outputs
        self.local.close()
        return outputs

    def over(self, protocol: str) -> ParityOver:
        """Return the comparison over a protocol, such as "grpc"."""
        return ParityOver(self._run, self, protocol)

    def together(self, clients: int = CLIENTS) -> list[str]:
        """Return which answers of many clients at once are not those to their own data.

        Raises:
            NotAsked: The local cell cannot run here, or there is too little data.
        """
        outputs = self.local_outputs
        inputs = self._run.inputs
        if len(inputs) < 2:
            raise NotAsked("the model has one sample of data, so every client would send the same")
        opened = self._run.opened
        with Loaded(self._run, opened["ran"], clients) as loaded:
            expected = save_samples(Path(str(loaded.plan.inputs)).with_name("out.npz"), outputs)
            burst = loaded.burst(
                _SECONDS,
                verify=True,
                expected=expected,
                samples=len(inputs),
                tolerance=_tolerance(self._run.cell.precision),
            )
        return [
            f"{count} of {burst.requests} answers to {clients} clients: {reason}"
            for reason, count in burst.failures.items()
        ]


class ParityOver(Similarity):
    """How close the outputs over one protocol are to the local cell's."""

    kind = "parity"

    def __init__(self, run: CellRun, parity: Parity, protocol: str) -> None:
        super().__init__(run)
        self._parity, self._protocol = parity, protocol

    @cached_property
    def result(self) -> Comparison:
        """The comparison itself, with its faults."""
        from pytest_inferbench.accuracy.similarity import compare

        task = self._run.task
        return compare(
            task.tensors(self._parity.local_outputs),
            task.tensors(self._outputs),
            rtol=task.model.rtol,
            atol=task.model.atol,
        )

    @cached_property
    def _outputs(self) -> list[Sample]:
        """The outputs over the protocol, from the server that the cell has open."""
        addresses = self._run.opened["ran"]["addresses"]
        over_grpc = self._protocol.startswith("grpc")
        if ("grpc" if over_grpc else "http") not in addresses:
            raise NotAsked(f"the server is not reached by what {self._protocol} needs")
        fields = self._run.open_fields()
        url = f"grpc://{addresses['grpc']}" if over_grpc else addresses["http"]
        options = {**fields["options"], "protocol": self._protocol, _WHILE_OPEN: url}
        with self._run.new_worker() as worker:
            worker.call("open", {**fields, "options": options})
            return [
                self._run.as_numbers(worker.call("infer", {}, sample).arrays)
                for sample in self._run.inputs
            ]

    def figures(self) -> dict[str, float]:
        """The smallest cosine to the local cell's outputs."""
        if self.result.faults:
            return {}
        return {f"parity_{self._protocol}_cosine": self.result.worst.cosine.min}

    def context(self) -> Mapping[str, str]:
        """Say what is compared with what."""
        return {"compared": f"over {self._protocol} with {self._parity.local.cell}, no server"}

    def located(self) -> Located | None:
        """Return nothing: the layers are those of the local cell."""
        return None

    def details(self) -> dict[str, Any]:
        """The protocol."""
        return {"protocol": self._protocol}


def _tolerance(precision: str) -> float:
    """How far an answer may be off, as a share of the largest value: what rounding does."""
    return ROUNDING[precision]
