"""Tensors between numpy and torch: takes arrays and types, gives tensors where a module wants them.

Inputs and outputs keep the types that a file declares, whatever it computes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_inferbench.backends.contract import Array, TensorSpec


@dataclass(frozen=True)
class Casts:
    """How arrays become a module's tensors, and back.

    Attributes:
        torch: The package.
        device: Where the module is.
        half: The narrow type that it computes in; None where it computes in what it declares.
        layout: The memory format of images; None for torch's own.
    """

    torch: Any
    device: str
    half: Any
    layout: Any

    def tensor(self, array: Array) -> Any:
        """Copy an input to the device: a module may write into what it is given."""
        tensor = self.torch.tensor(array)
        dtype = self.half if self.half and tensor.is_floating_point() else tensor.dtype
        tensor = tensor.to(self.device, dtype)
        if self.layout and tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=self.layout)
        return tensor

    def array(self, tensor: Any, spec: TensorSpec) -> Array:
        """Return an output in the type that is declared, or in fp32 where numpy has no such."""
        torch = self.torch
        if tensor.is_floating_point() and tensor.dtype in (self.half, torch.bfloat16):
            declared = getattr(torch, spec.dtype, torch.float32)
            exact = declared.is_floating_point and declared is not torch.bfloat16
            tensor = tensor.to(declared if exact else torch.float32)
        array: Array = tensor.cpu().numpy()
        return array
