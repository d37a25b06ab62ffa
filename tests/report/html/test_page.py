"""The HTML report as text: whole, escaped, safe, the same verdicts, small when there is much."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_inferbench.report.codes import meanings
from pytest_inferbench.report.document import Results
from pytest_inferbench.report.html import html, page, words
from pytest_inferbench.report.html.references import Reference
from pytest_inferbench.report.parts import RunResult

VERDICTS = Path(__file__).parents[3] / "docs" / "verdicts.md"
VOID = {"meta", "br", "input", "hr", "link"}
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202eevil\u2066\x00\ud800"


class Read(HTMLParser):
    """Checks that elements close in their order; notes headings, ids and links."""

    def __init__(self):
        super().__init__()
        self.open, self.headings, self.ids, self.links, self.tags = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if attrs.get("id"):
            self.ids.append(attrs["id"])
        if (attrs.get("href") or "").startswith("#"):
            self.links.append(attrs["href"][1:])

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(text):
    found = Read()
    found.feed(text)
    found.close()
    assert found.open == []
    return found


def facts(text):
    return json.loads(
        re.search(r'<script type="application/json" id="facts">(.*?)</script>', text)[1]
    )


def packed(text, name):
    found = re.search(rf'id="{name}">(.*?)</script>', text)
    return json.loads(zlib.decompress(base64.b64decode(found[1])))


def replaced(results, **changes):
    cells = [msgspec.structs.replace(cell, **changes) for cell in results.cells]
    return msgspec.structs.replace(results, cells=tuple(cells))


def test_it_is_one_whole_page_whose_links_lead_somewhere(drawn):
    found = read(html(drawn(12), (Reference("yolo", "a paper", figures={"p50 ms": "3"}),)))
    assert len(found.ids) == len(set(found.ids))
    assert set(found.links) <= set(found.ids)
    assert found.headings[0] == 1
    assert all(b - a <= 1 for a, b in zip(found.headings, found.headings[1:], strict=False))
    assert found.headings.count(1) == 1
    for tag, attrs in found.tags:
        if tag == "svg":
            assert attrs["role"] == "img"
            assert attrs["aria-label"]
        if tag == "th":
            assert attrs["scope"] in ("col", "row", "colgroup")


def test_nothing_comes_from_elsewhere_and_only_our_script_may_run(drawn):
    text = html(drawn(6))
    found = read(text)
    for _, attrs in found.tags:
        for key in ("src", "href", "action"):
            assert not attrs.get(key) or attrs[key].startswith(("#", "data:,"))
        assert not any(key.startswith("on") or key == "style" for key in attrs)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert "default-src &#x27;none&#x27;" in policy
    for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"sha256-{digest}" in policy
    for style in re.findall(r"<style>(.*?)</style>", text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"sha256-{digest}" in policy


def test_what_people_wrote_is_shown_and_does_nothing(drawn):
    results = replaced(drawn(4, regressed=1), model=HOSTILE, hardware=HOSTILE, backend=HOSTILE)
    told = [
        msgspec.structs.replace(test, reason=HOSTILE, outcome="failed", differs=(HOSTILE,))
        for test in results.cells[1].tests
    ]
    cells = [*results.cells[:1], msgspec.structs.replace(results.cells[1], tests=tuple(told))]
    results = msgspec.structs.replace(results, cells=tuple(cells), notices=(HOSTILE,))
    text = html(results)
    text.encode()  # halves of pairs could not be written to a file
    found = read(text)
    assert "img" not in {tag for tag, _ in found.tags}
    assert text.count("<script") == text.count("</script>") == 3
    for hidden in "\u202e\u2066\x00":
        assert hidden not in text
    assert "\\u202e" in text


def test_what_is_wrong_is_told_first_in_words(drawn):
    text = html(drawn(12, regressed=2))
    top = text[: text.index("Verdicts</h2>")]
    assert "2 regressed, of 12 cells" in top
    assert "p5 3.52 ms against 2.2 ms, +60.0% (between +50.0% and +70.0%), budget +10%" in top
    assert "60 runs in fresh workers, 12 of them set aside" in top


def test_where_most_runs_do_not_count_it_says_why_and_does_not_deny_what_passed(drawn):
    def disturbed(cell):
        runs = [msgspec.structs.replace(run, set_aside="others used 51%") for run in cell.runs]
        return msgspec.structs.replace(cell, verdict="inconclusive", runs=tuple(runs))

    made = drawn(6)
    right = [disturbed(cell) for cell in made.cells if cell.verdict == "pass"][:2]
    results = msgspec.structs.replace(made, cells=tuple(right))
    text = html(results)
    top = text[: text.index("Verdicts</h2>")]
    assert "10 of them set aside, the first because others used 51%;" in top
    assert "Nothing failed, but none of 2 cells could be judged in full" in top
    assert "No verdict: none of 2 cells could be judged" in html(replaced(results, tests=()))


@pytest.mark.parametrize("verdict", words.SIGNS)
def test_every_verdict_has_its_word_beside_its_colour(drawn, verdict):
    text = html(replaced(drawn(3), verdict=verdict))
    assert f"</span> {verdict}</span>" in text
    assert f"3 {verdict}" in text


def test_what_a_merge_left_out_is_told():
    left_out = ("[IB-900] gpu.json could not be read",)
    text = html(Results(inferbench="1", recorded="", sessions=(), left_out=left_out))
    assert "<h1>Failed<" in text
    assert "left out: [IB-900] gpu.json could not be read" in text


def test_without_cells_it_says_so():
    text = html(Results(inferbench="1", recorded="2026-11-25T10:00:00Z", sessions=()))
    read(text)
    assert "No cell ran" in text


def test_of_many_cells_none_is_lost_and_the_rest_is_carried(drawn):
    count = page.STATIC + 100
    text = html(drawn(count, sessions=3, regressed=4))
    assert len(facts(text)["keys"]) == count
    rows = re.findall(r'<tr role="row"><td', text)
    carried = packed(text, "rows")
    assert len(rows) >= page.STATIC
    assert len(carried) == 100
    sections = text.count('<details id="c')
    chunks = math.ceil((count - sections) / page.CHUNK)
    told = [each for i in range(chunks) for each in packed(text, f"sections-{i}")]
    assert sections + len(told) == count
    for i, each in enumerate(told):
        assert f'id="c{sections + i}"' in each
        read(each)


def test_rows_beyond_the_static_ones_are_small_in_the_file(drawn, monkeypatch):
    monkeypatch.setattr(page, "MOST_SECTIONS", 60)
    monkeypatch.setattr(page, "STATIC", 50)
    few, many = (len(html(drawn(n, regressed=1))) for n in (240, 480))
    plots = 20 * 3000  # of 20 more models
    assert (many - few - plots) / 240 < 700  # bytes a cell, its field in the matrix included


def test_codes_are_told_in_the_words_of_the_documentation():
    rows = re.findall(r"^\| (IB-\d+) \| (.*?) \| `", VERDICTS.read_text(), re.MULTILINE)
    documented = {code: meaning.replace("`", "") for code, meaning in rows}
    assert meanings().items() <= documented.items()
    assert {"IB-600", "IB-603", "IB-701"} <= set(meanings())


@settings(max_examples=15)
@given(value=st.floats(), low=st.floats(), high=st.floats(), budget=st.text(max_size=8))
def test_no_figure_breaks_it(drawn, value, low, high, budget):
    results = drawn(3)
    judged = results.cells[0].judgements[0]
    change = msgspec.structs.replace(judged.change, low=low, value=value, high=high)
    odd = msgspec.structs.replace(judged, value=value, baseline=low, change=change, budget=budget)
    cell = results.cells[0]
    runs = [
        msgspec.structs.replace(run, latency_ms=dict.fromkeys(run.latency_ms, value))
        for run in cell.runs
    ]
    runs = (*runs, RunResult(latency_ms={"p5": value}))
    tests = (msgspec.structs.replace(cell.tests[0], judgements=(odd,)), *cell.tests[1:])
    figures = dict.fromkeys(cell.figures, value) | {"map_drop_low": low, "map_drop_high": high}
    odd_cell = msgspec.structs.replace(cell, tests=tests, runs=runs, figures=figures, speedup=value)
    results = msgspec.structs.replace(results, cells=(odd_cell, *results.cells[1:]))
    read(html(results))
