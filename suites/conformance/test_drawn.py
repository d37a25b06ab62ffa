"""Drawn shapes and values of every type, on models whose answer numpy knows."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from pytest_inferbench.conformance.contract import NotAsked
from pytest_inferbench.conformance.exam import off_by, relative_error
from pytest_inferbench.conformance.probes import DTYPES, HIGHEST_RANK, edges, elementwise

pytest.importorskip("hypothesis", reason="pip install 'pytest-inferbench[conformance]'")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytestmark = pytest.mark.conformance

# Derandomized: the same build gives the same verdict. A model is opened once a rank.
DRAWN = settings(
    max_examples=6,
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
def test_shapes_and_values(prober, kept, record_property, dtype):
    if dtype in prober.narrows:
        record_property("drawn", narrowed(prober, dtype))
    kept(lambda: wrong(prober, dtype))


def wrong(prober, dtype):
    """Return the faults of all ranks; only when there are none, say which could not be asked."""
    faults, not_asked = [], {}
    for rank in range(HIGHEST_RANK + 1):
        try:
            faults += wrong_at(prober, dtype, rank)
        except NotAsked as reason:
            not_asked.setdefault(str(reason), []).append(str(rank))
    if not_asked and not faults:
        raise NotAsked(
            "; ".join(f"rank {', '.join(r)} of {dtype}: {why}" for why, r in not_asked.items())
        )
    return faults


def wrong_at(prober, dtype, rank):
    narrow = prober.narrows.get(dtype)
    probe = elementwise(dtype, rank, narrow)
    found = []

    def check(x):
        with np.errstate(all="ignore"):
            want = probe.answer(x)
        have = prober.run(probe, x)
        if (have.dtype, have.shape) != (want.dtype, want.shape):
            fault = f"y is {have.dtype} {have.shape}, not {want.dtype} {want.shape}"
        elif (error := relative_error(want, have)) > probe.rounding:
            fault = f"y {off_by(error)}: {have.tolist()}, not {want.tolist()}"
        else:
            return
        how = f" ({narrowed(prober, dtype)})" if narrow else ""
        found.append(f"{dtype}{how} {x.shape}, x = {x.tolist()}: {fault}")
        raise AssertionError(fault)

    shapes = hnp.array_shapes(min_dims=rank, max_dims=rank, min_side=0, max_side=5)
    try:
        check(edges(dtype, rank, narrow))
        DRAWN(given(x=drawn(probe, shapes).map(lambda x: x.astype(dtype)))(check))()
    except AssertionError:
        return found[-1:]  # the smallest that hypothesis came down to
    return []


def drawn(probe, shapes):
    """Draw arrays of the values that a probe takes, of the type that they are values of."""
    if probe.least is None:
        return hnp.arrays(probe.draws, shapes)
    kind = np.dtype(probe.draws)
    if kind.kind == "f":
        finite = st.floats(probe.least, probe.most, width=8 * kind.itemsize)
        return hnp.arrays(kind, shapes, elements=finite | st.just(float("nan")))
    return hnp.arrays(kind, shapes, elements=st.integers(probe.least, probe.most))


def narrowed(prober, dtype):
    return f"values of {prober.narrows[dtype]}, which this backend is known to compute it in"
