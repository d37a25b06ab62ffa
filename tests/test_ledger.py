from __future__ import annotations

from pytest_inferbench.ledger import Ledger, count_by_code


def judgement(verdict, code):
    return {"verdict": verdict, "code": code}


def test_a_failure_in_any_phase_stays():
    ledger = Ledger()
    for outcome in ("passed", "failed", "passed"):
        ledger.note("t", outcome=outcome, payload={"cell": "c"})
    (entry,) = ledger
    assert entry.outcome == "failed"
    assert entry.reached_verdict


def test_a_skip_is_no_verdict_and_keeps_its_reason():
    ledger = Ledger()
    ledger.note("t", outcome="passed", payload={"cell": "c"})
    ledger.note("t", outcome="skipped", reason="why", payload={"cell": "c"})
    ledger.note("t", outcome="passed", payload={"cell": "c"})
    (entry,) = ledger.by_cell()["c"]
    assert (entry.outcome, entry.reason) == ("skipped", "why")
    assert ledger.is_all_silent()


def test_one_foreign_test_is_enough_not_to_be_silent():
    ledger = Ledger()
    ledger.note("ours", outcome="skipped", payload={"cell": "c"})
    assert ledger.is_all_silent()
    ledger.note("theirs", outcome="passed")
    assert not ledger.is_all_silent()


def test_nothing_at_all_is_not_silent():
    assert not Ledger().is_all_silent()


def test_one_addition_a_cell():
    ledger = Ledger()
    for test in ("latency", "memory"):
        ledger.note(test, outcome="passed", payload={"cell": "c", "addition": {"from": test}})
    assert [addition for _, addition in ledger.additions()] == [{"from": "memory"}]


def test_what_several_tests_of_a_cell_measured_stands_in_one_session():
    ledger = Ledger()
    for test, addition in (
        ("latency", {"recorded": "1", "latency_ms": 1}),
        ("load", {"recorded": "2", "load": 2}),
    ):
        ledger.note(test, outcome="passed", payload={"cell": "c", "addition": addition})
    (found,) = [addition for _, addition in ledger.additions()]
    assert found == {"recorded": "2", "latency_ms": 1, "load": 2}


def test_only_what_was_not_reached_is_counted():
    ledger = Ledger()
    found = [judgement("pass", "IB-600"), judgement("missing", "IB-701")]
    ledger.note("t", outcome="skipped", payload={"cell": "c", "judgements": found})
    assert count_by_code(ledger.ours) == {"missing IB-701": 1}


def test_what_was_not_asked_is_no_verdict_and_does_not_count_against_its_cell():
    ledger = Ledger()
    ledger.note("t", outcome="skipped", payload={"cell": "c", "not_asked": "why"})
    (entry,) = ledger
    assert not entry.reached_verdict
    assert not entry.was_asked
    assert ledger.is_all_silent()


def test_a_teardown_that_fails_is_a_verdict_on_what_was_not_asked_too():
    ledger = Ledger()
    ledger.note("t", outcome="skipped", payload={"cell": "c", "not_asked": "why"})
    ledger.note("t", outcome="failed", payload={"cell": "c"})
    (entry,) = ledger
    assert entry.reached_verdict
    assert entry.was_asked


def test_what_had_regressed_stays_so_when_it_is_run_again():
    ledger = Ledger()
    first = {"cell": "c", "judgements": [judgement("regressed", "IB-603")], "figures": {"p5_ms": 2}}
    again = {"cell": "c", "judgements": [judgement("pass", "IB-600")], "figures": {"p5_ms": 1}}
    ledger.note("t", outcome="passed", duration_s=1.0)
    ledger.run_again("t", "slower", first)
    ledger.note("t", outcome="passed", payload=again)
    (entry,) = ledger.by_cell()["c"]
    assert (entry.outcome, entry.reason, entry.duration_s) == ("failed", "slower", 1.0)
    assert entry.payload == first
    assert [attempt.reason for attempt in ledger.turned_green()] == ["slower"]
    ledger.note("t", outcome="failed", payload=again)
    assert not ledger.turned_green()
