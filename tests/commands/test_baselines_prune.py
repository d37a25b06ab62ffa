"""`inferbench baselines prune`: says first, removes when told to, and never too much."""

from __future__ import annotations

import json
import os

import pytest

from pytest_inferbench.baselines.folder import contents, entries_in
from pytest_inferbench.baselines.schema import Acceptance
from pytest_inferbench.baselines.tidy import carry_out, plan
from pytest_inferbench.errors import InferbenchError


@pytest.fixture
def recorded(project):
    """Eight sessions of a cell in use, one of a cell that nothing uses."""
    sessions = [project.session(n, reason=f"reason {n}") for n in range(8)]
    accepted = Acceptance(recorded=sessions[0].recorded, reason="why", worse={"p5": 0.2})
    cells = {"ort-cpu fp32": sessions, "trt fp32": [project.session()]}
    project.record(cells, accepted=[accepted])
    return project


def sessions_of(project, cell="ort-cpu fp32"):
    return project.store.read(project.hardware, "net").sessions(cell)


def test_without_yes_nothing_is_touched(recorded):
    before = recorded.tree()
    done = recorded.run("prune", "--keep", "5", "--unused")
    assert (done.returncode, done.stderr) == (0, "")
    path = recorded.store.path(recorded.hardware, "net")
    assert done.stdout.splitlines() == [
        f"would remove 3 sessions of ort-cpu fp32 in {path} (5 stay): older than the newest 5",
        f"would remove 1 session of trt fp32 in {path} (the cell goes):"
        " net no longer has the backend trt",
        "nothing was touched: add --yes to remove",
    ]
    assert recorded.tree() == before


def test_the_newest_stay_with_their_reasons_and_what_was_accepted(recorded):
    done = recorded.run("prune", "--keep", "2", "--yes")
    assert done.returncode == 0, done.stderr
    assert "removed 6 sessions of ort-cpu fp32" in done.stdout
    assert "default spread" in done.stdout
    assert [each.reason for each in sessions_of(recorded)] == ["reason 6", "reason 7"]
    assert len(sessions_of(recorded, "trt fp32")) == 1
    file = recorded.store.read(recorded.hardware, "net")
    assert [each.reason for each in file.cells["ort-cpu fp32"].accepted] == ["why"]
    assert [path.name for path in recorded.store.folder.rglob("*.tmp")] == []
    assert recorded.run("prune", "--keep", "2", "--yes").stdout == "nothing is to be removed\n"


def test_unused_cells_go_and_files_of_which_nothing_is_left(recorded):
    alone = recorded.record({"ort-cpu fp32": [recorded.session()]}, "gone", "nvidia-h200")
    done = recorded.run("prune", "--unused", "--yes")
    assert done.returncode == 0, done.stderr
    assert len(sessions_of(recorded)) == 8
    assert sessions_of(recorded, "trt fp32") == ()
    assert not alone.exists()
    assert not alone.parent.exists()
    assert "nothing recorded is unused" in recorded.run("list", "--unused").stdout


def test_onnx_s_cases_stay_unless_no_model_has_the_backend(recorded):
    path = recorded.record_cases(one="passed")
    recorded.run("prune", "--keep", "1", "--unused", "--yes")
    assert "ort-cpu fp32" in json.loads(path.read_text())["cells"]
    settings = recorded.path / "inferbench.toml"
    settings.write_text(settings.read_text().replace('"ort-cpu"', '"openvino"'))
    done = recorded.run("prune", "--unused", "--yes")
    assert "removed 1 version of ort-cpu fp32" in done.stdout
    assert not path.exists()


def test_a_file_that_cannot_be_trusted_is_never_touched(recorded):
    other = recorded.record({"trt fp32": [recorded.session()]}, hardware="nvidia-h200")
    other.write_bytes(other.read_bytes()[:-20])
    damaged = other.read_bytes()
    done = recorded.run("prune", "--keep", "1", "--unused", "--yes")
    assert done.returncode == 1
    assert str(other) in done.stderr
    assert other.read_bytes() == damaged
    assert len(sessions_of(recorded)) == 1


@pytest.mark.parametrize(
    "arguments", [[], ["--yes"], ["--keep", "0"], ["--keep", "-1"], ["--keep", "all"], ["--keep"]]
)
def test_what_may_go_must_be_said(recorded, arguments):
    before = recorded.tree()
    done = recorded.run("prune", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: inferbench baselines prune")
    assert recorded.tree() == before


def test_a_file_that_changed_meanwhile_is_left_as_it_is(recorded):
    folder = recorded.store.folder
    planned = plan(folder, contents(entries_in(folder)), 1, {})
    path = recorded.record({"ort-cpu fp32": [recorded.session(59)]})
    written = path.read_bytes()
    with pytest.raises(InferbenchError, match="IB-724"):
        carry_out(planned)
    assert path.read_bytes() == written


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_said(recorded):
    folder = recorded.store.path(recorded.hardware, "net").parent
    before = recorded.tree()
    folder.chmod(0o555)
    try:
        done = recorded.run("prune", "--keep", "1", "--yes")
    finally:
        folder.chmod(0o755)
    assert done.returncode == 1
    assert "IB-713" in done.stderr
    assert recorded.tree() == before
