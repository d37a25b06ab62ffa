"""`inferbench init`, as a user runs it, and what a gate makes of the settings that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_inferbench.settings.find import parse

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def toml(text):
    return parse(text.encode())


def save(path, nodes, inputs, outputs, weights):
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def save_image_net(path, shape, seed=0):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["y"], axes=[2, 3], keepdims=0),
    ]
    save(path, nodes, [("x", FLOAT, shape)], [("y", FLOAT, [shape[0], 4])], {"k": kernel})


def save_token_net(path):
    rng = np.random.default_rng(1)
    weights = {
        "table": rng.normal(0, 1, (50, 8)).astype(np.float32),
        "w": rng.normal(0, 0.4, (8, 8)).astype(np.float32),
        "last": np.array([-1]),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("MatMul", ["kept", "w"], ["y"], name="product"),
    ]
    inputs = [("ids", INT64, ["batch", "sequence"]), ("mask", FLOAT, ["batch", "sequence"])]
    save(path, nodes, inputs, [("y", FLOAT, ["batch", "sequence", 8])], weights)


@pytest.fixture
def folder(tmp_path):
    """A folder with a model of each kind that must be measured without editing."""
    save_image_net(tmp_path / "one/net.onnx", [1, 3, 32, 32])
    save_image_net(tmp_path / "two/net.onnx", ["batch", 3, 32, 32], 1)
    save_image_net(tmp_path / "mödèle s/mein nëtz.onnx", ["N", 3, "height", "width"], 2)
    save_token_net(tmp_path / "text.onnx")
    (tmp_path / "broken-copy.onnx").write_bytes(b"never a model")
    return tmp_path


@pytest.fixture
def run(tmp_path):
    def run(*arguments, program="pytest_inferbench.cli", timeout=100):
        return subprocess.run(
            [sys.executable, "-m", program, *arguments],
            cwd=tmp_path,
            # a cache and a lock of its own: others may be timing meanwhile
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / ".kept"), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


def test_the_settings_are_written_and_read_back(folder, run):
    done = run("init", "--no-run")
    assert done.returncode == 0, done.stderr
    settings = toml((folder / "inferbench.toml").read_text())
    assert {name: table["path"] for name, table in settings["models"].items()} == {
        "text": "text.onnx",
        "one-net": "one/net.onnx",
        "two-net": "two/net.onnx",
        "mein-netz": "mödèle s/mein nëtz.onnx",
    }
    assert settings["models"]["mein-netz"]["shapes"] == {"x": [1, 3, 224, 224]}
    assert settings["models"]["text"]["shapes"] == {"ids": [1, 16], "mask": [1, 16]}
    assert "shapes" not in settings["models"]["two-net"]
    assert "ort-cpu" in settings["matrix"]["backends"]
    assert "left out broken-copy.onnx: [IB-402]" in done.stdout
    assert str(folder) not in (folder / "inferbench.toml").read_text()
    shown = [line.strip() for line in done.stdout.partition("next:")[2].splitlines()[1::2]]
    assert len(shown) == 3
    doctor = run("doctor", "--json")
    assert doctor.returncode == 0, doctor.stderr
    assert "text" in {cell["model"] for cell in json.loads(doctor.stdout)["cells"]}


def test_what_is_there_is_never_written_over_unasked(folder, run):
    mine = folder / "inferbench.toml"
    mine.write_text("# mine\n")
    done = run("init", "--no-run")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("[IB-920]")
    assert mine.read_text() == "# mine\n"
    assert toml(run("init", "--no-run", "--stdout").stdout)["models"]
    assert mine.read_text() == "# mine\n"
    plain = run("init", "--no-run", "--stdout", "--json")
    assert not json.loads(plain.stdout)["written"]
    assert run("init", "--no-run", "--force").returncode == 0
    assert "# mine" not in mine.read_text()
    mine.unlink()
    (folder / "pyproject.toml").write_text("[tool.inferbench]\n")
    done = run("init", "--no-run")
    assert done.returncode == 1
    assert "pyproject.toml holds [tool.inferbench] already" in done.stderr
    assert not mine.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["init", "nowhere"], "IB-921", "nowhere"),
        (["init", "empty"], "IB-922", "`pytest --inferbench-suites` measures a small built-in"),
        (["init", "junk"], "IB-923", "IB-402"),
    ],
)
def test_what_cannot_be_begun_with_is_said(tmp_path, run, arguments, code, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk/net.onnx").write_bytes(b"junk")
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"[{code}]")
    assert said in done.stderr


def test_a_model_whose_inputs_cannot_be_made_up_is_left_out_with_its_reason(tmp_path, run):
    save_image_net(tmp_path / "net.onnx", [1, 3, 32, 32])
    nodes = [helper.make_node("Identity", ["words"], ["y"])]
    words = ("words", TensorProto.STRING, [1]), ("y", TensorProto.STRING, [1])
    save(tmp_path / "words.onnx", nodes, [words[0]], [words[1]], {})
    done = run("init", "--no-run")
    assert done.returncode == 0, done.stderr
    assert "left out words.onnx: [IB-543]" in done.stdout
    assert list(toml((tmp_path / "inferbench.toml").read_text())["models"]) == ["net"]
    (tmp_path / "net.onnx").unlink()
    alone = run("init", "--no-run", "--force")
    assert alone.returncode == 1
    assert alone.stderr.startswith("[IB-923]")


def test_a_detector_beside_its_annotations_is_scored_on_them(tmp_path, run):
    pytest.importorskip("PIL")
    from PIL import Image

    save(
        tmp_path / "det.onnx",
        [helper.make_node("Conv", ["images", "k"], ["c"], strides=[8, 8]), *_flat()],
        [("images", FLOAT, [1, 3, 32, 32])],
        [("y", FLOAT, [1, 6, 16])],
        {"k": np.zeros((6, 3, 8, 8), np.float32), "shape": np.array([1, 6, 16])},
    )
    for name in ("data/images/1.png", "calib/2.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(path)
    coco = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
    }
    (tmp_path / "data/instances.json").write_text(json.dumps(coco))
    done = run("init", "--no-run", "--json")
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert (model["task"], model["data"]) == ("detection", "data/instances.json")
    assert model["calibration"] == "calib"
    assert model["precisions"] == ["fp32", "fp16", "int8"]


def _flat():
    return [helper.make_node("Reshape", ["c", "shape"], ["y"])]


@pytest.mark.slow
def test_a_first_gate_is_green_and_a_broken_build_is_red_without_editing(folder, run):
    done = run("init")
    assert done.returncode == 0, done.stderr
    first = run("-q", "-p", "no:cacheprovider", "-m", "accuracy and ort-cpu", program="pytest")
    assert first.returncode == 0, first.stdout
    assert "pass" in first.stdout
    assert "left out" not in first.stdout
    broken = run("init", "--broken", "--no-run")
    assert broken.returncode == 0, broken.stderr
    arguments = ["-q", "-p", "no:cacheprovider", "-m", "accuracy and int8"]
    red = run(*arguments, "--inferbench-settings", "broken.toml", program="pytest")
    assert red.returncode == 1, red.stdout
    assert "regressed" in red.stdout
