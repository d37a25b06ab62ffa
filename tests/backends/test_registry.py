"""Third parties' backends and the settings' variants: who may be called what."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_inferbench.backends.catalog import CATALOG, BackendInfo
from pytest_inferbench.backends.registry import catalog_of, checked, users_options
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
    assert users_options({"like": base, "threads": 1}) == {"threads": 1}


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
