"""Runs ONNX files on the reference implementation that comes with the onnx package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_inferbench.backends.contract import Array, Backend, TensorSpec, unknown_option


class OnnxReference(Backend):
    """The evaluator of `onnx.reference`: slow, and simple enough to be believed."""

    distributions = ("onnx",)

    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[list[TensorSpec], list[TensorSpec]]:
        from onnx.reference import ReferenceEvaluator

        for option in options:
            raise unknown_option(option, ())
        self._evaluator = ReferenceEvaluator(artifact)
        graph = self._evaluator.proto_.graph
        weights = {each.name for each in graph.initializer}
        inputs = [_spec(each) for each in graph.input if each.name not in weights]
        return inputs, [_spec(each) for each in graph.output]

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._evaluator.run(names, inputs), strict=True))

    def _close(self) -> None:
        del self._evaluator

    def _describe(self) -> Mapping[str, Any]:
        return {"device": "cpu", "fallback": []}  # there is nowhere else that it could run


def _spec(value: Any) -> TensorSpec:
    from onnx.helper import tensor_dtype_to_np_dtype

    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    shape = (d.dim_value if d.HasField("dim_value") else d.dim_param or -1 for d in dims)
    return TensorSpec(value.name, tensor_dtype_to_np_dtype(tensor.elem_type).name, tuple(shape))
