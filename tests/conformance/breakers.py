"""Backends that run on ONNX Runtime and break one promise each, told by their options.

A project's conftest registers them under the names of what they break.
"""

from __future__ import annotations

import os
import time

import numpy as np

from pytest_inferbench.backends.contract import Backend, TensorSpec


class Breaker(Backend):
    """Breaks what `options["breaks"]` names."""

    kept: list[np.ndarray] = []  # noqa: RUF012 - of the class on purpose: it outlives instances

    def _open(self, artifact, options, precision):
        self.deed = options["breaks"].replace("-", "_")
        self.buffers, self.running = {}, 0
        self.scratch, self.share = {}, self._share_of(artifact)
        if self.deed == "leaks":
            self.kept.append(np.ones(2**18, np.float32))  # 1 MiB, touched
        import onnxruntime as ort

        self._session = ort.InferenceSession(artifact, providers=["CPUExecutionProvider"])
        return _specs(self._session.get_inputs()), _specs(self._session.get_outputs())

    def _close(self):
        del self._session

    def _share_of(self, artifact):
        """Another build is another file: one that a conformance test built again."""
        return 1.5 if self.deed == "builds_otherwise" and "inferbench-again-" in artifact else 1

    def infer(self, inputs):
        if self.deed == "ignores_strides":
            inputs = {name: _misread(array) for name, array in inputs.items()}
        outputs = super().infer(inputs)
        if self.deed == "reuses_its_output":
            for name, array in outputs.items():
                buffer = self.buffers.setdefault((name, array.shape, array.dtype), array)
                buffer[...] = array
                outputs[name] = buffer
        return outputs

    def _infer(self, inputs):
        outputs = self._run(inputs)
        if self.share != 1:
            outputs = {name: array * self.share for name, array in outputs.items()}
        return getattr(self, f"_{self.deed}", lambda _inputs, outputs: outputs)(inputs, outputs)

    def _run(self, inputs):
        if self.deed == "mixes_up_threads":
            self.scratch = inputs
            time.sleep(1e-4)
            inputs = self.scratch
        none = any(array.shape[:1] == (0,) for array in inputs.values())
        if none and self.deed == "crashes_on_none":
            os.abort()
        if none and self.deed == "refuses_none":
            raise ValueError("there must be a row")
        if self.deed == "hangs_in_threads":
            self.running += 1
            time.sleep(1e-2 if self.running == 1 else 1000)
            self.running -= 1
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._session.run(names, inputs), strict=True))

    def _writes_to_its_input(self, inputs, outputs):
        for array in inputs.values():
            if array.flags.writeable:
                array[...] = 0
        return outputs

    def _mixes_rows(self, _inputs, outputs):
        return {
            name: array + array[:1] if array.ndim and len(array) > 1 else array
            for name, array in outputs.items()
        }

    def _gives_a_row_for_none(self, _inputs, outputs):
        return {
            name: np.zeros((1, *array.shape[1:]), array.dtype) if array.shape[:1] == (0,) else array
            for name, array in outputs.items()
        }

    def _swallows_nan(self, _inputs, outputs):
        return {name: np.nan_to_num(array) for name, array in outputs.items()}

    def _goes_through_floats(self, _inputs, outputs):
        return {
            name: array.astype(np.float64).astype(array.dtype) for name, array in outputs.items()
        }

    def _describe(self):
        told = {"provider": "CPUExecutionProvider"}
        if self.deed == "is_silent":
            return told
        if self.deed == "tells_nonsense":
            return {**told, "fallback": "none at all"}
        away = [{"node": "scores", "op": "MatMul", "provider": "OtherExecutionProvider"}]
        facts = {
            "placement": {"CPUExecutionProvider": 2},
            "fallback": away if self.deed == "falls_back" else [],
            "memcpy_nodes": 3 if self.deed == "copies" else 0,
            "precisions": {"bf16": 2} if self.deed == "runs_in_less" else {"fp32": 2},
        }
        if self.deed == "emulates":
            facts |= {"emulated": "this CPU has no instructions for it", "precisions": {"bf16": 2}}
        return {**told, **facts}


def _specs(nodes):
    kinds = {"float": "float32", "double": "float64"}
    return [
        TensorSpec(
            node.name,
            kinds.get(kind := node.type.removeprefix("tensor(").rstrip(")"), kind),
            tuple(-1 if size is None else size for size in node.shape),
        )
        for node in nodes
    ]


def _misread(array):
    """Read an array's memory from its start, as if it were contiguous."""
    if array.ndim < 2 or array.strides[0] < 0:
        return array
    return np.lib.stride_tricks.as_strided(array, strides=np.empty_like(array, order="C").strides)
