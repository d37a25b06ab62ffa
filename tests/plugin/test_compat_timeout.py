"""pytest-timeout: a test over its limit leaves no worker and no lock, and the session goes on."""

from __future__ import annotations

import pytest

from pytest_inferbench.host_lock import HostLock

pytest.importorskip("pytest_timeout", reason="pytest-timeout is not installed")

HANGING = """
    import pytest

    TIMING = {{"duration_s": 50, "warmup_floor_s": 0, "warmup_ceiling_s": 1, "packed": False}}

    @pytest.mark.timeout(2.5, method="{method}")
    def test_hangs(backend_worker):
        with backend_worker.alone():
            worker = backend_worker.new_worker()
            worker.call("open", backend_worker.open_fields())
            worker.call("sample", TIMING, backend_worker.inputs[0], timeout_s=60)

    @pytest.mark.timeout(2.5, method="{method}")
    def test_hangs_in_its_own_worker(backend_worker):
        backend_worker.outputs
        with backend_worker._once(frozenset()):
            backend_worker._open().call("sample", TIMING, backend_worker.inputs[0], timeout_s=60)

    def test_after(similarity, conclude):
        conclude(similarity)
"""


def assert_the_host_is_free(project):
    def fail(waited_s):
        raise AssertionError("the host's lock is held")

    with HostLock(project.path / ".lock").exclusive(on_wait=fail):
        pass


@pytest.mark.parametrize(
    ("left_out", "failed"),
    [
        pytest.param("in_its_own_worker", 1, id="alone"),
        pytest.param("nothing", 2, id="both", marks=pytest.mark.slow),
    ],
)
def test_by_a_signal_the_session_goes_on(project, gate, mark, left_out, failed):
    project.makepyfile(test_own=HANGING.format(method="signal"))
    result = gate("test_own.py", "-k", f"not {left_out}")
    assert result.ret == 1
    result.assert_outcomes(failed=failed, passed=1)
    result.stdout.fnmatch_lines(["*1 cell: 1 failed*"])
    assert_the_host_is_free(project)


@pytest.mark.slow
def test_by_a_thread_nothing_is_left(project, gate, mark):
    project.makepyfile(test_own=HANGING.format(method="thread"))
    result = gate("test_own.py")
    assert result.ret == 1
    assert "test_after" not in result.stdout.str()
    assert_the_host_is_free(project)


@pytest.mark.slow
def test_by_a_thread_under_xdist_the_session_goes_on(project, gate, mark):
    pytest.importorskip("xdist")
    project.makepyfile(test_own=HANGING.format(method="thread"))
    result = gate("test_own.py", "-n", "1", "-k", "in_its_own_worker or after")
    assert result.ret == 1
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*1 cell: 1 failed*"])
    assert_the_host_is_free(project)
