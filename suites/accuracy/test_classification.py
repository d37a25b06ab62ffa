"""Does the classifier still choose what it chose at fp32, and is it as often right?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


@pytest.mark.inferbench(tasks=["classification"])
def test_classification(classification, conclude):
    conclude(classification)
