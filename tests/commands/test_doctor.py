"""`inferbench doctor`, as a user runs it: how quiet the machine is, and what environments are."""

from __future__ import annotations

import json
import sys

import pytest

from pytest_inferbench.cli import main
from pytest_inferbench.hardware import detect

SETTINGS = f"""\
# mine
lock = "lock"
cache = "kept"
[models.net]
path = "net.onnx"
task = "tensors"
[matrix]
backends = ["ort-cpu", "openvino"]
precisions = ["fp32"]

[environments.here]   # this one
backends = ["ort-cpu"]
python = "{sys.executable}"
"""
SILENT = """
[environments.there]
backends = ["openvino"]
ssh = "-o BatchMode=yes -o ConnectTimeout=2 -p 1 nobody@127.0.0.1"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(b"never opened")
    (tmp_path / "inferbench.toml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_an_environment_is_is_written_and_nothing_else_changes(folder, capsys):
    assert main(["doctor", "--write"]) == 0
    said = capsys.readouterr().out
    cpu = detect().cpu
    assert f"written   environments.here.hardware = {cpu}" in said
    text = (folder / "inferbench.toml").read_text()
    assert text.replace(f'hardware = "{cpu}"\n', "") == SETTINGS
    assert main(["doctor", "--write", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == [
        f"environments.here.hardware is {cpu} already"
    ]
    assert (folder / "inferbench.toml").read_text() == text


def test_a_wrong_guess_is_corrected_and_who_does_not_answer_is_left_alone(folder, capsys):
    file = folder / "inferbench.toml"
    file.write_text(SETTINGS + 'hardware = "cpu-guessed"   # a guess\n')
    assert main(["doctor"]) == 1
    assert "is declared to be cpu-guessed, and is not" in capsys.readouterr().out
    assert main(["doctor", "--write"]) == 0
    assert f'hardware = "{detect().cpu}"   # a guess\n' in file.read_text()
    file.write_text(SETTINGS + SILENT)  # another host must say its hardware: it is looked up
    before = file.read_text()
    capsys.readouterr()
    assert main(["doctor", "--write"]) == 1
    captured = capsys.readouterr()
    assert "environments.there.hardware: is required" in captured.err
    assert f'hardware = "{detect().cpu}"' in file.read_text()
    assert file.read_text().replace(f'hardware = "{detect().cpu}"\n', "") == before


def test_what_cannot_be_written_is_said(folder, capsys):
    file = folder / "inferbench.toml"
    text = SETTINGS.partition("[environments")[0]
    file.write_text(
        f'{text}[environments]\nhere = {{ backends = ["ort-cpu"], python = "{sys.executable}" }}\n'
    )
    before = file.read_text()
    assert main(["doctor", "--write"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("[IB-927]")
    assert f'hardware = "{detect().cpu}"' in captured.err
    assert file.read_text() == before
    file.unlink()
    assert main(["doctor", "--write"]) == 1
    assert "inferbench init" in capsys.readouterr().err


def test_what_each_backend_needs_is_said(folder, capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("  is here    ort-cpu in environment here on cpu-") for line in lines
    )
    assert any(line.startswith("  needs      ort-dml: Windows") for line in lines)
    assert lines[-1].startswith("how quiet this machine is: inferbench doctor --noise")


@pytest.mark.parametrize("seconds", ["1", "nan", "long", "inf"])
def test_noise_takes_seconds(seconds, capsys):
    with pytest.raises(SystemExit) as error:
        main(["doctor", "--noise", seconds])
    assert error.value.code == 2
    assert "argument --noise" in capsys.readouterr().err


@pytest.mark.slow
def test_noise_is_measured_with_real_workers(folder, capsys, mark):
    pytest.importorskip("onnxruntime")
    assert main(["doctor", "--noise", "8", "--json"]) == 0
    captured = capsys.readouterr()
    noise = json.loads(captured.out)["noise"]
    assert "listening to this machine for 8 s" in captured.err
    assert noise["seconds"] >= 4
    assert noise["rounds"] + len(noise["set_aside"]) >= 1
    assert noise["speeds"]["fast_ms"] <= noise["speeds"]["slow_ms"]
    assert 0 <= noise["steal"] <= 1
    for each in noise["audible"]:
        # even where it decided nothing yet, the class's default spread stands
        assert each["first"] is None or each["first"] > 0.1
