"""Is one inference as fast as it was, and as fast as it must be?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.latency


def test_latency(latency, conclude):
    conclude(latency)
