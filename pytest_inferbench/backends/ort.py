"""ONNX Runtime: takes an ONNX file and session options, gives outputs; knows no budget.

The provider comes with the options. Whatever runs instead of the one that was asked for is an
error: a session that silently fell back to another provider is never handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pytest_inferbench.backends.contract import Array, Backend, TensorSpec
from pytest_inferbench.backends.ort_options import ERRORS_ONLY, session_options
from pytest_inferbench.errors import InferbenchError

_DTYPES = {"float": "float32", "double": "float64", "string": "object"}


class OnnxRuntime(Backend):
    """An `InferenceSession` on one provider.

    Options: ``provider``, ``provider_options``, ``session_config`` (key to value), and of
    `SessionOptions` the threads, memory switches, ``graph_optimization_level`` ("all",
    "extended", "basic", "disable_all") and ``execution_mode`` ("sequential", "parallel").
    """

    distributions: ClassVar[Sequence[str]] = (
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-openvino",
        "onnxruntime-directml",
    )

    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        import onnxruntime as ort

        ort.disable_telemetry_events()
        ort.set_default_logger_severity(ERRORS_ONLY)
        provider = str(options.get("provider", "CPUExecutionProvider"))
        if provider not in ort.get_available_providers():
            raise InferbenchError(
                "IB-324",
                f"this ONNX Runtime {ort.__version__} has no {provider}",
                f"It has: {', '.join(ort.get_available_providers())}.",
            )
        if not Path(artifact).is_file():
            raise InferbenchError("IB-326", f"there is no file {artifact}")
        provider_options = dict(options.get("provider_options", {}))
        if provider == "CUDAExecutionProvider" and precision == "fp32":
            provider_options.setdefault("use_tf32", "0")
        chosen = session_options(ort, options)
        try:
            self._session = ort.InferenceSession(
                artifact, chosen, [(provider, provider_options)], enable_fallback=0
            )
        except Exception as error:
            raise InferbenchError(
                "IB-326", f"ONNX Runtime {ort.__version__} could not load {artifact}: {error}"
            ) from error
        self._session.disable_fallback()
        ran = self._session.get_providers()
        if ran[0] != provider:
            raise InferbenchError(
                "IB-324",
                f"{provider} was asked for and {ran[0]} ran instead",
                "Its libraries or device are missing: see the worker's last lines.",
            )
        return _specs(self._session.get_inputs()), _specs(self._session.get_outputs())

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._session.run(names, inputs), strict=True))

    def _prepare(self, inputs: dict[str, Array]) -> Callable[[], object]:
        run, names = self._session.run, [spec.name for spec in self.outputs]
        return lambda: run(names, inputs)

    def _close(self) -> None:
        del self._session

    def _describe(self) -> Mapping[str, Any]:
        providers = self._session.get_providers()
        chosen = self._session.get_session_options()
        return {
            "provider": providers[0],
            "providers": providers,
            "intra_op_num_threads": chosen.intra_op_num_threads,
            "graph_optimization_level": chosen.graph_optimization_level.name,
        }


def _specs(arguments: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(each.name, _dtype(each.type), tuple(-1 if d is None else d for d in each.shape))
        for each in arguments
    )


def _dtype(declared: str) -> str:
    if not declared.startswith("tensor("):
        raise InferbenchError("IB-326", f"{declared} is not a tensor, and only tensors are run")
    name = declared[len("tensor(") : -1]
    return _DTYPES.get(name, name)
