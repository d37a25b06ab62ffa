"""Does it get through as many inferences a second as it did, and as it must?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.throughput


def test_throughput(throughput, conclude):
    conclude(throughput)
