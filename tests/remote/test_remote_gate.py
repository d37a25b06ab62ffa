"""Another host and another Python in one session: the same tests, the same table, the same file."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.artifacts.cache import ArtifactCache
from pytest_inferbench.hardware import detect

SETTINGS = """
cache = ".cache"
lock = ".lock"

[matrix]
backends = ["ort-cpu"]
precisions = ["fp32", "int8"]

[latency]
runs = 3
seconds = "150 ms"
warmup_ceiling = "300 ms"
most_steal = 1.0
most_other = 1.0
same_speed = 1000.0

[models.net]
path = "net.onnx"
task = "tensors"
samples = 8
"""
ENVIRONMENT = """
[environments.orin]
backends = ["ort-cpu"]
ssh = "{ssh}"
python = "{python}"
hardware = "{hardware}"
env = {{ INFERBENCH_CACHE = "{cache}" }}
"""
OWN = """
def test_it_ran_there(cell, backend_worker, similarity, conclude):
    assert cell.environment == "orin"
    conclude(similarity)
"""


@pytest.fixture
def project(pytester):
    """A folder with one model that keeps its weights beside it."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name)
        for name, shape in (("w0", (16, 3, 3, 3)), ("w1", (16, 16, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path = pytester.path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.bin", size_threshold=0)
    return pytester


@pytest.fixture
def settings(project, host, mark):
    """Write the settings, the environment changed as the test needs it."""

    def write(**changes):
        environment = {
            "ssh": host.ssh(),
            "python": sys.executable,
            "hardware": detect().cpu,
            "cache": project.path / "there",
            **changes,
        }
        text = SETTINGS + ENVIRONMENT.format(**environment)
        (project.path / "inferbench.toml").write_text(text)

    return write


@pytest.fixture
def gate(project):
    def run(*arguments, timeout=300):
        return project.runpytest_subprocess("-p", "no:randomly", *arguments, timeout=timeout)

    return run


def entries(project):
    return {
        each.key: (each.describe["model"], each.built_at)
        for each in ArtifactCache(project.path / "there").entries()
    }


def check_a_session(project, gate, marked="accuracy"):
    result = gate("-m", marked, "--inferbench-json", "out.json")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*net*ort-cpu*fp32*", "*net*ort-cpu*int8*"])
    out = json.loads((project.path / "out.json").read_text())
    assert [cell["environment"] for cell in out["cells"]] == ["orin", "orin"]
    figures = [
        {name: value for test in cell["tests"] for name, value in test["figures"].items()}
        for cell in out["cells"]
    ]
    assert figures[0]["cosine"] == pytest.approx(1, abs=1e-5)
    assert 0.9 < figures[1]["cosine"] < 1
    if "latency" in marked:
        assert all(each["p50_ms"] > 0 for each in figures)
    sent = entries(project)
    assert [model for model, _ in sent.values()] == ["net", "net"]
    return sent


def test_a_cell_runs_there_on_what_is_sent_once(project, gate, settings):
    settings()
    sent = check_a_session(project, gate)
    (folder,) = (project.path / "there").glob("??/*/net.bin")
    assert folder.read_bytes() == (project.path / "net.bin").read_bytes()
    assert check_a_session(project, gate) == sent, "the second session sent nothing"


@pytest.mark.slow
def test_a_bare_python_there_needs_numpy_and_its_runtime_alone(
    project, gate, settings, bare_python
):
    settings(python=bare_python)
    sent = check_a_session(project, gate, "accuracy or latency")
    assert check_a_session(project, gate) == sent


@pytest.mark.slow
def test_the_conformance_suite_asks_a_backend_there(project, gate, settings):
    settings()
    result = gate("-m", "conformance", "--inferbench-json", "out.json", timeout=500)
    assert result.ret == 0, result.stdout.str()
    (cells,) = [json.loads((project.path / "out.json").read_text())["cells"]]
    assert {cell["environment"] for cell in cells} == {"orin"}
    built = [test for cell in cells for test in cell["tests"] if "again" in test["test"]]
    assert "passed" in {test["outcome"] for test in built}


@pytest.mark.slow
def test_what_is_recorded_is_of_that_host(project, gate, settings):
    settings()
    result = gate("-m", "latency and fp32", "--update-baselines")
    assert result.ret == 0, result.stdout.str()
    (file,) = project.path.glob("baselines/*/net.json")
    assert file.parent.name == detect().cpu
    (session,) = json.loads(file.read_text())["cells"]["ort-cpu fp32"]["sessions"]
    assert session["environment"]["kernel"] == detect().facts["kernel"]
    assert session["environment"]["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.slow
def test_under_xdist_it_is_asked_and_sent_once_all_the_same(project, gate, settings, host):
    settings()
    before = host.logins()
    result = gate("-m", "accuracy", "-n", "2")
    assert result.ret == 0, result.stdout.str()
    assert len(entries(project)) == 2
    # One to see what is there; for each of two cells one to send and one to run.
    assert host.logins() - before == 1 + 2 * 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ssh": "-p 1 127.0.0.1"}, "Connection refused"),
        ({"python": "/no/such/python"}, "exit code 127"),
    ],
)
def test_a_host_that_does_not_answer_costs_its_own_cells_only(
    project, gate, settings, changes, says
):
    settings(**changes)
    project.makepyfile(test_own=OWN, test_theirs="def test_theirs(): pass")
    result = gate("-rs", "test_own.py", "test_theirs.py")
    assert "INTERNALERROR" not in result.stdout.str()
    result.assert_outcomes(passed=1, skipped=2)
    shown = result.stdout.str()
    for part in ("IB-203", "environment orin did not answer", says):
        assert part in shown
    required = gate("--inferbench-require", "ort-cpu and fp32", "test_theirs.py")
    assert required.ret == 1
    required.stdout.fnmatch_lines(["*cannot run here: *environment orin did not answer*"])


def test_a_host_that_is_something_else_is_a_failure(project, gate, settings):
    settings(hardware="cpu-something-else-2c")
    project.makepyfile(test_own=OWN)
    result = gate("test_own.py")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*IB-208*environments.orin.hardware*cpu-something-else-2c*"])


def test_doctor_says_what_another_host_is(project, settings):
    settings(hardware="cpu-something-else-2c")
    done = project.run(sys.executable, "-m", "pytest_inferbench.cli", "doctor")
    done.stdout.fnmatch_lines(["environment orin: * on *there", f"*is {detect().cpu}", "*numpy *"])


def test_doctor_writes_down_what_another_host_is(project, settings):
    """What docs/jetson.md begins with: the id is found out there and put into the settings."""
    settings(hardware="MARK")
    file = project.path / "inferbench.toml"
    file.write_text(file.read_text().replace('hardware = "MARK"\n', ""))
    done = project.run(sys.executable, "-m", "pytest_inferbench.cli", "doctor", "--write")
    assert done.ret == 0, done.stdout.str() + done.stderr.str()
    done.stdout.fnmatch_lines([f"*environments.orin.hardware = {detect().cpu}*"])
    assert f'hardware = "{detect().cpu}"' in file.read_text()
    again = project.run(sys.executable, "-m", "pytest_inferbench.cli", "doctor", "--write")
    again.stdout.fnmatch_lines([f"*environments.orin.hardware is {detect().cpu} already*"])


def test_in_process_does_not_pretend_to_be_there(project, gate, settings):
    settings()
    project.makepyfile(test_own=OWN)
    result = gate("test_own.py", "--inferbench-in-process")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*IB-390*environment orin*in-process*"])


TWO_PYTHONS = """
[environments.plain]
backends = ["ort-cpu"]
python = "{plain}"

[environments.intel]
backends = ["ort-openvino"]
python = "{intel}"
"""


@pytest.mark.slow
def test_packages_that_exclude_each_other_stand_in_one_table(
    project, gate, bare_python, python_with
):
    intel = python_with("numpy", "onnxruntime-openvino")
    text = SETTINGS.replace('["ort-cpu"]', '["ort-cpu", "ort-openvino"]', 1)
    text += TWO_PYTHONS.format(plain=bare_python, intel=intel)
    (project.path / "inferbench.toml").write_text(text)
    result = gate("-m", "accuracy or latency", "--inferbench-json", "out.json")
    assert result.ret == 0, result.stdout.str()
    lines = [f"*net*ort-{name}*{p}*" for name in ("cpu", "openvino") for p in ("fp32", "int8")]
    result.stdout.fnmatch_lines(lines)
    out = json.loads((project.path / "out.json").read_text())
    environments = {cell["backend"]: cell["environment"] for cell in out["cells"]}
    assert environments == {"ort-cpu": "plain", "ort-openvino": "intel"}
    (session,) = out["sessions"]
    installed = {name: each["distributions"] for name, each in session["environments"].items()}
    assert "onnxruntime-openvino" in installed["intel"]
    assert "onnxruntime" not in installed["intel"]
    assert "onnxruntime-openvino" not in installed["plain"]
    assert "onnx" not in installed["plain"], "its int8 graph was made in this Python"
    for cell in out["cells"]:
        figures = {k: v for test in cell["tests"] for k, v in test["figures"].items()}
        assert figures["cosine"] > 0.9
        assert figures["p50_ms"] > 0
