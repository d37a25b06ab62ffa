"""Keys are stable and tell everything apart; recipes exist or are refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.artifacts.plan import METHODS, Recipe, artifact_key, ranking_step, steps_for
from pytest_inferbench.errors import InferbenchError

names = st.text(max_size=6)
recipes = st.builds(
    Recipe,
    family=names,
    precision=names,
    parameters=st.dictionaries(names, st.none() | st.integers() | names | st.lists(names)),
)
arguments = st.tuples(names, recipes, st.none() | names, st.dictionaries(names, names))


@given(first=arguments, second=arguments)
def test_keys_are_equal_exactly_when_the_arguments_are(first, second) -> None:
    assert (artifact_key(*first) == artifact_key(*second)) == (first == second)


@given(arguments=arguments)
def test_order_does_not_matter(arguments) -> None:
    model, recipe, calibration, versions = arguments
    parameters = dict(reversed(recipe.parameters.items()))
    turned = Recipe(recipe.family, recipe.precision, parameters)
    other = artifact_key(model, turned, calibration, dict(reversed(versions.items())))
    assert other == artifact_key(*arguments)


def the_step(*arguments) -> Recipe:
    (step,) = steps_for(*arguments)
    return step


def test_the_key_is_the_same_on_every_machine() -> None:
    key = artifact_key("ab", the_step("ort", "int8", {}), "cd", {"onnxruntime": "1.23.0"})
    assert key == "4e927ffc6b8d15bd7c94ea9dccf803d6267e83449376c39dbe06906531d5fe8d"


@pytest.mark.parametrize(
    ("family", "precision"),
    [
        *(("ort", p) for p in ("fp32", "tf32")),
        *(("openvino", p) for p in ("fp32", "bf16")),
        *(("torch", p) for p in ("fp32", "tf32", "fp16", "bf16")),
        ("http", "int8"),
    ],
)
def test_some_run_the_file_as_it_is(family: str, precision: str) -> None:
    assert steps_for(family, precision, {"method": "minmax"}) == ()


def test_each_precision_takes_the_options_that_matter_to_it() -> None:
    options = {"method": "entropy", "exclude": ["b", "a", "b"], "scheme": "cuda"}
    nodes = {"exclude": ["a", "b"]}
    int8 = the_step("ort", "int8", options)
    how = {"method": "entropy", "per_channel": True}
    assert int8.parameters == {**nodes, **how, "scheme": "cuda"}
    assert int8.calibrated
    assert the_step("ort", "fp8", options).parameters == {**nodes, **how}
    assert the_step("ort", "bf16", options).parameters == {**nodes, "scheme": "cuda"}
    assert the_step("ort", "fp16", options).parameters == nodes


@pytest.mark.parametrize(("scheme", "method"), [("cpu", "minmax"), ("trt", "percentile")])
def test_the_method_is_the_scheme_s_own_unless_it_is_set(scheme: str, method: str) -> None:
    assert the_step("ort", "int8", {"scheme": scheme}).parameters["method"] == method
    chosen = {"scheme": scheme, "method": "entropy"}
    assert the_step("ort", "int8", chosen).parameters["method"] == "entropy"


def test_openvino_quantizes_by_itself_or_takes_the_graph_of_onnx_runtime() -> None:
    nncf = the_step("openvino", "int8", {})
    assert (nncf.family, nncf.place, nncf.file_name) == ("openvino", "target", "model.xml")
    assert the_step("openvino", "int8", {"openvino": "qdq"}) == the_step("ort", "int8", {})


@pytest.mark.parametrize(
    ("family", "precision"), [("ort", "int3"), ("torch", "int8"), ("nobody", "fp32")]
)
def test_no_recipe(family: str, precision: str) -> None:
    with pytest.raises(InferbenchError, match=f"{precision} .*'{family}'") as caught:
        steps_for(family, precision, {})
    assert caught.value.code == "IB-410"


@pytest.mark.parametrize(
    "options",
    [
        {"method": "max"},
        {"method": "percentile", "percentile": 50},
        {"method": "percentile", "percentile": 101},
        {"per_channel": 1},
        {"exclude": "node"},
        {"exclude": [1]},
        {"methods": "minmax"},
    ],
)
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(InferbenchError) as caught:
        steps_for("ort", "int8", options)
    assert caught.value.code == "IB-411"


@pytest.mark.parametrize("method", METHODS)
def test_methods_make_different_artifacts(method: str) -> None:
    keys = {artifact_key("m", the_step("ort", "int8", {"method": m}), "c", {}) for m in METHODS}
    assert len(keys) == len(METHODS)


def test_what_decides_the_ranges_and_weights_is_in_the_key() -> None:
    ways = (
        {"method": "percentile"},
        {"method": "percentile", "percentile": 99.9},
        {"method": "percentile", "per_channel": False},
        {"method": "minmax", "per_channel": False},
        {"method": "minmax"},
    )
    for family in ("ort", "openvino"):
        keys = {artifact_key("m", the_step(family, "int8", way), "c", {}) for way in ways}
        assert len(keys) == len(ways)


def test_a_percentile_that_no_method_reads_builds_nothing_anew() -> None:
    assert the_step("ort", "int8", {"percentile": 99.9}) == the_step("ort", "int8", {})


def test_a_ranking_is_told_apart_by_what_it_ranks() -> None:
    rankings = [
        ranking_step("int8", options, samples)
        for options, samples in (({}, 8), ({}, 9), ({"method": "entropy"}, 8))
    ]
    keys = {artifact_key("m", step, "c", {}) for step in rankings}
    assert len(keys | {artifact_key("m", the_step("ort", "int8", {}), "c", {})}) == 4
