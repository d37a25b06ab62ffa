"""Does the model still hear what it heard at fp32?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


@pytest.mark.inferbench(tasks=["speech"])
def test_speech(transcripts, conclude):
    conclude(transcripts)
