"""The whole flow on a real model in real workers: measure, record, judge, report."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest


def baselines(project):
    return sorted(project.path.glob("baselines/*/*.json"))


def sessions(project, cell="ort-cpu fp32"):
    (file,) = baselines(project)
    return json.loads(file.read_text())["cells"][cell]["sessions"]


def test_a_first_run_has_verdicts_and_says_that_baselines_are_missing(project, gate):
    result = gate("-rs", "--inferbench-json", "out.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*IB-701*no baseline yet*--update-baselines*"])
    result.stdout.fnmatch_lines(["*net*ort-cpu*fp32*"])
    result.stdout.fnmatch_lines(["inferbench: *missing IB-701*"])
    assert not baselines(project), "nothing is recorded unasked"
    (cell,) = json.loads((project.path / "out.json").read_text())["cells"]
    figures = {name: v for test in cell["tests"] for name, v in test.get("figures", {}).items()}
    assert figures["cosine"] == pytest.approx(1)
    assert 0 < figures["p5_ms"] <= figures["p50_ms"] <= figures["p99_ms"]
    assert figures["peak_mib"] > 1
    assert figures["cold_start_ms"] > 0


def test_recording_then_judging(project, gate):
    recorded = gate("--update-baselines", "--inferbench-reason", "the first")
    assert recorded.ret == 0
    recorded.stdout.fnmatch_lines(["recorded net on ort-cpu*nothing -> * ms"])
    (session,) = sessions(project)
    assert session["reason"] == "the first"
    assert len(session["latency_ms"]["p50"]) == 3
    assert "onnxruntime" in session["environment"]
    again = gate("-m", "latency")
    assert again.ret in (0, 1)  # 1 only where nothing reached a verdict; never a regression
    assert "regressed" not in again.stdout.str()


@pytest.mark.slow
def test_updating_adds_and_replacing_replaces(project, gate):
    gate("-m", "latency", "--update-baselines")
    second = gate("-m", "latency", "--update-baselines")
    second.stdout.fnmatch_lines(["recorded net on ort-cpu*: p50 * ms -> * ms"])
    assert len(sessions(project)) == 2
    gate("-m", "latency", "--update-baselines=replace")
    assert len(sessions(project)) == 1


def test_a_path_after_the_option_is_not_swallowed(project, gate):
    project.makepyfile(test_own="def test_own(latency, conclude):\n    conclude(latency)\n")
    result = gate("--update-baselines", "test_own.py")
    result.assert_outcomes(passed=1)
    assert len(sessions(project)) == 1


@pytest.mark.slow
def test_more_work_in_the_model_is_one_failure_with_everything_to_act_on(
    project, gate, write_model
):
    gate("-m", "latency", "--update-baselines")
    write_model(project.path / "net.onnx", layers=60)
    result = gate("--junitxml", "junit.xml")
    assert result.ret == 1
    shown = result.stdout.str()
    for part in ("net on ort-cpu at fp32", "IB-603", "between +", "budget +10%", "net.json"):
        assert part in shown
    assert "--update-baselines --inferbench-reason" in shown
    assert "artifact" in shown, "that the model differs is said"
    suite = ET.parse(project.path / "junit.xml").getroot().find("testsuite")
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["inferbench.p5.verdict"] == "regressed"
    assert float(properties["inferbench.p50_ms"]) > 0


def test_a_cell_whose_outputs_are_wrong_is_never_recorded(project, gate):
    file = project.path / "inferbench.toml"
    text = file.read_text().replace('precisions = ["fp32"]', 'precisions = ["fp32", "fp16"]')
    file.write_text(text + "budgets = { max_error = { fp16 = 0.0 } }\n")
    result = gate("-m", "latency", "--update-baselines")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*net on ort-cpu at fp16*", "*max_error regressed*"])
    (recorded,) = baselines(project)
    assert list(json.loads(recorded.read_text())["cells"]) == ["ort-cpu fp32"]


def test_cells_that_run_are_numbered_in_their_order(project, gate):
    settings = project.path / "inferbench.toml"
    settings.write_text(
        settings.read_text()
        .replace('["ort-cpu"]', '["ort-cuda", "ort-cpu"]')
        .replace('["fp32"]', '["fp32", "fp16"]')
    )
    project.makeconftest(
        """
        from pytest_inferbench import progress, telling
        progress.FIRST_WORD_S = telling.NEXT_WORD_S = 0.0
        """
    )
    said = gate("-m", "fp16", "-k", "similarity").stdout.str()
    assert "cell 1 of 1: net on ort-cpu at fp16" in said
    said = gate("-k", "similarity").stdout.str()
    assert "cell 1 of 2: net on ort-cpu at fp32" in said
    assert "cell 2 of 2: net on ort-cpu at fp16" in said
    assert "8 of 8 samples" in said


@pytest.mark.parametrize("parallel", [(), ("-n", "1")])
def test_what_was_built_anew_is_told_at_the_end(project, gate, parallel):
    if parallel:
        pytest.importorskip("xdist")
    settings = project.path / "inferbench.toml"
    settings.write_text(settings.read_text().replace('["fp32"]', '["fp16"]'))
    project.makeconftest(
        """
        from pathlib import Path
        from pytest_inferbench import provision

        providing = provision.provide

        def provide(gate, *args, **kwargs):
            artifact = providing(gate, *args, **kwargs)
            if ".cache" in artifact.path and not Path("cut").exists():
                Path("cut").touch()
                Path(artifact.path).write_bytes(b"no model")
            return artifact

        provision.provide = provide
        """
    )
    result = gate("-k", "similarity", "--inferbench-json", "out.json", *parallel)
    result.assert_outcomes(passed=1)
    (notice,) = json.loads((project.path / "out.json").read_text())["notices"]
    assert notice.startswith("net at fp16 for ort-cpu was built anew: what was kept is damaged")
    assert notice in result.stdout.str().partition("inference gate")[2]
