"""Does it get through as many times as much as the other variant as it must?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.serving


def test_load_speedup(load_speedup, conclude):
    conclude(load_speedup)
