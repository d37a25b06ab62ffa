"""Does it build, and does it build the same again?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance


def test_it_builds_and_opens(build):
    assert build.opens()


def test_built_again_it_gives_the_same(build, kept):
    kept(build.again)
