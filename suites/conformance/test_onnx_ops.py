"""ONNX's own backend tests, one item a case and backend; collected only when asked for."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.conformance, pytest.mark.onnx_ops]


def test_onnx_case(onnx_case):
    onnx_case.conclude()
