"""`inferbench baselines diff`, in real git repositories."""

from __future__ import annotations

import json
import subprocess

import pytest


@pytest.fixture
def recorded(project):
    """One session, committed; nothing changed since."""
    project.record({"ort-cpu fp32": [project.session(environment={"onnxruntime": "1.31"})]})
    project.commit()
    return project


def add_slower(project):
    slower = project.session(
        5, 1.5, reason="one thread", environment={"onnxruntime": "1.32"}, scores={"map": 0.5}
    )
    file = project.store.read(project.hardware, "net")
    return project.record({"ort-cpu fp32": [*file.sessions("ort-cpu fp32"), slower]})


def test_nothing_changed_is_said(recorded):
    done = recorded.run("diff")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "no recorded session changed since HEAD\n"


def test_a_session_that_is_not_committed_yet_shows(recorded):
    add_slower(recorded)
    done = recorded.run("diff")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "net, ort-cpu fp32 on cpu-test-2c: 1 -> 2 sessions",
        '  added 2026-01-01T00:05:00Z, reason "one thread"',
        "  packages differ: onnxruntime 1.31 -> 1.32",
        "  p5   1 -> 1.5 ms, +50.0%  all sessions 1 -> 1.225 ms, +22.5%",
        "  p50  2 -> 3 ms, +50.0%    all sessions 2 -> 2.449 ms, +22.5%",
        "  map  nothing -> 0.5",
    ]


def test_any_revision_can_be_compared_with_from_any_folder(recorded):
    path = add_slower(recorded)
    recorded.commit()
    recorded.git("tag", "second")
    assert recorded.run("diff", "second").stdout.startswith("no recorded session")
    below = recorded.path / "src"
    below.mkdir()
    for folder in (below, path.parent, recorded.path):
        done = recorded.run("diff", "HEAD~1", "--json", folder=folder)
        assert done.returncode == 0, done.stderr
        (cell,) = json.loads(done.stdout)["cells"]
        assert cell["sessions"] == {"old": 1, "new": 2}
        assert [each["reason"] for each in cell["added"]] == ["one thread"]
        p5 = next(each for each in cell["figures"] if each["name"] == "p5")
        assert p5["change"] == pytest.approx(0.5)


def test_files_that_come_and_go_show(recorded):
    recorded.record({"ort-cpu int8": [recorded.session()]}, hardware="nvidia-h200")
    recorded.store.path(recorded.hardware, "net").unlink()
    lines = recorded.run("diff").stdout.splitlines()
    assert "net, ort-cpu fp32 on cpu-test-2c: 1 -> 0 sessions, no longer recorded" in lines
    first = "net, ort-cpu int8 on nvidia-h200: 0 -> 1 session, recorded for the first time"
    assert first in lines


def test_all_baselines_may_be_gone(recorded):
    recorded.store.path(recorded.hardware, "net").unlink()
    recorded.store.path(recorded.hardware, "net").parent.rmdir()
    recorded.store.folder.rmdir()
    assert "no longer recorded" in recorded.run("diff").stdout


def test_onnx_s_cases_are_told_in_a_line(recorded):
    recorded.record_cases(one="passed", two="failed")
    recorded.commit()
    recorded.record_cases(one="passed", two="passed", reason="fixed upstream")
    assert recorded.run("diff").stdout.splitlines() == [
        "onnx-ops, ort-cpu fp32 with onnxruntime 1.32.0 on cpu-test-2c: passed 1 -> 2,"
        ' failed 1 -> 0; 1 case ended otherwise; reason "fixed upstream"'
    ]
    (plain,) = json.loads(recorded.run("diff", "--json").stdout)["onnx_ops"]
    assert plain["counts"]["passed"] == [1, 2]


def test_neither_index_nor_tree_is_touched(recorded):
    add_slower(recorded)
    index = (recorded.path / ".git/index").read_bytes()
    before = recorded.tree()
    recorded.run("diff")
    assert (recorded.path / ".git/index").read_bytes() == index
    assert recorded.tree() == before


@pytest.mark.parametrize("revision", ["nonsense", "--help", "-p", "HEAD:baselines", ""])
def test_an_unknown_revision_is_said(recorded, revision):
    done = recorded.run("diff", "--", revision)
    assert (done.returncode, done.stdout) == (1, "")
    assert "[IB-722] git knows no revision" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_commit_there_is_nothing_to_compare_with(project):
    project.record({"ort-cpu fp32": [project.session()]})
    project.git("init", "-q")
    done = project.run("diff")
    assert done.returncode == 1
    assert "IB-722" in done.stderr
    assert "Nothing is committed yet" in done.stderr


def test_outside_a_repository_that_is_said(project):
    project.record({"ort-cpu fp32": [project.session()]})
    # whatever is above the tests' folder is not asked
    done = project.run("diff", GIT_CEILING_DIRECTORIES=str(project.path.parent))
    assert (done.returncode, done.stdout) == (1, "")
    assert "[IB-721]" in done.stderr
    assert "git init" in done.stderr


def test_without_git_that_is_said(recorded):
    done = recorded.run("diff", PATH=str(recorded.path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "[IB-720] git is not installed" in done.stderr


def test_a_git_that_fails_says_why(recorded):
    (recorded.path / ".git/config").write_text("[broken\n")
    done = recorded.run("diff")
    assert (done.returncode, done.stdout) == (1, "")
    assert "IB-720" in done.stderr
    assert "config" in done.stderr


def test_a_hook_s_own_repository_is_not_meant(recorded, tmp_path):
    add_slower(recorded)
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    done = recorded.run("diff", GIT_DIR=str(other / ".git"), GIT_INDEX_FILE=str(other / "index"))
    assert "1 -> 2 sessions" in done.stdout, done.stderr


def test_a_file_that_cannot_be_read_at_the_revision_is_said(recorded):
    path = recorded.store.path(recorded.hardware, "net")
    good = path.read_bytes()
    path.write_bytes(b"<<<<<<< HEAD\n" + good)
    recorded.commit()
    path.write_bytes(good)
    recorded.record({"ort-cpu int8": [recorded.session()]}, hardware="nvidia-h200")
    done = recorded.run("diff")
    assert done.returncode == 1
    assert "[IB-723] HEAD:baselines/cpu-test-2c/net.json" in done.stderr
    assert "merge conflict" in done.stderr
    assert "nvidia-h200" in done.stdout
    assert "cpu-test-2c" not in done.stdout
    plain = recorded.run("diff", "--json")
    assert [each["code"] for each in json.loads(plain.stdout)["untrusted"]] == ["IB-723"]


def test_a_file_that_cannot_be_trusted_now_is_no_change_and_no_success(recorded):
    path = recorded.store.path(recorded.hardware, "net")
    path.write_bytes(path.read_bytes()[:99])
    done = recorded.run("diff")
    assert done.returncode == 1
    assert done.stdout == "no recorded session that can be compared changed since HEAD\n"
    assert "IB-711" in done.stderr


def test_baselines_may_lie_anywhere_in_the_repository(project):
    text = (project.path / "inferbench.toml").read_text()
    odd = "measured [1] *änd* more"
    (project.path / "inferbench.toml").write_text(f'baselines = "{odd}"\n{text}')
    project.store.folder = project.path / odd
    project.record({"ort-cpu fp32": [project.session()]})
    project.commit()
    add_slower(project)
    done = project.run("diff")
    assert "1 -> 2 sessions" in done.stdout, done.stderr


def test_line_ends_that_git_changes_are_no_difference(recorded):
    (recorded.path / ".gitattributes").write_text("*.json text eol=crlf\n")
    recorded.git("add", "--renormalize", "-A")
    recorded.commit()
    recorded.store.path(recorded.hardware, "net").unlink()
    recorded.git("checkout", "--", ".")
    assert b"\r\n" in recorded.store.path(recorded.hardware, "net").read_bytes()
    assert recorded.run("diff").stdout.startswith("no recorded session changed")
