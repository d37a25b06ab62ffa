"""`inferbench baselines merge`, on conflicts that git made."""

from __future__ import annotations

import subprocess

import pytest

ENVIRONMENT = {"onnxruntime": "1.31", "kernel": "6"}


def session(project, minute, reason="", **fields):
    return project.session(minute, 1 + minute, reason=reason, environment=ENVIRONMENT, **fields)


@pytest.fixture
def conflict(project):
    """Two branches that recorded the same cell, merged as far as git could."""
    first = session(project, 0)
    project.record({"ort-cpu fp32": [first]})
    project.commit()
    project.git("checkout", "-q", "-b", "other")
    project.record({"ort-cpu fp32": [first, session(project, 1, "theirs")]})
    project.commit()
    project.git("checkout", "-q", "-")
    path = project.record({"ort-cpu fp32": [first, session(project, 2, "ours")]})
    project.commit()
    with pytest.raises(subprocess.CalledProcessError):
        project.git("merge", "-q", "other")
    assert b"<<<<<<<" in path.read_bytes()
    return project


def test_the_sessions_of_both_sides_are_kept(conflict):
    refused = conflict.run("list")
    assert refused.returncode == 1
    assert "`inferbench baselines merge` keeps both sides" in refused.stderr
    done = conflict.run("merge")
    assert (done.returncode, done.stderr) == (0, "")
    path = conflict.store.path(conflict.hardware, "net")
    assert done.stdout == f"merged {path}: sessions of ort-cpu fp32 3; `git add` it\n"
    kept = conflict.store.read(conflict.hardware, "net").sessions("ort-cpu fp32")
    assert [each.reason for each in kept] == ["", "theirs", "ours"]
    conflict.commit()
    assert "no baseline is in conflict" in conflict.run("merge").stdout
    assert "added 2026-01-01T00:01:00Z" in conflict.run("diff", "HEAD^1").stdout


def test_a_side_that_cannot_be_trusted_is_said_and_nothing_is_touched(project):
    path = project.record({"ort-cpu fp32": [session(project, 0)]})
    project.commit()
    project.git("checkout", "-q", "-b", "other")
    path.write_text("{ broken\n")
    project.commit()
    project.git("checkout", "-q", "-")
    project.record({"ort-cpu fp32": [session(project, 0), session(project, 2)]})
    project.commit()
    with pytest.raises(subprocess.CalledProcessError):
        project.git("merge", "-q", "other")
    before = path.read_bytes()
    done = project.run("merge")
    assert done.returncode == 1
    assert "[IB-711]" in done.stderr
    assert "(theirs)" in done.stderr
    assert path.read_bytes() == before


def test_records_of_cases_are_left_to_the_user(project):
    for branch, outcome in (("base", "passed"), ("other", "failed"), ("mine", "crashed")):
        if branch != "base":
            project.git("checkout", "-q", "-b", branch, "start")
        path = project.record_cases(one=outcome, reason=branch)
        project.commit()
        if branch == "base":
            project.git("tag", "start")
    with pytest.raises(subprocess.CalledProcessError):
        project.git("merge", "-q", "other")
    before = path.read_bytes()
    done = project.run("merge")
    assert done.returncode == 1
    assert "[IB-725]" in done.stderr
    assert path.read_bytes() == before


def test_without_a_conflict_there_is_nothing_to_do(project):
    project.record({"ort-cpu fp32": [session(project, 0)]})
    project.commit()
    before = project.tree()
    done = project.run("merge")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no baseline is in conflict")
    assert project.tree() == before
