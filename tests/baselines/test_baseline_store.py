"""The store: what is written is read back, what cannot be trusted is refused and left alone."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pytest_inferbench.baselines.schema import Addition, BaselineFile, CellSessions, Session
from pytest_inferbench.baselines.store import BaselineStore, encode
from pytest_inferbench.errors import InferbenchError

HARDWARE, MODEL, CELL = "cpu-amd-epyc-f25m1-2c", "yolo.v8", "ort-cpu fp32"
SESSION = Session(
    recorded="2026-01-02T03:04:05+00:00",
    reason="first",
    artifact="0a" * 32,
    environment={"onnxruntime": "1.23.0"},
    latency_ms={"p5": (3.21, 3.25, 3.22), "p50": (3.4, 3.5, 3.41)},
    samples=(310, 305, 311),
    probe_ms=(0.31, 0.31, 0.32),
    memory_mib={"peak": (210.5, 211.0)},
    cold_start_ms={"open": (100.5, 101.0)},
    scores={"map": 0.61},
)
EXPECTED = """\
{
  "schema": 1,
  "hardware": "cpu-amd-epyc-f25m1-2c",
  "model": "yolo.v8",
  "cells": {
    "ort-cpu fp32": {
      "sessions": [
        {
          "recorded": "2026-01-02T03:04:05+00:00",
          "reason": "first",
          "artifact": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
          "environment": {
            "onnxruntime": "1.23.0"
          },
          "latency_ms": {
            "p5": [3.21, 3.25, 3.22],
            "p50": [3.4, 3.5, 3.41]
          },
          "samples": [310, 305, 311],
          "probe_ms": [0.31, 0.31, 0.32],
          "memory_mib": {
            "peak": [210.5, 211.0]
          },
          "cold_start_ms": {
            "open": [100.5, 101.0]
          },
          "scores": {
            "map": 0.61
          }
        }
      ]
    }
  }
}
"""


def file_with(*sessions: Session, cell: str = CELL) -> BaselineFile:
    return BaselineFile(
        hardware=HARDWARE, model=MODEL, cells={cell: CellSessions(sessions=sessions)}
    )


@pytest.fixture
def store(tmp_path):
    return BaselineStore(tmp_path / "baselines")


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_reads_well_and_reads_back(store):
    assert store.read(HARDWARE, MODEL) is None
    path = store.write(file_with(SESSION))
    assert path == store.folder / HARDWARE / f"{MODEL}.json"
    assert path.read_text() == EXPECTED
    assert store.read(HARDWARE, MODEL) == file_with(SESSION)
    assert names(store.folder) == [f"{HARDWARE}/{MODEL}.json"]


milliseconds = st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=4).map(tuple)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    session=st.builds(
        Session,
        recorded=st.datetimes(timezones=st.timezones() | st.none()).map(
            lambda when: when.replace(tzinfo=None).isoformat() + "Z"
        ),
        reason=st.text(),
        artifact=st.text("0123456789abcdef", min_size=64, max_size=64),
        environment=st.dictionaries(st.text(), st.text(), max_size=3),
        latency_ms=st.dictionaries(st.text(), milliseconds, max_size=3),
        samples=st.lists(st.integers(1, 2**40), max_size=4).map(tuple),
        probe_ms=milliseconds,
        memory_mib=st.dictionaries(st.text(), milliseconds, max_size=3),
        cold_start_ms=st.dictionaries(st.text(), milliseconds, max_size=3),
        scores=st.dictionaries(st.text(), finite, max_size=3),
    ),
    cell=st.text(),
)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_is_read_back(store, session, cell):
    file = file_with(session, cell=cell)
    store.write(file)
    assert store.read(HARDWARE, MODEL) == file


def _changed(**fields) -> bytes:
    plain = json.loads(EXPECTED)
    session = plain["cells"][CELL]["sessions"][0]
    for name, value in fields.items():
        (session if name in session else plain)[name] = value
    return json.dumps(plain).encode()


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (b"", "IB-711", "Expecting value"),
        (b"\xff\xfe", "IB-711", "decode"),
        (b"null", "IB-711", '"schema"'),
        (b"[" * 100_000, "IB-711", "recursion"),
        (EXPECTED[:300].encode(), "IB-711", "line"),
        (b"<<<<<<< ours\n" + EXPECTED.encode(), "IB-711", "merge conflict"),
        (EXPECTED.replace('"p50"', '"p5"').encode(), "IB-711", '"p5" is there twice'),
        (_changed(schema=2), "IB-712", "schema 2"),
        (_changed(schema="1"), "IB-711", "'1'"),
        (_changed(schema=0), "IB-711", "should be 1"),
        (_changed(hardware="nvidia-h200"), "IB-711", "nvidia-h200"),
        (_changed(model="other"), "IB-711", "other"),
        (_changed(sesions=[]), "IB-711", "sesions"),
        (_changed(latency_ms={"p5": [3.2, math.nan]}), "IB-711", "p5|JSON"),
        (_changed(latency_ms={"p5": [3.2, math.inf]}), "IB-711", "p5|JSON"),
        (_changed(latency_ms={"p5": [3.2, None]}), "IB-711", r"latency_ms"),
        (_changed(latency_ms={"p5": [3.2, 0]}), "IB-711", "> 0"),
        (_changed(latency_ms={"p5": [-1.0]}), "IB-711", "> 0"),
        (_changed(latency_ms={"p5": []}), "IB-711", "length"),
        (_changed(cold_start_ms={"open": [0.0]}), "IB-711", "> 0"),
        (_changed(samples=[0]), "IB-711", ">= 1"),
        (_changed(artifact="abc"), "IB-711", "artifact"),
        (_changed(recorded="2026"), "IB-711", "recorded"),
        (_changed(probe_ms=[1e308]).replace(b"1e+308", b"1e999"), "IB-711", "range"),
    ],
)
def test_what_cannot_be_trusted_is_refused_and_left_alone(store, text, code, says):
    path = store.path(HARDWARE, MODEL)
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    with pytest.raises(InferbenchError, match=says) as raised:
        store.read(HARDWARE, MODEL)
    assert raised.value.code == code
    assert str(path) in raised.value.message
    assert raised.value.hint
    store.add(HARDWARE, MODEL, Addition(cell=CELL, session=SESSION))
    with pytest.raises(InferbenchError):
        store.flush()
    assert path.read_bytes() == text
    assert names(store.folder) == [f"{HARDWARE}/{MODEL}.json"]


def test_a_folder_in_place_of_the_file_is_an_error(store):
    store.path(HARDWARE, MODEL).mkdir(parents=True)
    with pytest.raises(InferbenchError, match="IB-711"):
        store.read(HARDWARE, MODEL)
    with pytest.raises(InferbenchError, match="IB-713"):
        store.write(file_with(SESSION))
    assert names(store.folder) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"latency_ms": {"p5": (math.nan,)}},
        {"latency_ms": {"p5": (math.inf,)}},
        {"latency_ms": {"p5": (0.0,)}},
        {"latency_ms": {"p5": ()}},
        {"scores": {"map": math.nan}},
        {"artifact": "unknown"},
        {"reason": "\udcff"},
    ],
)
def test_what_could_not_be_read_again_is_not_written(store, fields):
    store.write(file_with(SESSION))
    bad = Session(**{"recorded": SESSION.recorded, "artifact": SESSION.artifact, **fields})
    with pytest.raises(InferbenchError, match="IB-714"):
        store.write(file_with(bad))
    assert store.path(HARDWARE, MODEL).read_text() == EXPECTED
    assert names(store.folder) == [f"{HARDWARE}/{MODEL}.json"]


def test_flush_writes_once_a_file_and_adds_to_what_was_there(store):
    store.write(file_with(SESSION))
    later = Session(recorded="2026-02-01T00:00:00Z", artifact="0b" * 32)
    store.add(HARDWARE, MODEL, Addition(cell=CELL, session=later))
    store.add(HARDWARE, MODEL, Addition(cell="ort-cpu int8", session=later))
    store.add("nvidia-h200", MODEL, Addition(cell="trt int8", session=later))
    assert store.flush() == [store.path(HARDWARE, MODEL), store.path("nvidia-h200", MODEL)]
    assert store.pending == {}
    assert store.flush() == []
    read = store.read(HARDWARE, MODEL)
    assert read.sessions(CELL) == (SESSION, later)
    assert read.sessions("ort-cpu int8") == (later,)


def test_a_file_that_fails_does_not_hold_back_the_others(store):
    bad = store.path("cpu-a-2c", MODEL)
    bad.parent.mkdir(parents=True)
    bad.write_text("not JSON")
    for hardware in ("cpu-a-2c", "cpu-b-2c"):
        store.add(hardware, MODEL, Addition(cell=CELL, session=SESSION))
    with pytest.raises(InferbenchError, match="IB-711"):
        store.flush()
    assert store.read("cpu-b-2c", MODEL).sessions(CELL) == (SESSION,)
    assert list(store.pending) == [("cpu-a-2c", MODEL)]


def test_permissions_are_the_usual_ones_and_kept(store, tmp_path):
    usual = tmp_path / "usual"
    usual.write_text("")
    path = store.write(file_with(SESSION))
    assert path.stat().st_mode == usual.stat().st_mode
    path.chmod(0o640)
    store.write(file_with(SESSION))
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "baselines").write_text("a file")
    with pytest.raises(InferbenchError, match="IB-713") as raised:
        BaselineStore(tmp_path / "baselines").write(file_with(SESSION))
    assert "yolo.v8.json" in raised.value.message
    assert names(tmp_path) == ["baselines"]


FULL_DISK = """
import resource, sys
from pathlib import Path
import msgspec
from pytest_inferbench.baselines.schema import BaselineFile
from pytest_inferbench.baselines.store import BaselineStore
from pytest_inferbench.errors import InferbenchError

store = BaselineStore(Path(sys.argv[1]))
file = store.read(sys.argv[2], sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
try:
    store.write(file)
except InferbenchError as error:
    sys.exit(error.code)
"""


def test_a_full_disk_leaves_the_old_file_and_nothing_else(store):
    path = store.write(file_with(SESSION))
    assert path.stat().st_size > 512
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(store.folder), HARDWARE, MODEL],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.strip() == "IB-713"
    assert path.read_text() == EXPECTED
    assert names(store.folder) == [f"{HARDWARE}/{MODEL}.json"]


def test_encoding_is_deterministic():
    assert encode(file_with(SESSION)) == encode(file_with(SESSION)) == EXPECTED.encode()
