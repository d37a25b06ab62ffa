"""What to build: takes hashes, a precision, a family and versions; gives the steps and their keys.

An artifact is made in steps, each by one module of recipes from what the step before it made.
Knows neither files nor runtimes nor where the cache is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pytest_inferbench.backends.catalog import ORT_DISTRIBUTIONS
from pytest_inferbench.backends.trt_flavour import DISTRIBUTIONS as TENSORRT_DISTRIBUTIONS
from pytest_inferbench.errors import InferbenchError

REVISION = 6
"""Raised when any recipe changes what it builds, so that no older artifact is taken for it."""

METHODS = ("minmax", "entropy", "percentile")
PERCENTILE = 99.999
"""The share of a tensor's values that its range holds, where the settings do not say."""

_OPTIONS = (
    "method",
    "percentile",
    "per_channel",
    "exclude",
    "scheme",
    "openvino",
    "trt",
    "engine",
)

ENGINE_OPTIONS = (
    "profiles",
    "workspace_mib",
    "builder_level",
    "timing_cache",
    "compute_capabilities",
    "plugins",
    "calibration_cache",
)
"""What of a TensorRT backend's own options decides what is built."""

Place = Literal["graph", "target"]
"""Where a step is built: "graph" where onnx and ONNX Runtime are, the default environment first;
"target" in the cell's own environment, on its device."""


@dataclass(frozen=True)
class Recipe:
    """One step of making an artifact.

    Attributes:
        family: The family whose recipes it is one of: `artifacts/recipes_<family>.py`.
        precision: What the artifact computes in.
        parameters: Whatever else decides the result; plain JSON types.
        place: Where it is built.
        file_name: The file that it makes, beside which others may lie.
        keyed_by: Distributions whose versions decide the result.
        calibrated: Whether it reads calibration samples.
        on_device: Whether what it builds belongs to the device and driver it was built on.
    """

    family: str
    precision: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    place: Place = "graph"
    file_name: str = "model.onnx"
    keyed_by: tuple[str, ...] = ()
    calibrated: bool = False
    on_device: bool = False

    @property
    def module(self) -> str:
        """The module of recipes, as a worker is told it."""
        return f"pytest_inferbench.artifacts.recipes_{self.family}"


Steps = tuple[Recipe, ...]
_Options = Mapping[str, object]
_Versions = Mapping[str, str]
_GRAPH = ("onnx", *ORT_DISTRIBUTIONS)


def steps_for(
    family: str, precision: str, options: _Options, versions: _Versions | None = None
) -> Steps:
    """Return how a family makes a model run at a precision; none if it runs the file as it is.

    Args:
        family: A backend's family.
        precision: One of the precisions.
        options: The model's ``quantization``, the backend's ``scheme``, and as ``engine`` the
            user's own options of the backend.
        versions: What is installed in the cell's environment.

    Raises:
        InferbenchError: IB-410 the family has no such recipe; IB-411 an option is not known.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InferbenchError(
            "IB-411", f"recipes have no option {unknown[0]!r}", f"They have {', '.join(_OPTIONS)}."
        )
    made = _FAMILIES.get(family, {})
    if precision not in made:
        known = ", ".join(made) or "none"
        raise InferbenchError(
            "IB-410",
            f"no recipe makes {precision} for the backend family {family!r}",
            f"It has {known}; leave {precision} out of the model's precisions.",
        )
    return made[precision](precision, options, versions or {})


def ranking_step(precision: str, options: _Options, samples: int) -> Recipe:
    """Return the step that tells what each layer alone costs when it is quantized.

    Args:
        precision: "int8" or "fp8".
        options: As for `steps_for`.
        samples: On how many of the calibration samples.
    """
    (graph,) = _graph(precision, options, {})
    return replace(
        graph,
        family="ranking",
        parameters={**graph.parameters, "ranked_on": samples},
        file_name="layers.json",
    )


def artifact_key(
    model_sha256: str,
    recipe: Recipe,
    calibration_sha256: str | None,
    versions: Mapping[str, str],
) -> str:
    """Return what names an artifact: equal for equal arguments, in any order, on any machine."""
    content = {
        "revision": REVISION,
        "model": model_sha256,
        "family": recipe.family,
        "precision": recipe.precision,
        "parameters": dict(recipe.parameters),
        "calibration": calibration_sha256,
        "versions": dict(versions),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_it_is(_precision: str, _options: _Options, _versions: _Versions) -> Steps:
    return ()


def _graph(precision: str, options: _Options, _versions: _Versions) -> Steps:
    """An ONNX graph, converted or quantized."""
    parameters: dict[str, object] = {"exclude": _excluded(options)}
    if precision in ("int8", "bf16"):
        parameters["scheme"] = options.get("scheme", "cpu")
    if precision in ("int8", "fp8"):
        parameters |= _calibration(options)
    return (
        Recipe(
            "ort",
            precision,
            parameters,
            keyed_by=_GRAPH,
            calibrated=precision in ("int8", "fp8"),
        ),
    )


def _openvino(precision: str, options: _Options, versions: _Versions) -> Steps:
    """An OpenVINO model: weights compressed, or quantized by NNCF."""
    if precision == "int8" and options.get("openvino", "nncf") == "qdq":
        return _graph(precision, options, versions)
    return (
        Recipe(
            "openvino",
            precision,
            _nncf(options) if precision == "int8" else {},
            place="target",
            file_name="model.xml",
            keyed_by=("openvino", "nncf"),
            calibrated=precision == "int8",
        ),
    )


def _trt_graph(precision: str, options: _Options, versions: _Versions) -> Steps:
    """A graph that computes in its own types, suppressing boxes by itself if that is asked."""
    made: Steps = ()
    if precision not in ("fp32", "tf32"):
        made = _graph(precision, {**options, "scheme": "trt"}, versions)
    return (*made, *_fused(precision, options))


def _trt(precision: str, options: _Options, versions: _Versions) -> Steps:
    """An engine: of the graph as it is where flags or a calibrator choose the precision."""
    flags = versions.get("tensorrt", "").partition(".")[0] in ("8", "9", "10")
    calibrator = flags and precision == "int8" and options.get("trt") == "calibrator"
    if flags and (precision in ("fp16", "bf16") or calibrator):
        graph = _fused(precision, options)
    else:
        graph = _trt_graph(precision, options, versions)
    engine = _engine(options)
    engine_parameters = {key: engine[key] for key in ENGINE_OPTIONS if key in engine}
    if precision == "int8":
        engine_parameters["int8"] = options.get("trt", "qdq")
    return (
        *graph,
        Recipe(
            "trt",
            precision,
            engine_parameters,
            place="target",
            file_name="model.plan",
            keyed_by=TENSORRT_DISTRIBUTIONS,
            calibrated=calibrator,
            on_device=True,
        ),
    )


def _fused(precision: str, options: _Options) -> Steps:
    way = _engine(options).get("fused_nms", False)
    if not way:
        return ()
    return (
        Recipe("nms", precision, {"way": "plugin" if way is True else way}, keyed_by=("onnx",)),
    )


def _engine(options: _Options) -> Mapping[str, Any]:
    found = options.get("engine", {})
    return found if isinstance(found, Mapping) else {}


_Maker = Callable[[str, _Options, _Versions], Steps]
_FAMILIES: Mapping[str, Mapping[str, _Maker]] = {
    "ort": {
        "fp32": _as_it_is,
        "tf32": _as_it_is,
        **dict.fromkeys(("fp16", "bf16", "int8", "fp8"), _graph),
    },
    "openvino": {
        "fp32": _as_it_is,
        "bf16": _as_it_is,
        "fp16": _openvino,
        "int8": _openvino,
    },
    "trt": dict.fromkeys(("fp32", "tf32", "fp16", "bf16", "int8", "fp8"), _trt),
    "trt-build": dict.fromkeys(("fp32", "tf32", "fp16", "bf16", "int8", "fp8"), _trt_graph),
    # The adapter converts as it opens, or a service runs what it runs.
    "torch": dict.fromkeys(("fp32", "tf32", "fp16", "bf16"), _as_it_is),
    "http": dict.fromkeys(("fp32", "tf32", "fp16", "bf16", "int8", "fp8"), _as_it_is),
    "as-is": dict.fromkeys(("fp32", "tf32", "fp16", "bf16", "int8", "fp8"), _as_it_is),
}


def _nncf(options: _Options) -> dict[str, object]:
    return {**_calibration(options), "exclude": _excluded(options)}


def _calibration(options: _Options) -> dict[str, object]:
    method = _method(options)
    per_channel = options.get("per_channel", True)
    if not isinstance(per_channel, bool):
        raise InferbenchError("IB-411", f"per_channel must be true or false, not {per_channel!r}")
    found: dict[str, object] = {"method": method, "per_channel": per_channel}
    if method == "percentile":
        found["percentile"] = _percentile(options)
    return found


def _percentile(options: _Options) -> float:
    share = options.get("percentile") or PERCENTILE
    if not isinstance(share, (int, float)) or not 50 < share <= 100:
        raise InferbenchError(
            "IB-411", f"percentile must lie above 50 and at most at 100, not {share!r}"
        )
    return float(share)


def _method(options: _Options) -> object:
    """What was asked for, else what keeps most: rare values cost symmetric ranges most."""
    symmetric = options.get("scheme") == "trt"
    method = options.get("method") or ("percentile" if symmetric else "minmax")
    if method not in METHODS:
        raise InferbenchError(
            "IB-411",
            f"{method!r} is no method of calibration",
            f"The methods are {', '.join(METHODS)}.",
        )
    return method


def _excluded(options: _Options) -> list[str]:
    exclude = options.get("exclude", [])
    if not isinstance(exclude, (list, tuple)) or not all(isinstance(n, str) for n in exclude):
        raise InferbenchError(
            "IB-411", f"exclude must be a list of names of nodes, not {exclude!r}"
        )
    return sorted(set(exclude))
