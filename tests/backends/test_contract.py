from __future__ import annotations

import numpy as np
import pytest

from pytest_inferbench.backends.contract import Backend, TensorSpec, unknown_option
from pytest_inferbench.errors import InferbenchError


class Echo(Backend):
    """Returns its input itself, and notes what it was called with."""

    declared = (TensorSpec("x", "float32", (1, "n", 3)), TensorSpec("any", "int64", None))

    def __init__(self):
        self.seen, self.closed, self.extra = [], 0, {}

    def _open(self, artifact, options, precision):
        return self.declared, (TensorSpec("y", "float32", (1, "n", 3)),)

    def _infer(self, inputs):
        self.seen.append(inputs)
        return {"y": inputs["x"], **self.extra}

    def _close(self):
        self.closed += 1


@pytest.fixture
def echo():
    backend = Echo()
    backend.open("", {}, "fp32")
    return backend


def inputs(**changes):
    return {"x": np.ones((1, 2, 3), np.float32), "any": np.array(3), **changes}


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({"x": np.ones((1, 2, 3), np.float32)}, "IB-320", "missing input 'any'"),
        (inputs(image=np.ones(1)), "IB-320", "unknown input 'image'"),
        (inputs(x=np.ones((1, 2, 3))), "IB-321", "'x' is float64, not float32"),
        (inputs(x=[[1.0]]), "IB-321", "'x' is list, not float32"),
        (inputs(x=np.ones((1, 2, 3), ">f4")), "IB-321", "'x' is >f4"),
        (inputs(x=np.ones((1, 3), np.float32)), "IB-322", r"'x' has shape \(1, 3\)"),
        (inputs(x=np.ones((2, 2, 3), np.float32)), "IB-322", r"'x' has shape \(2, 2, 3\)"),
    ],
)
@pytest.mark.parametrize("method", ["infer", "prepare"])
def test_wrong_inputs_never_reach_the_runtime(echo, method, given, code, says):
    with pytest.raises(InferbenchError, match=says) as caught:
        getattr(echo, method)(given)
    assert caught.value.code == code
    assert caught.value.hint
    assert not echo.seen


def test_inputs_are_made_contiguous_and_keep_their_rank(echo):
    echo.infer(inputs(x=np.ones((1, 8, 3), np.float32)[:, ::4]))
    assert echo.seen[0]["x"].flags.c_contiguous
    assert echo.seen[0]["x"].shape == (1, 2, 3)
    assert echo.seen[0]["any"].shape == ()


def test_outputs_are_the_callers(echo):
    given = inputs()
    output = echo.infer(given)["y"]
    output[:] = 5
    assert given["x"].max() == 1
    assert not np.shares_memory(output, given["x"])


def test_outputs_must_be_those_declared(echo):
    echo.extra = {"z": np.zeros(1)}
    with pytest.raises(InferbenchError, match="'z'") as caught:
        echo.infer(inputs())
    assert caught.value.code == "IB-325"


def test_a_prepared_call_skips_the_checks_and_runs(echo):
    run = echo.prepare(inputs())
    run()
    run()
    assert len(echo.seen) == 2
    assert echo.seen[0] is echo.seen[1]


def test_open_and_close_keep_their_order(echo):
    with pytest.raises(InferbenchError, match="already open"):
        echo.open("", {}, "fp32")
    echo.close()
    echo.close()
    assert echo.closed == 1
    with pytest.raises(InferbenchError, match="no artifact is open"):
        echo.infer(inputs())
    echo.open("", {}, "fp32")


def test_unknown_options_name_the_nearest():
    error = unknown_option("intra_op_threads", ["intra_op_num_threads", "provider"])
    assert error.code == "IB-323"
    assert "did you mean 'intra_op_num_threads'" in error.message
    assert "did you mean" not in unknown_option("zzz", ["provider"]).message
