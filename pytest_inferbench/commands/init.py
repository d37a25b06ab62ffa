"""`inferbench init`: the first settings of a folder, from what lies in it.

Looks, asks nothing, writes one file, and says what to do next. The parts are in `initial/`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench import __version__
from pytest_inferbench.commands.arguments import (
    BAD_ARGUMENTS,
    Subparsers,
    add_json,
    add_verb,
)
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.replacing import replacing
from pytest_inferbench.settings.find import FILE_NAME, PYPROJECT

if TYPE_CHECKING:
    from pytest_inferbench.hardware import Hardware
    from pytest_inferbench.initial.plan import Plan
    from pytest_inferbench.initial.search import Found
    from pytest_inferbench.initial.trial import Tried
    from pytest_inferbench.matrix import Cell

BROKEN_NAME = "broken.toml"

_NEXT = (
    ("a first gate: is it right? (`pytest` alone asks everything there is)", "pytest -m accuracy"),
    (
        "a baseline, to be as fast as",
        'pytest -m latency --update-baselines --inferbench-reason "first session"',
    ),
)
_SEE_IT_FAIL = f'pytest -m "accuracy and int8" --inferbench-settings {BROKEN_NAME}'
_BREAK = (
    "what a broken build looks like: it fails",
    f"inferbench init --broken && {_SEE_IT_FAIL}",
)
_COMPARE = (
    "what a slower build looks like: your last release's file beside this one",
    "pytest -m latency --inferbench-against-model OLD.onnx",
)


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "init",
        "write the first settings of a folder, from the ONNX files in it",
        [
            "inferbench init",
            "inferbench init models --stdout",
            "inferbench init --broken",
        ],
        (
            "0  written, or printed",
            "1  there are settings already, or nothing to write any for; it is said on stderr",
            BAD_ARGUMENTS,
        ),
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), help="where to look and write (default: .)"
    )
    parser.add_argument("--force", action="store_true", help="write over what is there")
    parser.add_argument("--stdout", action="store_true", help="print the settings, write nothing")
    parser.add_argument(
        "--broken",
        action="store_true",
        help=f"write {BROKEN_NAME} beside them: a build that fails, to see how that looks",
    )
    parser.add_argument(
        "--no-run", action="store_true", help="run no model once to see whether it runs"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look, write, and say what is next."""
    from pytest_inferbench.initial.writing import settings_text

    folder = options.folder.absolute()
    if not folder.is_dir():
        raise InferbenchError(
            "IB-921", f"{options.folder} is no folder", "Name the folder that your models are in."
        )
    target = folder / (BROKEN_NAME if options.broken else FILE_NAME)
    writes = not options.stdout
    if writes and not options.force:
        _refuse_existing(folder, target)
    plan = _planned(folder, runs=not options.no_run)
    if options.broken:
        plan = _breakable(plan)
    text = settings_text(plan, __version__, broken=options.broken)
    if writes:
        _write(target, text)
    if options.json:
        print(json.dumps(_plain(plan, target, text, written=writes), indent=1))
    elif options.stdout:
        print(text, end="")
    else:
        print("\n".join(_said(plan, target, options)))
    return 0


def _refuse_existing(folder: Path, target: Path) -> None:
    from pytest_inferbench.settings.find import find

    if target.exists():
        there: Path | None = target
    else:
        there = find(folder) if target.name == FILE_NAME else None
    if there is None:
        return
    what = "[tool.inferbench]" if there.name == PYPROJECT else "settings"
    raise InferbenchError(
        "IB-920",
        f"{there} holds {what} already, and nothing was written",
        "`inferbench init --stdout` prints what would be; --force writes"
        + (f" {FILE_NAME}, which then goes first." if there.name == PYPROJECT else " over it."),
    )


def _planned(folder: Path, *, runs: bool) -> Plan:
    from pytest_inferbench.backends.catalog import CATALOG, PRECISIONS, REFERENCE_BACKEND
    from pytest_inferbench.backends.registry import installed_backends
    from pytest_inferbench.hardware import detect
    from pytest_inferbench.initial.search import search
    from pytest_inferbench.initial.survey import Survey, why_not_made_up
    from pytest_inferbench.initial.trial import try_models
    from pytest_inferbench.onnx_cases import MODEL as ONNX_CASES

    hardware = detect()
    found = search(folder)
    if not found.onnx:
        raise _nothing(folder, found)
    reserved = (*CATALOG, *installed_backends(), *PRECISIONS, ONNX_CASES)
    survey = Survey(folder, found, reserved, _say)
    backends, missing = _backends(hardware)
    tried: dict[Path, Tried] = {}
    if runs and REFERENCE_BACKEND in backends:
        able = {path: f for path, f in survey.facts.items() if not why_not_made_up(f)}
        tried = try_models(able, hardware, _say)
    plan = survey.plan(backends or [REFERENCE_BACKEND], missing, tried)
    if not plan.used:
        whys = [model.left_out for model in plan.models] or list(plan.notes)
        raise InferbenchError(
            "IB-923",
            f"none of the {len(found.onnx)} ONNX files in {folder} can be used; the first:"
            f" {whys[0]}",
            "Export or fetch the models again, or write the settings by hand (docs/settings.md).",
        )
    return plan


def _nothing(folder: Path, found: Found) -> InferbenchError:
    more = f", whose first {found.entries} files were looked at" if found.cut_short else ""
    if found.unreadable:
        more += f", and {found.unreadable[0]} could not be looked into"
    return InferbenchError(
        "IB-922",
        f"there is no ONNX file in {folder}{more}",
        "Export your model to ONNX (torch.onnx.export) into it, or name the folder that has it."
        " `pytest --inferbench-suites` measures a small built-in detector, and"
        " `inferbench models list` names models to try (docs/models.md).",
    )


def _backends(hardware: Hardware) -> tuple[list[str], dict[str, str]]:
    """Return the backends that can run an ONNX file here, and what the others need."""
    from pytest_inferbench.backends.catalog import CATALOG

    able: dict[str, None] = {}
    missing: dict[str, str] = {}
    for cell in _cells(hardware):
        if CATALOG[cell.backend].devices[0] in ("directml", "coreml"):
            continue  # no device of this system
        if cell.cannot_run:
            missing[cell.backend] = cell.cannot_run
        else:
            able[cell.backend] = None
    return [*able], {name: why for name, why in missing.items() if name not in able}


def _cells(hardware: Hardware) -> tuple[Cell, ...]:
    from pytest_inferbench.backends.catalog import CATALOG
    from pytest_inferbench.environments import environment_facts
    from pytest_inferbench.matrix import ModelAxes, build_matrix
    from pytest_inferbench.settings.schema import Settings

    names = [
        name
        for name, info in CATALOG.items()
        if info.source == "onnx" and info.runs and not info.served
    ]
    wanted = {each for name in names for each in CATALOG[name].distributions}
    facts = environment_facts(Settings(), hardware, wanted)
    return build_matrix([ModelAxes("model", names, ["fp32"])], facts)


def _breakable(plan: Plan) -> Plan:
    """Return the plan with the models alone that int8 can break."""
    from dataclasses import replace

    models = tuple(model for model in plan.used if model.quantizable)
    if not models:
        raise InferbenchError(
            "IB-924",
            "none of the models has weights that int8 could break",
            "A broken build can be seen with `pytest -m latency --inferbench-against-model`.",
        )
    return replace(plan, models=models[:1], notes=())


def _write(target: Path, text: str) -> None:
    """Write it, once it has been read back as settings."""
    from pytest_inferbench.backends.catalog import CATALOG
    from pytest_inferbench.settings import load

    try:
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
            load(temporary, CATALOG)
    except OSError as error:
        raise InferbenchError(
            "IB-925", f"{target} could not be written: {error}", "Nothing was changed."
        ) from error


def _next(plan: Plan) -> list[tuple[str, str]]:
    breakable = any(model.quantizable for model in plan.used)
    return [*_NEXT, _BREAK if breakable else _COMPARE]


def _said(plan: Plan, target: Path, options: argparse.Namespace) -> list[str]:
    lines = [f"wrote {target}"]
    if options.broken:
        wrong = ", ".join(model.path for model in plan.models)
        return [
            f"{lines[0]}: {wrong} at int8, quantized wrongly on purpose",
            "",
            f"see it fail, then delete {target.name}:",
            f"  {_SEE_IT_FAIL}",
        ]
    for model in plan.models:
        if model.left_out:
            lines.append(f"  left out {model.path}: {model.left_out}")
            continue
        task = model.guess.task if model.guess else "tensors"
        lines.append(f"  {model.name}: {model.path}, {task}, {', '.join(model.precisions)}")
    lines += [f"  note: {note}" for note in plan.notes]
    lines.append(f"  on {', '.join(plan.backends)}" + _not_here(plan))
    lines += ["", "next" + ("" if options.folder == Path() else f", in {options.folder}") + ":"]
    for why, command in _next(plan):
        lines += [f"  {command}", f"      {why}"]
    return lines


def _not_here(plan: Plan) -> str:
    able = set(plan.backends) - set(plan.missing)
    return "" if able else ", which cannot run here yet: pip install 'pytest-inferbench[ort]'"


def _plain(plan: Plan, target: Path, text: str, *, written: bool) -> dict[str, Any]:
    return {
        "file": str(target),
        "written": written,
        "models": [
            {
                "name": model.name,
                "path": model.path,
                "task": model.guess.task if model.guess else None,
                "shapes": {name: list(shape) for name, shape in model.shapes.items()},
                "data": model.data,
                "calibration": model.calibration,
                "precisions": list(model.precisions),
                "left_out": model.left_out or None,
            }
            for model in plan.models
        ],
        "backends": list(plan.backends),
        "missing": dict(plan.missing),
        "notes": list(plan.notes),
        "next": [command for _, command in _next(plan)],
        "toml": text,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
