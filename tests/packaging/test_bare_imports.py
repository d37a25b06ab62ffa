"""Every module of the package can be imported where no runtime, and nothing optional, is installed.

Once in this environment, where the names of all that is optional are blocked; once in a virtual
environment that has what the project requires and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNTIMES = "onnxruntime openvino nncf torch torchvision torch_tensorrt tensorrt tensorrt_rtx"
LIBRARIES = "tensorrt_bindings tensorrt_rtx_bindings tensorrt_libs pycuda cuda cupy ml_dtypes"
JUDGES = "pycocotools faster_coco_eval jiwer"
OTHERS = "PIL hypothesis tritonclient locust jinja2 xdist psutil scipy pandas"
OPTIONAL = {*RUNTIMES.split(), *LIBRARIES.split(), *JUDGES.split(), *OTHERS.split()}
IMPORT_ALL = """
import importlib, json, pkgutil, sys, traceback

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import pytest_inferbench

broken = []
walked = pkgutil.walk_packages(
    pytest_inferbench.__path__, "pytest_inferbench.", onerror=broken.append
)
names = [each.name for each in walked]
failed = {name: "a package that cannot be imported" for name in broken}
for name in names:
    try:
        importlib.import_module(name)
    except BaseException:
        failed[name] = traceback.format_exc(limit=-2)
print(json.dumps({"names": names, "failed": failed, "file": pytest_inferbench.__file__}))
"""


def import_all(python, blocked=(), cwd=None):
    program = f"BLOCKED = {set(blocked)!r}\n{IMPORT_ALL}"
    done = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def modules_of_the_package():
    """Those that lie in a package; what the wheel adds, or a server imports, is none of it."""
    folder = ROOT / "pytest_inferbench"
    files = (
        path.relative_to(ROOT).with_suffix("")
        for path in folder.rglob("*.py")
        if (path.parent / "__init__.py").exists()
    )
    return {".".join(path.parts).removesuffix(".__init__") for path in files} - {folder.name}


def test_every_module_without_what_is_optional(tmp_path):
    found = import_all(sys.executable, OPTIONAL, tmp_path)
    assert found["failed"] == {}
    assert set(found["names"]) == modules_of_the_package()


@pytest.mark.slow
def test_every_module_where_only_what_is_required_is_installed(tmp_path):
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare/bin/python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", ROOT], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    listed = subprocess.check_output([python, "-m", "pip", "list", "--format=json"], text=True)
    installed = {each["name"].lower() for each in json.loads(listed)}
    assert not installed & {"onnxruntime", "openvino", "torch", "tensorrt", "hypothesis", "pillow"}
    found = import_all(python, cwd=tmp_path)
    assert found["failed"] == {}
    assert Path(found["file"]).is_relative_to(tmp_path / "bare")
    assert modules_of_the_package() <= set(found["names"])
