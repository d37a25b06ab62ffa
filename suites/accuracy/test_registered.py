"""Are the scores of a project's own tasks within their budgets?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


@pytest.mark.inferbench(tasks=["registered"])
def test_scores(task_scores, conclude):
    conclude(task_scores)
