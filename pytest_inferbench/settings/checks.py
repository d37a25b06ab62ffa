"""Checks what types cannot say: names, files, and values that only make sense together.

Takes typed settings; notes faults. Looks at files, knows neither pytest nor runtimes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_inferbench.backends.catalog import PRECISIONS, backend_of_variant
from pytest_inferbench.backends.registry import LIKE, circle_of
from pytest_inferbench.named.references import parse_reference
from pytest_inferbench.onnx_cases import MODEL as ONNX_CASES
from pytest_inferbench.settings import serving
from pytest_inferbench.settings.budgets import HARDWARE_CLASSES
from pytest_inferbench.settings.convert import Problems
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.names import check_name
from pytest_inferbench.settings.schema import (
    EnvironmentSettings,
    ModelSettings,
    Settings,
)
from pytest_inferbench.settings.spelling import dotted, unknown
from pytest_inferbench.settings.task_kinds import OF_SOME_TASKS, TaskKind

_HARDWARE_ID = re.compile(r"[a-z0-9-]+")
_VARIABLE = re.compile(r"[^=\0]+")
_UNSET = ModelSettings(path=Path(), task="tensors")


def check(
    settings: Settings,
    known_backends: Collection[str],
    tasks: Mapping[str, TaskKind],
    problems: Problems,
) -> None:
    """Note every fault of settings whose types are right."""
    serving.check(settings.serving, known_backends, problems)
    known_backends = (*known_backends, *map(backend_of_variant, settings.serving.variants))
    _check_variants(settings.backends, known_backends, problems)
    _check_options(settings.backends, known_backends, problems)
    variants = (name for name, table in settings.backends.items() if LIKE in table)
    known_backends = (*known_backends, *variants)
    _check_axis("matrix.backends", settings.matrix.backends, "backend", known_backends, problems)
    _check_axis("matrix.precisions", settings.matrix.precisions, "precision", PRECISIONS, problems)
    reserved = {*known_backends, *PRECISIONS}
    for name, model in settings.models.items():
        if name == ONNX_CASES:
            problems.add(dotted("models", name), f'"{name}" names ONNX\'s own cases; rename it')
        check_name("models", name, reserved, problems)
        key = dotted("models", name)
        _check_model(key, model, known_backends, problems)
        _check_task(key, model, settings, tasks, problems)
    _check_environments(settings.environments, known_backends, problems)
    if settings.latency.warmup_floor_s > settings.latency.warmup_ceiling_s:
        problems.add("latency.warmup_floor", "is longer than latency.warmup_ceiling")
    for index, batch in enumerate(settings.latency.batches):
        if batch in settings.latency.batches[:index]:
            problems.add(f"latency.batches[{index}]", f"{batch} is named twice")


def _check_axis(
    key: str, names: Sequence[str], what: str, valid: Collection[str], problems: Problems
) -> None:
    for index, name in enumerate(names):
        if name not in valid:
            problems.add(f"{key}[{index}]", unknown(name, what, valid))
        elif name in names[:index]:
            problems.add(f"{key}[{index}]", f'"{name}" is named twice')


def _check_model(
    key: str,
    model: ModelSettings,
    known_backends: Collection[str],
    problems: Problems,
) -> None:
    _check_axis(f"{key}.backends", model.backends or (), "backend", known_backends, problems)
    _check_axis(f"{key}.precisions", model.precisions or (), "precision", PRECISIONS, problems)
    _check_model_path(f"{key}.path", model.path, problems)
    for kind, place in model.sources.items():
        if "://" not in place:
            _check_model_path(dotted(*key.split("."), "sources", kind), Path(place), problems)
    for speedup in (*model.budgets.speedups, *model.budgets.load_speedups):
        for backend, precision in (speedup.candidate, speedup.partner):
            if backend not in known_backends:
                problems.add(
                    f"{key}.budgets.{speedup.budget.metric}",
                    f'"{backend}-{precision}": {unknown(backend, "backend", known_backends)}',
                )


def _check_task(
    key: str,
    model: ModelSettings,
    settings: Settings,
    tasks: Mapping[str, TaskKind],
    problems: Problems,
) -> None:
    """Note what the model's task lacks, and what is there for another task."""
    kind = tasks[model.task]
    annotated = kind.data == "annotations"
    if model.data is not None:
        (_check_file if annotated else _check_data)(f"{key}.data", model.data, problems)
    elif kind.data != "optional":
        scored_on = "COCO annotations" if annotated else "data of its own"
        problems.add(
            f"{key}.data",
            f"is required: the task {kind.name} is scored on {scored_on} (with"
            ' task = "tensors" no scores are computed and no data is needed)',
        )
    if model.calibration is not None:
        _check_data(f"{key}.calibration", model.calibration, problems)
    elif model.task == "detection" and "int8" in (model.precisions or settings.matrix.precisions):
        problems.add(
            f"{key}.calibration",
            "is required for int8: name a folder of calibration images, or leave int8 out of"
            f" {key}.precisions",
        )
    for name in OF_SOME_TASKS:
        if name not in kind.uses and getattr(model, name) != getattr(_UNSET, name):
            using = [each.name for each in tasks.values() if name in each.uses]
            problems.add(f"{key}.{name}", f'task "{kind.name}" has no use for it: {_only(using)}')
    _check_speech(key, model, problems)
    if model.labels is not None:
        _check_file(f"{key}.labels", model.labels, problems)
    metrics = {**METRICS, **settings.registered_metrics}
    for metric in model.budgets:
        task = metrics[metric].task
        if task not in (None, model.task):
            problems.add(
                f"{key}.budgets.{metric}", f'only task "{task}" has it, this one is "{model.task}"'
            )


def _check_model_path(key: str, path: Path, problems: Problems) -> None:
    reference = parse_reference(path)
    if reference is None:
        _check_file(key, path, problems)
        return
    from pytest_inferbench.named.catalog import fault_of

    if fault := fault_of(reference):
        problems.add(key, fault)


def _check_speech(key: str, model: ModelSettings, problems: Problems) -> None:
    """The model is its encoder; a decoder beside it, and its first and last tokens, are needed."""
    if model.task != "speech":
        return
    if "decoder" not in model.sources:
        problems.add(f"{key}.sources.decoder", "is required: the decoder's ONNX file, without past")
    if not model.speech.prompt:
        problems.add(f"{key}.speech.prompt", "is required: the tokens that the decoder begins with")
    if model.speech.end is None:
        problems.add(f"{key}.speech.end", "is required: the token that ends a transcript")
    if model.speech.vocabulary is not None:
        _check_file(f"{key}.speech.vocabulary", model.speech.vocabulary, problems)


def _only(names: Sequence[str]) -> str:
    """Say which tasks have a use; `options` are for registered ones, and there may be none."""
    if not names:
        return "only a task that is registered has, and none is"
    *others, last = [f'"{name}"' for name in names]
    return f"only {', '.join(others)} and {last} have" if others else f"only {last} has"


def _check_environments(
    environments: Mapping[str, EnvironmentSettings],
    known_backends: Collection[str],
    problems: Problems,
) -> None:
    claimed: dict[str, str] = {}
    for name, environment in environments.items():
        key = dotted("environments", name)
        check_name("environments", name, ("default",), problems)
        _check_axis(f"{key}.backends", environment.backends, "backend", known_backends, problems)
        for index, backend in enumerate(environment.backends):
            if claimed.setdefault(backend, name) != name:
                problems.add(
                    f"{key}.backends[{index}]",
                    f'"{backend}" belongs to environments.{claimed[backend]} already',
                )
        if environment.ssh is not None:
            _check_host(key, environment, problems)
        hardware = environment.hardware
        if hardware is not None and not (
            _HARDWARE_ID.fullmatch(hardware) and hardware.startswith(HARDWARE_CLASSES)
        ):
            problems.add(
                f"{key}.hardware",
                f'"{hardware}" is no hardware id; they are lower-case and begin with'
                f" {', '.join(HARDWARE_CLASSES)}: `inferbench doctor` prints them",
            )
        for variable, text in environment.env.items():
            if not _VARIABLE.fullmatch(variable) or "\0" in text:
                problems.add(f"{key}.env.{dotted(variable)}", "cannot be an environment variable")


def _check_host(key: str, environment: EnvironmentSettings, problems: Problems) -> None:
    words = str(environment.ssh).split()
    if not words or words[-1].startswith("-") or "\0" in str(environment.ssh):
        problems.add(
            f"{key}.ssh",
            "is no host: write what stands behind `ssh` to reach it, the host at the end, such as"
            ' "nvidia@orin" or "-p 2222 nvidia@orin"',
        )
    if environment.python is not None and (not environment.python or "\0" in environment.python):
        problems.add(f"{key}.python", "is no path")
    if environment.hardware is None:
        problems.add(
            f"{key}.hardware",
            "is required for another host: its id names cells and baselines, whether or not it can"
            " be reached (write your best guess; `inferbench doctor` then prints what it is)",
        )


def _check_variants(
    backends: Mapping[str, Mapping[str, Any]], known_backends: Collection[str], problems: Problems
) -> None:
    variants = {name: table[LIKE] for name, table in backends.items() if LIKE in table}
    valid = (*known_backends, *variants)
    told: set[str] = set()
    for name, like in variants.items():
        check_name("backends", name, (*known_backends, *PRECISIONS), problems)
        key = dotted("backends", name, LIKE)
        circle = circle_of(name, backends)
        if not isinstance(like, str):
            problems.add(key, "must be the name of a backend")
        elif like not in valid:
            problems.add(key, unknown(like, "backend", valid))
        elif circle == (name,):
            problems.add(key, "is itself; name the backend that it is a variant of")
        elif circle and told.isdisjoint(circle):
            way = ", which is like ".join(f'"{each}"' for each in (*circle[1:], name))
            problems.add(key, f"goes round in a circle: it is like {way}")
        told.update(circle)


def _check_options(
    backends: Mapping[str, Mapping[str, Any]], known_backends: Collection[str], problems: Problems
) -> None:
    for name, options in backends.items():
        if name not in known_backends and LIKE not in options:
            problems.add(
                dotted("backends", name),
                f'{unknown(name, "backend", known_backends)} (a variant of one says like = "...")',
            )
        for option, value in options.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                problems.add(
                    dotted("backends", name, option),
                    f"{value!r:.60} cannot be handed to a worker: use strings, finite numbers,"
                    " booleans, arrays and tables",
                )


def _check_file(key: str, path: Path, problems: Problems) -> None:
    if not _holds(path.is_file):
        what = "is a folder, not a file" if _holds(path.is_dir) else "no such file"
        problems.add(key, f"{what}: {path}")


def _check_data(key: str, path: Path, problems: Problems) -> None:
    """A file, or a folder with something in it."""
    if _holds(path.is_file):
        return
    if not _holds(path.is_dir):
        problems.add(key, f"no such file or folder: {path}")
    elif not _holds(lambda: any(path.iterdir())):
        problems.add(key, f"the folder is empty: {path}")


def _holds(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError:  # a name too long, a folder that may not be read
        return False
