"""The probes: real ONNX models, and edges that a wrong backend cannot get by."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx.reference import ReferenceEvaluator

from pytest_inferbench.backends.catalog import PRECISIONS
from pytest_inferbench.conformance.exam import relative_error
from pytest_inferbench.conformance.probes import (
    DTYPES,
    HIGHEST_RANK,
    ROUNDING,
    edges,
    elementwise,
)

RANKS = range(HIGHEST_RANK + 1)
WIDE = [d for d in DTYPES if np.dtype(d).itemsize == 8 and np.dtype(d).kind == "i"]


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
    x = data.draw(hnp.arrays(dtype, shape))
    probe = elementwise(dtype, x.ndim)
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
        limits = np.iinfo(x.dtype)
        assert {limits.min, limits.max} <= set(x.ravel().tolist())


@pytest.mark.parametrize("dtype", WIDE)
def test_edges_of_wide_integers_are_lost_by_a_detour_through_floats(dtype):
    probe, x = elementwise(dtype, 1), edges(dtype, 1)
    with np.errstate(all="ignore"):
        want = probe.answer(x)
        detour = (x.astype(np.float64) * 2 + 1).astype(dtype)
    assert relative_error(want, detour) > probe.rounding


def test_every_precision_has_a_rounding_finer_than_its_results_are_large():
    assert set(ROUNDING) == set(PRECISIONS)
    assert all(0 < rounding <= 0.1 for rounding in ROUNDING.values())
