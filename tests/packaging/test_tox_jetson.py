"""`tox -e jetson` on a machine that is none: it is made, and says that nothing could run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")


@pytest.mark.slow
def test_it_sees_the_system_s_packages_has_numpy_1_and_passes_nothing(tmp_path):
    if find_spec("tox") is None:
        pytest.skip("tox is not installed (the extra dev brings it)")
    pythons = [*map(str, sorted(PYENV.glob("3.10.*/bin/python"))), shutil.which("python3.10")]
    if not pythons[0]:
        pytest.skip("no Python 3.10 on this machine")
    command = [sys.executable, "-m", "tox", "-e", "jetson", "--workdir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--discover", pythons[0]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "[IB-202] 1 of 1 required cells reached no verdict" in done.stdout
    assert "detector on trt at int8 (no-nvidia): cannot run here" in done.stdout
    assert " passed" not in done.stdout
    made = tmp_path / "jetson"
    lines = (made / "pyvenv.cfg").read_text().splitlines()
    facts = dict(line.split(" = ") for line in lines if " = " in line)
    assert facts["include-system-site-packages"] == "true"
    assert facts["version_info"].startswith("3.10.")
    packages = made / "lib/python3.10/site-packages"
    assert [path.name.split("-")[1][0] for path in packages.glob("numpy-*.dist-info")] == ["1"]
    assert not list(packages.glob("onnxruntime*"))
