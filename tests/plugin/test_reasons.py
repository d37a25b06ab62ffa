"""The reason that `--inferbench-json` gives for a test is the whole message, not its last line."""

from __future__ import annotations

import importlib.util
import json


def reasons(project):
    (cell,) = json.loads((project.path / "out.json").read_text())["cells"]
    return {
        test["test"].partition("::")[2].partition("[")[0]: test["reason"] for test in cell["tests"]
    }


def test_every_kind_of_end_says_what_happened(project, gate):
    settings = project.path / "inferbench.toml"
    budgets = "budgets = { max_error = 1e-30, p5 = false, p50 = false }\n"
    settings.write_text(settings.read_text() + budgets)
    project.makepyfile(
        test_own="""
        import pytest
        from pytest_inferbench.errors import InferbenchError

        def test_passes(cell):
            pass

        def test_asserts(cell):
            assert 1 == 2, "one is not two"

        def test_raises(cell):
            raise InferbenchError("IB-999", "what happened", "what to do")

        def test_judges(similarity, conclude):
            similarity._run.outputs[0]["y"] += 1
            conclude(similarity)

        def test_measures(latency, conclude):
            conclude(latency)
        """
    )
    gate("test_own.py", "--inferbench-json", "out.json").assert_outcomes(
        passed=1, failed=3, skipped=1
    )
    found = reasons(project)
    assert found["test_passes"] == ""
    assert "one is not two" in found["test_asserts"]
    assert "[IB-999] what happened\n  what to do" in found["test_raises"]
    assert found["test_judges"].startswith("net on ort-cpu at fp32")
    assert "[IB-601] max_error regressed" in found["test_judges"]
    assert "[IB-616]" in found["test_measures"]
    assert "no budget applies to latency" in found["test_measures"]


def test_an_interpreter_that_is_none_ends_only_sessions_that_need_it(project, gate, said):
    settings = project.path / "inferbench.toml"
    text = settings.read_text().replace('["ort-cpu"]', '["ort-cpu", "openvino"]')
    wrong = '[environments.other]\nbackends = ["openvino"]\npython = "/no/such/python"\n'
    settings.write_text(text + wrong)
    names = "[IB-203] environments.other.python: /no/such/python did not answer"
    whole = gate("-k", "similarity")
    assert (whole.ret, names in said(whole)) == (4, True)
    if importlib.util.find_spec("xdist"):
        parallel = gate("-k", "similarity", "-n", "1")
        assert (parallel.ret, names in said(parallel)) == (4, True)
    others = gate("-m", "ort-cpu", "-k", "similarity")
    others.assert_outcomes(passed=1)
    assert names not in said(others)
    required = gate("-m", "ort-cpu", "-k", "similarity", "--inferbench-require", "openvino")
    required.assert_outcomes(passed=1, failed=1)
    assert names in said(required)
