"""TensorRT without a GPU: takes a graph, gives whether it compiles for each compute capability.

TensorRT for RTX parses and compiles on any machine; what comes out is measured, never run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pytest_inferbench.backends.contract import Array, Backend, TensorSpec, unknown_option
from pytest_inferbench.backends.trt_engine import BUILD_OPTIONS, EngineBuilder, build_request
from pytest_inferbench.backends.trt_flavour import (
    DISTRIBUTIONS,
    default_capabilities,
    find_flavour,
)
from pytest_inferbench.backends.trt_network import specs
from pytest_inferbench.errors import InferbenchError

_RECIPE_OPTIONS = ("fused_nms",)


class TensorRtBuild(Backend):
    """Builds by TensorRT for RTX; opening is all that it can do.

    Options: ``compute_capabilities`` (8.0, 8.6, 8.9 and 12.0; the last two at fp8), ``profiles``,
    ``workspace_mib``, ``builder_level``, ``timing_cache``, ``plugins``. Those that say how its
    graph is made are known and do nothing here.
    """

    distributions: ClassVar[Sequence[str]] = DISTRIBUTIONS
    runs: ClassVar[bool] = False

    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        request = build_request(precision, _of_builds(options))
        flavour = find_flavour(only_rtx=True)
        capabilities = request.capabilities or default_capabilities(precision)
        for capability in capabilities:  # misspelt ones are found before the first minute is spent
            flavour.capability(capability)
        builder = EngineBuilder(flavour, Path(artifact), request)
        self._facts = {**builder.facts(), "capabilities": built_for(builder, capabilities)}
        return specs(builder.parsed.inputs), specs(builder.parsed.outputs)

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002
        raise InferbenchError(
            "IB-360",
            "trt-build only builds: without a GPU nothing can be run",
            "Run the model on the backend trt, on a machine with a GPU.",
        )

    def _close(self) -> None:
        pass  # the builder is gone already

    def _describe(self) -> Mapping[str, Any]:
        return {"provider": f"{self._facts['flavour']} {self._facts['version']}", **self._facts}


def _of_builds(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the builder is told; refuse what neither it nor the recipes know (IB-323)."""
    for key in options:
        if key not in (*BUILD_OPTIONS, *_RECIPE_OPTIONS):
            raise unknown_option(key, (*BUILD_OPTIONS, *_RECIPE_OPTIONS))
    return {key: value for key, value in options.items() if key in BUILD_OPTIONS}


def built_for(builder: EngineBuilder, capabilities: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Build for every capability; return the size and time of each.

    Raises:
        InferbenchError: Some do not compile: which, why, and which do (IB-365).
    """
    built: dict[str, dict[str, Any]] = {}
    failed: dict[str, InferbenchError] = {}
    for capability in capabilities:
        started = time.perf_counter()
        try:
            plan = builder.build([capability]).plan
        except InferbenchError as error:
            failed[capability] = error
            continue
        elapsed_ms = (time.perf_counter() - started) * 1e3
        built[capability] = {"plan_bytes": len(plan), "build_ms": round(elapsed_ms, 1)}
    if failed:
        first = next(iter(failed.values()))
        raise InferbenchError(
            first.code,
            f"{first.message}\n    does not compile for {', '.join(failed)};"
            f" compiles for {', '.join(built) or 'none'}",
            first.hint,
        )
    return built
