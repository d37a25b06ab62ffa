"""Markdown for pull requests: what it says first, what it folds, and what nobody can smuggle in."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pytest_inferbench.report.document import RequirementResult
from pytest_inferbench.report.escaping import escaped, fenced
from pytest_inferbench.report.html import html
from pytest_inferbench.report.markdown import headline, markdown
from pytest_inferbench.report.merge import merge
from pytest_inferbench.report.parts import CoverageResult

RENDER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render
HOSTILE = (
    "a|b `c` <img src=x onerror=alert(1)> </details> [x](javascript:x) **b** ~~s~~ _u_ $m$\n"
    "# h\n\n- l\n@octocat #12 GH-3 https://x.y www.x.y a@b.cd :smile: \x1b[31m \u202e \\| &lt; ```"
)


def tags(html):
    return re.findall(r"</?[a-zA-Z][^>]*>", html)


def test_the_first_line_is_the_verdict_in_words_with_counts(cell, document):
    both = document(cell("a"), cell("b", "regressed"), cell("c", "cannot run", reason="no GPU"))
    assert markdown(both).splitlines()[0] == (
        "## Inference gate: regressed (2 cells: 1 regressed, 1 pass; 1 cell cannot run here)"
    )
    assert headline(document(cell("a"))) == "Inference gate: passed (1 cell: 1 pass)"
    silent = document(cell("a", "missing"))
    assert "nothing reached a verdict (1 cell: 1 missing)" in headline(silent)
    right = cell("a", "missing", tests=(*cell("a").tests, *cell("a", "missing").tests))
    assert "nothing failed, but no cell was judged in full (1 cell" in headline(document(right))
    partly = document(cell("a"), cell("b", "inconclusive"))
    assert "passed, but not every cell reached a verdict" in headline(partly)
    assert headline(document()) == "Inference gate: nothing ran"
    assert "failed" in headline(document(cell("a", "failed")))


def test_a_session_that_failed_beyond_its_tests_failed(cell, document):
    unmet = RequirementResult(expression="trt and int8", unmet="no cell matches")
    text = markdown(document(cell("a"), requirements=(unmet,), problems=("[IB-703] nothing",)))
    assert text.startswith("## Inference gate: failed")
    assert "- --inferbench-require 'trt and int8': no cell matches" in text
    assert "- \\[IB-703\\] nothing" in text


@pytest.mark.parametrize(
    ("verdicts", "outcomes", "fails"),
    [
        ({"pass": 1, "regressed": 1}, {"passed": 1, "failed": 1}, True),
        ({"failed": 1}, {"failed": 1}, True),
        ({"pass": 1}, {"passed": 1, "not run": 1}, True),
        ({"known to fail": 1, "unsupported": 1}, {"failed": 1, "unsupported": 1}, False),
    ],
)
def test_onnx_s_own_cases_fail_what_they_failed(cell, document, verdicts, outcomes, fails):
    cases = dict.fromkeys(verdicts, ("test_abs",))
    covered = CoverageResult(cell="onnx-ops-ort", outcomes=outcomes, verdicts=verdicts, cases=cases)
    for cells in ((), (cell("a"),)):
        results = msgspec.structs.replace(document(*cells), onnx_ops=(covered,))
        assert results.failed == fails
        text, page = markdown(results), html(results)
        assert text.startswith("## Inference gate: failed") == fails
        assert ("<h1>Failed" in page) == fails
        assert "onnx-ops-ort" in text
        assert ("test_abs" in text) == bool({"regressed", "failed"} & verdicts.keys())


def test_what_regressed_says_by_how_much_and_what_to_do(cell, document):
    text = markdown(document(cell("net", "regressed", reason="the whole\nparagraph")))
    (row,) = [line for line in text.splitlines() if "find the cause" in line]
    assert row == (
        "| net on ort-cpu at int8 (cpu-a-2c) | p50 | 1.5 ms | 1 ms"
        " | +50.0% (between +40.0% and +60.0%) | +25% | IB-603 | find the cause |"
    )
    assert "```text\nthe whole\nparagraph\n```" in text
    broken = markdown(document(cell("net", "failed", reason="net: [IB-301] the worker died\nmore")))
    assert "| latency |  |  |  |  | IB-301 | net: \\[IB-301\\] the worker died |" in broken


def test_what_says_nothing_is_folded_with_its_reason(cell, document):
    text = markdown(
        document(
            cell("a", "inconclusive"),
            cell("b", "missing"),
            cell("c", "skipped", reason="[IB-643] cannot be asked"),
            cell("d", "cannot run", reason="no GPU here"),
            notices=("a notice",),
        )
    )
    folded = "".join(re.findall(r"<details>.*?</details>", text, re.DOTALL))
    for said in ("IB-643", "no GPU here", "a detail; another", "visible from +30.0%", "a notice"):
        assert said in folded
    assert "### What failed" not in text


def test_hostile_text_is_shown_and_nothing_else(cell, document):
    harmless = document(cell("net", "regressed", reason="x"), cell("d", "cannot run", reason="x"))
    hostile = document(
        cell(HOSTILE, "regressed", reason=HOSTILE, hardware=HOSTILE),
        cell(HOSTILE, "cannot run", reason=HOSTILE),
        notices=(),
    )
    seen = RENDER(markdown(hostile))
    allowed = tags(RENDER(markdown(harmless)))
    assert sorted(tags(seen)) == sorted(allowed), "the same table, cell by cell"
    assert "\x1b" not in seen
    assert "\u202e" not in seen
    assert "\\u202e" in seen


@given(st.text(max_size=60))
@example(HOSTILE)
@example("1. a")
@example("- ")
@example("===")
@example("_a_")
@example("\\")
@example("a\\|b")
@example("&amp;")
@example("[x]: y")
def test_any_text_in_a_table_is_that_text(text):
    html = RENDER(f"| t |\n|---|\n| {escaped(text)} |\n")
    assert tags(html) == tags(RENDER("| t |\n|---|\n| x |\n"))
    assert RENDER(escaped(text)).count("<p>") <= 1
    assert set(tags(RENDER(escaped(text)))) <= {"<p>", "</p>"}


@pytest.mark.parametrize("text", ["@octocat", "see #12", "http://x", "www.x.y", "a@b.cd", ":+1:"])
def test_what_github_would_make_live_is_parted(text):
    assert "<!-- -->" in escaped(text)
    assert escaped("load_p95@8 at 10:30") == "load_p95@8 at 10:30"


@given(st.text(max_size=60))
def test_a_fence_holds(text):
    assert set(tags(RENDER(fenced(text)))) <= {"<pre>", "</pre>", "</code>"} | {
        '<code class="language-text">'
    }


def test_it_is_never_longer_than_it_may_be(cell, document):
    wrong = [cell(f"m{i}", "regressed", reason="long " * 900) for i in range(300)]
    large = document(*wrong, *(cell(f"p{i}") for i in range(100)), notices=("n" * 500,) * 300)
    whole = markdown(large, limit=100 << 20)
    assert len(whole.encode()) > 1 << 20
    for limit in (1 << 20, 100_000, 20_000, 3_000):
        text = markdown(large, limit)
        assert len(text.encode()) <= limit
        assert text.startswith("## Inference gate: regressed (400 cells: 300 regressed, 100 pass)")
        assert text.count("<details>") == text.count("</details>")
        assert " more" in text
    assert len(markdown(large, 100).encode()) <= 100


def test_several_sessions_are_named(cell, document):
    merged = merge(
        [document(cell("a", "regressed"), session="x"), document(cell("a"), session="y")],
        ["cpu", "gpu|1"],
    )
    text = markdown(merged)
    assert "\\[cpu\\] | p50" in text
    assert "| gpu\\|1 |" in text
    assert "**gpu\\|1**" in text
