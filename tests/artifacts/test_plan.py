"""Keys are stable and tell everything apart; recipes exist or are refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.artifacts.plan import METHODS, Recipe, artifact_key, recipe_for
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


def test_the_key_is_the_same_on_every_machine() -> None:
    key = artifact_key("ab", recipe_for("ort", "int8", {}), "cd", {"onnxruntime": "1.23.0"})
    assert key == "8dd062379e3ac1e2dcb0f310c9f20945d80f2f1f63e06e60b3311cc69d685c8e"


@pytest.mark.parametrize("family", ["ort", "trt", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_some_precisions_run_the_file_as_it_is(family: str, precision: str) -> None:
    assert recipe_for(family, precision, {"method": "minmax"}).as_is


def test_int8_takes_options_and_fp16_ignores_them() -> None:
    options = {"method": "entropy", "exclude": ["b", "a", "b"]}
    int8 = recipe_for("ort", "int8", options)
    assert int8.parameters == {"method": "entropy", "exclude": ["a", "b"]}
    assert not int8.as_is
    assert recipe_for("ort", "fp16", options) == recipe_for("ort", "fp16", {})


@pytest.mark.parametrize(
    ("family", "precision"), [("ort", "fp8"), ("ort", "bf16"), ("http", "int8"), ("ort", "int3")]
)
def test_no_recipe(family: str, precision: str) -> None:
    with pytest.raises(InferbenchError, match=f"{precision} .*'{family}'") as caught:
        recipe_for(family, precision, {})
    assert caught.value.code == "IB-410"


@pytest.mark.parametrize(
    "options", [{"method": "max"}, {"exclude": "node"}, {"exclude": [1]}, {"methods": "minmax"}]
)
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(InferbenchError) as caught:
        recipe_for("ort", "int8", options)
    assert caught.value.code == "IB-411"


@pytest.mark.parametrize("method", METHODS)
def test_methods_make_different_artifacts(method: str) -> None:
    keys = {artifact_key("m", recipe_for("ort", "int8", {"method": m}), "c", {}) for m in METHODS}
    assert len(keys) == len(METHODS)
