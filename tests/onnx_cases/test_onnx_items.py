"""The cases as pytest's items, on ONNX Runtime and on a backend that does the worst."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow  # each runs pytest, and the first of them generates the cases

HOSTILE = """
import ctypes, json, time

from pytest_inferbench.backends.contract import Backend, TensorSpec


class Hostile(Backend):
    distributions = ("onnxruntime",)

    def _open(self, artifact, options, precision):
        import onnx
        import onnxruntime
        model = onnx.load(artifact)
        if model.ir_version > 10:
            raise RuntimeError(f"IR {model.ir_version} is too new")
        with open(options["deeds"]) as file:
            self._deed = json.load(file).get(model.graph.name, "")
        if self._deed == "refuse":
            raise RuntimeError("there is no such operator here")
        self._session = onnxruntime.InferenceSession(artifact)
        return [
            [TensorSpec(each.name, DTYPES.get(each.type, each.type[7:-1]), None) for each in side]
            for side in (self._session.get_inputs(), self._session.get_outputs())
        ]

    def _infer(self, inputs):
        if self._deed == "segfault":
            ctypes.string_at(0)
        if self._deed == "hang":
            time.sleep(1000)
        if self._deed == "raise":
            raise ValueError("no reason")
        names = [each.name for each in self.outputs]
        outputs = dict(zip(names, self._session.run(names, inputs)))
        if self._deed == "lie":
            outputs = {name: each + each.dtype.type(1) for name, each in outputs.items()}
        return outputs

    def _close(self):
        del self._session


DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}
"""
CONFTEST = """
import os, sys
sys.path.insert(0, os.path.dirname(__file__))
from pytest_inferbench.backends.catalog import BackendInfo

def pytest_inferbench_backends():
    return [BackendInfo("hostile", "ort", ("cpu",), ("onnxruntime",), adapter="hostile:Hostile")]
"""


@pytest.fixture
def hostile(ops_project):
    """Give the function that writes what the backend does to which case."""
    project = ops_project("hostile")
    project.makeconftest(CONFTEST)
    (project.path / "hostile.py").write_text(HOSTILE)
    deeds = project.path / "deeds.json"
    settings = project.path / "inferbench.toml"
    settings.write_text(
        settings.read_text().replace('"10 s"', '"4 s"')
        + f'\n[backends.hostile]\ndeeds = "{deeds}"\n'
    )

    def do(**what):
        deeds.write_text(json.dumps(what))
        return project

    do()
    return do


def verdicts(project):
    return json.loads((project.path / "out.json").read_text())["onnx_ops"]


def recorded(project):
    (file,) = project.path.glob("baselines/*/onnx-ops.json")
    (cells,) = json.loads(file.read_text())["cells"].values()
    return file, cells


def test_a_subset_passes_on_onnx_runtime(ops_project, run_ops):
    project = ops_project("ort-cpu")
    result = run_ops(
        "test_abs or test_add or test_conv_with or test_string", "--inferbench-json=out.json"
    )
    assert result.ret == 0, result.stdout.str()
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] > 10
    (covered,) = verdicts(project)
    assert covered["outcomes"]["passed"] == outcomes["passed"]
    assert covered["version"].startswith("onnxruntime ")
    assert {"op": "Abs", "opset": 13, "passed": 1} in covered["ops"]


def test_what_is_no_tensor_is_unsupported_and_never_passed(ops_project, run_ops):
    ops_project("ort-cpu")
    result = run_ops("test_sequence_insert_at_back", "-rs")
    assert result.ret == 1, "nothing reached a verdict"
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*1 case: 1 unsupported*", "*IB-632*no tensor (sequence)*"])


def test_every_outcome_has_its_own_name(hostile, run_ops):
    project = hostile(
        test_abs="segfault",
        test_ceil="hang",
        test_floor="raise",
        test_neg="lie",
        test_cosh="refuse",
    )
    names = "test_abs or test_ceil or test_floor or test_neg or test_cosh or test_sinh"
    result = run_ops(f"({names}) and not example", "--inferbench-json=out.json", "-rs")
    assert result.ret == 1
    (covered,) = verdicts(project)
    named = {name: verdict for verdict, names in covered["cases"].items() for name in names}
    assert named == {
        "test_abs": "failed",
        "test_ceil": "failed",
        "test_floor": "failed",
        "test_neg": "failed",
        "test_cosh": "unsupported",
    }
    assert covered["outcomes"] == {
        "passed": 1,
        "failed": 2,
        "unsupported": 1,
        "crashed": 1,
        "timed out": 1,
    }
    text = result.stdout.str()
    for words in ("SIGSEGV", "gave no answer in 4 s", "ValueError: no reason", "by 1 at most"):
        assert words in text
    assert text.count("IB-630") >= 4
    assert "--update-baselines" in text


def test_a_case_that_ends_the_worker_ends_no_other(hostile, run_ops):
    hostile(test_abs="segfault", test_acos="segfault")
    result = run_ops("test_abs or test_acos or test_add", "-v")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] == 2
    assert outcomes["passed"] > 8


def test_regressions_improvements_and_known_failures(hostile, run_ops):
    project = hostile(test_abs="lie", test_neg="lie")
    names = ("(test_abs or test_neg or test_sinh or test_cosh) and not example",)
    first = run_ops(*names, "--update-baselines", "--inferbench-reason=start", "-rs")
    first.assert_outcomes(passed=2, skipped=2)
    first.stdout.fnmatch_lines(["*IB-635*recorded as failed*"])
    file, cells = recorded(project)
    (record,) = cells.values()
    assert (record["passed"], record["failed"]) == (
        ["test_cosh", "test_sinh"],
        ["test_abs", "test_neg"],
    )
    assert record["reason"] == "start"

    hostile(test_abs="lie", test_sinh="lie", test_cosh="refuse")
    text = file.read_text()
    file.write_text(text.replace('"onnxruntime ', '"onnxruntime 0.'))  # an older version
    second = run_ops(*names, "--inferbench-json=out.json", "-rs")
    assert second.ret == 1
    second.assert_outcomes(passed=1, failed=2, skipped=1)
    (covered,) = verdicts(project)
    assert covered["cases"] == {
        "known to fail": ["test_abs"],
        "regressed": ["test_cosh", "test_sinh"],
        "improved": ["test_neg"],
    }
    second.stdout.fnmatch_lines(
        [
            "*IB-631*unsupported*passed with onnxruntime 0.*",
            "*2 regressed, 1 improved, 1 known to fail*",
        ]
    )

    third = run_ops("test_sinh and not example", "--update-baselines")
    third.stdout.fnmatch_lines(["*test_sinh passed with onnxruntime 0.*is now failed*"])
    assert len(recorded(project)[1]) == 2, "each version has a record of its own"


def test_a_newer_ir_than_the_runtime_takes_is_lowered_and_said(hostile, run_ops):
    hostile()
    result = run_ops("test_bitshift_left_uint8")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*IR 14 lowered to 10: 1 case*"])


def test_a_backend_that_opens_nothing_is_an_error_not_unsupported(hostile, run_ops):
    project = hostile(test_relu="refuse")
    result = run_ops("test_add", "--inferbench-json=out.json")
    assert result.ret == 1
    assert "passed" not in result.parseoutcomes()
    assert "skipped" not in result.parseoutcomes()
    result.stdout.fnmatch_lines(["*IB-451*hostile cannot open even the model of test_relu*"])
    (covered,) = verdicts(project)
    assert covered["outcomes"] == {"not run": result.parseoutcomes()["failed"]}


def test_under_xdist_one_process_runs_a_backend_s_cases_and_the_controller_records(
    hostile, run_ops
):
    pytest.importorskip("xdist")
    project = hostile(test_abs="lie")
    result = run_ops("test_abs or test_neg or test_add", "-n2", "--update-baselines", "-v")
    assert result.ret == 0, result.stdout.str()
    (record,) = recorded(project)[1].values()
    assert record["failed"] == ["test_abs"]
    assert "test_neg" in record["passed"]
    workers = {line[:5] for line in result.outlines if line.startswith("[gw") and "%]" in line}
    assert len(workers) == 1


def test_the_coverage_file_has_a_row_for_each_operator_and_opset(ops_project, run_ops):
    project = ops_project("ort-cpu", "trt")
    result = run_ops(
        "test_abs or test_sequence_insert or no-nvidia", "--inferbench-coverage=cov.md"
    )
    result.stdout.fnmatch_lines(["*cannot run here: onnx-ops trt fp32*"])
    text = (project.path / "cov.md").read_text()
    assert "| Abs | 13 | 1 / 1 |" in text
    assert "| SequenceInsert | 11 | 0 / 2 (2 unsupported) |" in text


def test_a_cell_that_cannot_run_is_one_item(ops_project, run_ops):
    ops_project("trt")
    run_ops("onnx-ops", "-rs").assert_outcomes(skipped=1)


COLLECTED = "onnx-ops-ort-cpu-fp32"


@pytest.mark.parametrize(
    ("arguments", "collected"),
    [
        ((), False),
        (("-m", "conformance"), False),
        (("-k", "onnx-ops-ort-cpu and test_abs"), True),
        (("suites",), False),
        (("suites/conformance",), True),
        (("suites/conformance", "-m", "not onnx_ops"), False),
    ],
)
def test_the_cases_are_collected_when_they_are_asked_for(ops_project, arguments, collected):
    from pytest_inferbench.locate import packaged_folder

    root = packaged_folder("suites").parent
    given = [str(root / each) if each.startswith("suites") else each for each in arguments]
    result = ops_project("ort-cpu").runpytest_subprocess("--collect-only", "-q", *given)
    assert (COLLECTED in result.stdout.str()) == collected
    assert result.ret == 0


def test_a_shown_id_runs_that_case(ops_project):
    project = ops_project("ort-cpu")
    listed = project.runpytest_subprocess("--collect-only", "-q", "-k", f"{COLLECTED} and test_abs")
    (nodeid,) = [line for line in listed.outlines if COLLECTED in line]
    project.runpytest_subprocess(nodeid).assert_outcomes(passed=1)


def test_the_second_session_generates_nothing(ops_project, cases_cache):
    project = ops_project("ort-cpu")
    first = project.runpytest_subprocess("--collect-only", "-q", "-m", "onnx_ops")
    count = len([line for line in first.outlines if COLLECTED in line])
    assert count > 1000
    written = {path: path.stat().st_mtime_ns for path in cases_cache.rglob("*.bin")}
    second = project.runpytest_subprocess("--collect-only", "-q", "-m", "onnx_ops")
    assert "once on this host" not in second.stdout.str()
    assert {path: path.stat().st_mtime_ns for path in cases_cache.rglob("*.bin")} == written
    assert len([line for line in second.outlines if COLLECTED in line]) == count
