"""Are the masks still those of the fp32 reference, and as near to the truth?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


@pytest.mark.inferbench(tasks=["segmentation"])
def test_segmentation(segmentation, conclude):
    conclude(segmentation)
