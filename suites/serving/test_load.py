"""Does it serve as many clients as it did, as fast as it did, and as it must?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.serving


def test_load(load, conclude):
    conclude(load)
