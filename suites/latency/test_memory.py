"""Does it take the memory it took, and does it stop growing?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.memory


def test_memory(memory, conclude):
    conclude(memory)
