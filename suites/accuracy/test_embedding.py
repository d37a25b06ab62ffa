"""Do the embeddings still point the same way, and rank each other alike?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


@pytest.mark.inferbench(tasks=["embedding"])
def test_embedding(embeddings, conclude):
    conclude(embeddings)
