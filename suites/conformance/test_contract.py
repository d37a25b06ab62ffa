"""What every backend owes its callers, asked with the cell's own model."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance

GROWTH_MIB = 16  # what allocators and runtimes' own caches gain in as many openings
GROWTH_MIB_EACH = 0.75


def test_the_same_input_twice_gives_the_same_output(contract, kept):
    kept(contract.repeats)


def test_inputs_of_any_memory_layout(contract, kept):
    kept(contract.layouts)


def test_outputs_belong_to_the_caller(contract, kept):
    kept(contract.ownership)


def test_several_threads_at_once(contract, kept):
    kept(contract.threads)


def test_a_batch_gives_what_its_samples_give(contract, kept):
    kept(contract.batches)


def test_a_batch_of_none(contract, kept):
    kept(contract.empty_batch)


def test_nan_and_infinity_come_through(contract, kept):
    kept(contract.non_finite)


def test_what_does_not_fit_is_refused(contract, kept):
    kept(contract.misfits)


def test_opening_and_closing_leaves_nothing(contract, kept):
    kept(lambda: left(contract.reopening()))


@pytest.mark.inferbench(precisions=["fp32"])
def test_opening_and_closing_a_small_model_leaves_nothing(contract, kept):
    kept(lambda: left(contract.reopening_a_small_model()))


def left(reopened):
    most_mib = min(GROWTH_MIB, GROWTH_MIB_EACH * reopened.times)
    if reopened.growth_mib < most_mib:
        return []
    return [
        f"{reopened.growth_mib:.1f} MiB were left by {reopened.times} openings,"
        f" and up to {most_mib:.1f} may be"
    ]
