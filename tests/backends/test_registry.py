"""Third parties' backends and the settings' variants: who may be called what."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.backends.catalog import CATALOG, BackendInfo
from pytest_inferbench.backends.registry import catalog_of, checked, circle_of, users_options
from pytest_inferbench.errors import InferbenchError

MINE = BackendInfo("mine", "as-is", ("cpu",), ("numpy",), adapter="mine:Mine")


def test_registered_ones_stand_beside_the_package_s():
    catalog = catalog_of(checked([("here", MINE)]), {})
    assert catalog["mine"] is MINE
    assert set(catalog) == {*CATALOG, "mine"}


@pytest.mark.parametrize("base", ["ort-cpu", "mine"])
def test_a_variant_is_the_other_under_a_name_of_its_own(base):
    catalog = catalog_of({"mine": MINE}, {"other": {"like": base, "threads": 1}})
    assert catalog["other"] == dataclasses.replace(catalog[base], name="other")
    assert "other" in catalog["other"].markers
    assert base not in catalog["other"].markers


@pytest.mark.parametrize(
    ("tables", "devices"),
    [
        ({}, ("cpu", "nvidia")),
        ({"torch": {"threads": 1}}, ("cpu", "nvidia")),
        ({"torch": {"device": "cuda:0"}}, ("nvidia",)),
        ({"torch": {"device": "cpu"}}, ("cpu",)),
    ],
)
def test_a_device_that_is_asked_for_is_the_only_one(tables, devices):
    """Else a cell of the CPU would run on the GPU, under the CPU's name."""
    catalog = catalog_of({}, {**tables, "compiled": {"like": "torch", "compile": True}})
    assert catalog["torch"].devices == catalog["compiled"].devices == devices


@pytest.mark.parametrize("names", [*itertools.permutations("abc")])
def test_variants_of_variants_in_any_order(names):
    tables = {
        "a": {"like": "b", "threads": 1},
        "b": {"like": "c", "threads": 2, "spin": True},
        "c": {"like": "ort-cpu", "spin": False, "arena": False},
    }
    catalog = catalog_of({}, {name: tables[name] for name in names})
    for name in names:
        assert catalog[name] == dataclasses.replace(CATALOG["ort-cpu"], name=name)


def test_a_variant_takes_the_options_of_what_it_is_like_and_has_the_last_word():
    tables = {
        "a": {"like": "b", "threads": 1},
        "b": {"like": "ort-cpu", "threads": 2, "spin": True},
        "ort-cpu": {"spin": False, "arena": False},
        "c": {"like": "trt", "spin": False},
    }
    assert users_options("a", tables) == {"threads": 1, "spin": True, "arena": False}
    assert users_options("ort-cpu", tables) == tables["ort-cpu"]
    assert users_options("c", tables) == {"spin": False}
    assert users_options("trt", tables) == {}


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["ort-cpu", *"abcdef"])))
def test_what_is_in_no_circle_and_leads_to_none_is_a_variant(likes):
    tables = {name: {"like": like} for name, like in likes.items()}
    catalog = catalog_of({}, tables)
    for name in likes:
        way = [name]
        while way[-1] in likes and way.count(way[-1]) == 1:
            way.append(likes[way[-1]])
        assert (name in catalog) == (way[-1] == "ort-cpu")
        assert bool(circle_of(name, tables)) == (way[-1] == name and len(way) > 1)


def test_options_of_a_known_backend_make_no_variant():
    assert catalog_of({}, {"ort-cpu": {"like": "openvino"}})["ort-cpu"] is CATALOG["ort-cpu"]


@pytest.mark.parametrize(
    ("infos", "words"),
    [
        ([MINE, MINE], "a name that is taken"),
        ([dataclasses.replace(MINE, name="trt")], "a name that is taken"),
        (["mine"], "is str, not a BackendInfo"),
    ],
)
def test_what_cannot_be_registered(infos, words):
    with pytest.raises(InferbenchError, match=words) as caught:
        checked([("somebody", info) for info in infos])
    assert caught.value.code == "IB-211"
    assert "somebody" in caught.value.message
