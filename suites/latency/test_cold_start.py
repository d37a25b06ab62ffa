"""How long from opening the artifact to the first answer?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.cold_start


def test_cold_start(cold_start, conclude):
    conclude(cold_start)
