"""When ONNX's cases are collected: the rule alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_inferbench.onnx_cases.items import is_asked

FOLDER = Path("/p/suites/conformance")
FILE = FOLDER / "test_onnx_ops.py"


@pytest.mark.parametrize(
    ("paths", "selections", "asked"),
    [
        ([], [], False),
        ([FOLDER], [], True),
        ([FILE], [], True),
        ([FOLDER.parent], [], False),
        ([FOLDER / "test_contract.py"], [], False),
        ([], ["conformance"], False),
        ([], ["onnx_ops and ort-cpu"], True),
        ([], ["", "onnx-ops-ort-cpu and test_abs"], True),
        ([], ["", "test_onnx_case"], True),
        ([], ["conformance and not onnx_ops"], False),
        ([FOLDER], ["not (onnx_ops or slow)"], False),
        ([], ["my_onnx_opset"], False),
    ],
)
def test_cases_are_asked_for_by_path_or_by_name(paths, selections, asked):
    assert is_asked(paths, selections, FILE) == asked
