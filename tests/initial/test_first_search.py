"""What is found in a folder, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_inferbench.commands.init import _nothing
from pytest_inferbench.initial.search import Found, search
from pytest_inferbench.initial.survey import Survey


def touch(folder: Path, *names: str, text: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(folder, paths):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_models_are_found_nearest_first_and_what_is_of_others_is_not(tmp_path):
    touch(tmp_path, "z.onnx", "deep/er/a.ONNX", "b/c.onnx", ".hidden/h.onnx", ".g.onnx")
    touch(
        tmp_path, "node_modules/m/n.onnx", "env/pyvenv.cfg", "env/lib/e.onnx", "__pycache__/p.onnx"
    )
    touch(tmp_path, "kept/CACHEDIR.TAG", "kept/k.onnx", "baselines/cpu/x.onnx")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.onnx").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.onnx").mkdir()
    found = search(tmp_path)
    assert names(tmp_path, found.onnx) == ["z.onnx", "b/c.onnx", "deep/er/a.ONNX"]
    assert not found.cut_short


def test_a_folder_that_is_named_counts_whatever_it_is(tmp_path):
    touch(tmp_path, "pyvenv.cfg", "net.onnx")
    assert names(tmp_path, search(tmp_path).onnx) == ["net.onnx"]


def test_a_huge_tree_is_left_at_its_bound_and_that_is_known(tmp_path):
    touch(tmp_path, "a.onnx", *(f"many/{i}.txt" for i in range(50)), "many/z/late.onnx")
    found = search(tmp_path, most_entries=20)
    assert found.cut_short
    assert found.entries == 20
    assert names(tmp_path, found.onnx) == ["a.onnx"]


def test_what_could_not_be_looked_into_is_told(tmp_path):
    found = Found(unreadable=[tmp_path / "models"])
    (note,) = Survey(tmp_path, found, (), print).notes
    assert note == "folders that could not be looked into are left out: models"
    assert "models could not be looked into" in _nothing(tmp_path, found).message


def test_annotations_and_samples_are_found_beside_them(tmp_path):
    coco = json.dumps({"images": [], "annotations": [], "categories": []})
    touch(tmp_path, "data/val/instances.json", text=coco)
    touch(tmp_path, "package.json", text='{"images": 1}')
    touch(tmp_path, "data/calibration/day/1.png", "data/calibration/2.png", "arrays/a.npz")
    found = search(tmp_path)
    assert names(tmp_path, found.annotations) == ["data/val/instances.json"]
    assert names(tmp_path, found.calibration) == ["data/calibration"]
    assert names(tmp_path, found.arrays) == ["arrays"]
