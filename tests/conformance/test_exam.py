"""The examinations, each shown a backend that keeps its promises and one that breaks one."""

from __future__ import annotations

import mmap
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_inferbench.backends.contract import Backend, TensorSpec
from pytest_inferbench.conformance import exam
from pytest_inferbench.conformance.exam import relative_error

SAMPLES = [{"x": np.arange(6, dtype=np.float32).reshape(2, 3) + 10 * i} for i in range(4)]


class Kept(Backend):
    """Keeps every promise; what breaks one overrides a part of it."""

    def _open(self, artifact, options, precision):
        spec = TensorSpec("x", "float32", ("n", 3))
        return (spec,), (TensorSpec("y", "float32", ("n", 3)),)

    def _infer(self, inputs):
        return {"y": inputs["x"] * 2 + 1}

    def _close(self):
        pass


class WritesToItsInput(Kept):
    def _infer(self, inputs):
        outputs = super()._infer(inputs)
        inputs["x"][...] = 0
        return outputs


class WritesToWritableInputs(WritesToItsInput):
    def _infer(self, inputs):
        return super()._infer(inputs if inputs["x"].flags.writeable else {"x": inputs["x"].copy()})


class IgnoresStrides(Kept):
    def infer(self, inputs):
        x = inputs["x"]
        flat = np.lib.stride_tricks.as_strided(x, x.shape, np.empty(x.shape, x.dtype).strides)
        return super().infer({"x": flat if x.strides[0] > 0 else x})


class RefusesReadOnly(Kept):
    def infer(self, inputs):
        inputs["x"].flags.writeable or self.refuse()
        return super().infer(inputs)

    def refuse(self):
        raise ValueError("buffer source array is read-only")


class ReusesItsOutput(Kept):
    buffer = np.zeros((2, 3), np.float32)

    def infer(self, inputs):
        self.buffer[...] = super().infer(inputs)["y"]
        return {"y": self.buffer}


class RemembersItsOutputs(Kept):
    """Gives what it gave before for the same input: the very same array."""

    def _open(self, *args):
        self.known = {}
        return super()._open(*args)

    def infer(self, inputs):
        return self.known.setdefault(inputs["x"].tobytes(), super().infer(inputs))


class GivesItsInput(Kept):
    def infer(self, inputs):
        return {"y": inputs["x"]}


class GivesReadOnly(Kept):
    def infer(self, inputs):
        outputs = super().infer(inputs)
        outputs["y"].flags.writeable = False
        return outputs


class SharesScratch(Kept):
    scratch = np.zeros((2, 3), np.float32)

    def _infer(self, inputs):
        self.scratch[...] = inputs["x"]
        time.sleep(1e-4)  # as a runtime that lets go of the GIL
        return {"y": self.scratch * 2 + 1}


class RacesInPython(Kept):
    """Never lets go of the GIL: only a short switch interval shows it."""

    scratch = np.zeros((2, 3), np.float32)

    def _infer(self, inputs):
        for index in np.ndindex(2, 3):
            self.scratch[index] = inputs["x"][index]
        return {"y": np.array([[value * 2 + 1 for value in row] for row in self.scratch])}


class OneThreadOnly(Kept):
    def _infer(self, inputs):
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("created in another thread")
        return super()._infer(inputs)


class Leaks(Kept):
    kept: list[mmap.mmap] = []  # noqa: RUF012 - of the class on purpose: it outlives instances

    def _open(self, *args):
        pages = mmap.mmap(-1, 2**20)  # from no heap that earlier tests may have left room in
        pages.write(b"1" * 2**20)
        self.kept.append(pages)
        return super()._open(*args)


class LeavesCycles(Kept):
    """Holds memory until it is collected: untidy, no leak."""

    def _open(self, *args):
        self.me, self.much = self, np.ones(2**18, np.float32)
        return super()._open(*args)


def opened(kind):
    backend = kind()
    backend.open("model", {}, "fp32")
    return backend


def layouts(kind):
    return exam.layouts(opened(kind), SAMPLES)


def ownership(kind, samples=SAMPLES):
    return exam.ownership(opened(kind), samples)


def threads(kind, samples=SAMPLES):
    return exam.threads(opened(kind), samples, 4, 1e-6)


EVERY = {"layouts": layouts, "ownership": ownership, "threads": threads}
BROKEN = [
    (WritesToItsInput, "layouts", "plain inputs: the backend wrote to its input 'x'"),
    (WritesToItsInput, "layouts", "read-only inputs: ValueError: assignment destination"),
    (WritesToWritableInputs, "layouts", "plain inputs: the backend wrote to its input 'x'"),
    (IgnoresStrides, "layouts", "strided inputs: y differs by"),
    (IgnoresStrides, "layouts", "Fortran-ordered inputs: y differs by"),
    (RefusesReadOnly, "layouts", "read-only inputs: ValueError: buffer source array is read-only"),
    (ReusesItsOutput, "ownership", "after the next call: y differs by"),
    (ReusesItsOutput, "ownership", "the output 'y' shares its memory with the next call's"),
    (RemembersItsOutputs, "ownership", "after its earlier outputs were written to: y is not"),
    (GivesItsInput, "ownership", "the output 'y' shares its memory with an input"),
    (GivesReadOnly, "ownership", "the output 'y' cannot be written to"),
    (SharesScratch, "threads", "of 4: y differs by"),
    (RacesInPython, "threads", "of 4: y differs by"),
    (OneThreadOnly, "threads", "of 4: RuntimeError: created in another thread"),
]


def test_who_keeps_its_promises_has_no_faults():
    assert {name: check(Kept) for name, check in EVERY.items()} == {name: [] for name in EVERY}


@pytest.mark.parametrize(("kind", "check", "words"), BROKEN)
def test_a_broken_promise_is_found_by_the_examination_of_it(kind, check, words):
    assert any(words in fault for fault in EVERY[check](kind)), EVERY[check](kind)


@pytest.mark.parametrize("kind", [WritesToWritableInputs, IgnoresStrides, RefusesReadOnly])
def test_layouts_are_the_business_of_no_other(kind):
    assert ownership(kind) == threads(kind) == []


@pytest.mark.parametrize("kind", [ReusesItsOutput, RemembersItsOutputs, SharesScratch])
def test_one_sample_is_enough(kind):
    check = threads if kind is SharesScratch else ownership
    assert check(kind, SAMPLES[:1])


def test_whole_numbers_are_not_moved_about():
    """They may be indices, lengths or masks that belong to each other."""
    sample = {"ids": np.arange(3), "x": np.arange(3.0)}
    one, other = exam._distinct([sample], 2)
    assert one is sample
    assert (other["ids"].tolist(), other["x"].tolist()) == ([0, 1, 2], [2, 0, 1])


def test_outputs_of_zeros_are_overwritten_by_something_else():
    class AllZeros(RemembersItsOutputs):
        def _infer(self, inputs):
            return {"y": np.zeros_like(inputs["x"])}

    assert any("written to" in fault for fault in ownership(AllZeros))


def test_a_leak_is_found_and_a_cycle_is_none():
    grown_mib, times = exam.reopening(lambda: opened(Leaks), SAMPLES[0], 45, 600.0)
    assert times == 40
    assert 30 < grown_mib < 60  # what an earlier test left may be given back meanwhile
    Leaks.kept.clear()
    grown_mib, _ = exam.reopening(lambda: opened(LeavesCycles), SAMPLES[0], 45, 600.0)
    assert grown_mib < 8


def test_a_leak_is_found_in_as_few_openings_as_a_server_has():
    grown_mib, times = exam.reopening(lambda: opened(Leaks), SAMPLES[0], 45, 0.0, fewest=8)
    Leaks.kept.clear()
    assert times == 3
    assert grown_mib > 1.5


def test_a_pool_that_fills_late_is_no_leak():
    pool = []

    class FillsAPool(Kept):
        def _open(self, *args):
            if len(pool) < 15:
                pool.append(mmap.mmap(-1, 2**20))
                pool[-1].write(b"1" * 2**20)
            return super()._open(*args)

    grown_mib, _ = exam.reopening(lambda: opened(FillsAPool), SAMPLES[0], 45, 600.0)
    assert grown_mib < 6


def test_reopening_ends_with_its_budget_but_never_before_it_can_tell():
    _, times = exam.reopening(lambda: opened(Kept), SAMPLES[0], 10_000, 0.0)
    assert times == 15


def test_text_is_compared_too():
    one, other = np.array(["a", "b"], object), np.array(["a", "c"], object)
    assert exam._differences({"t": one}, {"t": one.copy()}) == []
    assert exam._differences({"t": one}, {"t": other}) != []


NUMBERS = st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint64", "bool"])
ARRAYS = NUMBERS.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
)


@given(ARRAYS)
def test_what_is_the_same_has_no_error(array):
    assert relative_error(array, array.copy()) == 0.0


@given(ARRAYS, st.data())
def test_what_is_not_the_same_has_one_and_it_is_symmetric(array, data):
    other = data.draw(hnp.arrays(array.dtype, array.shape))
    error = relative_error(array, other)
    assert (error == 0.0) == np.array_equal(array, other, equal_nan=True)
    assert error == relative_error(other, array)
    assert error >= 0


@given(st.floats(1e-30, 1e30), st.floats(1e-6, 0.5))
def test_it_is_a_share_of_the_largest_value(scale, share):
    want = np.array([scale, -scale / 2])
    assert relative_error(want, want * [1, 1 - share]) == pytest.approx(share / 2)


@pytest.mark.parametrize(
    ("want", "have"),
    [
        ([np.nan], [0.0]),
        ([0.0], [np.nan]),
        ([np.inf], [-np.inf]),
        ([np.inf], [np.nan]),
        ([np.inf], [3e38]),
        ([1.0, 2.0], [1.0]),
        (np.zeros((0, 3)), np.zeros((1, 3))),
        (np.zeros((0, 3)), np.zeros((3, 0))),
        (["a"], ["b"]),
        (["1"], [1]),
    ],
)
def test_what_no_share_can_tell_is_infinite(want, have):
    assert relative_error(np.array(want), np.array(have)) == np.inf


def test_integers_are_told_apart_where_floats_would_not():
    one, other = np.array([2**62]), np.array([2**62 + 1])
    assert 0 < relative_error(one, other) < 1e-300


def test_the_largest_numbers_do_not_overflow():
    largest = np.finfo(np.float64).max
    assert relative_error(np.array([largest]), np.array([-largest])) == 2.0


def test_all_zeros_forgive_nothing():
    assert relative_error(np.zeros(2), np.array([0.0, 1e-9])) == 1.0
