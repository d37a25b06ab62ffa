"""`[serving]`: objectives, load's settings, and what is wrong with them."""

from __future__ import annotations

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings import load
from pytest_inferbench.settings.metrics import METRICS, UNDER_LOAD
from pytest_inferbench.settings.objectives import METRIC_OF


@pytest.fixture
def loaded(tmp_path):
    def loaded(text):
        (tmp_path / "inferbench.toml").write_text(text)
        return load(tmp_path)

    return loaded


def test_objectives_are_absolute_limits_in_the_units_of_their_metrics(loaded):
    serving = loaded(
        """
        [serving]
        concurrency = [1, 16]
        seconds = "500 ms"
        [serving.objectives]
        p95 = "0.1 s"
        per_s = "600 /min"
        queue_p95 = 5
        failures = 0.01
        """
    ).serving
    assert (serving.concurrency, serving.run_s) == ((1, 16), 0.5)
    limits = {name: (each.limit, each.better) for name, each in serving.objectives.items()}
    assert limits == {
        "p95": (pytest.approx(100), "lower"),
        "per_s": (pytest.approx(10), "higher"),
        "queue_p95": (5, "lower"),
        "failures": (0.01, "lower"),
    }
    assert loaded("").serving.objectives == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('p59 = "5 ms"', 'serving.objectives.p59: unknown objective "p59"; did you mean "p99"?'),
        ('p95 = "+5%"', "serving.objectives.p95: '+5%': an objective is an absolute limit"),
        ("p95 = false", "serving.objectives.p95: False: an objective is an absolute limit"),
        ('p95 = "5 MiB"', 'serving.objectives.p95: "MiB" is not a unit that belongs here'),
        ("p95 = 0", "serving.objectives.p95: 0: a limit on load_p95 is above 0 ms"),
    ],
)
def test_what_is_no_objective_is_refused_with_its_key(loaded, text, says):
    with pytest.raises(InferbenchError) as caught:
        loaded(f"[serving.objectives]\n{text}")
    assert caught.value.code == "IB-103"
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[serving]\nobjectives = 3", "serving.objectives: expected a table such as"),
        ("[serving]\nconcurency = [1]", 'did you mean "concurrency"?'),
        ("[serving]\nconcurrency = []", "serving.concurrency"),
        ("[serving]\nconcurrency = [0]", "serving.concurrency"),
        ("[serving]\nruns = 2", "serving.runs"),
    ],
)
def test_other_faults_name_their_key_too(loaded, text, says):
    with pytest.raises(InferbenchError) as caught:
        loaded(text)
    assert says in caught.value.message


def test_every_metric_under_load_may_be_an_objective():
    assert set(METRIC_OF.values()) == set(UNDER_LOAD) <= set(METRICS)
