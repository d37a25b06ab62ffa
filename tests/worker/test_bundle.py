from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.worker.bundle import collect


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A package of a third party whose import would be noticed."""
    files = {
        "acme/__init__.py": "raise RuntimeError('imported')\nNAME = 'acme'\n",
        "acme/fast/__init__.py": "",
        "acme/fast/backend.py": "from . import tools\nfrom acme.fast.limits import TOP\n",
        "acme/fast/tools.py": "from ..shared import helper\n",
        "acme/fast/limits.py": "TOP = 1\n",
        "acme/shared.py": "def helper():\n    from acme.fast import lazily\n",
        "acme/fast/lazily.py": "",
        "acme/unused.py": "",
        "acme/named.py": "from acme import NAME\n",
        "beyond/__init__.py": "",
        "beyond/adapter.py": (
            "import json, numpy, msgspec\n"
            "from pytest_inferbench.backends import ort\n"
            "from pytest_inferbench.backends.catalog import BackendInfo\n"
            "def lazily():\n    import acme.unused\n    import pytest_inferbench.errors\n"
        ),
        "latin.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "latin.py").write_bytes("# coding: latin-1\nNAME = 'é'\n".encode("latin-1"))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_module_brings_what_it_imports_of_its_package_and_nothing_is_imported(project):
    sources = collect(["acme.fast.backend:Fast"])
    assert {name for name in sources if name.startswith("acme")} == {
        "acme",
        "acme.fast",
        "acme.fast.backend",
        "acme.fast.tools",
        "acme.fast.limits",
        "acme.fast.lazily",
        "acme.shared",
    }
    assert sources["acme"] is None
    assert "acme" not in sys.modules


def test_a_module_brings_what_it_imports_of_ours_and_nothing_of_others(project):
    sources = collect(["beyond.adapter"])
    assert {name.partition(".")[0] for name in sources} == {"beyond", "pytest_inferbench"}
    needed = {"backends.catalog", "backends.ort", "backends.ort_session", "errors"}
    assert {f"pytest_inferbench.{name}" for name in needed} <= sources.keys()
    assert "pytest_inferbench.gate" not in sources


def test_a_package_is_shipped_when_a_name_is_taken_from_it(project):
    assert collect(["acme.named"])["acme"].startswith("raise")


def test_declared_encodings_are_honoured(project):
    assert "é" in collect(["latin"])["latin"]


def test_parents_come_before_children():
    names = list(collect(["pytest_inferbench.backends.ort"]))
    for name in names:
        parent = name.rpartition(".")[0]
        assert not parent or names.index(parent) < names.index(name)


@pytest.mark.parametrize("name", ["no_such_module_at_all", "pytest_inferbench.nothing", "math"])
def test_what_has_no_source_is_named(name):
    with pytest.raises(InferbenchError, match=name) as caught:
        collect([name])
    assert caught.value.code == "IB-305"


def test_what_is_shipped_imports_nothing_but_the_standard_library_and_numpy():
    allowed = {"numpy", "cython_runtime", "pytest_inferbench"}  # the second is numpy 1's own
    program = (
        "import sys, json\n"
        f"sys.path[:0] = {[p for p in sys.path if p]!r}\n"
        "before = set(sys.modules)\n"
        "import pytest_inferbench.worker.child, pytest_inferbench.worker.servant\n"
        "import pytest_inferbench.backends.ort\n"
        "new = {n.partition('.')[0] for n in set(sys.modules) - before}\n"
        "print(json.dumps(sorted(new - set(sys.stdlib_module_names))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    found = set(json.loads(done.stdout))
    assert {name for name in found if not name.startswith("_")} <= allowed
