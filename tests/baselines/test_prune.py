"""What may go, goes; nothing that should be kept ever does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.baselines.prune import prune, prune_cases
from pytest_inferbench.baselines.schema import (
    Acceptance,
    BaselineFile,
    CellSessions,
    Session,
)
from pytest_inferbench.baselines.unused import why_unused
from pytest_inferbench.onnx_cases.baseline import CaseBaseline, record_of
from pytest_inferbench.onnx_cases.outcomes import Kind
from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, Settings

CELLS = ["a fp32", "a int8", "b fp32"]


def session(minute):
    return Session(recorded=f"2026-01-01T00:{minute:02}:00Z", artifact="a" * 64)


def accepted(minute):
    return Acceptance(recorded=f"2026-01-01T00:{minute:02}:00Z", reason="why", worse={"p5": 0.1})


cells = st.builds(
    lambda minutes, kept: CellSessions(
        sessions=tuple(map(session, minutes)), accepted=tuple(map(accepted, kept))
    ),
    st.lists(st.integers(0, 59), min_size=1, max_size=25, unique=True),
    st.lists(st.integers(0, 59), max_size=3, unique=True),
)
files = st.builds(
    lambda held: BaselineFile(hardware="cpu-x-2c", model="net", cells=held),
    st.dictionaries(st.sampled_from(CELLS), cells),
)
unused = st.dictionaries(st.sampled_from(CELLS), st.just("gone"))


@given(file=files, keep=st.none() | st.integers(1, 30), unused=unused)
def test_nothing_is_lost_that_should_be_kept(file, keep, unused):
    left, removals = prune(file, keep, unused)
    assert set(left.cells) == set(file.cells) - set(unused)
    for name, cell in left.cells.items():
        before = file.cells[name].sessions
        count = len(before) if keep is None else min(keep, len(before))
        newest = sorted(before, key=lambda each: each.recorded)[-count:]
        assert sorted(cell.sessions, key=lambda each: each.recorded) == newest
        assert len(cell.sessions) >= 1
        assert cell.accepted == file.cells[name].accepted
    removed = {each.cell: each.sessions for each in removals}
    for name in file.cells:
        assert len(file.sessions(name)) == len(left.sessions(name)) + removed.get(name, 0)
    assert all(
        each.sessions > 0 and each.left == len(left.sessions(each.cell)) for each in removals
    )
    assert prune(left, keep, unused) == (left, ())


@given(file=files)
def test_without_a_wish_nothing_goes(file):
    assert prune(file, None, {}) == (file, ())


@pytest.mark.parametrize("keep", [0, -1])
def test_no_cell_in_use_can_be_emptied(keep):
    with pytest.raises(ValueError, match="at least one"):
        prune(BaselineFile(hardware="h", model="m"), keep, {})


def test_unused_cells_of_onnx_s_cases_go_whole():
    record = record_of({"one": Kind.PASSED}, onnx="1", recorded="2026-01-01T00:00:00Z")
    file = CaseBaseline(
        hardware="h", cells={"a fp32": {"rt 1": record}, "b fp32": {"rt 1": record}}
    )
    left, (removal,) = prune_cases(file, {"b fp32": "gone"})
    assert list(left.cells) == ["a fp32"]
    assert (removal.cell, removal.sessions, removal.what) == ("b fp32", 1, "version")


def settings(tmp_path, **own):
    model = ModelSettings(path=tmp_path / "net.onnx", task="tensors", **own)
    matrix = MatrixSettings(backends=("ort-cpu", "openvino"), precisions=("fp32", "int8"))
    return Settings(models={"net": model}, matrix=matrix)


@pytest.mark.parametrize(
    ("model", "cell", "why"),
    [
        ("net", "ort-cpu int8", None),
        ("net", "trt int8", "net no longer has the backend trt"),
        ("net", "ort-cpu fp16", "net no longer has the precision fp16"),
        ("net", "nonsense", "net no longer has the backend (none)"),
        ("other", "ort-cpu int8", "the settings have no model other"),
        ("onnx-ops", "openvino fp32", None),
        ("onnx-ops", "ort-cuda fp32", "no model has the backend ort-cuda"),
    ],
)
def test_what_the_settings_no_longer_name_is_unused(tmp_path, model, cell, why):
    assert why_unused(settings(tmp_path), model, cell) == why


def test_a_model_s_own_axes_go_before_the_matrix(tmp_path):
    own = settings(tmp_path, backends=("trt",), precisions=("fp16",))
    assert why_unused(own, "net", "trt fp16") is None
    assert why_unused(own, "net", "ort-cpu fp16") == "net no longer has the backend ort-cpu"
    assert why_unused(own, "net", "trt fp32") == "net no longer has the precision fp32"
    assert why_unused(own, "onnx-ops", "trt fp32") is None
