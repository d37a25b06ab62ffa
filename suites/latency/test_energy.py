"""Does it draw the power it drew, and an inference the energy? Where the settings limit either."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.energy, pytest.mark.inferbench(budgets=["power", "energy"])]


def test_energy(energy, conclude):
    conclude(energy)
