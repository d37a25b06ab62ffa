"""Who is named: on drawn graphs whose errors grow, shrink and are forgiven."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_inferbench.accuracy.divergence import (
    Curve,
    Effect,
    Point,
    Reading,
    conclude,
    next_trial,
    relative_error,
    tolerance_for,
)

ROUNDING = 1e-7


class Simulated:
    """A graph in which a layer's error is its own and a share of each of its parents'."""

    def __init__(self, parents, shares, owns):
        self.parents, self.shares, self.owns = parents, shares, owns

    def errors(self, right=()):
        """Return the error at every point when some give what the reference gives."""
        found = []
        for i, parents in enumerate(self.parents):
            arriving = sum(self.shares[i][k] * found[j] for k, j in enumerate(parents))
            found.append(0.0 if i in right else self.owns[i] + arriving)
        return found

    def curve(self, tolerance, with_own=True):
        points = tuple(
            Point(f"t{i}", f"t{i}", f"n{i}", "Conv", i + 1, tuple(parents))
            for i, parents in enumerate(self.parents)
        )
        readings = tuple(
            Reading(error, own if with_own else None)
            for error, own in zip(self.errors(), self.owns, strict=True)
        )
        return Curve(points, readings, (len(points) - 1,), tolerance)

    def effect(self, index):
        """What trials would show: all that comes before is right."""
        before = set(range(index))
        return Effect(right=self.errors(before | {index})[-1], wrong=self.errors(before)[-1])

    def find(self, tolerance):
        curve, effects = self.curve(tolerance), {}
        while len(effects) < 6 and (index := next_trial(curve, effects)) is not None:
            effects[index] = self.effect(index)
        return curve, conclude(curve, effects)


@st.composite
def graphs(draw, decoys=0):
    """Draw a graph, the layer at fault, and layers whose errors nobody behind them sees."""
    size = draw(st.integers(4, 30))
    parents, shares = [()], [()]
    for i in range(1, size):
        # what is just before is always read, so that everything leads to the end
        more = draw(st.sets(st.integers(0, i - 1), max_size=2))
        parents.append(tuple(sorted({i - 1, *more})))
        shares.append([draw(st.floats(0.05, 1.5)) for _ in parents[-1]])
    places = draw(st.permutations(range(size - 1)))
    fault, ignored = places[0], places[1 : 1 + decoys]
    owns = [draw(st.floats(ROUNDING / 3, ROUNDING)) for _ in range(size)]
    owns[fault] = draw(st.floats(0.05, 2.0))
    for each in ignored:
        owns[each] = draw(st.floats(0.1, 100.0))
        for i in range(size):
            shares[i] = [
                0.0 if j == each else s for j, s in zip(parents[i], shares[i], strict=True)
            ]
    return Simulated(parents, shares, owns), fault, ignored


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_the_one_layer_at_fault_is_named_however_its_error_goes_on(drawn):
    graph, fault, _ = drawn
    final = graph.errors()[-1]
    assume(final > 1e-4)
    curve, found = graph.find(final / 2)
    assert (found.kind, found.culprit) == ("layer", fault)
    assert found.first_beyond in curve.beyond


@settings(max_examples=60, deadline=None)
@given(graphs(decoys=2))
def test_errors_that_change_no_output_are_not_named(drawn):
    graph, fault, ignored = drawn
    final = graph.errors()[-1]
    assume(final > 1e-4)
    assume(graph.effect(fault).wrong > 0.9 * final)  # some decoys cut the fault off itself
    _, found = graph.find(final / 2)
    assert found.culprit == fault
    assert found.culprit not in ignored


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_without_own_errors_it_is_where_what_leads_out_begins(drawn):
    graph, _, _ = drawn
    curve = graph.curve(graph.errors()[-1] / 2, with_own=False)
    assert next_trial(curve, {}) is None
    found = conclude(curve, {})
    assert found.culprit in curve.leading_out
    assert not curve.beyond.intersection(curve.points[found.culprit].parents)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_whatever_was_measured_there_is_an_answer(drawn, data):
    """Failures, infinities and gaps: never an exception, never a culprit that is not there."""
    graph, _, _ = drawn
    values = st.one_of(st.none(), st.just(math.inf), st.floats(0, 10))
    states = st.sampled_from(["", "non-finite", "shape", "failed"])
    points = graph.curve(0.1).points
    readings = tuple(
        Reading(data.draw(values), data.draw(values), data.draw(states)) for _ in points
    )
    curve = Curve(points, readings, (len(points) - 1,), 0.1)
    effects = {}
    while len(effects) < 6 and (index := next_trial(curve, effects)) is not None:
        assert index not in effects
        unknown = st.one_of(st.just(math.nan), st.just(math.inf), st.floats(0, 10))
        effects[index] = Effect(data.draw(unknown), data.draw(unknown))
    found = conclude(curve, effects)
    assert found.culprit is None or 0 <= found.culprit < len(points)
    assert (found.culprit is None) == (found.kind in ("agrees", "unknown"))
    assert len(curve.as_rows()) == len(points)


def chain(*pairs, tolerance=0.1, states=()):
    points = tuple(
        Point(f"t{i}", f"t{i}", f"n{i}", "Conv", i + 1, (i - 1,) if i else ())
        for i in range(len(pairs))
    )
    states = states or [""] * len(pairs)
    readings = tuple(
        Reading(error, own, state) for (error, own), state in zip(pairs, states, strict=True)
    )
    return Curve(points, readings, (len(points) - 1,), tolerance)


def test_where_every_layer_adds_the_same_none_is_blamed():
    curve = chain(*((0.02 * (i + 1), 0.02 + i / 1000) for i in range(10)))
    found = conclude(curve, {9: Effect(0.0, 0.03)})
    assert (found.kind, found.first_beyond) == ("spread", 5)
    assert found.others


def test_one_that_stands_out_and_hardly_matters_is_not_blamed_alone():
    owns = [0.01] * 9
    curve = chain((0.1, 0.1), *((0.1 + i / 100, own) for i, own in enumerate(owns)))
    assert conclude(curve, {0: Effect(right=0.17, wrong=0.18)}).kind == "spread"
    assert conclude(curve, {0: Effect(right=0.06, wrong=0.09)}).kind == "layer"
    assert conclude(curve, {0: Effect(math.nan, math.nan)}).kind == "layer"


def test_layers_that_are_right_one_by_one_are_wrong_together():
    found = conclude(chain((0, 0), (0.5, 1e-7), (0.5, 0)), {})
    assert (found.kind, found.culprit) == ("together", 1) or found.culprit == 1
    trial = {1: Effect(0.0, 1e-7)}
    assert conclude(chain((0, 0), (0.5, 1e-7), (0.5, 0)), trial).kind == "together"


def test_nothing_beyond_tolerance_is_agreement_and_inside_alone_is_recovery():
    assert conclude(chain((0.01, 0.01), (0.05, 0.01)), {}).kind == "agrees"
    found = conclude(chain((0.5, 0.5), (0.05, 0.01)), {})
    assert (found.kind, found.culprit) == ("recovers", 0)
    assert conclude(chain((None, None), (None, None)), {}).kind == "unknown"


def test_the_first_value_that_is_not_finite_goes_before_all_else():
    inf = math.inf
    curve = chain((0.5, 0.5), (inf, inf), (inf, 0.0), states=["", "non-finite", "non-finite"])
    found = conclude(curve, {})
    assert (found.kind, found.culprit, found.first_beyond) == ("non-finite", 1, 0)


@given(st.floats(0.1, 10), st.integers(0, 9))
def test_a_wrong_scale_is_an_error_of_that_size(scale, seed):
    values = np.random.default_rng(seed).normal(size=(3, 7)).astype(np.float32)
    error, state = relative_error([values], [values * np.float32(scale)])
    assert state == ""
    assert error == pytest.approx(abs(np.float32(scale) - 1), rel=1e-4, abs=1e-6)


def test_a_sample_near_zero_does_not_decide():
    big, small = np.full(8, 1.0), np.full(8, 1e-9)
    error, _ = relative_error([big, small], [big, small * 2])
    assert error < 1e-8


def test_masks_may_be_of_any_size_and_nothing_else_may():
    mask = np.array([1.0, -3.4e38, -math.inf, math.nan])
    assert relative_error([mask], [np.array([1.0, -math.inf, -65504.0, 0.5])]) == (0.0, "")
    assert relative_error([mask], [np.array([1.0, -3.4e38, 0.5, 0.5])])[0] > 0.4
    assert relative_error([np.ones(3)], [np.array([1, math.nan, 1])]) == (math.inf, "non-finite")
    assert relative_error([np.ones(3)], [np.ones(4)]) == (math.inf, "shape")


def test_nothing_is_measured_against_what_is_all_zero():
    assert relative_error([np.zeros(4)], [np.zeros(4)]) == (0.0, "")
    assert relative_error([np.zeros(4)], [np.full(4, 1e-9)])[0] == pytest.approx(1e-6)
    assert relative_error([np.zeros(0)], [np.zeros(0)]) == (0.0, "")


@given(st.floats(0.5, 0.99999), st.integers(0, 9))
def test_the_tolerance_is_the_error_that_the_cosine_allows(cosine, seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=64)
    noise = rng.normal(size=64)
    noise -= a * (noise @ a) / (a @ a)
    noise *= tolerance_for(cosine, math.inf, 0) * np.linalg.norm(a) / np.linalg.norm(noise)
    b = a + noise
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(cosine)
    assert tolerance_for(cosine, 1e-3, 1e-5) <= 5e-4
    assert tolerance_for(cosine, 0.0, 1e-5) == 1e-5
