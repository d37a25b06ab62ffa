"""`inferbench calibrate` on a small real model, through real workers and the cache."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench import cli

SETTINGS = """
cache = ".cache"
lock = ".lock"

[models.net]
path = "net.onnx"
task = "tensors"
samples = 8
calibration_samples = 8
"""
LAYERS = 5


def write_model(path):
    """A chain of layers, of which the fourth multiplies one channel thirtyfold."""
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for i in range(LAYERS):
        weight = rng.normal(0, 0.3, (8, 3 if i == 0 else 8, 3, 3)).astype(np.float32)
        if i == 3:
            weight[0] *= 30
        if i == 4:
            weight[:, 0] /= 30
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(
            helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        name = f"r{i}"
    nodes.append(helper.make_node("ReduceMean", [name], ["y"], axes=[2, 3], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 24, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    onnx.save(model, path)


@pytest.fixture
def calibrate(tmp_path, monkeypatch, capsys):
    """Run the command in a project of its own; give its status, output and what it said."""
    write_model(tmp_path / "net.onnx")
    (tmp_path / "inferbench.toml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = cli.main(["calibrate", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_methods_are_compared_and_the_second_time_comes_from_the_cache(calibrate):
    status, out, err = calibrate("net", "--methods", "minmax,entropy,percentile=99")
    assert status == 0
    assert "8 samples, calibrated on 8" in out
    for method in ("minmax", "entropy", "percentile=99"):
        assert "net on ort-cpu at int8" in err
        assert f": {method}" in err
    (best,) = [line for line in out.splitlines() if line.startswith("* ")]
    pasted = msgspec.toml.decode(out[out.index("[models.") :])
    chosen = pasted["models"]["net"]["quantization"]
    assert chosen["method"] == best.split()[1].partition("=")[0]

    status, out, _ = calibrate("net", "--methods", "minmax,entropy,percentile=99", "--json")
    trials = {each["method"]: each for each in json.loads(out)["trials"]}
    assert status == 0
    assert all(each["build_s"] is None for each in trials.values()), "all were in the cache"
    nearness = {name: each["figures"]["centred_mean"] for name, each in trials.items()}
    assert len(set(nearness.values())) == 3, "each method does something of its own"
    assert json.loads(out)["best"]["method"] == max(nearness, key=nearness.get)


def test_the_gate_takes_what_was_chosen_from_the_same_cache(calibrate, tmp_path):
    calibrate("net", "--methods", "entropy")
    settings = tmp_path / "inferbench.toml"
    settings.write_text(SETTINGS + 'quantization = { method = "entropy" }\n')
    before = sorted((tmp_path / ".cache").rglob("*.onnx"))
    _, out, _ = calibrate("net", "--methods", "entropy", "--json")
    assert json.loads(out)["trials"][0]["build_s"] is None
    assert sorted((tmp_path / ".cache").rglob("*.onnx")) == before


@pytest.mark.slow
def test_the_layer_that_costs_most_is_left_in_float_and_twice_the_same(calibrate):
    arguments = ("net", "--sensitivity", "--budget", "centred_cosine=0.9", "--json")
    status, out, _ = calibrate(*arguments)
    found = json.loads(out)
    assert status == 0
    assert found["layers"][0]["name"] == "conv4", "its input has one channel far above the rest"
    assert not found["held"]["0"]
    assert found["held"][str(found["fewest"])]
    assert found["points"][str(found["fewest"])]["figures"]["centred_cosine"] >= 0.9
    assert "holds" in found["stopped"]
    again = json.loads(calibrate(*arguments)[1])
    assert again["layers"] == found["layers"]
    assert again["fewest"] == found["fewest"]


@pytest.mark.slow
def test_a_search_that_may_not_go_on_says_why(calibrate):
    budget = ("--budget", "centred_cosine=0.9999999")
    status, out, _ = calibrate("net", "--sensitivity", *budget, "--max-layers", "1")
    assert status == 1
    assert "fails with 1 layer in float, and --max-layers allows no more" in out
    status, out, _ = calibrate("net", "--sensitivity", *budget, "--time", "0")
    assert status == 1
    assert "(--time)" in out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("other",), "IB-571"),
        (("net", "--backend", "ort-cup"), "IB-571"),
        (("net", "--precision", "fp16"), "IB-571"),
        (("net", "--backend", "ort-cuda"), "IB-572"),
        (("net", "--methods", "max"), "IB-570"),
        (("net", "--sensitivity", "--budget", "map_drop"), "IB-573"),
        (("net", "--sensitivity", "--budget", "p50=3"), "IB-573"),
        (("net", "--sensitivity", "--budget", "map_drop=0.01"), "IB-573"),
    ],
)
def test_what_cannot_be_asked_is_refused(calibrate, arguments, code):
    status, _, err = calibrate(*arguments)
    assert status == 1
    assert f"[{code}]" in err
