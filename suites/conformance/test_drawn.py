"""Drawn shapes and values of every type, on models whose answer numpy knows."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from pytest_inferbench.conformance.exam import relative_error
from pytest_inferbench.conformance.probes import DTYPES, HIGHEST_RANK, elementwise

pytest.importorskip("hypothesis", reason="pip install 'pytest-inferbench[conformance]'")

from hypothesis import HealthCheck, given, settings
from hypothesis.extra import numpy as hnp

pytestmark = pytest.mark.conformance

# Derandomized: the same build gives the same verdict.
DRAWN = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def prober(contract, kept):
    with ExitStack() as stack:
        given = []
        kept(lambda: given.append(stack.enter_context(contract.probing())) or [])
        yield given[0]


@pytest.mark.inferbench(precisions=["fp32"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes_and_values(prober, kept, dtype):
    probes = [elementwise(dtype, rank) for rank in range(HIGHEST_RANK + 1)]
    shapes = hnp.array_shapes(min_dims=0, max_dims=HIGHEST_RANK, min_side=0, max_side=5)

    @DRAWN
    @given(x=shapes.flatmap(lambda shape: hnp.arrays(dtype, shape)))
    def check(x):
        probe = probes[x.ndim]
        with np.errstate(all="ignore"):
            want = probe.answer(x)
        have = prober.run(probe, x)
        assert have.dtype == want.dtype
        assert have.shape == want.shape
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(np.isnan(have), np.isnan(want))
            assert relative_error(want, have) <= probe.rounding, (want, have)

    kept(lambda: check() or [])
