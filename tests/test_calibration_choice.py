"""What is chosen of trials, and how many layers are tried next."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.calibration_choice import (
    Trial,
    choose,
    next_count,
    parse_methods,
    quantization_toml,
)
from pytest_inferbench.calibration_tables import choice_lines, curve_table, methods_table, plain
from pytest_inferbench.errors import InferbenchError


def trial(method, centred=0.99, drop=None, **more):
    figures = {"cosine": 0.9, "cosine_mean": 0.95, "centred_mean": centred}
    if drop is not None:
        figures |= {"map": 0.5 - drop, "map_drop": drop, "map_drop_low": 0, "map_drop_high": 1}
    return Trial({"method": method}, figures, 1.0, 2.0, **more)


def test_methods_are_read_with_their_share_and_tried_per_tensor_too():
    assert parse_methods("minmax, percentile=99.9,minmax", per_tensor=True) == [
        {"method": "minmax"},
        {"method": "percentile", "percentile": 99.9},
        {"method": "minmax", "per_channel": False},
        {"method": "percentile", "percentile": 99.9, "per_channel": False},
    ]


@pytest.mark.parametrize(
    "text", ["", ",", "max", "minmax=3", "percentile=", "percentile=x", "percentile=30", "=99"]
)
def test_what_is_no_method_is_refused(text):
    with pytest.raises(InferbenchError) as error:
        parse_methods(text)
    assert error.value.code == "IB-570"


def test_the_least_loss_wins_where_it_is_no_luck():
    best, other = trial("entropy", 0.9, drop=0.01), trial("minmax", 0.99, drop=0.05)
    choice = choose([other, best], lambda one, two: 0.03)
    assert choice.trial is best
    assert "no luck" in choice.reason


def test_what_loses_as_much_but_for_luck_is_told_apart_by_its_outputs():
    least, near = trial("entropy", 0.9, drop=0.01), trial("minmax", 0.99, drop=0.012)
    far = trial("percentile", 0.999, drop=0.2)
    choice = choose([least, near, far], lambda one, two: 0.1 if two is far else -0.01)
    assert choice.trial is near
    assert "entropy" in choice.reason
    assert "percentile" not in choice.reason


def test_without_scores_the_nearest_outputs_win():
    assert choose([trial("minmax", 0.9), trial("entropy", 0.95)], None).trial.label == "entropy"


def test_what_failed_is_never_chosen():
    failed = Trial({"method": "entropy"}, failed="[IB-344] no")
    assert choose([failed], None) is None
    choice = choose([failed, trial("minmax")], None)
    assert choice.trial.label == "minmax"
    assert "the only one that worked" in choice.reason
    shown = "\n".join(methods_table([failed, trial("minmax")], choice))
    assert "entropy: [IB-344] no" in shown
    assert "nan" not in shown


def test_tables_star_the_choice_and_name_what_is_outside():
    trials = [trial("minmax", drop=0.01, outside=("map_drop",)), trial("entropy", drop=0.2)]
    choice = choose(trials, lambda one, two: 0.1)
    head, first, second = methods_table(trials, choice)
    assert first.startswith("* minmax")
    assert "outside: map_drop" in first
    assert second.startswith("  entropy")
    assert "drop" in head
    said = "\n".join(choice_lines("net", choice))
    assert "--sensitivity" in said
    assert "[models.net.quantization]" in said
    assert plain(trials[0])["outside"] == ["map_drop"]


def test_a_curve_names_the_layer_that_each_row_adds():
    rows = curve_table({0: trial("minmax"), 2: trial("minmax")}, ["/a", "/b", "/c"])
    assert rows[-1].endswith("/b")
    assert len(rows) == 3


@given(needed=st.integers(0, 60), most=st.integers(0, 60))
def test_the_fewest_layers_are_found_where_each_helps(needed, most):
    tried: dict[int, bool] = {}
    while (count := next_count(tried, most)) is not None:
        assert count not in tried
        assert 0 <= count <= most
        tried[count] = count >= needed
    assert (min((n for n, held in tried.items() if held), default=None)) == (
        needed if needed <= most else None
    )
    assert len(tried) <= 16


@given(held=st.lists(st.booleans(), min_size=40, max_size=40), most=st.integers(0, 39))
def test_the_search_ends_whatever_holds(held, most):
    tried: dict[int, bool] = {}
    while (count := next_count(tried, most)) is not None:
        assert count not in tried
        tried[count] = held[count]
    assert max(tried) <= most
    assert True in tried.values() or most in tried


@pytest.mark.parametrize("model", ["net", "my-net", "yolo.v8"])
def test_the_lines_to_paste_are_toml_that_says_the_same(model):
    quantization = {
        "method": "percentile",
        "percentile": 99.9,
        "per_channel": False,
        "exclude": ['/a "b"/Conv', "op:Softmax"],
    }
    read = msgspec.toml.decode(quantization_toml(model, quantization))
    assert read == {"models": {model: {"quantization": quantization}}}
