"""`inferbench models`: list the models that have a name, build them, fetch what carries them."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.commands.arguments import Subparsers, add_json, add_settings, add_verb
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.named.references import Reference

_PYTHON = "the Python that builds (default: INFERBENCH_EXPORT_PYTHON, else this one)"


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "models",
        "list and build the models that a settings file may name",
        ["inferbench models list", "inferbench models build resnet18 --size real"],
    )
    what = parser.add_subparsers(required=True, metavar="WHAT")
    listing = add_verb(
        what,
        "list",
        "every model: what it is, what it needs, whether it is here",
        ["inferbench models list", "inferbench models list --json"],
    )
    add_settings(listing)
    add_json(listing)
    listing.set_defaults(run=run_list)
    building = add_verb(
        what,
        "build",
        "build or convert one, into the artifact cache and wherever else it is wanted",
        ["inferbench models build clip-vit-b32-text", "inferbench models build zoo:minilm --to m"],
    )
    building.add_argument("name", help="an architecture, or zoo:NAME")
    building.add_argument("--size", choices=("small", "real"), help="default: small")
    building.add_argument("--to", type=Path, help="copy it here: a folder, new or empty")
    building.add_argument(
        "--torch",
        action="store_true",
        help="write model.pt2 beside the copy: an architecture as an exported program, for"
        " `sources.torch`",
    )
    building.add_argument("--python", help=_PYTHON)
    add_settings(building)
    add_json(building)
    building.set_defaults(run=run_build)
    fetching = add_verb(
        what,
        "fetch",
        "fetch a package of the zoo, without what it depends on",
        ["inferbench models fetch pp-ocr-det"],
    )
    fetching.add_argument("names", nargs="+", metavar="NAME", help="a model of the zoo")
    add_json(fetching)
    fetching.set_defaults(run=run_fetch)


def run_list(options: argparse.Namespace) -> int:
    """List every named model."""
    rows = list(_rows(_cache(options)))
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        size = f", {row['mib']:.1f} MiB" if row["mib"] else ""
        print(f"{row['model']}  ({row['task']}): {row['what']}")
        print(f"    {row['state']}{size}; needs {', '.join(row['needs'])}")
        print(f"    licence {row['licence']}; {row['source']}")
    return 0


def run_build(options: argparse.Namespace) -> int:
    """Build one, and copy it."""
    from pytest_inferbench.named.exporting import Exporter
    from pytest_inferbench.named.references import BUILT
    from pytest_inferbench.named.resolve import locate

    reference = _reference(options.name, options.size)
    if options.to is not None and options.to.exists() and any(options.to.iterdir()):
        raise InferbenchError("IB-478", f"{options.to} is not empty", "Name a new folder.")
    if options.torch and (options.to is None or reference.scheme != BUILT):
        raise InferbenchError(
            "IB-478", "--torch is for an architecture that is copied", "Name a folder with --to."
        )
    path = locate(reference, _cache(options), _say, options.python)
    if options.to is not None:
        _copy(path, reference, options.to)
        path = options.to / path.name
    if options.torch:
        Exporter(_cache(options), _say, options.python).write_program(reference.name, options.to)
    print(json.dumps({"model": str(reference), "path": str(path)}) if options.json else path)
    return 0


def run_fetch(options: argparse.Namespace) -> int:
    """Fetch packages, by the program that says how."""
    from pytest_inferbench.named.catalog import ZOO_FOLDER, folder_of

    script = folder_of(ZOO_FOLDER) / "fetch.py"
    command = [sys.executable, str(script), *options.names]
    # with --json what the program says is for people, and stdout for programs
    done = subprocess.run(command, check=False, stdout=sys.stderr if options.json else None)
    if options.json:
        print(json.dumps({"models": options.names, "fetched": done.returncode == 0}))
    return 1 if done.returncode else 0


def _cache(options: argparse.Namespace) -> ArtifactCache:
    from pytest_inferbench.artifacts.cache import ArtifactCache, default_root
    from pytest_inferbench.commands.project import project_settings

    return ArtifactCache(project_settings(Path.cwd(), options.settings).cache or default_root())


def _reference(name: str, size: str | None) -> Reference:
    from pytest_inferbench.named.references import (
        BUILT,
        ZOO,
        Reference,
        parse_reference,
        split_size,
    )

    reference = parse_reference(name) or Reference(BUILT, name)
    if reference.scheme == ZOO or split_size(reference.name)[1]:
        if size is not None:
            raise InferbenchError("IB-478", f"{name} has its size in its name", "Leave out --size.")
        return reference
    return Reference(BUILT, f"{reference.name}-{size or 'small'}")


def _copy(path: Path, reference: Reference, to: Path) -> None:
    """Copy a built model's folder, or the one file of a package."""
    from pytest_inferbench.named.catalog import zoo
    from pytest_inferbench.named.references import ZOO

    if reference.scheme == ZOO and not zoo()[reference.name].converter:
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, to)
    else:
        leave_out = shutil.ignore_patterns("meta.json")
        shutil.copytree(path.parent, to, dirs_exist_ok=True, ignore=leave_out)


def _rows(cache: ArtifactCache) -> Iterator[dict[str, Any]]:
    from pytest_inferbench.named.catalog import architectures
    from pytest_inferbench.named.exporting import Exporter
    from pytest_inferbench.named.references import BUILT, SIZES

    exporter = Exporter(cache, _say)
    for name, entry in architectures().items():
        for size in SIZES:
            model = f"{name}-{size}"
            built = exporter.find(model)
            yield {
                "model": f"{BUILT}:{model}",
                "task": entry.task,
                "what": entry.what,
                "needs": list(entry.needs),
                "state": _state(model, built.meta["facts"]) if built else "not built",
                "mib": _mib(built.files) if built else None,
                "licence": entry.licence,
                "source": entry.source,
            }
    yield from _zoo_rows(cache)


def _zoo_rows(cache: ArtifactCache) -> Iterator[dict[str, Any]]:
    from pytest_inferbench.named.catalog import zoo
    from pytest_inferbench.named.references import ZOO
    from pytest_inferbench.named.zoo import Zoo, why_absent

    models = Zoo(cache, _say)
    for name, entry in zoo().items():
        path, absent = models.find(name), why_absent(name)
        unconverted = "its package is here; converted on first use"
        yield {
            "model": f"{ZOO}:{name}",
            "task": entry.task,
            "what": entry.what,
            "needs": [f"{entry.package} {entry.version}", *entry.needs],
            "state": "here" if path else absent or unconverted,
            "mib": _mib([path]) if path else None,
            "licence": entry.licence + (f"; {entry.opt_in}" if entry.opt_in else ""),
            "source": f"trained; takes {entry.inputs}",
        }


def _state(model: str, card: dict[str, Any]) -> str:
    from pytest_inferbench.named.exporting import as_recorded

    same = {
        True: "built, with the recorded bytes",
        False: "built, with other bytes than recorded: other versions",
        None: "built",
    }
    return same[as_recorded(model, card)]


def _mib(files: Any) -> float:
    sizes = [path.stat().st_size for path in files if ".onnx" in path.name]
    return float(round(sum(sizes) / 2**20, 2))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
