"""Files of torch: takes a path, gives a module, its arguments and its signature; runs no pickle.

A TorchScript file or an exported program is told by what its archive holds, before torch is given
it. Neither knows the names of its outputs: they come from the text `inferbench.json` inside the
archive, else from the signature that the caller has.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.errors import InferbenchError

METADATA = "inferbench.json"
_FORCE_TENSORS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # read by every `torch.load` underneath
_PICKLED_OBJECTS = ("custom_obj_", "opaque_obj_")

Kind = Literal["TorchScript", "exported program"]


@dataclass(frozen=True)
class Program:
    """What a file held.

    Attributes:
        kind: Which of the two it is.
        module: To be called.
        inputs: Its inputs, in the order in which `arguments` takes them.
        outputs: Its outputs, in the order in which they come out.
        arguments: Turns a list of inputs into the module's arguments, by position and by name.
    """

    kind: Kind
    module: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    arguments: Callable[[list[Any]], tuple[Sequence[Any], Mapping[str, Any]]]


def load(path: Path, device: str, signature: Mapping[str, Any], converted: bool) -> Program:
    """Load a file onto a device.

    Args:
        path: A file that `torch.jit.save` or `torch.export.save` wrote.
        device: As torch names it.
        signature: Names, types and shapes to fall back on: lists ``inputs`` and ``outputs``.
        converted: Whether its weights are going to have another type than they were exported with.

    Raises:
        InferbenchError: IB-326 there is no such file, or torch cannot load it; IB-350 it is
            neither; IB-351 its inputs and outputs cannot be named; IB-356 it holds objects that
            only unpickling could make.
    """
    kind = kind_of(path)
    return (
        _script(path, device, signature)
        if kind == "TorchScript"
        else _exported(path, device, signature, converted)
    )


def kind_of(path: Path) -> Kind:
    """Tell by the names in its archive what a file is.

    Raises:
        InferbenchError: It is neither, or would have to be unpickled.
    """
    if not path.is_file():
        raise InferbenchError("IB-326", f"there is no file {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        names = []
    inner = {name.partition("/")[2] for name in names}
    if {"archive_format", "archive_version"} & inner or "serialized_exported_program.json" in names:
        pickled = [n for n in names if n.rpartition("/")[2].startswith(_PICKLED_OBJECTS)]
        if pickled:
            raise _would_run_code(path, pickled[0])
        return "exported program"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "TorchScript"
    what = "a pickle, such as a state dict," if "data.pkl" in inner else "something else"
    raise InferbenchError(
        "IB-350",
        f"{path} is neither a TorchScript file nor an exported program, but {what} and was not"
        " loaded: unpickling could run anything",
        "Write it with torch.export.save(torch.export.export(model, inputs), path), or with"
        " torch.jit.save.",
    )


def _script(path: Path, device: str, signature: Mapping[str, Any]) -> Program:
    import torch

    extra = {METADATA: ""}
    with _explained(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit: known, and still asked for
        module = torch.jit.load(str(path), map_location=device, _extra_files=extra)
    named = _metadata(path, extra) or signature
    if not named:
        raise _nameless(path, "a TorchScript file knows neither types nor the outputs' names")
    names = [each.name for each in module.forward.schema.arguments[1:]]
    inputs = _in_order(path, _specs(named["inputs"]), names)
    return Program("TorchScript", module, inputs, _specs(named["outputs"]), lambda flat: (flat, {}))


def _exported(path: Path, device: str, signature: Mapping[str, Any], converted: bool) -> Program:
    import torch
    from torch.utils import _pytree as pytree

    extra = {METADATA: ""}
    with _explained(path), _tensors_only():
        program = torch.export.load(str(path), extra_files=extra)
        if torch.device(device).type != "cpu":
            program = _moved(program, device)
        if converted:
            _drop_type_assertions(program)
        own_inputs = _own(program, program.graph_signature.user_inputs)
        own_outputs = _own(program, program.graph_signature.user_outputs)
        module = program.module()
        in_spec = program.call_spec.in_spec
    named = _metadata(path, extra) or signature
    inputs, outputs = own_inputs, own_outputs
    if named:
        names = [each.name for each in own_inputs]
        ordered = _in_order(path, _specs(named["inputs"]), names)
        inputs = _renamed(path, own_inputs, ordered)
        outputs = _renamed(path, own_outputs, _specs(named["outputs"]))
    return Program(
        "exported program",
        module.to(device),
        inputs,
        outputs,
        lambda flat: pytree.tree_unflatten(flat, in_spec),
    )


def _moved(program: Any, device: str) -> Any:
    """Have constants inside the graph made on the device too, where torch can (2.6 and later)."""
    try:
        from torch.export.passes import move_to_device_pass
    except ImportError:
        return program
    return move_to_device_pass(program, device)


def _drop_type_assertions(program: Any) -> None:
    """Export notes the types that it saw; what is converted has others, on purpose."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if "_assert_tensor_metadata" in str(node.target):
            graph.erase_node(node)
    program.graph_module.recompile()


def _own(program: Any, names: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """Return what the program itself declares."""
    import torch

    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    specs = []
    for name in names:
        value = values.get(name)
        if not isinstance(value, torch.Tensor):
            raise InferbenchError("IB-351", f"its input or output {name} is not a tensor")
        shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
        specs.append(TensorSpec(str(name), str(value.dtype).removeprefix("torch."), shape))
    return tuple(specs)


def _specs(fields: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            str(each["name"]),
            str(each["dtype"]),
            None if each.get("shape") is None else tuple(each["shape"]),
        )
        for each in fields
    )


def _in_order(
    path: Path, specs: tuple[TensorSpec, ...], names: Sequence[str]
) -> tuple[TensorSpec, ...]:
    """Order by the file's own arguments where they are called the same, else leave the order."""
    if len(specs) != len(names):
        raise _nameless(path, f"it takes {len(names)} ({', '.join(names)}), not {len(specs)}")
    by_name = {each.name: each for each in specs}
    return tuple(by_name[name] for name in names) if set(by_name) == set(names) else specs


def _renamed(
    path: Path, own: tuple[TensorSpec, ...], named: tuple[TensorSpec, ...]
) -> tuple[TensorSpec, ...]:
    """Give what the program declares other names; its sizes are the ones that it insists on."""
    if len(own) != len(named):
        raise _nameless(path, f"it has {len(own)}, and {len(named)} are named")
    return tuple(
        TensorSpec(name.name, spec.dtype, _symbols(spec, name))
        for spec, name in zip(own, named, strict=True)
    )


def _symbols(own: TensorSpec, named: TensorSpec) -> tuple[int | str, ...]:
    """Call what is dynamic in the program as the signature does, which says `batch` and not s77."""
    assert own.shape is not None
    if named.shape is None or len(named.shape) != len(own.shape):
        return own.shape
    return tuple(
        theirs if isinstance(ours, str) and isinstance(theirs, str) else ours
        for ours, theirs in zip(own.shape, named.shape, strict=True)
    )


def _metadata(path: Path, extra: Mapping[str, Any]) -> dict[str, Any]:
    text = extra.get(METADATA) or ""
    if not text:
        return {}
    try:
        found = json.loads(text)
        _specs(found["inputs"] + found["outputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise _nameless(path, f"its {METADATA} cannot be read: {error!r}") from error
    return dict(found)


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Have torch unpickle tensors and nothing else, wherever inside the archive.

    `torch.export.load` asks `torch.load` for everything, or does so when tensors alone fail.
    """
    before = os.environ.get(_FORCE_TENSORS_ONLY)
    os.environ[_FORCE_TENSORS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE_TENSORS_ONLY]
        else:
            os.environ[_FORCE_TENSORS_ONLY] = before


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    import pickle

    import torch

    try:
        yield
    except InferbenchError:
        raise
    except pickle.UnpicklingError as error:
        raise _would_run_code(path, str(error).splitlines()[0]) from error
    except Exception as error:
        raise InferbenchError(
            "IB-326",
            f"torch {torch.__version__} could not load {path}: {type(error).__name__}: {error}",
            "A file of a newer torch may be refused by an older one: write it again with this"
            " version, or update torch.",
        ) from error


def _would_run_code(path: Path, what: str) -> InferbenchError:
    return InferbenchError(
        "IB-356",
        f"{path} holds more than tensors, and was not loaded: unpickling could run anything"
        f" ({what})",
        "Export the model without custom objects, and only with tensors as example inputs.",
    )


def _nameless(path: Path, why: str) -> InferbenchError:
    return InferbenchError(
        "IB-351",
        f"the inputs and outputs of {path} cannot be named: {why}",
        f"Save it with extra_files (_extra_files for TorchScript) that hold {METADATA}:"
        ' {"inputs": [{"name", "dtype", "shape"}], "outputs": [...]}, or give the model a `path`'
        " whose inputs and outputs are the same.",
    )
