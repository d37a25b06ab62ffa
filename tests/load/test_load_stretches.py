"""What a stretch lacks, and what processes did not tell."""

from __future__ import annotations

import time

from pytest_inferbench.load.result import LoadResult
from pytest_inferbench.load.stretches import Parts, Stretch


def test_a_stretch_lacks_what_it_was_not_measured():
    one = Stretch(3, 2, due_s=0.02)
    assert not one.counts()
    assert "3 clients ended before it counted" in one.shortfall
    assert one.counts()
    assert "after 0.0 of 0.02 s" in one.shortfall
    time.sleep(0.03)
    assert one.shortfall == ""
    free = Stretch(1, 1)
    free.counts()
    assert free.shortfall == ""


def test_a_part_without_a_measurement_is_missing():
    part = LoadResult("grpc", 1, 1.0, 1)
    parts = Parts()
    parts.expect(["a", "b", "c"])
    parts.add("a", part)
    parts.add("b", None)
    assert not parts.complete
    assert parts.taken() == (part, 2)
