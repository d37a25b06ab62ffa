"""Calibration caches know whose they are. TensorRT 10, which makes them, has never run here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_inferbench.backends.trt_calibration import (
    CacheOwner,
    read_cache,
    sample_shapes,
    samples_sha256,
    write_cache,
)
from pytest_inferbench.errors import InferbenchError

OWNER = CacheOwner("a" * 64, "b" * 64, "tensorrt-10 10.9.0.34")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_its_owner_reads_what_was_written(tmp_path, content):
    path = tmp_path / "model.plan.calibration"
    write_cache(path, content, OWNER)
    assert read_cache(path, OWNER) == content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_sha256": "c" * 64}, "made from another model"),
        ({"calibration_sha256": "c" * 64}, "made from other calibration samples"),
        ({"runtime": "tensorrt-10 10.1"}, "made by tensorrt-10 10.9.0.34"),
    ],
)
def test_a_cache_of_another_is_refused(tmp_path, change, said):
    path = tmp_path / "calibration"
    write_cache(path, b"TRT-1009-EntropyCalibration2\nimages: 3c010a14\n", OWNER)
    with pytest.raises(InferbenchError, match=said) as caught:
        read_cache(path, replace(OWNER, **change))
    assert caught.value.code == "IB-369"


def test_a_cache_that_was_changed_or_tells_nothing_is_refused(tmp_path):
    path = tmp_path / "calibration"
    assert read_cache(path, OWNER) is None
    write_cache(path, b"scales", OWNER)
    path.write_bytes(b"scale")
    with pytest.raises(InferbenchError, match="changed after it was made"):
        read_cache(path, OWNER)
    for beside in ("{", "{}", "[]"):
        path.with_name("calibration.json").write_text(beside)
        with pytest.raises(InferbenchError, match="nothing tells whose it is"):
            read_cache(path, OWNER)
    path.with_name("calibration.json").unlink()
    with pytest.raises(InferbenchError, match="nothing tells whose it is"):
        read_cache(path, OWNER)


def test_samples_are_told_apart_by_name_shape_type_and_value():
    array = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    one = samples_sha256({"x": array})
    assert one == samples_sha256({"x": np.asfortranarray(array)})
    others = (
        {"y": array},
        {"x": array.reshape(1, 3, 2)},
        {"x": array + 1},
        {"x": array.view("i4")},
    )
    assert len({one, *map(samples_sha256, others)}) == 5


def test_samples_must_fit_the_model():
    image = np.zeros((4, 1, 3), np.float32)
    assert sample_shapes({"x": image}, {"x": None}) == {"x": (1, 3)}
    for samples, code in (
        ({}, "IB-430"),
        ({"x": image[:0]}, "IB-430"),
        ({"y": image}, "IB-431"),
        ({"x": image, "y": image}, "IB-431"),
        ({"x": image + np.float32("inf")}, "IB-431"),
    ):
        with pytest.raises(InferbenchError) as caught:
            sample_shapes(samples, {"x": None})
        assert caught.value.code == code
    with pytest.raises(InferbenchError, match="2 of y"):
        sample_shapes({"x": image, "y": image[:2]}, {"x": None, "y": None})
