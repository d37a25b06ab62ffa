from __future__ import annotations

from pytest_inferbench.progress import FIRST_WORD_S, NEXT_WORD_S, Progress


def said(*seconds):
    lines = []
    progress = Progress(lines.append, "building")
    for elapsed_s in seconds:
        progress(elapsed_s, "3 of 4")
    return lines


def test_what_is_short_is_silent():
    assert said(0, 1, FIRST_WORD_S - 0.01) == []


def test_what_is_long_speaks_now_and_then():
    lines = said(*(second / 4 for second in range(4 * 40)))
    assert lines[0] == "building (2 s, 3 of 4)"
    assert len(lines) == 1 + int((39 - FIRST_WORD_S) // NEXT_WORD_S)


def test_who_chooses_by_itself_hears_all_that_is_long():
    lines = []
    progress = Progress(lines.append, "building", every=True)
    for elapsed_s in (0.0, 1.9, 2.0, 2.1, 3.0):
        progress(elapsed_s)
    assert lines == ["building (2 s)", "building (2 s)", "building (3 s)"]
