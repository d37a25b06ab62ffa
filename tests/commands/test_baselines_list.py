"""`inferbench baselines list`, as a user runs it."""

from __future__ import annotations

import json

import pytest

from pytest_inferbench.baselines.schema import Acceptance


def test_every_cell_is_listed_by_hardware_and_model(project):
    sessions = [project.session(n, 1 + n / 10, reason=f"reason {n}") for n in range(3)]
    accepted = Acceptance(recorded=sessions[1].recorded, reason="new driver", worse={"p5": 0.12})
    project.record({"ort-cpu int8": sessions}, accepted=[accepted])
    project.record({"ort-cpu fp32": [project.session()]}, hardware="nvidia-h200")
    project.record_cases(one="passed", two="passed", three="unsupported", reason="first")
    done = project.run("list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "cpu-test-2c",
        "  net",
        '    ort-cpu int8  3 sessions  2026-01-01  p50 2.4 ms  spread 9.1%  "reason 2"',
        '        accepted 2026-01-01: p5 +12.0%, reason "new driver"',
        "  onnx-ops",
        "    ort-cpu fp32  1 version  2026-01-01"
        '  onnxruntime 1.32.0: 2 passed, 1 unsupported  "first"',
        "nvidia-h200",
        "  net",
        "    ort-cpu fp32  1 session  2026-01-01  p50 2 ms  no reason given",
    ]


def test_nothing_recorded_is_said(project):
    done = project.run("list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"nothing is recorded in {project.path}/baselines\n"


def test_what_the_settings_no_longer_name_is_unused_on_any_hardware(project):
    cells = {"ort-cpu fp32": [project.session()], "openvino fp32": [project.session()]}
    project.record(cells, hardware="jetson-orin-nano-15w")
    project.record({"ort-cpu fp32": [project.session()]}, model="gone")
    done = project.run("list", "--unused", "--json")
    assert done.returncode == 0, done.stderr
    unused = {
        (row["model"], row["cell"]): row["unused"] for row in json.loads(done.stdout)["cells"]
    }
    assert unused == {
        ("net", "openvino fp32"): "net no longer has the backend openvino",
        ("gone", "ort-cpu fp32"): "the settings have no model gone",
    }
    shown = project.run("list", "--unused").stdout
    assert "unused: the settings have no model gone" in shown
    everything = json.loads(project.run("list", "--json").stdout)["cells"]
    assert [row["unused"] is None for row in everything].count(True) == 1


def test_the_built_in_model_is_in_use_where_the_settings_have_none(project):
    (project.path / "inferbench.toml").write_text('[matrix]\nbackends = ["ort-cpu"]\n')
    project.record({"ort-cpu fp32": [project.session()]}, model="detector")
    assert project.run("list", "--unused").stdout.startswith("nothing recorded is unused")


DAMAGES = {
    "half of it": lambda text: text[: len(text) // 2],
    "a merge conflict": lambda text: b"<<<<<<< HEAD\n" + text,
    "of another model": lambda text: text.replace(b'"net"', b'"other"'),
    "a newer schema": lambda text: text.replace(b'"schema": 1', b'"schema": 99'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_cannot_be_trusted_is_said_and_hides_no_other(project, damage):
    path = project.record({"ort-cpu fp32": [project.session()]})
    project.record({"ort-cpu fp32": [project.session()]}, hardware="nvidia-h200")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    done = project.run("list")
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "IB-712" in done.stderr if damage == "a newer schema" else "IB-711" in done.stderr
    assert "Traceback" not in done.stderr
    assert "nvidia-h200" in done.stdout
    assert "cpu-test-2c" not in done.stdout
    plain = project.run("list", "--json")
    assert plain.returncode == 1
    assert [each["code"][:5] for each in json.loads(plain.stdout)["untrusted"]] == ["IB-71"]


def test_other_files_are_no_baselines(project):
    path = project.record({"ort-cpu fp32": [project.session()]})
    path.with_name(".net.json.77.tmp").write_text("{")
    path.with_name(".net.json").write_text("{")
    (path.parent / "README.md").write_text("about")
    (path.parent.parent / "notes.json").write_text("{")
    (path.parent / "folder.txt").mkdir()
    assert project.run("list").returncode == 0


def test_a_folder_that_is_none_is_not_taken_for_an_empty_one(project):
    project.store.folder.write_text("a file")
    done = project.run("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "[IB-711]" in done.stderr
    assert "cannot be read" in done.stderr


def test_it_works_from_any_folder_of_the_project(project):
    path = project.record({"ort-cpu fp32": [project.session()]})
    below = project.path / "src/deep"
    below.mkdir(parents=True)
    for folder in (below, path.parent, project.store.folder):
        assert "ort-cpu fp32" in project.run("list", folder=folder).stdout


def test_wrong_settings_are_status_1(project):
    (project.path / "inferbench.toml").write_text("[modles.net]\n")
    for verb in ("list", "diff", "prune"):
        done = project.run(verb, *(["--unused"] if verb == "prune" else []))
        assert (done.returncode, done.stdout) == (1, "")
        assert "IB-103" in done.stderr
