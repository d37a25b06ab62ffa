"""The probes: real ONNX models, and edges that a wrong backend cannot get by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx.reference import ReferenceEvaluator

from pytest_inferbench.backends.catalog import CATALOG, PRECISIONS
from pytest_inferbench.conformance.exam import relative_error
from pytest_inferbench.conformance.probes import (
    DTYPES,
    HIGHEST_RANK,
    ROUNDING,
    edges,
    elementwise,
)

NARROWS = [("int64", "int32"), ("float64", "float32"), ("int64", "int8"), ("float32", "float16")]
RANKS = range(HIGHEST_RANK + 1)
WIDE = [d for d in DTYPES if np.dtype(d).itemsize == 8 and np.dtype(d).kind == "i"]


def values_for(probe):
    return None if probe.least is None else st.integers(probe.least, probe.most)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", RANKS)
def test_a_probe_is_a_sound_model_with_dynamic_dimensions(dtype, rank):
    model = onnx.load_from_string(elementwise(dtype, rank).model)
    onnx.checker.check_model(model, full_check=True)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert len(dims) == rank
    assert all(dim.dim_param for dim in dims)


@settings(deadline=None)
@given(dtype=st.sampled_from(DTYPES), data=st.data())
def test_its_answer_is_what_the_standard_s_reference_gives(dtype, data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=HIGHEST_RANK, min_side=0, max_side=3))
    probe = elementwise(dtype, len(shape))
    x = data.draw(hnp.arrays(dtype, shape, elements=values_for(probe)))
    with np.errstate(all="ignore"):
        (have,) = ReferenceEvaluator(onnx.load_from_string(probe.model)).run(None, {"x": x})
        want = probe.answer(x)
    assert (want.dtype, want.shape) == (x.dtype, x.shape)
    assert relative_error(want, np.asarray(have, dtype)) <= probe.rounding


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", RANKS)
def test_edges_have_the_type_and_rank_and_are_all_there(dtype, rank):
    x = edges(dtype, rank)
    assert (x.dtype.name, x.ndim) == (dtype, rank)
    if rank and x.dtype.kind == "f":
        assert np.isnan(x).any()
        assert np.isposinf(x).any()
        assert np.isneginf(x).any()
    if rank and x.dtype.kind in "iu":
        probe = elementwise(dtype, rank)
        assert {probe.least, probe.most} == {int(x.min()), int(x.max())}


@pytest.mark.parametrize("dtype", WIDE)
def test_edges_of_wide_integers_are_lost_by_a_detour_through_floats(dtype):
    probe, x = elementwise(dtype, 1), edges(dtype, 1)
    with np.errstate(all="ignore"):
        want = probe.answer(x)
        detour = (x.astype(np.float64) * 2 + 1).astype(dtype)
    assert relative_error(want, detour) > probe.rounding


@pytest.mark.parametrize("dtype", [d for d in DTYPES if np.dtype(d).kind in "iu"])
def test_integers_are_drawn_as_far_as_nothing_overflows_and_no_farther(dtype):
    probe, span = elementwise(dtype, 1), np.iinfo(dtype)
    assert span.min in (2 * probe.least, 2 * probe.least + 1)
    assert span.max in (2 * probe.most + 1, 2 * probe.most + 2)
    x = np.array([probe.least, probe.most], dtype)
    assert probe.answer(x).tolist() == [2 * probe.least + 1, 2 * probe.most + 1]


@pytest.mark.parametrize(("dtype", "narrow"), NARROWS)
def test_a_narrow_probe_passes_what_computes_in_the_narrow_type(dtype, narrow):
    probe, x = elementwise(dtype, 1, narrow), edges(dtype, 1, narrow)
    assert (x.dtype, probe.draws) == (dtype, narrow)
    assert np.array_equal(x.astype(narrow).astype(dtype), x, equal_nan=x.dtype.kind == "f")
    with np.errstate(all="ignore"):
        inside = x.astype(narrow)
        have = (inside + inside + np.ones((), narrow)).astype(dtype)
        want = probe.answer(x)
    assert want.dtype == dtype
    assert relative_error(want, have) <= probe.rounding
    assert probe.model == elementwise(dtype, 1).model  # what is run is the same


@pytest.mark.parametrize(("dtype", "narrow"), NARROWS)
def test_a_narrow_probe_still_finds_what_is_narrower_yet(dtype, narrow):
    yet = {"int32": "int16", "float32": "float16", "int8": "bool", "float16": "int8"}[narrow]
    probe = elementwise(dtype, 1, narrow)
    for one in edges(dtype, 1, narrow):
        x = np.array([one], dtype)
        with np.errstate(all="ignore"):
            have = (x.astype(yet).astype(dtype) * 2 + 1).astype(dtype)
            if relative_error(probe.answer(x), have) > probe.rounding:
                return
    pytest.fail(f"{yet} passes")


@pytest.mark.parametrize(("dtype", "narrow"), NARROWS)
def test_a_probe_of_the_whole_type_finds_what_is_narrowed(dtype, narrow):
    probe, narrowed = elementwise(dtype, 1), elementwise(dtype, 1, narrow)
    x = np.array([[each] for each in edges(dtype, 1)], dtype)
    with np.errstate(all="ignore"):
        errors = [relative_error(probe.answer(one), narrowed.answer(one)) for one in x]
    assert max(errors) > probe.rounding


@pytest.mark.parametrize(("dtype", "narrow"), NARROWS)
def test_a_narrow_probe_overflows_nowhere(dtype, narrow):
    probe, x = elementwise(dtype, 1, narrow), edges(dtype, 1, narrow)
    x = x[~np.isnan(x)]
    assert {probe.least, probe.most} == {x.min(), x.max()}
    with np.errstate(over="raise"):
        answers = probe.answer(x)
    assert np.isfinite(answers).all()


@pytest.mark.parametrize("info", CATALOG.values(), ids=lambda info: info.name)
def test_what_a_backend_is_known_to_narrow_is_asked_of_it_and_documented(info):
    page = (Path(__file__).parents[2] / "docs" / "backends.md").read_text()
    for dtype, narrow in info.narrows.items():
        assert {dtype, narrow} <= set(DTYPES)
        assert np.dtype(narrow).itemsize < np.dtype(dtype).itemsize
        assert f"| `{info.name}` | {dtype} | {narrow} |" in page


def test_every_precision_has_a_rounding_finer_than_its_results_are_large():
    assert set(ROUNDING) == set(PRECISIONS)
    assert all(0 < rounding <= 0.1 for rounding in ROUNDING.values())
