"""A region of shared memory: who has it open keeps it when its name is ended."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from pytest_inferbench.load.shared_memory import Region

SHARED = Path("/dev/shm")


def test_a_region_outlives_its_name():
    region = Region(64)
    path = SHARED / region.name
    file = os.open(path, os.O_RDWR)
    with mmap.mmap(file, 64) as servers:
        os.close(file)
        region.unlink()
        assert not path.exists()
        region.write(8, b"there")
        assert servers[8:13] == b"there"
        servers[0:4] = b"back"
        assert region.read(0, 4) == b"back"
    region.unlink()
    region.close()


def test_a_region_that_is_closed_leaves_nothing():
    region = Region(64)
    assert (SHARED / region.name).exists()
    region.close()
    assert not (SHARED / region.name).exists()
