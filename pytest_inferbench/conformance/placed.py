"""Where a cell's nodes ran and what they computed in: takes its run, gives facts and judgements.

Knows which budget applies; what a runtime tells of itself is its adapter's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pytest_inferbench.artifacts.fusion import is_told_of
from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.handles import Handle
from pytest_inferbench.judge.verdict import Judgement, judge_absolute
from pytest_inferbench.report.messages import first_of

_SHOWN = 8
_LESS_THAN_FP32 = ("tf32", "fp16", "bf16", "fp8")


class Placement(Handle):
    """What ran where, node by node."""

    kind = "placement"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the runtime tells: those of `backends.contract.PLACEMENT` that it knows.

        Raises:
            InferbenchError: They are not what a backend may tell (IB-642).
        """
        facts = self._run.placement()
        for name, value in facts.items():
            if not _is_well_formed(name, value):
                raise InferbenchError(
                    "IB-642",
                    f"{self._run.cell.backend} tells {name} = {value!r}, which is not the form of"
                    " that fact",
                    "docs/writing-a-backend.md says what each fact is.",
                )
        return facts

    @property
    def fallback(self) -> list[dict[str, str]]:
        """The compute nodes that ran elsewhere than asked.

        Raises:
            NotAsked: The runtime does not tell.
        """
        if "fallback" not in self.facts:
            raise NotAsked(f"{self._run.cell.backend} does not tell where its nodes run")
        nodes: list[dict[str, str]] = self.facts["fallback"]
        return nodes

    def judgements(self) -> list[Judgement]:
        """Judge the nodes that fell back, and the copies between devices.

        Raises:
            NotAsked: The runtime tells of neither.
        """
        copies = self.facts.get("memcpy_nodes")
        nodes = self.fallback if copies is None else self.facts.get("fallback")
        judgements = []
        if nodes is not None and (budget := self._budget("fallback_nodes")) is not None:
            named = [f"{n['op']} {n['node']} on {n['provider']}" for n in nodes]
            shown = first_of(named, _SHOWN)
            detail = f"not where they were asked to run: {shown}" if nodes else ""
            judgements.append(judge_absolute(budget, len(nodes), detail))
        if copies is not None and (budget := self._budget("memcpy_nodes")) is not None:
            judgements.append(judge_absolute(budget, copies, "copies between host and device"))
        return judgements

    def precision(self) -> list[str]:
        """Return faults: the runtime must report work at the precision that was asked for.

        Not all of it: shapes are computed in integers, and what a precision has no kernels for
        runs in a higher one. But fp32 means fp32: nothing may run in less.

        Raises:
            NotAsked: It does not tell, or says that it only stores values so.
        """
        asked, counts = self._run.cell.precision, self.facts.get("precisions")
        if "emulated" in self.facts:
            raise NotAsked(str(self.facts["emulated"]))
        if not counts:
            raise NotAsked(f"{self._run.cell.backend} does not tell what it computes in")
        less = any(counts.get(kind, 0) > 0 for kind in _LESS_THAN_FP32)
        if counts.get(asked, 0) > 0 and not (asked == "fp32" and less):
            return []
        ran = ", ".join(f"{number} in {kind}" for kind, number in counts.items())
        return [f"{asked} was asked for, and the runtime reports nodes computing: {ran}"]

    def figures(self) -> dict[str, float]:
        """Counts of nodes."""
        counts = self.facts.get("precisions", {})
        figures = {f"nodes_{kind}": float(number) for kind, number in counts.items()}
        if "fallback" in self.facts:
            figures["fallback_nodes"] = float(len(self.facts["fallback"]))
        if "memcpy_nodes" in self.facts:
            figures["memcpy_nodes"] = float(self.facts["memcpy_nodes"])
        return figures

    def details(self) -> dict[str, Any]:
        """Where nodes ran, and those that ran elsewhere than asked."""
        facts = self.facts
        return {
            "placement": {
                "nodes": dict(facts.get("placement", {})),
                "precisions": dict(facts.get("precisions") or {}),
                "fallback": [
                    {name: str(node[name]) for name in ("node", "op", "provider")}
                    for node in facts.get("fallback") or ()
                ],
                "memcpy_nodes": facts.get("memcpy_nodes"),
            }
        }

    def context(self) -> Mapping[str, str]:
        """Say where everything ran."""
        placement = self.facts.get("placement", {})
        ran = ", ".join(f"{number} on {where}" for where, number in placement.items())
        return {"nodes": ran} if ran else {}


def _is_well_formed(name: str, value: Any) -> bool:
    """Whether a fact has the form that docs/writing-a-backend.md gives it; unknown ones may be."""
    if name in ("placement", "precisions"):
        return isinstance(value, Mapping) and all(map(_is_count, value.values()))
    if name == "fallback":
        wanted = {"node", "op", "provider"}
        return isinstance(value, list) and all(
            isinstance(node, Mapping) and wanted <= set(node) for node in value
        )
    if name == "fused":
        return is_told_of(value)
    return name != "memcpy_nodes" or _is_count(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
