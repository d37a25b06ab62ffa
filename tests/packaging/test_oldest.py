"""`tox -e oldest` tests what pyproject.toml promises, no newer versions."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from pytest_inferbench.settings.find import parse

ROOT = Path(__file__).parents[2]
EXTRAS = ("ort", "coco", "dev")
# what checks and packs, no part of what runs
TOOLS = {"ruff", "mypy", "build", "hatchling", "tox", "check-jsonschema", "jsonschema"}


def lower_bounds():
    project = parse((ROOT / "pyproject.toml").read_bytes())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in EXTRAS for line in project["optional-dependencies"][extra]),
    ]
    for requirement in map(Requirement, lines):
        if requirement.name not in {"pytest-inferbench", *TOOLS}:
            (specifier,) = requirement.specifier
            assert specifier.operator == ">="
            yield requirement.name, Version(specifier.version)


def test_every_lower_bound_is_what_the_oldest_environment_holds():
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "tests/oldest.txt").read_text(), re.M))
    bounds = dict(lower_bounds())
    assert pins.keys() == bounds.keys()
    for name, bound in bounds.items():
        # a project may never have released the bare bound: 12.535 came as 12.535.77
        assert Version(pins[name]).release[: len(bound.release)] == bound.release, name
