"""torch: takes a TorchScript file or an exported program, gives outputs; knows no budget.

Inputs and outputs keep the types that the file declares, whatever it computes in: at fp16 and
bf16, floating inputs are cast on the way in and floating outputs on the way out, so that the same
data feeds every precision. Settings of torch that hold for the process are put back at `close`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pytest_inferbench.backends import torch_facts as facts
from pytest_inferbench.backends import torch_files as files
from pytest_inferbench.backends import torch_options, torch_placement
from pytest_inferbench.backends.contract import Array, Backend, DeviceTimer, TensorSpec
from pytest_inferbench.backends.torch_tensors import Casts
from pytest_inferbench.errors import InferbenchError

Arguments = tuple[Sequence[Any], Mapping[str, Any]]
_HALVES = {"fp16": "float16", "bf16": "bfloat16"}


class Torch(Backend):
    """A module in eager mode, or compiled.

    Options: ``device`` ("cpu", "cuda", "cuda:1"), ``compile`` (false, true, or a mode of
    `torch.compile`), ``threads``, ``channels_last``; ``signature`` is the caller's: lists of the
    ``inputs`` and ``outputs`` for a file that does not name its own.
    """

    distributions: ClassVar[Sequence[str]] = ("torch", "triton")

    def _open(
        self, artifact: str, options: Mapping[str, Any], precision: str
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        asked = torch_options.parse(options)
        kind = files.kind_of(Path(artifact))
        if asked.mode and kind == "TorchScript":
            raise InferbenchError(
                "IB-353",
                f"{artifact} is TorchScript, which torch.compile does not take",
                "Give an exported program (torch.export.save), or set compile = false.",
            )
        import torch

        self._torch, self._precision, self._mode = torch, precision, asked.mode
        self._device = facts.device(torch, asked.device, precision)
        half = getattr(torch, _HALVES[precision]) if precision in _HALVES else None
        layout = torch.channels_last if asked.channels_last else None
        self._casts = Casts(torch, self._device, half, layout)
        program = files.load(Path(artifact), self._device, asked.signature, half is not None)
        self._artifact, self._arguments, self._kind = artifact, program.arguments, program.kind
        self._module = program.module.to(dtype=half) if half else program.module
        if kind == "TorchScript":
            self._module.eval()  # an exported program has no other mode, and refuses to be told
        if layout:
            self._module.to(memory_format=layout)
        self._run = self._module
        # Compiling, and CUDA graphs, are not for several threads at once.
        self._turn: Any = threading.Lock() if asked.mode else nullcontext()
        self._before = facts.set_up(torch, precision, asked.threads)
        try:
            if asked.mode:
                self._run = torch.compile(self._module, mode=asked.mode, fullgraph=True)
                self._prime(program.inputs)
        except BaseException:
            self._close()
            raise
        return program.inputs, program.outputs

    def _infer(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        with self._explained(inputs), self._turn:
            leaves = self._called(self._run, self._given(inputs, self.inputs))
            if len(leaves) != len(self.outputs):
                names = ", ".join(spec.name for spec in self.outputs)
                given = f"torch gave {len(leaves)} outputs, and not just {names}"
                raise InferbenchError("IB-325", given)
            return {
                spec.name: self._casts.array(leaf, spec)
                for spec, leaf in zip(self.outputs, leaves, strict=True)
            }

    def _prepare(self, inputs: dict[str, Array]) -> Callable[[], object]:
        with self._explained(inputs):
            positional, named = self._given(inputs, self.inputs)
        run, inference_mode = self._run, self._torch.inference_mode

        def call() -> object:
            with inference_mode():
                return run(*positional, **named)

        return call

    def _synchronize(self) -> None:
        if self._device != "cpu":
            self._torch.cuda.synchronize(self._device)

    def _device_timer(self) -> DeviceTimer | None:
        return None if self._device == "cpu" else facts.device_timer(self._torch, self._device)

    def _close(self) -> None:
        del self._run, self._module, self._arguments
        facts.put_back(self._torch, self._before)
        if self._mode:
            self._torch._dynamo.reset()  # else every compiled graph stays for ever
        if self._device != "cpu":
            self._torch.cuda.empty_cache()

    def _describe(self) -> Mapping[str, Any]:
        return {
            "kind": self._kind,
            "compile": self._mode or False,
            "channels_last": self._casts.layout is not None,
            **facts.ran(self._torch, self._module, self._device, self._precision),
            **(facts.compiled() if self._mode else {}),
        }

    def _placement(self, inputs: dict[str, Array] | None) -> Mapping[str, Any]:
        known = super()._placement(inputs)
        if inputs is None or self._mode:  # no operator of a compiled kernel is seen
            return known
        with self._explained(inputs):
            call = partial(self._called, arguments=self._given(inputs, self.inputs))
            ran = torch_placement.recorded(self._torch, self._module, call, self._device)
        return {**known, **ran}

    def _prime(self, inputs: Sequence[TensorSpec]) -> None:
        """Compile now, if only the batch is open: then it belongs to opening, as it should."""
        arrays = facts.zeros(inputs)
        if arrays is not None:
            with self._explained(arrays):
                self._called(self._run, self._given(arrays, inputs))

    def _called(self, run: Any, arguments: Arguments) -> list[Any]:
        from torch.utils import _pytree as pytree

        with self._torch.inference_mode():
            return list(pytree.tree_leaves(run(*arguments[0], **arguments[1])))

    def _given(self, arrays: Mapping[str, Array], specs: Sequence[TensorSpec]) -> Arguments:
        with self._torch.inference_mode():
            return self._arguments([self._casts.tensor(arrays[spec.name]) for spec in specs])

    def _explained(self, inputs: Mapping[str, Array]) -> AbstractContextManager[None]:
        return facts.explained(self._torch, self._artifact, self._mode, inputs)
