"""Figures over time: every session once, in order, read with its faults told."""

from __future__ import annotations

import json
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_inferbench.cli import main
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.report import change_points
from pytest_inferbench.report.document import CellResult, Results, SessionResult
from pytest_inferbench.report.history import History, Step, lines, sparkline
from pytest_inferbench.report.html.history import history_page
from pytest_inferbench.report.reading import write


def results(day, p50_ms=5.0, accuracy=0.81, ident=None, cells=1):
    when = f"2026-11-{day:02}T10:00:00Z"
    made = tuple(
        CellResult(
            id=f"net{i}",
            model=f"net{i}",
            backend="ort-cpu",
            precision="fp32",
            hardware="cpu-x",
            verdict="pass",
            figures={"p50_ms": p50_ms, "map": accuracy},
        )
        for i in range(cells)
    )
    session = SessionResult(id=ident or f"s{day}", recorded=when)
    return Results(inferbench="1", recorded=when, sessions=(session,), cells=made)


def history_of(documents):
    history = History()
    for each in documents:
        history.add(each)
    history.sort()
    return history


@given(st.permutations(range(1, 9)))
def test_series_are_in_the_order_of_time(days):
    history = history_of(results(day, p50_ms=float(day)) for day in days)
    (track,) = history.tracks.values()
    assert track.series["p50_ms"].values == [float(day) for day in sorted(days)]


def test_a_session_in_two_documents_counts_once():
    history = history_of([results(1), results(2), results(1)])
    assert len(history.sessions) == 2
    assert [len(each.moments) for each in history.all_series()] == [2, 2]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=200))
@example([1e308, -1e308])
@example([1.7e308] * 90)
def test_a_sparkline_has_a_bar_for_every_stretch(values):
    assert 1 <= len(sparkline(values)) <= 40


def test_text_and_page_tell_the_steps_and_what_was_not_looked_for():
    history = history_of(results(day, p50_ms=5.0 if day < 5 else 6.0) for day in range(1, 9))
    assert "change points were not looked for" in lines(history)[0]
    series = next(each for each in history.all_series() if each.figure == "p50_ms")
    series.steps = [Step(4, 5.0, 6.0, 1e-9)]
    history.searched = "Apache Otava 0.8.0"
    history.faults = ["x.json </script> is damaged"]
    said = "\n".join(lines(history))
    assert "+20.0% from 2026-11-05 10:00: 5 before, 6 since" in said
    text = history_page(history)
    assert "History: 1 change point" in text
    assert "x.json &lt;/script&gt; is damaged" in text
    assert text.count("<svg") == 2


def test_files_that_cannot_be_read_are_told_and_left_out(tmp_path, capsys):
    for day in (1, 2):
        write(results(day), tmp_path / "runs" / f"{day}.json")
    (tmp_path / "broken.json").write_text("{")
    page = tmp_path / "history.html"
    assert main(["report", "history", str(tmp_path), "--to", str(page)]) == 1
    shown = capsys.readouterr()
    assert "broken.json" in shown.err
    assert "2 sessions, 1 cell" in shown.out
    assert "broken.json" in page.read_text()
    (tmp_path / "broken.json").unlink()
    assert main(["report", "history", str(tmp_path), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    (cell,) = plain["cells"].values()
    assert cell["p50_ms"]["values"] == [5.0, 5.0]


def test_a_folder_without_results_is_an_error(tmp_path, capsys):
    assert main(["report", "history", str(tmp_path)]) == 1
    assert "IB-913" in capsys.readouterr().err


def test_a_python_without_otava_is_told(tmp_path):
    history = history_of(results(day) for day in range(1, 9))
    with pytest.raises(InferbenchError, match="IB-912"):
        change_points.search(history, str(tmp_path / "python"))
    if not change_points.is_here():
        with pytest.raises(InferbenchError, match="No module named 'otava'"):
            change_points.search(history, sys.executable)


@pytest.mark.skipif(not change_points.is_here(), reason="needs the extra `history` in this Python")
def test_otava_finds_a_step_and_none_where_there_is_none():
    times = [5.0, 5.1, 4.9, 5.05, 4.95, 5.0, 6.5, 6.4, 6.6, 6.5, 6.45, 6.55]
    history = history_of(
        results(day, p50_ms=value, accuracy=0.81) for day, value in enumerate(times, start=1)
    )
    change_points.search(history, sys.executable)
    found = {each.figure: each.steps for each in history.all_series()}
    (step,) = found["p50_ms"]
    assert step.index == 6
    assert step.before == pytest.approx(5.0)
    assert step.change == pytest.approx(0.3, abs=0.01)
    assert found["map"] == []
    assert history.searched.startswith("Apache Otava 0.")


def test_the_program_imports_nothing_of_ours():
    source = change_points.PROGRAM.read_text()
    assert "pytest_inferbench" not in source


@pytest.mark.slow
def test_it_takes_time_by_the_number_of_files():
    def seconds(count):
        documents = [results(1, ident=f"s{i}", cells=100) for i in range(count)]
        began = time.process_time()
        history_page(history_of(documents))
        return time.process_time() - began

    seconds(5)
    assert seconds(80) < 16 * max(seconds(20), 0.05)
