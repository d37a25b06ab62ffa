"""TensorRT engines: takes an ONNX file and what is wanted, gives an engine's bytes and its facts.

Knows neither caches of artifacts nor how an engine is run.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_inferbench.backends.contract import unknown_option
from pytest_inferbench.backends.trt_errors import build_error
from pytest_inferbench.backends.trt_flavour import Flavour, make_log
from pytest_inferbench.backends.trt_network import Parsed, parse, precisions
from pytest_inferbench.backends.trt_profiles import Profile, choose_profiles
from pytest_inferbench.errors import InferbenchError

_KINDS: Mapping[str, type] = {
    "profiles": dict,
    "workspace_mib": int,
    "builder_level": int,
    "timing_cache": str,
    "compute_capabilities": list,
    "plugins": list,
}
BUILD_OPTIONS = tuple(_KINDS)
"""What a backend's settings may say about how engines are built."""

_PRECISION_WORDS = (
    ("int8", re.compile(r"int8", re.I)),
    ("fp8", re.compile(r"fp8|float8", re.I)),
    ("bf16", re.compile(r"bf16|bfloat16", re.I)),
    ("fp16", re.compile(r"fp16|half|float16", re.I)),
    ("fp32", re.compile(r"fp32|float", re.I)),
)
# Entries stand back to back or with control characters between; names may hold brackets.
_ONNX_NODE = re.compile(r"\[ONNX Layer: (.+?)(?: \| [^\]]*)?\](?=[^\w\]]*(?:\[|$))", re.S)
_NO_NAME = "node_of_"  # before the output of a node without a name
_NOT_COMPUTE = re.compile(r"constant|reformat|shuffle|slice|noop|shape|signal|wait|cast|copy", re.I)


@dataclass(frozen=True)
class BuildRequest:
    """What is wanted of an engine.

    Attributes:
        precision: What it is to compute in.
        profiles: Ranges of shapes by input; see `trt_profiles`.
        workspace_mib: The most scratch memory a layer may take; 0 leaves it to the runtime.
        builder_level: How hard to look for fast kernels, 0 to 5; None leaves it to the runtime.
        timing_cache: A file that keeps measured kernels from one build to the next; empty for none.
        capabilities: Compute capabilities to compile for; empty for the device that is here.
        plugins: Libraries of plugins to load.
    """

    precision: str
    profiles: Mapping[str, Any] = field(default_factory=dict)
    workspace_mib: int = 0
    builder_level: int | None = None
    timing_cache: str = ""
    capabilities: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Built:
    """An engine: its bytes, and facts in plain types."""

    plan: bytes
    facts: dict[str, Any]


def build_request(precision: str, options: Mapping[str, Any]) -> BuildRequest:
    """Return what options ask for.

    Raises:
        InferbenchError: An option is unknown or cannot have its value (IB-323).
    """
    for key, value in options.items():
        if key not in _KINDS:
            raise unknown_option(key, BUILD_OPTIONS)
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
            raise InferbenchError(
                "IB-323",
                f"option {key!r} cannot be {value!r}",
                f"It takes {_KINDS[key].__name__}.",
            )
    level = options.get("builder_level")
    if level is not None and not 0 <= level <= 5:
        raise InferbenchError(
            "IB-323", f"option 'builder_level' cannot be {level}", "It takes 0 to 5."
        )
    return BuildRequest(
        precision,
        options.get("profiles", {}),
        options.get("workspace_mib", 0),
        level,
        options.get("timing_cache", ""),
        tuple(map(str, options.get("compute_capabilities", ()))),
        tuple(map(str, options.get("plugins", ()))),
    )


def load_plugins(flavour: Flavour, log: Any, libraries: Sequence[str]) -> None:
    """Register the runtime's own plugins and those of libraries.

    Raises:
        InferbenchError: A library cannot be loaded (IB-361).
    """
    trt = flavour.trt
    trt.init_libnvinfer_plugins(log, "")
    for path in libraries:
        try:
            loaded = Path(path).is_file() and trt.get_plugin_registry().load_library(path)
        except Exception as error:
            raise InferbenchError("IB-361", f"no plugins could be loaded from {path}") from error
        if not loaded:
            raise InferbenchError("IB-361", f"no plugins could be loaded from {path}")


class EngineBuilder:
    """A parsed model, ready to be built for one device or another."""

    def __init__(self, flavour: Flavour, model: Path, request: BuildRequest) -> None:
        """Parse the model.

        Raises:
            InferbenchError: It cannot be parsed (IB-362, IB-326), needs profiles (IB-363, IB-364),
                or does not compute in the precision that is asked for (IB-368).
        """
        self.flavour, self.model, self.request = flavour, model, request
        self.log = make_log(flavour.trt)
        load_plugins(flavour, self.log, request.plugins)
        try:
            self.builder = flavour.trt.Builder(self.log)
        except Exception as error:  # TensorRT needs a GPU even to begin
            said = self.log.errors or [str(error)]
            raise build_error(f"{flavour.name} {flavour.version}", model.name, said) from error
        self.flags = flavour.precision_flags(request.precision)
        self.parsed: Parsed = parse(
            flavour, self.builder, model, self.log, weak=flavour.weakly_typed
        )
        self.profiles: dict[str, Profile] = choose_profiles(
            {each.name: tuple(map(int, each.shape)) for each in self.parsed.inputs},
            request.profiles,
            [each.name for each in self.parsed.inputs if each.is_shape_tensor],
        )
        self.precisions = precisions(self.parsed)
        if not flavour.weakly_typed:
            _refuse_unconverted(flavour, model, request.precision, self.precisions)

    def build(self, capabilities: Sequence[str] = (), calibrate: Any = None) -> Built:
        """Build an engine.

        Args:
            capabilities: What to compile for; empty for the device that is here.
            calibrate: A calibrator and the shapes of its batches by input, for int8 by flags.

        Raises:
            InferbenchError: IB-365 the builder refused; IB-376 it knows no such capability.
        """
        config = self._config(capabilities, calibrate)
        self.log.errors.clear()
        plan = self.builder.build_serialized_network(self.parsed.network, config)
        if plan is None:
            where = f" for compute capability {', '.join(capabilities)}" if capabilities else ""
            raise build_error(
                f"{self.flavour.name} {self.flavour.version}",
                f"{self.model.name} at {self.request.precision}{where}",
                self.log.errors,
            )
        self._keep_timings(config)
        content = bytes(plan)
        return Built(content, {**self.facts(), "plan_bytes": len(content)})

    def facts(self) -> dict[str, Any]:
        """Return what is known before anything is built."""
        return {
            "flavour": self.flavour.name,
            "version": self.flavour.version,
            "precision": self.request.precision,
            "flags": list(self.flags),
            "layers": int(self.parsed.network.num_layers),
            "precisions": self.precisions,
            "precisions_from": "network",
            "profiles": {name: each.as_fields() for name, each in self.profiles.items()},
            "warnings": list(dict.fromkeys(self.log.warnings))[:20],
        }

    def _config(self, capabilities: Sequence[str], calibrate: Any) -> Any:
        trt, request = self.flavour.trt, self.request
        config = self.builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # on unless cleared: fp32 means fp32
        for name in self.flags:
            config.set_flag(getattr(trt.BuilderFlag, name))
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if request.workspace_mib:
            config.set_memory_pool_limit(
                trt.MemoryPoolType.WORKSPACE, request.workspace_mib * 2**20
            )
        if request.builder_level is not None:
            config.builder_optimization_level = request.builder_level
        if self.profiles:
            config.add_optimization_profile(self._profile(self.profiles))
        if capabilities:
            config.num_compute_capabilities = len(capabilities)
            for index, text in enumerate(capabilities):
                config.set_compute_capability(self.flavour.capability(text), index)
        if request.timing_cache and not self.flavour.is_rtx:  # there it does nothing
            config.set_timing_cache(
                config.create_timing_cache(_content(Path(request.timing_cache))),
                ignore_mismatch=False,
            )
        if calibrate is not None:
            config.int8_calibrator, shapes = calibrate
            profile = self._profile({name: Profile(*[shape] * 3) for name, shape in shapes.items()})
            config.set_calibration_profile(profile)
        return config

    def _profile(self, profiles: Mapping[str, Profile]) -> Any:
        made = self.builder.create_optimization_profile()
        shapes = {each.name for each in self.parsed.inputs if each.is_shape_tensor}
        for name, each in profiles.items():
            put = made.set_shape_input if name in shapes else made.set_shape
            put(name, each.min, each.opt, each.max)
        return made

    def _keep_timings(self, config: Any) -> None:
        if not self.request.timing_cache or self.flavour.is_rtx:
            return
        path = Path(self.request.timing_cache)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(bytes(config.get_timing_cache().serialize()))
        partial.replace(path)  # whoever builds beside reads either the old or the new


def layer_precisions(inspected: str) -> tuple[int, dict[str, int]]:
    """Read an engine inspector's JSON: the number of layers, and those that compute by precision.

    A layer counts as what it reads: an int8 convolution may write fp32. Both spellings are known:
    ``Format/Datatype`` up to TensorRT 10, ``DataType`` from 11.
    """
    layers = _layers_in(inspected)
    counted: Counter[str] = Counter()
    for layer in layers:
        if not isinstance(layer, dict) or _NOT_COMPUTE.search(str(layer.get("LayerType", ""))):
            continue
        tensors = [*layer.get("Inputs", []), *layer.get("Outputs", [])]
        said = next((_type_of(each) for each in tensors if isinstance(each, dict)), "")
        counted.update([name for name, word in _PRECISION_WORDS if word.search(said)][:1])
    return len(layers), dict(sorted(counted.items()))


def fused_nodes(inspected: str) -> list[dict[str, Any]]:
    """Read an engine inspector's JSON: the layers that are made of several ONNX nodes, as a fact.

    An engine that was built with less than detailed verbosity tells none.
    """
    found = []
    for layer in _layers_in(inspected):
        said = str(layer.get("Metadata") or "") if isinstance(layer, dict) else ""
        names = [name.removeprefix(_NO_NAME) for name in _ONNX_NODE.findall(said)]
        nodes = list(dict.fromkeys(names))
        if len(nodes) > 1:
            kind, kernel = str(layer.get("LayerType", "layer")), layer.get("TacticName")
            found.append({"layer": f"{kind} ({kernel})" if kernel else kind, "nodes": nodes})
    return found


def inspect_engine(flavour: Flavour, engine: Any) -> dict[str, Any]:
    """Return the layers of a loaded engine, as facts."""
    layers, found = layer_precisions(inspector_report(flavour, engine))
    if not found:
        return {"layers": layers or int(engine.num_layers)}
    return {"layers": layers, "precisions": found, "precisions_from": "engine"}


def inspector_report(flavour: Flavour, engine: Any) -> str:
    """Return what a loaded engine's inspector tells, as JSON."""
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(flavour.trt.LayerInformationFormat.JSON))


def _layers_in(inspected: str) -> list[Any]:
    layers: list[Any] = []
    with suppress(ValueError, AttributeError):
        layers = json.loads(inspected).get("Layers", [])
    return layers


def _type_of(tensor: Mapping[str, Any]) -> str:
    return " ".join(str(value) for key, value in tensor.items() if "datatype" in key.lower())


def _refuse_unconverted(
    flavour: Flavour, model: Path, precision: str, found: Mapping[str, int]
) -> None:
    """Refuse a graph that computes nothing in the precision that it is to be run at."""
    if precision in ("fp32", "tf32") or found.get(precision):
        return
    computes = ", ".join(f"{count} in {name}" for name, count in found.items()) or "none"
    recipe = "int8-trt" if precision == "int8" else precision
    raise InferbenchError(
        "IB-368",
        f"{model.name} computes nothing in {precision} (layers: {computes}), and {flavour.name}"
        f" {flavour.version} computes in the types that the graph says",
        f"Give it a graph made by the recipe {recipe}, or leave {precision} out.",
    )


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
