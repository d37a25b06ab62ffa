"""The same answers through the server: takes a cell's run; gives what a test holds, and faults.

The local cell runs the same artifact by the same runtime without a server. Over each protocol the
outputs are compared with its outputs, within the budgets of the cell's precision; and many clients
at once, each with data of its own, must each get the answer to their own.
"""

from __future__ import annotations

import dataclasses
import math
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_inferbench.conformance.contract import NotAsked, NotHere
from pytest_inferbench.conformance.probes import ROUNDING
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.handles import Similarity
from pytest_inferbench.judge.verdict import Judgement, Verdict, judge_absolute
from pytest_inferbench.partners import NoPartnerError, NoSuchPartnerError, local_of
from pytest_inferbench.serving.runs import Loaded, alike, shapes_of
from pytest_inferbench.serving.unlike import ALIKE, told_apart
from pytest_inferbench.settings.budgets import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_inferbench.accuracy.similarity import Similarity as Comparison
    from pytest_inferbench.bisect import Located
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.load.result import LoadResult
    from pytest_inferbench.tasks.base import Sample

CLIENTS = 16
ANSWERS_EACH = 2
"""Checked answers that a client must have had, on average, before nothing wrong means right."""

_LEAST_S = 1.0
_SLOWER = 1.5
"""How many times as long as alone, client by client, answers to many may take."""
_THIS_HOST = ("127.0.0.1", "localhost", "::1")


class Parity:
    """The cell's answers beside those that the same artifact gives without a server."""

    def __init__(self, run: CellRun) -> None:
        self._run = run

    @cached_property
    def local(self) -> CellRun:
        """The same artifact without a server.

        Raises:
            NotAsked: There is no such cell.
            NotHere: It cannot run here.
        """
        try:
            return local_of(self._run).run
        except NoSuchPartnerError as error:
            raise NotAsked(str(error)) from error
        except NoPartnerError as error:
            raise NotHere(str(error)) from error

    @cached_property
    def local_outputs(self) -> Sequence[Sample]:
        """What the model itself answers: whatever its task makes of that is the same."""
        try:
            return [self.local.infer(sample) for sample in self._run.inputs]
        finally:
            self.local.close()

    def over(self, protocol: str) -> ParityOver:
        """Return the comparison over a protocol, such as "grpc"."""
        return ParityOver(self._run, self, protocol)

    def together(self, clients: int = CLIENTS) -> list[str]:
        """Return which answers of many clients at once are not those to their own data.

        Raises:
            NotAsked: The model's data give no two answers that can be told apart.
        """
        tolerance = ROUNDING[self._run.cell.precision]
        sent = self._told_apart(tolerance, 2 * clients)
        with Loaded(self._run, self._run.opened["ran"], clients, sent) as loaded:
            wanted = [self.local_outputs[index] for index in sent]
            expected = loaded.save("expected", wanted)
            stretch_s = seconds_for(self._alone_s(sent[0]), clients)
            result = loaded.answers(expected, tolerance, stretch_s)
        return faults_of(result)

    def _told_apart(self, tolerance: float, most: int) -> list[int]:
        """Return which samples have answers that are not those of others, at most so many."""
        samples, outputs = alike(self._run.inputs), self.local_outputs
        if len(samples) < 2:
            raise NotAsked("the model's data has one sample of a kind: all send the same")
        if any(shapes_of(outputs[i]) != shapes_of(outputs[samples[0]]) for i in samples):
            raise NotAsked("its outputs are of another shape for each sample")
        chosen = told_apart(((i, outputs[i]) for i in samples), tolerance, most)
        if len(chosen) < 2:
            raise NotAsked(ALIKE)
        return chosen

    def _alone_s(self, index: int) -> float:
        """Return how long an answer takes while nobody else asks; the first may take longer."""
        sample, waits_s = self._run.inputs[index], []
        for _ in range(2):
            started_s = time.monotonic()
            self._run.infer(sample)
            waits_s.append(time.monotonic() - started_s)
        return min(waits_s)


def seconds_for(alone_s: float, clients: int) -> float:
    """Return how long many clients must ask so that each has enough answers.

    They may have to wait for each other, and the last answer of the stretch is not counted.

    Args:
        alone_s: How long one answer takes while nobody else asks.
        clients: How many ask at once.
    """
    return max(_LEAST_S, math.ceil((ANSWERS_EACH + 1) * clients * alone_s * _SLOWER))


def faults_of(result: LoadResult) -> list[str]:
    """Return which checked answers were not those due; too few of them are a fault too."""
    asked = result.requests + result.failed
    faults = [
        f"{count} of {asked} answers to {result.clients} clients: {reason}"
        for reason, count in result.failures.items()
    ]
    if not faults and asked < ANSWERS_EACH * result.clients:
        faults.append(
            f"{asked} answers to {result.clients} clients in {result.seconds:.1f} s, and"
            f" {ANSWERS_EACH} for each are needed to tell whether they get their own"
        )
    return faults


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
            self._parity.local_outputs,
            self._outputs,
            rtol=task.model.rtol,
            atol=task.model.atol,
        )

    @cached_property
    def _outputs(self) -> list[Sample]:
        """The outputs over the protocol, from the server that the cell has open.

        Raises:
            NotAsked: It cannot be asked so.
        """
        url = self._url(self._run.opened["ran"]["addresses"])
        fields = self._run.open_fields()
        options = {**fields["options"], "protocol": self._protocol, "url": url}
        with self._run.new_worker() as worker:
            try:
                worker.call("open", {**fields, "options": options})
            except InferbenchError as error:
                if error.code != "IB-815":  # a type that the protocol does not carry
                    raise
                raise NotAsked(error.message) from error
            return [
                self._run.as_numbers(worker.call("infer", {}, sample).arrays)
                for sample in self._run.inputs
            ]

    def _url(self, addresses: Mapping[str, str]) -> str:
        kind = "grpc" if self._protocol.startswith("grpc") else "http"
        if kind not in addresses:
            raise NotAsked(f"the server is not reached over {kind}")
        url = f"grpc://{addresses[kind]}" if kind == "grpc" else addresses[kind]
        host = urlsplit(url).hostname
        if self._protocol.endswith("-shm") and host not in _THIS_HOST:
            raise NotAsked(f"the server is on {host}, and memory is shared on one host alone")
        return url

    def judgements(self) -> list[Judgement]:
        """Judge the similarity as its precision's budgets ask, and that each element is right.

        A cosine does not hear a scale, and the same artifact has none to excuse.
        """
        judged = super().judgements()
        return judged if self.result.faults else [*judged, self._judged_error()]

    def _judged_error(self) -> Judgement:
        limit = ROUNDING[self._run.cell.precision]
        text = f"{limit:g} of the largest value"
        budget = Budget("parity_error", "absolute", limit, "lower", "ratio", text, "default")
        judged = judge_absolute(budget, self.error, f"over {self._protocol}")
        code = "IB-855" if judged.verdict is Verdict.REGRESSED else judged.code
        return dataclasses.replace(judged, code=code)

    @cached_property
    def error(self) -> float:
        """The largest difference of any output, as a share of its largest value."""
        from pytest_inferbench.conformance.exam import relative_error

        pairs = zip(self._parity.local_outputs, self._outputs, strict=True)
        return max(relative_error(one[name], other[name]) for one, other in pairs for name in one)

    def figures(self) -> dict[str, float]:
        """The smallest cosine to the local cell's outputs."""
        if self.result.faults:
            return {}
        return {
            f"parity_{self._protocol}_cosine": self.result.worst.cosine.min,
            f"parity_{self._protocol}_error": self.error,
        }

    def context(self) -> Mapping[str, str]:
        """Say what is compared with what."""
        return {"compared": f"over {self._protocol} with {self._parity.local.cell}, no server"}

    def located(self) -> Located | None:
        """Return nothing: the layers are those of the local cell."""
        return None

    def details(self) -> dict[str, Any]:
        """The protocol."""
        return {"protocol": self._protocol}
