"""Labels from files and folders, and samples that lie in .npz files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_inferbench.accuracy.labels import labels_of, labels_of_folders, load_labels
from pytest_inferbench.accuracy.tensor_set import load_tensors
from pytest_inferbench.errors import InferbenchError


def code_of(call, *arguments):
    with pytest.raises(InferbenchError) as error:
        call(*arguments)
    return error.value.code


def test_json_and_csv_say_the_same(tmp_path):
    labels = {"a/1.png": 3, "2.png": 0, "speech": 'he said, "no"'}
    (tmp_path / "l.json").write_text(json.dumps(labels))
    (tmp_path / "l.csv").write_text('file,label\na/1.png,3\n2.png,0\n\nspeech,"he said, ""no"""\n')
    assert load_labels(tmp_path / "l.json") == load_labels(tmp_path / "l.csv") == labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.json", "[1, 2]"),
        ("l.json", '{"a": [1]}'),
        ("l.json", "{}"),
        ("l.json", "{"),
        ("l.csv", ""),
        ("l.csv", "file,label\n"),
        ("l.csv", "file,label\na,1,2\n"),
        ("l.csv", "file,label\na,1\na,2\n"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert code_of(load_labels, tmp_path / name) == "IB-580"
    assert code_of(load_labels, tmp_path / "gone.json") == "IB-580"


def test_samples_are_found_by_path_by_name_and_by_stem():
    labels = {"a/1.png": 1, "2.png": 2, "3": 3}
    assert labels_of(["a/1.png", "b/2.png", "c/3.png"], labels, "l") == [1, 2, 3]
    assert code_of(labels_of, ["a/4.png"], labels, "l") == "IB-581"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat/1.png", "dog/1.png", "cat/2.png"], [0, 1, 0]),
        (["10/1.png", "2/1.png"], [10, 2]),
        (["1.png", "2.png"], None),
        (["images/1.png", "images/2.png"], None),
        (["cat/1.png", "2.png"], None),
        ([], None),
    ],
)
def test_folders_are_classes_where_they_can_be(names, expected):
    assert labels_of_folders(names) == expected


def test_a_folder_of_files_and_the_rows_of_one_are_the_same_samples(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    labels = np.array([1, 0, 2, 1])
    (tmp_path / "many").mkdir()
    for i in range(4):
        np.savez(tmp_path / f"many/{i}.npz", x=rows[i : i + 1], labels=labels[i : i + 1])
    np.savez(tmp_path / "one.npz", x=rows, labels=labels)
    for path in (tmp_path / "many", tmp_path / "one.npz"):
        found = load_tensors(path, 3, {"labels"})
        assert [list(sample) for sample in found] == [["x"]] * 3
        assert [array.tolist() for array in found.beside("labels")] == [[1], [0], [2]]
        np.testing.assert_array_equal(found[1:][0]["x"], rows[1:2])
        assert found.beside("masks") is None
        assert list(load_tensors(path, 3)[0]) == ["x", "labels"]
        assert found.data_sha256 != load_tensors(path, 2, {"labels"}).data_sha256


def test_a_file_whose_rows_do_not_match_and_labels_that_some_lack(tmp_path):
    np.savez(tmp_path / "odd.npz", x=np.zeros((3, 2)), labels=np.zeros(2))
    assert code_of(load_tensors, tmp_path / "odd.npz", None) == "IB-544"
    np.savez(tmp_path / "scalar.npz", x=np.float32(1))
    assert code_of(load_tensors, tmp_path / "scalar.npz", None) == "IB-544"
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 2)))
    assert code_of(load_tensors, tmp_path / "none.npz", None) == "IB-544"
    (tmp_path / "some").mkdir()
    np.savez(tmp_path / "some/0.npz", x=np.zeros(2), labels=np.zeros(1))
    np.savez(tmp_path / "some/1.npz", x=np.zeros(2))
    found = load_tensors(tmp_path / "some", None, {"labels"})
    assert code_of(found.beside, "labels") == "IB-581"
