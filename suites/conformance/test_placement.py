"""Did what was asked for run, node by node, and in the precision that was asked for?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance


def test_nodes_run_where_they_were_asked_to(placement, conclude):
    conclude(placement)


def test_nodes_compute_in_the_precision_that_was_asked_for(placement, kept):
    kept(placement.precision)
