"""Where torch's operators run: takes a module and a call of it, gives placement and fallback.

Each operator that torch dispatches is noted with the device of what it gives. Knows neither files
nor budgets. What runs without being dispatched is not seen: compiled kernels are not for this.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

# These compute nothing: they move, rename or convert. Views are told by their schema.
_MOVES = frozenset(
    f"aten::{name}"
    for name in ("to", "_to_copy", "copy_", "lift", "lift_fresh", "lift_fresh_copy", "detach_")
)
_SMALL = 64  # values: shapes, axes and bounds of slices have no more


@dataclass(frozen=True)
class Operator:
    """An operator as it ran.

    Attributes:
        name: Its name, such as ``aten::relu``.
        devices: Where the tensors lie that it gave.
        moves: Whether it only moved, renamed, converted, or made something out of nothing.
        is_shape_arithmetic: Whether it gave a few whole numbers, which may stay on the host.
    """

    name: str
    devices: tuple[str, ...]
    moves: bool = False
    is_shape_arithmetic: bool = False


def recorded(torch: Any, module: Any, call: Callable[[Any], object], device: str) -> dict[str, Any]:
    """Call a module once, eagerly, and return where its operators ran; nothing if some are unseen.

    Args:
        torch: The module.
        module: A module in eager mode, or TorchScript.
        call: Runs the module that it is given.
        device: Where everything was asked to run.
    """
    # "cuda" is whichever CUDA device is the current one, and tensors say which.
    asked = str(torch.empty(0, device=device).device)
    as_written: AbstractContextManager[Any] = nullcontext()
    if isinstance(module, torch.jit.ScriptModule):
        module, as_written = _anew(torch, module, device), torch.jit.optimized_execution(False)
    recorder = _recorder(torch)
    try:
        with as_written, recorder:
            call(module)
    except NotImplementedError as error:  # said of them by a torch before `supports_...` below
        if "HigherOrderOperator" not in str(error):
            raise
        return {}
    return {} if recorder.is_blind else placed(recorder.seen, asked)


def placed(operators: Sequence[Operator], asked: str) -> dict[str, Any]:
    """Return what operators tell: counts by device, and which computed elsewhere than asked."""
    computing = [each for each in operators if each.devices and not each.moves]
    if not computing:
        return {}
    elsewhere = [
        {"node": f"#{place}", "op": each.name, "provider": other}
        for place, each in enumerate(computing, 1)
        if not each.is_shape_arithmetic
        for other in [next((device for device in each.devices if device != asked), None)]
        if other is not None
    ]
    counts = Counter(device for each in computing for device in set(each.devices))
    return {"placement": dict(sorted(counts.items())), "fallback": elsewhere}


def _anew(torch: Any, module: Any, device: str) -> Any:
    """Return a script that has never run: its executor fuses and folds after the first calls."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit: known, still asked for
        torch.jit.save(module, written)
        written.seek(0)
        return torch.jit.load(written, map_location=device)


def _recorder(torch: Any) -> Any:
    """Return a mode of torch that notes every operator in `seen`, or that it `is_blind`."""
    from torch.utils import _pytree as pytree
    from torch.utils._python_dispatch import TorchDispatchMode

    def tensors(values: Any) -> list[Any]:
        return [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, torch.Tensor)]

    def few_integers(tensor: Any) -> bool:
        whole = not tensor.dtype.is_floating_point and not tensor.dtype.is_complex
        return whole and tensor.dim() <= 1 and tensor.numel() <= _SMALL

    class Recorder(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
        supports_higher_order_operators = True

        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Operator] = []
            self.is_blind = False  # whether a part of the program ran unseen

        def __torch_dispatch__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            gave = func(*args, **(kwargs or {}))
            if not isinstance(func, torch._ops.OpOverload):  # control flow, whose branches we miss
                self.is_blind = True
                return gave
            outputs, name = tensors(gave), func._schema.name
            from_nothing = not tensors((args, kwargs or {}))
            self.seen.append(
                Operator(
                    name,
                    tuple(str(each.device) for each in outputs),
                    moves=name in _MOVES or from_nothing or _is_view(func),
                    is_shape_arithmetic=all(map(few_integers, outputs)),
                )
            )
            return gave

    return Recorder()


def _is_view(func: Any) -> bool:
    aliases = [each.alias_info for each in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)
