"""What a run samples beside latency: throughput by batch, raw samples, cold starts, pinned CPUs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from pytest_inferbench.measure.raw import load


@pytest.fixture
def settled(project):
    """Change the settings of the project: text replaced, text added."""

    def settled(latency="", more=""):
        file = project.path / "inferbench.toml"
        text = file.read_text().replace("[latency]\n", f"[latency]\n{latency}\n")
        file.write_text(text + more)

    return settled


def results(project):
    return json.loads((project.path / "r.json").read_text())


def only_test(project):
    (cell,) = results(project)["cells"]
    (test,) = cell["tests"]
    return test


@pytest.mark.slow
def test_batch_sizes_are_swept_recorded_and_compared(gate, settled, said, project):
    settled("batches = [1, 4]", '\n[models.net.budgets]\nthroughput = "-90%"\n')
    assert "1 missing IB-701" in said(gate("-m", "throughput", timeout=300))
    recorded = gate("-m", "throughput", "--update-baselines", timeout=300)
    assert recorded.parseoutcomes()["passed"] == 1
    (file,) = project.path.glob("baselines/*/net.json")
    (session,) = json.loads(file.read_text())["cells"]["ort-cpu fp32"]["sessions"]
    assert set(session["throughput_per_s"]) == {"1", "4"}
    assert len(session["throughput_per_s"]["4"]) == len(session["sweep_probe_ms"]) == 3
    gate("-m", "throughput", "--inferbench-json", "r.json", timeout=300)
    test = only_test(project)
    assert [each["batch"] for each in test["batches"]] == [1, 4]
    assert test["figures"]["throughput_per_s"] > 0
    assert test["judgements"][0]["baseline"] > 0


@pytest.mark.slow
def test_a_fixed_batch_is_measured_alone_and_without_a_budget_nothing_is_asked(
    gate, settled, said, project
):
    model = onnx.load(project.path / "net.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, project.path / "net.onnx")
    settled("batches = [1, 8]")
    run = gate("-m", "throughput", "--inferbench-json", "r.json", timeout=300)
    text = said(run)
    assert "at batch 2 (p50" in text
    assert "not asked: 1 question" in text
    test = only_test(project)
    assert [each["batch"] for each in test["batches"]] == [2]
    assert test["not_asked"] == "no budget on throughput"


@pytest.mark.slow
def test_a_batch_that_the_model_refuses_fails_and_is_named(gate, settled, said, project):
    model = onnx.load(project.path / "net.onnx")
    shape = onnx.numpy_helper.from_array(np.array([1, 16]), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(onnx.helper.make_node("Reshape", ["y", "shape"], ["z"]))
    model.graph.output[0].name = "z"
    onnx.save(model, project.path / "net.onnx")
    settled("batches = [1, 2]")
    run = gate("-m", "throughput")
    text = said(run)
    assert run.parseoutcomes()["failed"] == 1
    assert "[IB-670]" in text
    assert "a batch of 2 could not be run" in text


def test_a_plain_run_has_no_item_for_throughput(gate, settled):
    plain = gate("--collect-only", "-q", "-m", "latency or cold_start or throughput or memory")
    assert "test_throughput" in plain.stdout.str()
    plain = gate("--collect-only", "-q")
    assert "test_latency" in plain.stdout.str()
    assert "test_throughput" not in plain.stdout.str()
    settled("batches = [2]")
    assert "test_throughput" in gate("--collect-only", "-q").stdout.str()


@pytest.mark.slow
def test_raw_samples_are_kept_under_xdist_too(gate, settled, said, project):
    settled()
    run = gate(
        "-m", "latency or memory", "-n", "2", "--inferbench-raw", "raw", "--inferbench-json",
        "r.json",
    )  # fmt: skip
    files = sorted((project.path / "raw").iterdir())
    assert len(files) == 3
    assert f"raw samples: 3 files in {project.path / 'raw'}" in said(run)
    (cell,) = results(project)["cells"]
    runs = [load(file) for file in files]
    assert all(file.name.startswith(f"{cell['id']}.") for file in files)
    assert all(each.facts["cell"] == cell["id"] for each in runs)
    assert all(len(each.facts["probes_ms"]) == 2 for each in runs)
    assert all("onnxruntime" in each.facts["environment"] for each in runs)
    samples = next(t for t in cell["tests"] if t["kind"] == "latency")["figures"]["samples"]
    assert sum(len(each.ns) for each in runs) == samples


@pytest.mark.slow
def test_loading_from_a_cache_is_told_apart_from_a_fresh_build(gate, settled, said, project):
    pytest.importorskip("openvino")
    file = project.path / "inferbench.toml"
    file.write_text(file.read_text().replace('["ort-cpu"]', '["openvino"]'))
    settled(more='\n[backends.openvino]\nmodel_cache = "kept"\n')
    said(gate("-m", "cold_start", "--inferbench-json", "r.json"))
    figures = only_test(project)["figures"]
    assert figures["fresh_build_ms"] > 0
    assert figures["load_from_cache_ms"] > 0
    assert figures["cold_start_ms"] > figures["open_ms"] > 0
    assert figures["first_inference_ms"] > 0
    said(gate("-m", "cold_start", "--inferbench-json", "r.json"))
    assert "fresh_build_ms" not in only_test(project)["figures"]


def test_without_a_cache_no_load_from_one_is_told(gate, said, project):
    said(gate("-m", "cold_start", "--inferbench-json", "r.json"))
    figures = only_test(project)["figures"]
    assert {"open_ms", "first_inference_ms"} <= set(figures)
    assert not {"load_from_cache_ms", "fresh_build_ms"} & set(figures)


@pytest.mark.slow
def test_a_cell_is_pinned_and_its_baseline_says_so(gate, settled, said, project):
    cpu = min(os.sched_getaffinity(0))
    settled(f"pin = [{cpu}]")
    said(gate("-m", "latency", "--update-baselines", "--inferbench-raw", "raw"))
    (file,) = project.path.glob("baselines/*/net.json")
    (session,) = json.loads(file.read_text())["cells"]["ort-cpu fp32"]["sessions"]
    assert session["environment"]["pinned to CPUs"] == str(cpu)


def test_cpus_that_are_not_there_fail_the_cell(gate, settled, said):
    settled("pin = [4095]")
    run = gate("-m", "cold_start")
    assert run.parseoutcomes()["failed"] == 1
    text = said(run)
    assert "[IB-673]" in text
    assert "CPU 4095 does not exist" in text


@pytest.mark.parametrize("written", ["[]", "[0, 0]", "[-1]", '"all"', "[true]", "3"])
def test_what_names_no_cpus_is_a_fault_of_the_settings(gate, settled, written):
    settled(f"pin = {written}")
    run = gate("--collect-only")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "latency.pin: expected CPUs such as [0, 1]" in run.stderr.str()


@pytest.mark.slow
def test_percentiles_of_means_say_so(gate, said, project, write_model):
    write_model(project.path / "net.onnx", layers=1, size=4)
    file = project.path / "inferbench.toml"
    file.write_text(file.read_text() + '\n[models.net.budgets]\np99 = "0.00001 ms"\n')
    text = said(gate("-m", "latency", "--inferbench-json", "r.json"))
    test = only_test(project)
    calls = int(test["figures"]["calls_per_sample"])
    assert calls > 1
    assert f"p99 is of means of several calls (so many): net ort-cpu fp32 ({calls})" in text
    (p99,) = (j for j in test["judgements"] if j["metric"] == "p99")
    assert f"each timing is the mean of {calls} calls" in p99["detail"]


def test_a_folder_for_raw_samples_that_cannot_be_written_to_fails_the_cell(gate, said, project):
    Path(project.path / "raw").write_text("no folder")
    run = gate("-m", "cold_start", "--inferbench-raw", "raw")
    assert run.parseoutcomes()["failed"] == 1
    assert "[IB-671]" in said(run)
