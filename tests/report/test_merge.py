"""Merging: nothing is hidden, nothing counts twice, and many files are no trouble."""

from __future__ import annotations

from pytest_inferbench.report.console import lines, session_lines
from pytest_inferbench.report.merge import merge
from pytest_inferbench.report.parts import StudyResult, VariantResult


def text(merged):
    return "\n".join(lines(merged))


def test_jobs_of_three_machines_stand_in_one_table_by_model(cell, document):
    cpu = document(cell("net"), cell("tiny"), session="c", recorded="2026-01-02T00:00:00Z")
    gpu = document(
        cell("net", "regressed", hardware="nvidia-h100"),
        session="g",
        recorded="2026-01-01T00:00:00Z",
        notices=("it was hot",),
    )
    orin = document(cell("net", "cannot run", hardware="jetson", reason="no TensorRT"), session="o")
    merged = merge([cpu, gpu, orin], ["cpu", "gpu", "orin"])
    assert [each.name for each in merged.sessions] == ["gpu", "orin", "cpu"], "by when they ended"
    shown = [(each.model, each.hardware) for each in merged.cells]
    assert shown == [
        ("net", "nvidia-h100"), ("net", "jetson"), ("net", "cpu-a-2c"), ("tiny", "cpu-a-2c"),
    ]  # fmt: skip
    assert [merged.session_of(each).name for each in merged.cells] == ["gpu", "orin", "cpu", "cpu"]
    assert merged.notices == ("gpu: it was hot",)
    assert merged.failed
    said = text(merged)
    assert "session" not in said.splitlines()[0], "no cell is in two"
    assert "cannot run here: net ort-cpu int8: no TensorRT" in said
    assert said.splitlines()[-1] == "inferbench: 3 cells: 2 pass, 1 regressed"
    assert list(session_lines(merged))[-1] == "cpu: 2026-01-02T00:00:00Z, 2 cells"


def test_a_cell_of_two_sessions_is_shown_of_each_and_a_later_pass_hides_no_failure(cell, document):
    old = document(cell("net", "regressed"), session="a", recorded="2026-01-01T00:00:00Z")
    new = document(cell("net"), session="b", recorded="2026-01-02T00:00:00Z")
    merged = merge([new, old], ["new", "old"])
    assert [each.verdict for each in merged.cells] == ["regressed", "pass"]
    assert merged.failed
    assert merged.notices == (
        "1 cell in more than one session, each shown with its session: net-ort-cpu-int8-cpu-a-2c",
    )
    header, *rows = text(merged).splitlines()[:3]
    assert "session" in header
    assert [("old" in row, "new" in row) for row in rows] == [(True, False), (False, True)]


def test_a_session_in_two_files_counts_once(cell, document):
    one = document(cell("net"), session="a")
    two = document(cell("tiny"), session="b")
    both = merge([one, two], ["one", "two"])
    again = merge([both, one, two], ["both", "one", "two"])
    assert again.cells == both.cells
    assert again.sessions == both.sessions
    assert any("taken once" in notice for notice in again.notices)


def test_sessions_that_are_called_alike_get_names_of_their_own(cell, document):
    documents = [document(cell(f"m{i}"), session=f"s{i}") for i in range(3)]
    merged = merge(documents, ["gate", "gate (2)", "gate"])
    assert sorted(each.name for each in merged.sessions) == ["gate", "gate (2)", "gate (3)"]
    unnamed = merge(documents)
    assert [each.name for each in unnamed.sessions] == ["cpu-a-2c", "cpu-a-2c (2)", "cpu-a-2c (3)"]


def test_studies_keep_their_cells(cell, document):
    variant = VariantResult(
        cell=cell("net").id, backend="ort-cpu", measured=True, clients=8, requests=10, per_s=5.0,
        latency_ms={"p50": 1.0, "p95": 2.0}, split_ms={"infer": 1.0},
    )  # fmt: skip
    study = StudyResult(
        model="net", precision="int8", clients=8, objectives={"p95": "100 ms"}, variants=(variant,)
    )
    served = document(cell("net"), session="b", recorded="2026-01-03T00:00:00Z")
    served = type(served)(**{f: getattr(served, f) for f in served.__struct_fields__} | {
        "serving": (study,)
    })  # fmt: skip
    merged = merge([served, document(cell("other"), session="a")], ["served", "other"])
    (kept,) = merged.serving
    assert merged.sessions[kept.session].name == "served"
    assert "serving net at int8, 8 clients:" in text(merged)


def test_two_hundred_machines(cell, document):
    """Were anything quadratic, this would take minutes."""
    models = [cell(f"m{i}") for i in range(50)]
    documents = [document(*models, session=f"s{i:03}") for i in range(200)]
    merged = merge(documents, [f"machine{i:03}" for i in range(200)])
    assert len(merged.cells) == 10_000
    assert [each.session for each in merged.cells[:200]] == list(range(200))
    said = list(lines(merged))
    assert said[-1] == "inferbench: 10000 cells: 10000 pass"
    assert "50 cells in more than one session" in "\n".join(said[-3:])
