"""`--inferbench-bisect`: a failed accuracy test names the layer, in its message and the results."""

from __future__ import annotations

import json

import pytest

CONFTEST = """
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from spoiler import INFO


def pytest_inferbench_backends():
    return [INFO]
"""

SPOILER = '''
"""A backend that loads one weight wrongly, as a converter or a damaged file would have it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pytest_inferbench.backends.catalog import BackendInfo
from pytest_inferbench.backends.ort import OnnxRuntime

INFO = BackendInfo(
    name="spoiler",
    family="ort",
    devices=("cpu",),
    distributions=("onnxruntime",),
    adapter="spoiler:Spoiler",
    options={"provider": "CPUExecutionProvider"},
    precisions=("fp32",),
)


class Spoiler(OnnxRuntime):
    def _open(self, artifact, options, precision):
        import onnx
        from onnx import numpy_helper

        model = onnx.load(artifact)
        if CRASHES and any(each.name == "c1" for each in model.graph.output):
            os._exit(3)
        for weight in model.graph.initializer:
            if weight.name == "w2":
                changed = numpy_helper.to_array(weight) * CHANGE
                weight.CopyFrom(numpy_helper.from_array(changed.astype("float32"), "w2"))
        path = Path(tempfile.mkdtemp()) / "spoiled.onnx"
        onnx.save(model, path)
        return super()._open(str(path), options, precision)
'''


@pytest.fixture
def spoiled(project, gate):
    """Run the accuracy suite on a backend that changes a weight, and maybe crashes."""

    def run(*arguments, change="1.5", crashes=False):
        project.makeconftest(CONFTEST)
        text = SPOILER.replace("CRASHES", str(crashes)).replace("CHANGE", change)
        (project.path / "spoiler.py").write_text(text)
        settings = project.path / "inferbench.toml"
        text = settings.read_text().replace('["ort-cpu"]', '["spoiler"]')
        settings.write_text(text + "[models.net.budgets]\nsnr_db = 60\ncentred_cosine = false\n")
        return gate("--inferbench-suites", "-m", "accuracy", "--inferbench-json=o.json", *arguments)

    return run


def results(project):
    (cell,) = json.loads((project.path / "o.json").read_text())["cells"]
    (test,) = cell["tests"]
    return test


def test_the_message_and_the_results_name_the_layer(project, spoiled, said):
    result = spoiled("--inferbench-bisect")
    assert result.parseoutcomes()["failed"] == 1
    text = said(result)
    assert "first layer that diverges: Conv_4 (Conv), node 5 of 9: error 0 -> 0.5" in text
    assert "error over depth: " in text
    found = results(project)["divergence"]
    assert (found["kind"], found["culprit"]["tensor"], found["nodes"]) == ("layer", "c2", 9)
    assert [row[1] for row in found["curve"]] == [
        *(f"{kind}{i}" for i in range(4) for kind in "cr"),
        "y",
    ]
    assert len({len(row) for row in found["curve"]}) == 1


@pytest.mark.slow
def test_without_the_option_the_message_says_how_to_ask(project, spoiled, said):
    text = said(spoiled())
    assert "first layer that diverges" not in text
    assert "--inferbench-bisect" in text
    assert "divergence" not in results(project)


@pytest.mark.slow
def test_a_tensor_that_crashes_the_worker_is_left_out_and_told(project, spoiled, said):
    result = spoiled("--inferbench-bisect", crashes=True)
    text = said(result)
    assert "first layer that diverges: Conv_4 (Conv), node 5 of 9" in text
    assert "could not be looked at: 'c1': [IB-301]" in text
    curve = {row[1]: row for row in results(project)["divergence"]["curve"]}
    assert curve["c1"][4] is None
    assert curve["c0"][4] == 0


def test_a_test_that_passes_is_not_looked_into(project, spoiled):
    result = spoiled("--inferbench-bisect", change="1.0")
    assert result.parseoutcomes()["passed"] == 1
    assert "divergence" not in results(project)


@pytest.mark.slow
def test_outputs_that_are_not_finite_are_followed_to_their_layer(spoiled, said):
    text = said(spoiled("--inferbench-bisect", change="float('nan')"))
    assert "[IB-501]" in text
    assert "Conv_4 (Conv), node 5 of 9: the first value that is not finite" in text


@pytest.mark.slow
def test_a_backend_that_runs_no_graph_says_so(project, gate, said):
    torch = pytest.importorskip("torch")
    settings = project.path / "inferbench.toml"
    text = settings.read_text().replace('["ort-cpu"]', '["torch"]')
    source = 'sources = { torch = "net.pt" }\n[models.net.budgets]\nsnr_db = 60\n'
    settings.write_text(text + source)

    class Net(torch.nn.Module):
        def forward(self, x):
            return {"y": x.mean((2, 3)).repeat(1, 6)[:, :16]}

    scripted = torch.jit.trace(Net(), torch.zeros(1, 3, 32, 32), strict=False)
    torch.jit.save(scripted, project.path / "net.pt")
    result = gate("--inferbench-suites", "-m", "accuracy", "--inferbench-bisect")
    assert "first layer that diverges: not found: [IB-561] torch runs net.pt" in said(result)
