"""A results document as a file: what is none is refused by name, and nothing is lost on the way."""

from __future__ import annotations

import json
import math
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.report.document import SCHEMA, CellResult, Results, SessionResult, TestResult
from pytest_inferbench.report.parts import IntervalResult, JudgementResult, RunResult
from pytest_inferbench.report.reading import decode, encode, read_results, write, write_text

FIGURES = st.floats(allow_nan=False)
NAMES = st.text(min_size=1, max_size=8)
TABLES = st.dictionaries(NAMES, FIGURES, max_size=3)

judgements = st.builds(
    JudgementResult,
    metric=NAMES,
    verdict=st.sampled_from(["pass", "regressed"]),
    code=st.just("IB-600"),
    value=FIGURES,
    baseline=st.none() | FIGURES,
    change=st.none() | st.builds(IntervalResult, low=FIGURES, value=FIGURES, high=FIGURES),
)
tests = st.builds(
    TestResult,
    test=NAMES,
    outcome=st.just("passed"),
    reason=st.text(max_size=20),
    duration_s=FIGURES,
    judgements=st.lists(judgements, max_size=2).map(tuple),
    figures=TABLES,
    not_asked=st.none() | NAMES,
)
runs = st.builds(RunResult, latency_ms=TABLES, watts=st.none() | FIGURES, set_aside=st.text())
cells = st.builds(
    CellResult,
    id=NAMES,
    model=NAMES,
    backend=NAMES,
    precision=NAMES,
    hardware=NAMES,
    figures=TABLES,
    tests=st.lists(tests, max_size=2).map(tuple),
    runs=st.lists(runs, max_size=2).map(tuple),
)
documents = st.builds(
    Results,
    inferbench=NAMES,
    recorded=NAMES,
    sessions=st.just((SessionResult(id="a", recorded="2026-01-01T00:00:00Z"),)),
    cells=st.lists(cells, max_size=2).map(tuple),
    notices=st.lists(st.text(max_size=20), max_size=2).map(tuple),
)


@given(documents)
def test_what_is_written_reads_back_the_same(document):
    assert decode(encode(document), "it") == document


def test_a_pipe_or_a_link_is_written_into_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text("into it", pipe)
        assert os.read(reader, 99) == b"into it"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    for text in ("no file yet", "and then one"):
        write_text(text, link)
        assert link.is_symlink()
        assert file.read_text() == text
    assert not list(tmp_path.glob(".*")), "nothing is left beside them"


def test_a_figure_that_is_none_stays_one():
    figures = {"a": math.nan, "b": -math.inf}
    cell = CellResult(id="i", model="m", backend="b", precision="p", hardware="h", figures=figures)
    written = encode(
        Results(
            inferbench="1",
            recorded="",
            sessions=(SessionResult(id="a", recorded=""),),
            cells=(cell,),
        )
    )
    json.loads(written, parse_constant=pytest.fail)
    read = decode(written, "it").cells[0].figures
    assert math.isnan(read["a"])
    assert read["b"] == -math.inf


def test_what_is_no_unicode_is_spelt_out(tmp_path):
    session = SessionResult(id="a", recorded="", command=("r\udcffs.json", "\u00e9\U0001f600"))
    write(Results(inferbench="1", recorded="", sessions=(session,)), tmp_path / "out.json")
    (read,) = read_results(tmp_path / "out.json").sessions
    assert read.command == ("r\\udcffs.json", "\u00e9\U0001f600")


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "IB-901", "no JSON object"),
        ("[1]", "IB-901", "no JSON object"),
        ("{]", "IB-901", "no JSON object"),
        ('"\ud800"', "IB-901", "no JSON object"),
        ('{"a": 1}', "IB-901", "no results document"),
        ('{"schema": true, "cells": 3}', "IB-901", "no results document"),
        ('{"schema": "2", "cells": []}', "IB-901", "no results document"),
        ('{"schema": 1, "cells": []}', "IB-902", "older form (schema 1)"),
        (f'{{"schema": {SCHEMA + 1}, "cells": []}}', "IB-902", "newer form"),
        (f'{{"schema": {SCHEMA}, "cells": [3]}}', "IB-901", "damaged"),
        (
            f'{{"schema": {SCHEMA}, "inferbench": "", "recorded": "", "sessions": [], "cells":'
            ' [{"id": "", "model": "", "backend": "", "precision": "", "hardware": ""}]}',
            "IB-901",
            "a session it has not",
        ),
        (
            f'{{"schema": {SCHEMA}, "inferbench": "", "recorded": "", "cells": [], "sessions":'
            ' [{"id": "", "recorded": ""}], "serving": [{"model": "m", "precision": "fp32",'
            ' "clients": 1, "variants": [{"cell": "c", "backend": "b", "measured": false}]}]}',
            "IB-901",
            "a cell it has not",
        ),
        ("[" * 200_000, "IB-901", "no JSON object"),
    ],
)
def test_what_is_no_results_document_is_refused_by_name(tmp_path, text, code, says):
    path = tmp_path / "odd.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InferbenchError) as caught:
        read_results(path)
    assert caught.value.code == code
    assert says in caught.value.message
    assert str(path) in caught.value.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InferbenchError, match=r"could not be read") as caught:
        read_results(tmp_path / "none.json")
    assert caught.value.code == "IB-900"


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data):
    with pytest.raises(InferbenchError):
        decode(data, "it")
