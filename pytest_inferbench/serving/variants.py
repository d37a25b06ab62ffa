"""Variants as backends: takes a catalog and the settings' tables, gives what each variant is.

A variant's runtime and device say which recipes make its artifact, on which hardware it is a cell,
and at which precisions. Pure: knows neither files nor servers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_inferbench.backends.catalog import CATALOG, PRECISIONS, BackendInfo
from pytest_inferbench.backends.registry import users_options

if TYPE_CHECKING:
    from pytest_inferbench.serving.variant import Variant

_FAMILIES = {"onnxruntime": "ort", "openvino": "openvino", "tensorrt": "trt", "python": "as-is"}
_LOCAL = {"openvino": "openvino", "tensorrt": "trt"}
"""The backend that runs in this process what a runtime runs in a server, ONNX Runtime's apart."""


def with_servers(
    catalog: Mapping[str, BackendInfo], tables: Mapping[str, Mapping[str, Any]], url: str = ""
) -> Mapping[str, BackendInfo]:
    """Return a catalog whose served backends are what the settings make of them.

    Args:
        catalog: Every backend by name.
        tables: The settings' `[backends.NAME]`.
        url: The server that all of them are asked of; empty where each starts its own.

    Raises:
        InferbenchError: The table of one is no variant (IB-800).
    """
    found = dict(catalog)
    for name, info in catalog.items():
        users = users_options(name, tables) if info.served else {}
        if info.served and (users or url):
            found[name] = _as_told(info, {**info.options, **users}, url or users.get("url", ""))
    return MappingProxyType(found)


def _as_told(info: BackendInfo, options: Mapping[str, Any], url: str) -> BackendInfo:
    from pytest_inferbench.serving.variant import KEYS, Variant

    variant = Variant.from_fields({k: v for k, v in options.items() if k in KEYS})
    made = dataclasses.replace(
        info,
        family=_FAMILIES[variant.runtime],
        devices=("nvidia",) if variant.device == "gpu" else ("cpu",),
        precisions=_precisions(variant),
        recipe_options=_recipe_options(variant),
        source="python" if variant.runtime == "python" else "onnx",
        narrows=CATALOG["openvino"].narrows if _is_openvino(variant) else {},
    )
    if not url:
        return made
    address = MappingProxyType({**info.options, "url": url})
    return dataclasses.replace(made, devices=("remote",), options=address)


def _precisions(variant: Variant) -> tuple[str, ...]:
    if variant.runtime in _LOCAL:
        return CATALOG[_LOCAL[variant.runtime]].precisions
    on_gpu = variant.device == "gpu" or variant.runtime == "python"
    return PRECISIONS if on_gpu else CATALOG["ort-cpu"].precisions


def _recipe_options(variant: Variant) -> Mapping[str, object]:
    if variant.runtime != "onnxruntime" or variant.device == "cpu":
        return MappingProxyType({})
    like = "ort-trt" if variant.accelerator == "tensorrt" else "ort-cuda"
    return CATALOG[like].recipe_options


def _is_openvino(variant: Variant) -> bool:
    return "openvino" in (variant.runtime, variant.accelerator)
