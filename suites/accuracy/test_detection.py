"""Does the detector still find what it found at fp32?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


@pytest.mark.inferbench(tasks=["detection"])
def test_map_drop(detections, conclude):
    conclude(detections)
