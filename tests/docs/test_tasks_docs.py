"""docs/tasks.md: its example runs, and its table names every task with its own metrics."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.task_kinds import BUILT_IN
from pytest_inferbench.tasks import Task
from pytest_inferbench.tasks.registry import _CLASSES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| `") and not line.startswith("| `task` |")
]


def test_every_task_has_a_row_with_its_metrics_and_a_class_of_its_name():
    rows = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in ROWS if len(row) == 4}
    of_tasks = {name: {m.name for m in METRICS.values() if m.task == name} for name in BUILT_IN}
    assert rows == of_tasks
    assert _CLASSES.keys() == BUILT_IN.keys()
    for name, where in _CLASSES.items():
        module, _, attribute = where.partition(":")
        task = getattr(importlib.import_module(f"pytest_inferbench.tasks.{module}"), attribute)
        assert issubclass(task, Task)
        assert task.kind == name
        assert task.needs_data == (BUILT_IN[name].data != "optional")


def test_every_fixture_and_method_of_the_page_exists():
    from pytest_inferbench import testkit

    for row in ROWS:
        if len(row) == 4:
            assert hasattr(testkit, row[2].strip("`"))
    named = [re.match(r"`(?:self\.)?(\w+)", row[0])[1] for row in ROWS[-10:]]
    assert {"kind", "preprocess", "postprocess", "score", "compare"} <= set(named)
    assert all(name == "model" or hasattr(Task, name) for name in named)


@pytest.mark.parametrize("precision", ["fp32"])
def test_the_example_runs_as_it_stands(tmp_path, precision):
    pytest.importorskip("onnxruntime")
    (conftest,) = re.findall(r"```python\n(# conftest\.py\n.*?)```", TEXT, re.DOTALL)
    (settings,) = re.findall(r"```toml\n(# inferbench\.toml\n.*?)```", TEXT, re.DOTALL)
    matrix = f'[matrix]\nbackends = ["ort-cpu"]\nprecisions = ["{precision}"]\n'
    folders = 'cache = ".cache"\nlock = ".lock"\n'
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "inferbench.toml").write_text(folders + matrix + settings)
    (tmp_path / "pictures").mkdir()
    pictures = np.random.default_rng(0).normal(0, 1, (6, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "pictures/pictures.npy", pictures)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 8, 8]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Softplus", ["x"], ["y"])], "g", *([end] for end in ends)
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "accuracy", "-v"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"test_registered\.py::test_scores\S* PASSED", done.stdout)
