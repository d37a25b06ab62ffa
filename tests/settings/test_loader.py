"""Loading: files, faults with their keys, and never another exception."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pytest_inferbench.backends.catalog import CATALOG
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings import load
from pytest_inferbench.settings.checks import check
from pytest_inferbench.settings.convert import Converter, Problems
from pytest_inferbench.settings.find import find
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.schema import ModelSettings, Settings
from pytest_inferbench.settings.task_kinds import BUILT_IN

FULL = """
cache = "~/artifacts"
lock = "/var/lock/inferbench"

[models.detector]
path = "models/detector.onnx"
task = "detection"
data = "data/instances.json"
calibration = "data/calibration"
samples = 50
calibration_samples = 32
layout = "yolov8"
shapes = { images = [1, 3, 192, 192] }
backends = ["ort-cpu", "openvino"]
precisions = ["fp32", "int8"]

[models.detector.quantization]
method = "percentile"
exclude = ["/head/Conv"]

[models.detector.budgets]
cosine = { fp16 = 0.999, int8 = 0.99 }
p5 = "+5%"
p99 = { default = "30 ms", nvidia-h200 = { int8 = "2 ms" } }
p50 = false

[models.plain]
path = "models/detector.onnx"
task = "tensors"

[matrix]
backends = ["ort-cpu", "ort-cuda", "trt", "openvino"]
precisions = ["fp32", "fp16", "int8"]

[environments.ort130]
backends = ["ort-openvino"]
python = ".venvs/ort-openvino/bin/python"
env = { OMP_NUM_THREADS = "2" }

[environments.orin]
backends = ["trt"]
hardware = "jetson-orin-nano-15w"
python = "python3"

[backends.ort-cpu]
intra_op_num_threads = 2

[worker]
open_timeout = "90 s"
memory_limit = "8 GiB"

[latency]
runs = 7
seconds = "500 ms"
"""


@pytest.fixture
def project(tmp_path):
    """A folder with the files that FULL names."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/detector.onnx").write_bytes(b"onnx")
    (tmp_path / "data/calibration").mkdir(parents=True)
    (tmp_path / "data/calibration/1.png").write_bytes(b"png")
    (tmp_path / "data/instances.json").write_text("{}")
    return tmp_path


def load_text(folder: Path, text: str) -> Settings:
    (folder / "inferbench.toml").write_text(text, encoding="utf-8")
    return load(folder)


def faults(folder: Path, text: str) -> dict[str, str]:
    """Load wrong settings; return what is said by key."""
    with pytest.raises(InferbenchError) as raised:
        load_text(folder, text)
    assert raised.value.code == "IB-103"
    head, *lines = raised.value.message.splitlines()
    assert str(folder / "inferbench.toml") in head
    return dict(line.strip().split(": ", 1) for line in lines)


def test_everything_that_can_be_written(project):
    settings = load_text(project, FULL)
    detector = settings.models["detector"]
    assert detector.path == project / "models/detector.onnx"
    assert detector.calibration == project / "data/calibration"
    assert (detector.samples, detector.calibration_samples) == (50, 32)
    assert detector.shapes == {"images": (1, 3, 192, 192)}
    assert (detector.backends, detector.precisions) == (("ort-cpu", "openvino"), ("fp32", "int8"))
    assert (detector.quantization.method, detector.quantization.exclude) == (
        "percentile",
        ("/head/Conv",),
    )
    assert settings.models["plain"].budgets == {}
    assert settings.environments["ort130"].python == str(project / ".venvs/ort-openvino/bin/python")
    assert settings.environments["ort130"].env == {"OMP_NUM_THREADS": "2"}
    assert settings.environments["orin"].python == "python3"
    # plain types: what goes over a wire knows no subclasses
    assert type(settings.worker.open_timeout_s) is type(settings.worker.call_timeout_s) is float
    assert type(settings.environments["ort130"].python) is str
    assert settings.backends == {"ort-cpu": {"intra_op_num_threads": 2}}
    assert (settings.worker.open_timeout_s, settings.worker.memory_mib) == (90, 8192)
    assert (settings.latency.runs, settings.latency.run_s) == (7, 0.5)
    assert settings.cache == Path("~/artifacts").expanduser()
    assert settings.lock == Path("/var/lock/inferbench")
    assert settings.baselines == project / "baselines"
    assert settings.source == project / "inferbench.toml"
    assert settings.budget("detector", "p99", "int8", "nvidia-h200").limit == 2
    assert settings.budget("detector", "p99", "int8", "cpu-x-2c").limit == 30
    assert settings.budget("detector", "p50", "int8", "cpu-x-2c") is None
    assert settings.budget("detector", "map_drop", "int8", "cpu-x-2c").origin == "default"
    assert settings.budget("plain", "map_drop", "int8", "cpu-x-2c") is None


def test_an_interpreter_on_another_host_is_that_host_s_to_find(project):
    text = """
[environments.orin]
backends = ["trt"]
hardware = "jetson-orin-nano-15w"
ssh = "-p 2222 nvidia@orin"
python = "PYTHON"
"""
    for python in ("~/venv/bin/python", "venv/bin/python", "python3.10"):
        settings = load_text(project, text.replace("PYTHON", python))
        assert settings.environments["orin"].python == python


def test_where_settings_are_looked_for(tmp_path):
    assert find(tmp_path) is None
    assert load(tmp_path).source is None
    assert load(tmp_path).baselines == tmp_path / "baselines"
    assert load(None) == Settings()
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nname = "x"\n')
    assert find(tmp_path) is None
    pyproject.write_text('[project]\ndependencies = ["pytest-inferbench"]\n')
    assert find(tmp_path) is None
    pyproject.write_text("[tool.inferbench.latency]\nruns = 9\n")
    assert find(tmp_path) == pyproject
    assert load(tmp_path).latency.runs == 9
    own = tmp_path / "inferbench.toml"
    own.write_text("[latency]\nruns = 8\n")
    assert find(tmp_path) == own
    assert load(tmp_path).latency.runs == 8
    other = tmp_path / "ci.toml"
    other.write_text("[latency]\nruns = 6\n")
    assert load(other).latency.runs == 6
    assert load(pyproject).latency.runs == 9


@pytest.mark.parametrize(
    ("name", "text", "code", "says"),
    [
        ("inferbench.toml", b"[models\n", "IB-102", "line 1"),
        ("inferbench.toml", b"a = 1\na = 2\n", "IB-102", "line 2"),
        ("inferbench.toml", b"\xff\xfe", "IB-102", "decode"),
        ("inferbench.toml", b"a = " + b"[" * 100_000, "IB-102", "inferbench.toml"),
        ("inferbench.toml", b"a = " + b"9" * 5000, "IB-102", "inferbench.toml"),
        ("pyproject.toml", b"[tool.inferbench]\na = \n", "IB-102", "line 2"),
        ("pyproject.toml", b"[tool]\ninferbench = 3\n", "IB-101", "tool.inferbench"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_error(tmp_path, name, text, code, says):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InferbenchError) as raised:
        load(tmp_path)
    if raised.value.code == "IB-103":  # 3.13's parser takes integers of any length
        assert b"9" * 5000 in text
        return
    assert raised.value.code == code
    assert says in raised.value.message
    assert name in raised.value.message


def test_an_explicit_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(InferbenchError, match="IB-101") as raised:
        load(tmp_path / "ci.toml")
    assert "ci.toml" in raised.value.message


MODEL = '[models.m]\npath = "models/detector.onnx"\n'
TENSORS = MODEL + 'task = "tensors"\n'


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("model = {}", "model", '"models"'),
        ("source = 'x'", "source", "unknown key"),
        ("_source = 'x'", "_source", "unknown key"),
        ("models = 3", "models", "table"),
        ("models.m = 3", "models.m", "table"),
        (TENSORS + "options = { a = 1 }", "models.m.options", "registered has, and none is"),
        ("[latency]\nruns = 2", "latency.runs", ">= 3"),
        ("[latency]\nruns = '5'", "latency.runs", "`int`"),
        ("[latency]\nseconds = '1 MiB'", "latency.seconds", '"MiB"'),
        ("[latency]\nseconds = -1", "latency.seconds", "above zero"),
        ("[latency]\nwarmup_floor = 9", "latency.warmup_floor", "longer"),
        ("[worker]\nmemory_limit = '1 s'", "worker.memory_limit", '"s"'),
        ("[worker]\nmemory = 1", "worker.memory", '"memory_limit"'),
        ("[matrix]\nbackends = []", "matrix.backends", "length"),
        ("[matrix]\nbackends = ['opnvino']", "matrix.backends[0]", '"openvino"'),
        ("[matrix]\nprecisions = ['fp32', 'f16']", "matrix.precisions[1]", '"fp16"'),
        ("[matrix]\nprecisions = ['fp32', 'fp32']", "matrix.precisions[1]", "twice"),
        ("[backends.ort-gpu]\na = 1", "backends.ort-gpu", '"ort-cpu"'),
        ("[backends.v]\nlike = 'ort-cpi'", "backends.v.like", '"ort-cpu"'),
        ("[backends.v]\nlike = 'v'", "backends.v.like", "itself"),
        ("[backends.v]\nlike = []", "backends.v.like", "name of a backend"),
        (
            "[backends.v]\nlike = 'w'\n[backends.w]\nlike = 'x'\n[backends.x]\nlike = 'w'",
            "backends.w.like",
            'it is like "x", which is like "w"',
        ),
        ("[backends.ort-cpu]\nlike = 'openvino'", "backends.ort-cpu", "rename"),
        ("[backends.ort-cpu]\na = 1979-05-27", "backends.ort-cpu.a", "worker"),
        ("[backends.ort-cpu]\na = nan", "backends.ort-cpu.a", "finite"),
        ("baselines = 3", "baselines", "path"),
        ("baselines = ''", "baselines", "path"),
        ('cache = "a\\u0000b"', "cache", "path"),
        ("cache = '~nobody-of-this-name/x'", "cache", "home"),
        (TENSORS + "shapes = {x = [0]}", "models.m.shapes[0]", ">= 1"),
        (TENSORS + "samples = 0", "models.m.samples", ">= 1"),
        (TENSORS + "budgets.map = 0.3", "models.m.budgets.map", '"detection"'),
        (TENSORS + "budgets.p5 = '5%'", "models.m.budgets.p5", "explicit plus"),
        (TENSORS + "quantization.method = 'minmx'", "models.m.quantization.method", '"minmax"'),
        (TENSORS + "layout = 'yolov'", "models.m.layout", '"yolov'),
        (TENSORS + "data = 'none.npz'", "models.m.data", "no such file"),
        (TENSORS + "data = 'empty'", "models.m.data", "empty"),
        (TENSORS + f"data = '{'x' * 5000}'", "models.m.data", "no such file"),
        (MODEL, "models.m.task", "required"),
        (MODEL + "task = 'detections'", "models.m.task", '"detection"'),
        (MODEL + "task = 'tensor'", "models.m.task", '"tensors"'),
        (MODEL + "task = 5", "models.m.task", "`int`"),
        ("[models.m]\ntask = 'tensors'", "models.m.path", "required"),
        ("[models.m]\ntask = 'tensors'\npaht = 'x'", "models.m.paht", '"path"'),
        ("[models.m]\ntask = 'tensors'\npath = 'm.onnx'", "models.m.path", "no such file"),
        ("[models.m]\ntask = 'tensors'\npath = 'models'", "models.m.path", "is a folder"),
        (TENSORS.replace("m]", '"a/b"]'), 'models."a/b"', "file names"),
        (TENSORS.replace("m]", '".."]'), 'models.".."', "file names"),
        (TENSORS.replace("m]", "int8]"), "models.int8", "a precision"),
        (TENSORS.replace("m]", "trt]"), "models.trt", "a backend"),
        (TENSORS.replace("m]", "onnx-ops]"), "models.onnx-ops", "ONNX's own cases; rename"),
        ("[environments.a]", "environments.a.backends", "required"),
        (
            "[environments.a]\nbackends = ['trt']\nssh = 'x@y'",
            "environments.a.hardware",
            "required",
        ),
        (
            "[environments.a]\nbackends = ['trt']\nhardware = 'nvidia-x'\nssh = 'x@y -p'",
            "environments.a.ssh",
            "no host",
        ),
        (
            "[environments.a]\nbackends = ['trt']\nhardware = 'nvidia-x'\nssh = ' '",
            "environments.a.ssh",
            "no host",
        ),
        (
            "[environments.a]\nbackends = ['trt']\nhardware = 'nvidia-x'\nssh = 'x@y'\npython = ''",
            "environments.a.python",
            "no path",
        ),
        (
            "[environments.a]\nbackends = ['trt']\nhardware = 'H200'",
            "environments.a.hardware",
            "doctor",
        ),
        ("[environments.a]\nbackends = ['trt']\nenv = {'A=B'='1'}", 'environments.a.env."A=B"', ""),
        ("[environments.a]\nbackends = ['trt']\nenv = {A=1}", "environments.a.env", "`str`"),
        ("[environments.default]\nbackends = ['trt']", "environments.default", "rename"),
        (
            "[environments.a]\nbackends = ['trt']\n[environments.b]\nbackends = ['trt']",
            "environments.b.backends[0]",
            "environments.a",
        ),
    ],
)
def test_one_fault_is_one_line_with_its_key(project, text, key, says):
    (project / "empty").mkdir()
    found = faults(project, text)
    assert list(found) == [key]
    assert says in found[key]


def test_a_variant_may_be_like_one_that_is_declared_after_it(project):
    text = "[backends.v]\nlike = 'w'\n[backends.w]\nlike = 'ort-cpu'\n"
    settings = load_text(project, text + "[matrix]\nbackends = ['v', 'w']\n")
    assert list(settings.matrix.backends) == ["v", "w"]


def test_detection_needs_data_and_calibration_for_int8(project):
    text = MODEL + 'task = "detection"\n'
    assert set(faults(project, text)) == {"models.m.data", "models.m.calibration"}
    text += 'data = "data/instances.json"\n'
    assert set(faults(project, text)) == {"models.m.calibration"}
    assert load_text(project, text + 'precisions = ["fp32"]').models["m"].calibration is None
    (project / "data/calibration/1.png").unlink()
    text += 'calibration = "data/calibration"'
    assert "empty" in faults(project, text)["models.m.calibration"]


def test_all_faults_are_told_at_once(project):
    found = faults(
        project,
        TENSORS
        + "data = 'gone'\nsampels = 3\nbudgets = {p99 = '5 MiB', cosine = 2}\n"
        + "[matrix]\nbackends = ['tr', 'ort-cup']\n[latency]\nruns = 1\n",
    )
    assert set(found) == {
        "models.m.data",
        "models.m.sampels",
        "models.m.budgets.p99",
        "models.m.budgets.cosine",
        "matrix.backends[0]",
        "matrix.backends[1]",
        "latency.runs",
    }


def _keys(kind: type[msgspec.Struct], *path: str) -> list[tuple[str, ...]]:
    return [
        (*path, f.encode_name)
        for f in msgspec.structs.fields(kind)
        if not f.encode_name.startswith("_")
    ]


TABLES = {
    (): Settings,
    ("models", "m"): ModelSettings,
    **{
        (f.encode_name,): f.type
        for f in msgspec.structs.fields(Settings)
        if hasattr(f.type, "__struct_fields__")
    },
}
KEYS = [key for path, kind in TABLES.items() for key in _keys(kind, *path)]
KEYS += [("models", "m", "budgets", metric) for metric in METRICS]


@hypothesis_settings(deadline=None)
@given(key=st.sampled_from(KEYS), data=st.data())
def test_a_misspelt_key_is_told_with_the_nearest(key, data):
    *path, right = key
    siblings = {other[-1] for other in KEYS if other[:-1] == key[:-1]}
    at = data.draw(st.integers(0, len(right) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
    wrong = data.draw(
        st.sampled_from(
            [
                right[:at] + right[at + 1 :],
                right[:at] + letter + right[at:],
                right[:at] + letter + right[at + 1 :],
                right[:at] + right[at + 1 : at + 2] + right[at] + right[at + 2 :],
                right.upper(),
            ]
        )
    )
    assume(wrong and wrong not in siblings)
    table = {"models": {"m": {"path": os.devnull, "task": "tensors"}}}
    inner = table
    for name in path:
        inner = inner.setdefault(name, {})
    inner[wrong] = inner.pop(right, 1)
    problems = Problems()
    Converter(Path(), problems).table(Settings, table)
    [line] = [
        line
        for line in problems.lines()
        if line.startswith(f"{'.'.join(path)}.{wrong}: ".lstrip("."))
    ]
    assert "did you mean" in line or "valid are" in line
    if len(right) >= 6 and not any(other != right and other[:3] == right[:3] for other in siblings):
        assert f'did you mean "{right}"?' in line


scalars = (
    st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["+5%", "1 s", "detection", "tensors", "trt", "int8", "~x/y", "8 GiB", "\0"])
    | st.dates()
    | st.times()
    | st.datetimes()
)
names = st.text(max_size=5) | st.sampled_from(sorted({part for key in KEYS for part in key}))
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


def settings_or_problems(data) -> None:
    problems = Problems()
    settings = Converter(Path("nowhere"), problems).table(Settings, data)
    if settings is not None:
        check(settings, CATALOG, BUILT_IN, problems)
    assert settings is not None or problems.lines()
    assert all("\n" not in line for line in problems.lines())


@hypothesis_settings(deadline=None)
@given(data=st.dictionaries(names, junk, max_size=4))
@example(data={"models": {"m": {"path": "~\0", "task": "tensors", "data": "\0"}}})
def test_junk_gives_settings_or_problems_and_nothing_else(data):
    settings_or_problems(data)


@hypothesis_settings(deadline=None)
@given(key=st.sampled_from(KEYS), value=junk)
def test_junk_at_any_known_key_gives_settings_or_problems(key, value):
    table = {"models": {"m": {"path": os.devnull, "task": "tensors"}}}
    inner = table
    for name in key[:-1]:
        inner = inner.setdefault(name, {})
    inner[key[-1]] = value
    settings_or_problems(table)


@given(text=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_junk_file_gives_settings_or_our_error(tmp_path, text):
    (tmp_path / "inferbench.toml").write_bytes(text)
    try:
        code = None if isinstance(load(tmp_path), Settings) else "something else"
    except InferbenchError as error:
        code = error.code
    assert code in (None, "IB-102", "IB-103")


def test_looking_for_a_file_imports_nothing_of_weight(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    script = (
        "import sys, pathlib\n"
        "from pytest_inferbench.settings.find import find\n"
        "assert find(pathlib.Path(sys.argv[1])) is None\n"
        "heavy = {'msgspec', 'tomllib', 'tomli', 'difflib', 'json'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
