"""Budgets on what is better when there is more of it: a loss has a minus."""

from __future__ import annotations

import pytest

from pytest_inferbench.settings.budgets import parse_budget
from pytest_inferbench.settings.metrics import METRICS

THROUGHPUT = METRICS["throughput"]


def test_a_loss_is_written_with_its_minus():
    made = parse_budget(THROUGHPUT, "-5%")
    assert (made.kind, made.limit, made.better) == ("relative", 0.05, "higher")
    assert made.text == "-5%"


@pytest.mark.parametrize(
    ("written", "per_s"), [("100 /s", 100), ("100/s", 100), ("600 /min", 10), (42, 42)]
)
def test_an_objective_is_in_inferences_a_second(written, per_s):
    made = parse_budget(THROUGHPUT, written)
    assert (made.kind, made.limit, made.unit) == ("absolute", pytest.approx(per_s), "/s")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("+5%", 'explicit minus: "-5%"'),
        ("5%", 'explicit minus: "-5%"'),
        ("-0%", "allow a change above 0 %"),
        ("-100%", "allow a loss below 100 %"),
        ("100 ms", '"ms" is not a unit that belongs here'),
        ("-100 /s", "a limit on throughput is above 0 /s"),
        ("0 /s", "a limit on throughput is above 0 /s"),
        ("+100 /s", 'an absolute limit, such as "100 /s", has no sign'),
    ],
)
def test_what_could_be_read_both_ways_is_refused(written, says):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is compared below
        parse_budget(THROUGHPUT, written)
    assert says in str(caught.value)


@pytest.mark.parametrize("metric", ["p5", "memory", "cold_start"])
def test_where_less_is_better_a_minus_is_still_refused(metric):
    with pytest.raises(ValueError, match="explicit plus"):
        parse_budget(METRICS[metric], "-5%")
