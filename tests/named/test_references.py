"""Names of models are told from files, and wrong ones have a message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_inferbench.named.catalog import architectures, fault_of, folder_of, zoo
from pytest_inferbench.named.references import Reference, parse_reference, split_size
from pytest_inferbench.settings import load


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("inferbench:resnet18-small", ("inferbench", "resnet18-small")),
        ("zoo:minilm-int8", ("zoo", "minilm-int8")),
        ("models/resnet18.onnx", None),
        ("/zoo/minilm:int8.onnx", None),
        ("zoo", None),
        ("c:model.onnx", None),
    ],
)
def test_a_scheme_is_what_makes_a_reference(path, parts):
    assert parse_reference(path) == (parts and Reference(*parts))


def test_the_size_is_the_last_word():
    assert split_size("clip-vit-b32-text-real") == ("clip-vit-b32-text", "real")
    assert split_size("clip-vit-b32-text") == ("clip-vit-b32-text", "")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (Reference("inferbench", "resnet18"), '"inferbench:resnet18-small"'),
        (Reference("inferbench", "resnt18-small"), 'did you mean "resnet18-small"'),
        (Reference("inferbench", "resnet18-huge"), "resnet18-real"),
        (Reference("zoo", "minilm-int9"), 'did you mean "minilm-int8"'),
        (Reference("zoo", ""), "inferbench models list"),
    ],
)
def test_a_wrong_name_has_the_nearest(reference, message):
    assert message in fault_of(reference)


def test_every_entry_is_a_sound_name():
    for name in architectures():
        assert fault_of(Reference("inferbench", f"{name}-small")) is None
    for name in zoo():
        assert fault_of(Reference("zoo", name)) is None


def test_the_catalog_names_makers_that_there_are():
    for entry in architectures().values():
        module, function = entry.maker.split(":")
        source = (folder_of("architectures") / f"{module}.py").read_text()
        assert f"def {function}(size: str) -> Graph:" in source


def test_the_catalog_of_the_zoo_is_whole():
    for name, entry in zoo().items():
        assert len(entry.sha256) == len(entry.wheel_sha256) == 64, name
        if entry.converter:
            assert (folder_of("zoo") / entry.converter[0]).is_file(), name
        if "AGPL" in entry.licence:
            assert entry.opt_in, name
            assert not entry.extra, name


def settings_of(folder: Path, path: str) -> Path:
    file = folder / "inferbench.toml"
    file.write_text(f'[models.m]\npath = "{path}"\ntask = "tensors"\n')
    return file


def test_settings_keep_a_reference_and_make_files_absolute(tmp_path):
    model = load(settings_of(tmp_path, "inferbench:resnet18-small")).models["m"]
    assert str(model.path) == "inferbench:resnet18-small"
    (tmp_path / "own.onnx").touch()
    assert load(settings_of(tmp_path, "own.onnx")).models["m"].path == tmp_path / "own.onnx"


def test_settings_refuse_a_name_that_there_is_not(tmp_path):
    with pytest.raises(Exception, match=r'IB-103(.|\n)*models.m.path.*"resnet18-small"'):
        load(settings_of(tmp_path, "inferbench:resnet-18-small"))


def test_the_manifest_is_about_models_of_the_catalog():
    manifest = json.loads((folder_of("architectures") / "manifest.json").read_text())
    for model, recorded in manifest["models"].items():
        assert fault_of(Reference("inferbench", model)) is None
        assert len(recorded["sha256"]) == 64
