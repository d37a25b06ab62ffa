"""Are the outputs those of the fp32 reference, within the precision's budget?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


def test_similarity(similarity, conclude):
    conclude(similarity)
