"""Architectures are built offline, the same bytes each time, and run where they are named."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from pytest_inferbench.artifacts.inspect import inspect
from pytest_inferbench.cli import main
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.named.catalog import architectures
from pytest_inferbench.named.exporting import CARD_FILE, MODEL_FILE, PROGRAM_FILE, Exporter
from pytest_inferbench.named.references import Reference
from pytest_inferbench.named.resolve import locate, resolved, why_absent
from pytest_inferbench.settings.schema import ModelSettings


def built(name, cache, said=None):
    return Exporter(cache, (said if said is not None else []).append).get(f"{name}-small").folder


def answers(folder):
    session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    samples = [dict(np.load(path)) for path in sorted((folder / "data").glob("*.npz"))]
    return [dict(zip(names, session.run(None, sample), strict=True)) for sample in samples]


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures())
def test_every_architecture_is_built_runs_and_answers_differently(name, cache, request):
    needs_transformers = "transformers" in architectures()[name].needs
    request.getfixturevalue("exports_transformers" if needs_transformers else "exports_torch")
    said: list[str] = []
    folder = built(name, cache, said)
    assert said[-1].startswith(f"inferbench:{name}-small: built in")
    graph = onnx.load(folder / MODEL_FILE)
    assert graph.ir_version <= 10
    assert max(each.version for each in graph.opset_import) <= 21
    card = json.loads((folder / CARD_FILE).read_text())
    outputs = answers(folder)
    assert set(outputs[0]) == set(card["outputs"])
    for output in outputs[0]:
        first, second = (each[output].ravel().astype(np.float64) for each in outputs[:2])
        assert np.isfinite(first).all()
        assert first.std() > 0.01
        cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        assert cosine <= card["cosine_of_different_inputs"][output] + 1e-3
        assert cosine < 0.9999
    inspect(folder / MODEL_FILE)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(
    tmp_path, cache, exports_torch, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    first = (built("yolov8n", cache) / MODEL_FILE).read_bytes()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    second = (built("yolov8n", type(cache)(tmp_path / "other")) / MODEL_FILE).read_bytes()
    assert first == second


@pytest.mark.slow
def test_a_model_is_built_once_and_its_samples_are_its_data(cache, exports_torch):
    said: list[str] = []
    model = ModelSettings(path="inferbench:yolov8n-small", task="tensors")
    first = resolved(model, cache, said.append)
    lines = len(said)
    assert resolved(model, cache, said.append) == first
    assert len(said) == lines
    assert first.path.is_file()
    assert (first.data, first.calibration) == (
        first.path.parent / "data",
        first.path.parent / "calibration",
    )
    own = resolved(ModelSettings(path=model.path, task="tensors", data=first.path), cache, print)
    assert own.data == first.path


def test_a_file_passes_through(tmp_path, cache):
    model = ModelSettings(path=tmp_path / "own.onnx", task="tensors")
    assert resolved(model, cache, print) is model
    assert why_absent(model) is None


def test_a_python_without_the_extra_is_told_which(cache, tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho missing transformers\nexit 3\n")
    bare.chmod(0o755)
    with pytest.raises(InferbenchError, match=r"IB-471.*transformers(.|\n)*\[export\]"):
        locate(Reference("inferbench", "resnet18-small"), cache, print, str(bare))
    assert not any(cache.root.glob("??/*/model.onnx"))


def test_a_name_that_there_is_not_is_named(cache):
    with pytest.raises(InferbenchError, match=r"IB-470.*resnet18-small"):
        locate(Reference("inferbench", "resnet-18-small"), cache, print)


def test_the_command_lists_every_model_in_every_size(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path / "cache"))
    assert main(["models", "list", "--json"]) == 0
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)}
    for name in architectures():
        for size in ("small", "real"):
            assert rows[f"inferbench:{name}-{size}"]["state"] == "not built"
    assert rows["zoo:pp-ocr-det"]["licence"] == "Apache-2.0"
    assert main(["models", "list"]) == 0
    assert "inferbench:sam3-encoder-real" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_builds_into_a_folder(capsys, tmp_path, monkeypatch, exports_torch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path / "cache"))
    assert main(["models", "build", "yolov8n", "--torch", "--to", "here"]) == 0
    assert capsys.readouterr().out.strip() == "here/model.onnx"
    assert {path.name for path in (tmp_path / "here").iterdir()} >= {"model.onnx", "data"}
    assert_torch_answers_alike(tmp_path / "here")
    assert main(["models", "build", "yolov8n", "--to", "here"]) == 1
    assert "IB-478" in capsys.readouterr().err
    assert main(["models", "build", "yolov8n-small", "--size", "real"]) == 1
    assert "IB-478" in capsys.readouterr().err
    assert main(["models", "build", "yolov8n", "--torch"]) == 1
    assert "Name a folder with --to" in capsys.readouterr().err


def assert_torch_answers_alike(folder):
    """The exported program has the ONNX file's names, free axes and values."""
    pytest.importorskip("torch")
    from pytest_inferbench.backends.torch_native import Torch

    backend = Torch()
    backend.open(str(folder / PROGRAM_FILE), {}, "fp32")
    samples = [dict(np.load(path)) for path in sorted((folder / "data").glob("*.npz"))][:3]
    joined = {name: np.concatenate([each[name] for each in samples]) for name in samples[0]}
    session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    ours = backend.infer(joined)
    backend.close()
    for name, theirs in zip(ours, session.run(list(ours), joined), strict=True):
        np.testing.assert_allclose(ours[name], theirs, rtol=1e-3, atol=1e-3)
