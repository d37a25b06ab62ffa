"""Trained models do what they were trained for; skipped where their packages are absent."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pytest_inferbench.artifacts.cache import ArtifactCache, default_root
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.locate import packaged_folder
from pytest_inferbench.named.zoo import Zoo, why_absent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    script = packaged_folder("fixtures") / "zoo/prepare.py"
    before = sys.argv
    sys.argv = [str(script), "--to", str(folder)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before
    return folder


def session(name: str):
    if why := why_absent(name):
        pytest.skip(why)
    try:
        path = Zoo(ArtifactCache(default_root()), print).get(name)
    except InferbenchError as error:
        if error.code != "IB-471":
            raise
        pytest.skip(error.message)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def samples(folder: Path):
    found = [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))]
    if not found:
        pytest.skip(f"no data in {folder.name}: their packages are not here")
    return found


def pooled(model, sample):
    states = model.run(None, sample)[0]
    mask = sample["attention_mask"][..., None]
    vector = (states * mask).sum(1)[0] / mask.sum()
    return vector / np.linalg.norm(vector)


def test_minilm_at_int8_says_what_it_says_at_fp32_and_finds_pairs(prepared):
    small, full = session("minilm-int8"), session("minilm")
    pairs = [(pooled(small, one), pooled(full, one)) for one in samples(prepared / "sentences")]
    assert min(float(a @ b) for a, b in pairs) > 0.98
    for vectors in zip(*pairs, strict=True):
        alike = np.stack(vectors) @ np.stack(vectors).T - 2 * np.eye(len(vectors))
        partners = [number ^ 1 for number in range(len(vectors))]
        assert np.mean(alike.argmax(1) == partners) >= 0.75


def test_efficientnet_sees_a_cat(prepared):
    image = pytest.importorskip("PIL.Image")
    model = session("efficientnet-lite0")
    photo = prepared / "photos/chelsea.png"
    if not photo.exists():
        pytest.skip("scikit-image is not here")
    square = image.open(photo).convert("RGB").crop((75, 0, 375, 300)).resize((224, 224))
    pixels = (np.asarray(square, np.float32) - 127) / 128
    logits, features = model.run(None, {"images": pixels.transpose(2, 0, 1)[None]})
    assert 281 <= int(logits.argmax()) <= 285  # ImageNet's cats
    assert features.shape == (1, 1280)


def test_pp_ocr_finds_text_on_a_page_and_not_beside_it(prepared):
    model = session("pp-ocr-det")
    samples(prepared / "page")
    page = dict(np.load(prepared / "page/page.npz"))
    found = model.run(None, page)[0]
    blank = model.run(None, {"x": np.ones_like(page["x"])})[0]
    assert (found > 0.5).mean() > 0.05
    assert (blank > 0.5).mean() < 0.01


def test_mobilesam_cuts_out_what_a_point_lies_on(prepared):
    encoder, decoder = session("mobilesam-encoder"), session("mobilesam-decoder")
    samples(prepared / "scenes")
    scene = dict(np.load(prepared / "scenes/rocket.npz"))
    (embedded,) = encoder.run(None, scene)
    masks, scores = decoder.run(
        None,
        {
            "image_embeddings": embedded,
            "point_coords": np.array([[[515, 300], [0, 0]]], np.float32),
            "point_labels": np.array([[1, -1]], np.float32),
        },
    )
    best = masks[0, int(scores[0].argmax())] > 0
    assert best[300 * 256 // 1024, 515 * 256 // 1024]
    assert 0.0005 < best.mean() < 0.5
    assert scores.max() > 0.5
