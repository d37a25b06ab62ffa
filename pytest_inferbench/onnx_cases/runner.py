"""Runs cases on a backend: takes a cell and cases, gives outcomes; knows nothing of baselines.

One worker serves a backend's cases in turn. A case that ends it, or hangs, has its outcome by that,
and the next one gets a new worker.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pytest_inferbench.backends.registry import users_options
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.onnx_cases import baseline
from pytest_inferbench.onnx_cases.outcomes import (
    Kind,
    Outcome,
    compared,
    ended_early,
    fell_back,
    one_line,
)
from pytest_inferbench.onnx_cases.tensors import Mismatch, cannot_compare, compare
from pytest_inferbench.worker.protocol import pack_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_inferbench.gate import Gate
    from pytest_inferbench.matrix import Cell
    from pytest_inferbench.onnx_cases.index import Case, DataSet
    from pytest_inferbench.onnx_cases.outcomes import Earlier
    from pytest_inferbench.onnx_cases.tensors import Array
    from pytest_inferbench.worker.client import AnyWorker, Reply

_CRASHED = frozenset({"IB-301", "IB-303"})
_TIMED_OUT = frozenset({"IB-302"})
_GONE = frozenset({"IB-306"})
_LEAST = "test_relu"  # what every backend must be able to open
_OLDEST_IR = 7
_IR_FIELD = 0x08  # the first field of a ModelProto, a varint


class CaseRun:
    """Everything that one process does with the cases of one cell."""

    def __init__(self, gate: Gate, cell: Cell) -> None:
        self.gate, self.cell = gate, cell
        self.info = gate.catalog[cell.backend]
        self._worker: AnyWorker | None = None
        self._broken: InferbenchError | None = None

    @property
    def version(self) -> str:
        """The runtime and its version, such as "onnxruntime 1.32.0"."""
        return self._facts[0]

    @cached_property
    def earlier(self) -> Mapping[str, Earlier]:
        """What is recorded for each case, in the version that this one is compared with.

        Raises:
            InferbenchError: The record cannot be trusted.
        """
        file = baseline.read(self.gate.settings.baselines, self.cell.hardware)
        return baseline.earlier_of(file.cells.get(self.cell.baseline_key, {}), self.version)

    def run(self, case: Case) -> Outcome:
        """Run a case.

        Raises:
            InferbenchError: No worker could be had, or the backend opens no model at all (IB-451).
        """
        if case.info.not_tensors:
            return Outcome(Kind.UNSUPPORTED, f"{case.info.not_tensors}: adapters take tensors")
        _, most_ir = self._facts
        ir = min(case.info.ir, most_ir)
        note = f"IR {case.info.ir} lowered to {ir}" if ir < case.info.ir else ""
        try:
            reply = self._call(with_ir(case.model, ir), case.sets)
        except InferbenchError as error:
            if error.code not in _CRASHED | _TIMED_OUT:
                raise
            kind = Kind.CRASHED if error.code in _CRASHED else Kind.TIMED_OUT
            return Outcome(kind, one_line(error.message), note=note)
        ended = _outcome(case, reply)
        return Outcome(ended.kind, ended.detail, ended.max_error, note)

    def close(self) -> None:
        """Close the worker, if it is open."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    @cached_property
    def _facts(self) -> tuple[str, int]:
        """The runtime's version, and the newest IR version that it takes.

        Found with the least of models, so that a backend that opens nothing here is an error, and
        not two thousand cases that it does not support.
        """
        self._refuse_if_broken()
        index = self.gate.onnx_index
        model = index.read(_LEAST).model
        newest = max(case.ir for case in index.cases.values())
        try:
            for ir in range(newest, _OLDEST_IR - 1, -1):
                reply = self._call(with_ir(model, ir), [], with_versions=True)
                if reply.fields["stage"] == "done":
                    return self._version(reply.fields["versions"]), ir
            raise InferbenchError(
                "IB-451",
                f"{self.cell.backend} cannot open even the model of {_LEAST}:"
                f" {one_line(reply.fields['error']['message'])}",
                "No case was run. Is the runtime's library or device missing?",
            )
        except InferbenchError as error:
            self._broken = error
            raise

    def _version(self, versions: Mapping[str, str]) -> str:
        own = {name: each for name, each in versions.items() if name in self.info.distributions}
        named = own or {name: each for name, each in versions.items() if name != "numpy"}
        text = ", ".join(f"{name} {each}" for name, each in sorted(named.items()))
        return text or self.cell.backend

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            first = self._broken
            raise InferbenchError(
                first.code, f"not run, for the backend broke before: {first.message}", first.hint
            )

    def _call(self, model: Array, sets: Sequence[DataSet], with_versions: bool = False) -> Reply:
        self._refuse_if_broken()
        if self._worker is None:
            try:
                self._worker = self.gate.launch(self.cell.environment, [self.info.adapter or ""])
            except InferbenchError as error:
                self._broken = error
                raise
        users = users_options(self.cell.backend, self.gate.settings.backends)
        fields = {
            "backend_module": self.info.adapter,
            "options": {**self.info.options_on(self.cell.device), **users},
            "precision": self.cell.precision,
            "sets": len(sets),
            "with_versions": with_versions,
        }
        arrays = {"model": model, **pack_samples([each.inputs for each in sets])}
        waiting = self.gate.progress(f"{self.cell}: a case")
        try:
            return self._worker.call("run_case", fields, arrays, on_wait=waiting)
        except InferbenchError as error:
            if error.code in _CRASHED | _TIMED_OUT | _GONE:
                self.close()
            raise
        except BaseException:  # a time limit of another plugin's: the worker is gone with the call
            self.close()
            raise


def _outcome(case: Case, reply: Reply) -> Outcome:
    fields = reply.fields
    elsewhere = fell_back(fields.get("ran", {}))
    if elsewhere is not None:
        return Outcome(Kind.UNSUPPORTED, elsewhere)
    if "error" in fields:
        return ended_early(fields["stage"], fields["error"])
    types = {type_name for each in case.sets for type_name in each.types.values()}
    unreadable = "; ".join(filter(None, map(cannot_compare, sorted(types))))
    if unreadable:
        return Outcome(Kind.UNSUPPORTED, f"by the harness: {unreadable}")
    mismatches: dict[str, Mismatch] = {}
    for number, each in enumerate(case.sets):
        for name, expected in each.expected.items():
            key = f"{number}/{name}"
            if key not in reply.arrays:
                mismatches[name] = Mismatch("it is missing")
                continue
            found = compare(
                expected,
                each.types[name],
                reply.arrays[key],
                fields["types"][name],
                case.rtol,
                case.atol,
            )
            if found is not None:
                mismatches[name] = found
    return compared(mismatches)


def with_ir(model: Array, ir: int) -> Array:
    """Return a model's bytes with another IR version.

    It is the first field that protobuf writes, and fits in one byte.
    """
    if model[0] != _IR_FIELD or model[1] > 0x7F or not 0 < ir <= 0x7F:
        raise ValueError("a model that does not begin with its IR version")
    changed = model.copy()
    changed[1] = ir
    return changed
