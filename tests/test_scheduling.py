from __future__ import annotations

import pytest

pytest.importorskip("xdist")

from pytest_inferbench.scheduling import cell_in

CELLS = frozenset({"m-ort-cpu-fp32-cpu-x-2c", "m-ort-cpu-fp16-cpu-x-2c", "m-trt-fp16-no-nvidia"})


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("s/t.py::test_a[m-ort-cpu-fp32-cpu-x-2c]", "m-ort-cpu-fp32-cpu-x-2c"),
        ("s/t.py::test_a[m-ort-cpu-fp32-cpu-x-2c-small]", "m-ort-cpu-fp32-cpu-x-2c"),
        ("s/t.py::test_a[3-m-trt-fp16-no-nvidia-x-y]", "m-trt-fp16-no-nvidia"),
        ("s/t.py::test_a[other]", None),
        ("s/t.py::test_a", None),
        ("require::m-trt-fp16-no-nvidia", None),
    ],
)
def test_the_cell_is_found_among_parameters(nodeid, expected):
    assert cell_in(nodeid, CELLS) == expected
