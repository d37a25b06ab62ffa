"""Is it as many times as fast as the other cell as it must be?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.speedup


def test_speedup(speedup, conclude):
    conclude(speedup)
