"""What users do with fixtures, markers, paths and other plugins: named errors, nothing green."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "test",
    [
        "def test_late(request):\n    request.getfixturevalue('latency')\n",
        "import pytest, unittest\n"
        "@pytest.mark.usefixtures('cell')\n"
        "class TestOld(unittest.TestCase):\n    def test_a(self):\n        pass\n",
    ],
)
def test_a_cell_that_is_asked_for_too_late(project, gate, said, test):
    project.makepyfile(test_own=f"def test_fine(cell):\n    pass\n{test}")
    result = gate("test_own.py")
    assert result.ret == 1
    assert "IB-209" in said(result)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ('"net"', "'net'"),
        ('models="net"', "models='net'"),
        ("models=3", "models=3"),
        ('models=["nett"]', "nearest: 'net'"),
    ],
)
def test_a_marker_that_narrows_nothing_is_refused(project, gate, said, arguments, part):
    project.makepyfile(
        test_own=f"""
        import pytest

        @pytest.mark.inferbench({arguments})
        def test_a(cell):
            pass
        """
    )
    result = gate("test_own.py")
    assert result.ret == 4
    text = said(result)
    assert "IB-205" in text
    assert part in text


def test_a_packaged_test_runs_by_the_id_that_was_shown(project, gate):
    listed = gate("--collect-only", "-q", "-m", "accuracy").stdout.str()
    (shown,) = [line for line in listed.splitlines() if "test_similarity[" in line]
    for name in (shown, f"suites/{shown}"):
        gate(name).assert_outcomes(passed=1)


def test_a_settings_folder_without_settings_is_no_built_in_model(project, gate, said):
    (project.path / "empty").mkdir()
    result = gate("--inferbench-settings", "empty", "-m", "accuracy")
    assert result.ret == 4
    assert "IB-101" in said(result)


FLAKY = """
    import dataclasses, pathlib
    from pytest_inferbench.handles import Similarity
    from pytest_inferbench.judge.verdict import Judgement, Verdict

    def test_flaky(similarity, conclude):
        first = not pathlib.Path("ran").exists()
        pathlib.Path("ran").touch()
        if first and {judged}:
            regressed = Judgement("cosine", Verdict.REGRESSED, "IB-501", 0.5, "", "0.99")
            Similarity.judgements, kept = lambda self: [regressed], Similarity.judgements
            try:
                conclude(similarity)
            finally:
                Similarity.judgements = kept
        assert not first
"""


@pytest.mark.parametrize("judged", [True, False])
def test_running_again_turns_nothing_green_unseen(project, gate, judged):
    """What pytest-rerunfailures does, in a few lines, for it is no dependency of ours."""
    project.makepyfile(test_own=FLAKY.format(judged=judged))
    project.makeconftest(
        """
        import pytest
        from _pytest.runner import runtestprotocol

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item, nextitem):
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            if any(r.failed for r in reports):
                for r in reports:
                    r.outcome = "rerun" if r.failed else r.outcome
                    item.ihook.pytest_runtest_logreport(report=r)
                item._initrequest()
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
            for r in reports:
                item.ihook.pytest_runtest_logreport(report=r)
            return True
        """
    )
    result = gate("test_own.py")
    result.assert_outcomes(failed=judged, passed=not judged)
    if not judged:
        result.stdout.fnmatch_lines(["*test_flaky*passed only when it was run again*"])
    assert result.ret == (1 if judged else 0)
    assert ("IB-617" in result.stdout.str()) == judged


def test_a_test_that_fails_after_its_verdict_records_nothing(project, gate):
    project.makepyfile(
        test_own="def test_own(latency, conclude):\n    conclude(latency)\n    assert False\n"
    )
    result = gate("test_own.py", "--update-baselines")
    assert result.ret == 1
    assert not list(project.path.glob("baselines/*/*"))
