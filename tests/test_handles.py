"""What is judged of outputs: which cosine, against which null, and what is a fault."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate
from pytest_inferbench.handles import Detections, Similarity
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.judge.verdict import Verdict
from pytest_inferbench.options import Options
from pytest_inferbench.settings.budgets import parse_budgets
from pytest_inferbench.settings.schema import MatrixSettings, ModelSettings, Settings
from pytest_inferbench.tasks import Task

RNG = np.random.default_rng(5)
DIFFERENT = RNG.normal(0, 1, (6, 400))
ALIKE = DIFFERENT + 20  # a large common part: every plain cosine is above 0.99


def similarity(reference, outputs, precision="int8", **budgets):
    """A cell's outputs beside its reference's, under a model's budgets."""
    faults = []
    written = parse_budgets(budgets, lambda key, text: faults.append((key, text)))
    assert not faults
    settings = Settings(
        models={"net": ModelSettings(path=Path("net.onnx"), task="tensors", budgets=written)},
        matrix=MatrixSettings(backends=("ort-cpu",), precisions=(precision,)),
    )
    gate = Gate(settings, Options(), Hardware("cpu-test-2c"))
    gate._references["net"] = SimpleNamespace(outputs=[{"y": array} for array in reference])
    task = Task("net", gate.settings.models["net"], gate.cache, print)
    outputs = [{"y": array} for array in outputs]
    return Similarity(SimpleNamespace(gate=gate, cell=gate.cells[0], task=task, outputs=outputs))


def judged(*arguments, **budgets):
    return {j.metric: j for j in similarity(*arguments, **budgets).judgements()}


def noisy(reference, share):
    return reference + RNG.normal(0, share, reference.shape)


def test_by_default_the_centred_cosine_is_judged_and_the_plain_one_is_not():
    found = judged(ALIKE, noisy(ALIKE, 0.01))
    assert list(found) == ["centred_cosine"]
    assert found["centred_cosine"].verdict is Verdict.PASS


def test_what_the_plain_cosine_cannot_see_the_centred_one_does():
    wrong = noisy(ALIKE, 1.0)
    handle = similarity(ALIKE, wrong)
    (centred,) = handle.judgements()
    assert handle.cosine > 0.95, "the plain default for int8 would have passed it"
    assert (centred.verdict, centred.code) == (Verdict.REGRESSED, "IB-601")


def test_the_plain_default_stands_in_where_there_is_one_sample():
    found = judged(DIFFERENT[:1], noisy(DIFFERENT[:1], 0.01))
    assert list(found) == ["cosine"]


def test_a_plain_budget_of_the_settings_is_judged_always():
    found = judged(DIFFERENT, noisy(DIFFERENT, 0.01), cosine=0.99)
    assert set(found) == {"centred_cosine", "cosine"}


@pytest.mark.parametrize(
    ("metric", "reference", "advice"),
    [("cosine", ALIKE, "budget `centred_cosine`"), ("centred_cosine", None, "`max_error`")],
)
def test_a_budget_below_the_null_is_refused_with_what_to_do(metric, reference, advice):
    if reference is None:  # two groups: within one, even centred outputs are alike
        group = np.where(np.arange(6)[:, None] < 3, 1.0, -1.0) * DIFFERENT[0]
        reference = group + 0.01 * DIFFERENT
    with pytest.raises(InferbenchError, match=rf"the {metric} budget 0.9.* tells nothing") as error:
        similarity(reference, noisy(reference, 0.001), **{metric: 0.9}).judgements()
    assert error.value.code == "IB-503"
    assert advice in error.value.hint
    assert error.value.hint.startswith("Raise it above that")


@pytest.mark.parametrize(
    ("metric", "reference", "advice"),
    [
        ("cosine", DIFFERENT + 5000, "budget `centred_cosine`"),
        # Three inputs with the same answer.
        (
            "centred_cosine",
            np.concatenate([DIFFERENT, DIFFERENT[:1], DIFFERENT[:1]]),
            "`centred_cosine = false`",
        ),
    ],
)
def test_where_outputs_are_alike_nothing_can_be_raised_above_them(metric, reference, advice):
    with pytest.raises(InferbenchError, match=r"different inputs reach 1\.000000") as error:
        similarity(reference, noisy(reference, 0.001), **{metric: 0.9}).judgements()
    assert error.value.code == "IB-503"
    assert "Raise" not in error.value.hint
    assert advice in error.value.hint


def test_where_every_output_is_the_same_the_data_or_other_budgets_help():
    same = np.repeat(DIFFERENT[:1], 4, axis=0)
    with pytest.raises(InferbenchError, match=r"different inputs reach 1\.000000") as error:
        similarity(same, noisy(same, 0.001), cosine=0.9).judgements()
    assert "give the model data whose outputs differ more" in error.value.hint
    assert "`cosine = false`" in error.value.hint


def test_a_centred_budget_of_the_settings_needs_samples_that_differ():
    with pytest.raises(InferbenchError, match="two samples") as error:
        similarity(DIFFERENT[:1], DIFFERENT[:1], centred_cosine=0.9).judgements()
    assert error.value.code == "IB-502"


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_faults_fail_whatever_the_budgets_and_leave_no_figure(bad):
    outputs = noisy(DIFFERENT, 0.01)
    outputs[2] = bad
    off = dict.fromkeys(("cosine", "centred_cosine"), False)
    handle = similarity(DIFFERENT, outputs, **off)
    (judgement,) = handle.judgements()
    assert (judgement.verdict, judgement.code) == (Verdict.REGRESSED, "IB-501")
    assert "sample 2" in judgement.detail
    assert handle.figures() == {}


def test_at_most_five_faults_are_told():
    assert len(similarity(DIFFERENT, np.zeros_like(DIFFERENT)).judgements()) == 5


def test_no_budget_is_no_judgement_and_still_figures():
    off = dict.fromkeys(("cosine", "centred_cosine"), False)
    handle = similarity(DIFFERENT, noisy(DIFFERENT, 0.01), **off)
    assert handle.judgements() == []
    assert handle.figures()["cosine"] > handle.figures()["cosine_null"]


def test_other_budgets_of_the_settings_are_judged_too():
    found = judged(DIFFERENT, noisy(DIFFERENT, 0.01), max_error=0.001, snr_db=20)
    assert found["max_error"].verdict is Verdict.REGRESSED
    assert found["snr_db"].verdict is Verdict.PASS


def test_equal_outputs_pass_although_their_snr_is_infinite():
    assert judged(DIFFERENT, DIFFERENT, "fp32", snr_db=60)["snr_db"].verdict is Verdict.PASS


def test_detections_of_a_model_without_them_say_how_to_narrow_the_test():
    run = similarity(DIFFERENT, DIFFERENT)._run
    with pytest.raises(InferbenchError, match='task is "tensors"') as error:
        Detections(run).judgements()
    assert error.value.code == "IB-504"
    assert 'tasks=["detection"]' in error.value.hint


def test_one_pair_of_duplicates_among_the_data_is_no_reason_to_refuse():
    reference = np.concatenate([DIFFERENT, DIFFERENT[:1]])
    found = judged(reference, noisy(reference, 0.001), centred_cosine=0.9)
    assert found["centred_cosine"].verdict is Verdict.PASS
