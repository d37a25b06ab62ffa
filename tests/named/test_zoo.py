"""Trained models are found in packages without importing them, and checked."""

from __future__ import annotations

import hashlib

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate
from pytest_inferbench.named import zoo as module
from pytest_inferbench.named.catalog import zoo
from pytest_inferbench.named.zoo import Zoo, fetched_folder, package_file, why_absent


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path / "user"))


def put(name: str, content: bytes) -> None:
    path = fetched_folder(zoo()[name]) / zoo()[name].file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def test_what_is_not_here_says_how_to_get_it(cache):
    assert "inferbench models fetch pp-ocr-det" in why_absent("pp-ocr-det")
    if package_file(zoo()["minilm-int8"]) is None:
        assert "pytest-inferbench[zoo]" in why_absent("minilm-int8")
    with pytest.raises(InferbenchError, match=r"IB-475.*rapidocr 3\.10\.0"):
        Zoo(cache, print).get("pp-ocr-det")


def test_another_file_than_the_catalog_s_is_refused(cache):
    put("pp-ocr-det", b"something else")
    assert why_absent("pp-ocr-det") is None
    with pytest.raises(InferbenchError, match=r"IB-476.*SHA-256"):
        Zoo(cache, print).get("pp-ocr-det")


def test_the_right_file_is_given_as_it_lies(cache, monkeypatch):
    entry = zoo()["pp-ocr-det"]
    known = type(entry)(
        **{
            **{field: getattr(entry, field) for field in entry.__struct_fields__},
            "sha256": hashlib.sha256(b"content").hexdigest(),
        }
    )
    monkeypatch.setattr(module, "zoo", lambda: {"pp-ocr-det": known})
    put("pp-ocr-det", b"content")
    assert Zoo(cache, print).get("pp-ocr-det").read_bytes() == b"content"


def test_cells_of_an_absent_model_cannot_run_and_say_why(tmp_path):
    (tmp_path / "inferbench.toml").write_text(
        '[models.ocr]\npath = "zoo:pp-ocr-det"\ntask = "tensors"\nbackends = ["ort-cpu"]\n'
    )
    cells = Gate.from_folder(tmp_path).cells
    assert cells
    assert all("rapidocr 3.10.0" in (cell.cannot_run or "") for cell in cells)
