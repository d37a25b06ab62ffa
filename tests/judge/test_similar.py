"""Output by output: whose limit holds, which sample and element the message names."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_inferbench.accuracy.similarity import compare
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.similar import Limits, judge_similarity
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.settings.budgets import output_budgets, parse_budgets, resolve

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 1, (5, 2, 30))
BOXES = RNG.normal(0, 1, (5, 8))


def samples(logits=LOGITS, boxes=BOXES):
    return [{"logits": a, "boxes": b} for a, b in zip(logits, boxes, strict=True)]


def judged(candidate, precision="int8", **written):
    faults = []
    budgets = parse_budgets(written, lambda key, text: faults.append((key, text)))
    assert not faults

    def limits(metric):
        rest = resolve(budgets.get(metric, {}), metric, precision, "cpu-x")
        return Limits(rest, output_budgets(budgets, metric, precision, "cpu-x"))

    return {j.metric: j for j in judge_similarity(compare(samples(), candidate), limits)}


@pytest.fixture
def one_output_off():
    boxes = BOXES + RNG.normal(0, 1e-3, BOXES.shape)
    logits = LOGITS + RNG.normal(0, 1e-3, LOGITS.shape)
    logits[3] += RNG.normal(0, 2.0, logits[3].shape)
    return samples(logits, boxes)


def test_the_message_names_output_sample_and_element_with_both_values():
    logits = LOGITS.copy()
    logits[3, 1, 7] += 4.0
    found = judged(samples(logits), cosine=0.9999)
    bad = found["centred_cosine"]
    assert bad.verdict is Verdict.REGRESSED
    assert "output 'logits'" in bad.detail
    assert "at sample 3" in bad.detail
    first = f"{LOGITS[3, 1, 7]:.6g} at the reference, {logits[3, 1, 7]:.6g} here"
    assert f"the first at sample 3, index (1, 7): {first}" in bad.detail


def test_a_limit_for_one_output_leaves_the_others_with_the_model_s(one_output_off):
    own = {"logits": {"centred_cosine": 0.1}}
    found = judged(one_output_off, outputs=own, centred_cosine=0.99)
    assert found["outputs.logits.centred_cosine"].verdict is Verdict.PASS
    assert found["centred_cosine"].verdict is Verdict.PASS
    assert "output 'boxes'" in found["centred_cosine"].detail
    found = judged(one_output_off, outputs={"boxes": {"centred_cosine": 0.99}})
    assert found["centred_cosine"].verdict is Verdict.REGRESSED
    assert found["outputs.boxes.centred_cosine"].verdict is Verdict.PASS


def test_it_can_be_switched_off_for_one_output_and_by_precision(one_output_off):
    off = {"logits": {"centred_cosine": False, "cosine": False}}
    assert judged(one_output_off, outputs=off)["centred_cosine"].verdict is Verdict.PASS
    int8 = {"logits": {"centred_cosine": {"int8": False}, "cosine": False}}
    assert judged(one_output_off, outputs=int8)["centred_cosine"].verdict is Verdict.PASS
    assert judged(one_output_off, "fp16", outputs=int8)["centred_cosine"].code == "IB-601"


def test_errors_and_shares_have_limits_too(one_output_off):
    found = judged(one_output_off, mean_error=0.01, outside=0.5, snr_db=20, cosine_mean=0.85)
    assert found["mean_error"].verdict is Verdict.REGRESSED
    assert "output 'logits'" in found["mean_error"].detail
    assert found["outside"].verdict is Verdict.REGRESSED
    assert found["cosine_mean"].verdict is Verdict.PASS
    assert 0 < found["outside"].value <= 1


def test_an_output_that_is_not_there_names_the_nearest(one_output_off):
    with pytest.raises(InferbenchError, match="does not have") as error:
        judged(one_output_off, outputs={"logit": {"cosine": 0.9}})
    assert (error.value.code, error.value.hint) == ("IB-505", "Did you mean 'logits'?")


def test_a_default_that_tells_nothing_of_one_output_names_it():
    groups = np.where(np.arange(5)[:, None] < 2, 1.0, -1.0) * BOXES[0] + 1e-3 * BOXES
    reference = samples(boxes=groups)
    budgets = parse_budgets({}, print)

    def limits(metric):
        return Limits(resolve(budgets.get(metric, {}), metric, "int8", "cpu-x"), {})

    with pytest.raises(InferbenchError, match="'boxes' of different inputs reach") as error:
        judge_similarity(compare(reference, reference), limits)
    assert error.value.code == "IB-503"
    assert "budgets.outputs.boxes" in error.value.hint


@pytest.mark.parametrize(
    ("written", "key", "part"),
    [
        ({"outputs": {"y": {"p50": 1}}}, "outputs.y.p50", "unknown budget"),
        ({"outputs": {"y": {"cosin": 1}}}, "outputs.y.cosin", '"cosine"'),
        ({"outputs": {"y": {"cosine": 2}}}, "outputs.y.cosine", "at most 1"),
        ({"outputs": 5}, "outputs", "expected a table"),
        ({"outputs": {"y": 5}}, "outputs.y", "expected a table"),
        ({"outputs": {"a.b": {"cosine": "5 ms"}}}, 'outputs."a.b".cosine', "not a unit"),
    ],
)
def test_faults_of_an_output_s_table_have_their_key(written, key, part):
    faults = {}
    parse_budgets(written, faults.__setitem__)
    assert list(faults) == [key]
    assert part in faults[key]
