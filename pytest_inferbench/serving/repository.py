"""A model repository: takes an artifact and a variant, writes the folder that a server loads.

Configurations are built as the protocol's own messages, written in its text format, and read back
and compared. Knows no running server. The same folder serves with NVIDIA's native backends and
with those in Python beside this file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.datatypes import config_type
from pytest_inferbench.serving.ir_signature import read_ir
from pytest_inferbench.serving.messages import message_module
from pytest_inferbench.serving.onnx_signature import read_onnx
from pytest_inferbench.serving.variant import Variant

VERSION = "1"
CORE, BEFORE = "-model", "-preprocess"
"""What the parts of an ensemble are called, after its name."""

_KINDS = {"cpu": "KIND_CPU", "gpu": "KIND_GPU"}
_PATTERNS = {
    "onnxruntime": (".onnx",),
    "openvino": (".xml", ".onnx"),
    "tensorrt": (".plan", ".engine"),
    "python": (".py",),
}

Signature = tuple[Sequence[TensorSpec], Sequence[TensorSpec]]
Config = Any  # model_config_pb2.ModelConfig: its package may be absent where this is imported


@dataclass(frozen=True)
class Served:
    """What a repository serves.

    Attributes:
        name: The model that clients ask.
        models: Every model of it, in the order that they load.
        inputs: What it takes, the batch included.
        outputs: What it gives, likewise.
        batch_limit: Rows that one request may have; 0 where it has no batch of the server's.
    """

    name: str
    models: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_limit: int = 0


def write_repository(
    folder: Path,
    name: str,
    artifact: Path,
    variant: Variant,
    signature: Signature | None = None,
) -> Served:
    """Write a model, and what belongs before it.

    Args:
        folder: The repository; made if need be.
        name: The model's name.
        artifact: An ONNX file, an IR, a plan or a Python model, as the variant's runtime takes.
        variant: How it is served.
        signature: What it takes and gives, where its file does not tell.

    Raises:
        InferbenchError: It cannot be served so (IB-806), or its configuration does not read back
            as it was written (IB-809).
    """
    _check_kind(artifact, variant.runtime)
    (inputs, outputs), beside = _signature_of(artifact, signature)
    core = f"{name}{CORE}" if variant.preprocess else name
    write_model(
        folder, model_config(core, variant, artifact.name, inputs, outputs), artifact, beside
    )
    models: tuple[str, ...] = (core,)
    if variant.preprocess:
        before = f"{name}{BEFORE}"
        passing = Variant(runtime="python", max_batch_size=variant.batch_limit)
        config = model_config(before, passing, "model.py", inputs, inputs)
        write_model(folder, config, Path(variant.preprocess))
        config = ensemble_config(name, variant.batch_limit, (before, core), inputs, outputs)
        write_model(folder, config, None)
        models = (before, core, name)
    return Served(name, models, tuple(inputs), tuple(outputs), variant.batch_limit)


def model_config(
    name: str,
    variant: Variant,
    file_name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> Config:
    """Return a model's configuration.

    Raises:
        InferbenchError: The model cannot be served so (IB-806).
    """
    messages = message_module("model_config_pb2")

    config = messages.ModelConfig(
        name=name,
        backend=variant.runtime,
        max_batch_size=variant.batch_limit,
        default_model_filename=_stored_as(file_name, variant.runtime),
    )
    _add_tensors(config, inputs, outputs)
    config.instance_group.add(
        kind=getattr(messages.ModelInstanceGroup, _KINDS[variant.device]),
        count=variant.instances,
        gpus=variant.gpus,
    )
    if variant.batching:
        _add_batching(config.dynamic_batching, variant)
    _add_optimization(config.optimization, variant)
    if variant.response_cache:
        config.response_cache.enable = True
    for key, value in variant.parameters.items():
        config.parameters[key].string_value = value
    return config


def ensemble_config(
    name: str,
    batch_limit: int,
    steps: Sequence[str],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> Config:
    """Return an ensemble's configuration: each step but the last gives what the next one takes.

    Args:
        name: Its name.
        batch_limit: That of all of its steps.
        steps: Names of models; all but the last take and give the ensemble's inputs.
        inputs: What it takes.
        outputs: What it gives.
    """
    messages = message_module("model_config_pb2")

    config = messages.ModelConfig(name=name, platform="ensemble", max_batch_size=batch_limit)
    _add_tensors(config, inputs, outputs)
    for number, step in enumerate(steps):
        added = config.ensemble_scheduling.step.add(model_name=step, model_version=-1)
        for spec in inputs:
            added.input_map[spec.name] = _between(spec.name, number)
        last = number == len(steps) - 1
        for spec in outputs if last else inputs:
            added.output_map[spec.name] = spec.name if last else _between(spec.name, number + 1)
    return config


def write_model(
    folder: Path, config: Config, artifact: Path | None, beside: Sequence[str] = ()
) -> None:
    """Write a model: its configuration, and the files of its only version.

    Args:
        folder: The repository.
        config: The configuration.
        artifact: The model's file; an ensemble has none.
        beside: Files beside it that belong to it, relative to its folder.

    Raises:
        InferbenchError: The configuration does not read back as it was written (IB-809), or a
            file cannot be put there (IB-806).
    """
    version = folder / config.name / VERSION
    version.mkdir(parents=True, exist_ok=True)
    write_config(folder / config.name / "config.pbtxt", config)
    if artifact is None:
        return
    try:
        _put(artifact, version / (config.default_model_filename or artifact.name))
        for name in beside:
            _put(artifact.parent / name, version / name)
    except OSError as error:
        raise InferbenchError(
            "IB-806", f"{artifact} cannot be put into a model repository: {error}"
        ) from error


def write_config(path: Path, config: Config) -> None:
    """Write a configuration in the text format, and make sure that it says what was meant.

    Raises:
        InferbenchError: It does not (IB-809).
    """
    from google.protobuf import text_format

    path.write_text(text_format.MessageToString(config), encoding="utf-8")
    if read_config(path) != config:
        raise InferbenchError(
            "IB-809",
            f"{path} does not read back as it was written",
            "This is a fault of the protobuf package that is installed.",
        )


def read_config(path: Path) -> Config:
    """Return a configuration.

    Raises:
        InferbenchError: It is none (IB-809).
    """
    from google.protobuf import text_format

    messages = message_module("model_config_pb2")

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), messages.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InferbenchError("IB-809", f"{path} is no model configuration: {error}") from error


def _signature_of(artifact: Path, given: Signature | None) -> tuple[Signature, Sequence[str]]:
    """Return what an artifact takes and gives, and which files belong to it."""
    if artifact.suffix == ".onnx":
        found = read_onnx(artifact)
        return (found.inputs, found.outputs), found.beside
    if artifact.suffix == ".xml":
        return read_ir(artifact), (artifact.with_suffix(".bin").name,)
    if given is None:
        raise InferbenchError(
            "IB-806",
            f"{artifact.name} does not tell what it takes and gives",
            "Give the option signature, as docs/settings.md shows it.",
        )
    return given, ()


def _check_kind(artifact: Path, runtime: str) -> None:
    takes = _PATTERNS[runtime]
    if artifact.suffix not in takes:
        raise InferbenchError(
            "IB-806",
            f"the runtime {runtime} serves {' or '.join(takes)}, not {artifact.name}",
            "Name the runtime that the file is for.",
        )
    if not artifact.is_file():
        raise InferbenchError("IB-806", f"there is no file {artifact}")


def _stored_as(file_name: str, runtime: str) -> str:
    """Return the name of a model's file in its version's folder, by which an IR finds its .bin."""
    suffix = Path(file_name).suffix
    if suffix == ".xml":
        return file_name
    return "model.plan" if runtime == "tensorrt" else f"model{suffix}"


def _add_tensors(
    config: Config, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    for spec, kept in [(s, config.input) for s in inputs] + [(s, config.output) for s in outputs]:
        if spec.shape is None:
            raise InferbenchError(
                "IB-806",
                f"{spec.name!r} is declared without a rank, and a server must know it",
                "Run shape inference on the model (onnx.shape_inference), or declare its shape.",
            )
        dims = [n if isinstance(n, int) and n >= 0 else -1 for n in spec.shape]
        if config.max_batch_size:
            _check_batch(spec, dims, config.name)
            dims = dims[1:]
        elif not dims:
            raise InferbenchError(
                "IB-806",
                f"{spec.name!r} is a scalar, which no Triton server carries without a batch",
                "Give it a dimension in the model.",
            )
        added = kept.add(name=spec.name, dims=dims or [1])
        # A type is known to its field by number; its enumeration is the message's own.
        added.data_type = (
            type(added)
            .DESCRIPTOR.fields_by_name["data_type"]
            .enum_type.values_by_name[config_type(spec)]
            .number
        )
        if not dims:
            added.reshape.shape[:] = []
            added.reshape.SetInParent()


def _check_batch(spec: TensorSpec, dims: Sequence[int], model: str) -> None:
    if not dims or dims[0] >= 0:
        raise InferbenchError(
            "IB-806",
            f"the server cannot batch {model}: {spec} has no dynamic first dimension",
            "Export it with a dynamic batch, or leave batching and max_batch_size out.",
        )


def _add_batching(batching: Config, variant: Variant) -> None:
    batching.SetInParent()
    batching.preferred_batch_size.extend(variant.preferred_batch_sizes)
    batching.max_queue_delay_microseconds = variant.queue_delay_us
    if variant.max_queue_size or variant.queue_timeout_us:
        policy = batching.default_queue_policy
        policy.max_queue_size = variant.max_queue_size
        policy.default_timeout_microseconds = variant.queue_timeout_us
        policy.allow_timeout_override = True
        policy.timeout_action = policy.TimeoutAction.Value(variant.timeout_action.upper())


def _add_optimization(optimization: Config, variant: Variant) -> None:
    if variant.accelerator:
        both = optimization.execution_accelerators
        accelerators = (
            both.gpu_execution_accelerator
            if variant.device == "gpu"
            else both.cpu_execution_accelerator
        )
        parameters = dict(variant.accelerator_parameters)
        if variant.cuda_graphs:
            parameters.setdefault("trt_cuda_graph_enable", "1")
        accelerators.add(name=variant.accelerator, parameters=parameters)
    elif variant.cuda_graphs:
        optimization.cuda.graphs = True


def _between(name: str, number: int) -> str:
    """Return what an ensemble calls an input before a step; before the first, by its own name."""
    return f"{name}-{number}" if number else name


def _put(source: Path, target: Path) -> None:
    """Put a file there without copying it where that can be done: a server only reads it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    real = source.resolve(strict=True)
    try:
        os.link(real, target)
    except OSError:
        shutil.copy2(real, target)


def signature_from(fields: Mapping[str, Any]) -> Signature:
    """Return a signature of plain fields: ``inputs`` and ``outputs``, each name, dtype, shape."""

    def specs(kind: str) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(str(each["name"]), str(each["dtype"]), tuple(each["shape"]))
            for each in fields.get(kind, ())
        )

    return specs("inputs"), specs("outputs")
