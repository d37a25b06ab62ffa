"""The key in the folders of ONNX Runtime's TensorRT provider: what changes it, what does not."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.backends.engine_files import watch
from pytest_inferbench.backends.ort_engine_folders import (
    in_place,
    place_of,
    subfolder,
    with_key,
)
from pytest_inferbench.backends.ort_providers import CPU, TENSORRT, chain
from pytest_inferbench.backends.trt_key import Place

PLACE = Place("tensorrt-10", "10.13.3.9", "NVIDIA L4", "8.9", "580.65.06")
OWN = {"trt_fp16_enable": "1", "trt_max_workspace_size": "1024"}
TEXT = st.text(max_size=12)


def options(**more):
    return {"provider": TENSORRT, **more}


def test_the_name_is_short_and_always_the_same():
    name = subfolder(PLACE, "1.31.1", "fp16", OWN)
    assert re.fullmatch("[0-9a-f]{16}", name)
    assert name == subfolder(replace(PLACE), "1.31.1", "fp16", dict(reversed(OWN.items())))


@pytest.mark.parametrize("field", [each.name for each in fields(Place)])
def test_every_part_of_the_place_is_in_the_key(field):
    changed = {replace(PLACE, **{field: value}) for value in ("another", "", "0")}
    names = {subfolder(place, "1.31.1", "fp16", OWN) for place in {PLACE, *changed}}
    assert len(names) == 4


@pytest.mark.parametrize(
    ("runtime", "precision", "own"),
    [
        ("1.32.0", "fp16", OWN),
        ("1.31.1", "fp32", OWN),
        ("1.31.1", "fp16", {**OWN, "trt_max_workspace_size": "2048"}),
        ("1.31.1", "fp16", {"trt_fp16_enable": "1"}),
    ],
)
def test_so_are_the_runtime_the_precision_and_the_providers_options(runtime, precision, own):
    assert subfolder(PLACE, runtime, precision, own) != subfolder(PLACE, "1.31.1", "fp16", OWN)


@given(st.lists(TEXT, min_size=7, max_size=7), st.lists(TEXT, min_size=7, max_size=7))
def test_keys_are_equal_only_where_everything_is(one, other):
    def name(texts):
        return subfolder(Place(*texts[:5]), texts[5], "fp16", {"trt_x": texts[6]})

    assert (name(one) == name(other)) == (one == other)


def test_where_it_is_kept_and_the_gpus_number_are_not_in_the_key():
    names = {
        subfolder(PLACE, "1.31.1", "fp16", {**OWN, **more})
        for more in (
            {},
            {"trt_engine_cache_path": "/a"},
            {"trt_timing_cache_path": "/b"},
            {"device_id": "1"},
        )
    }
    assert len(names) == 1


def test_both_folders_get_the_key_and_nothing_else_changes(tmp_path):
    asked = options(engine_cache=str(tmp_path / "e"), timing_cache="t", workspace_mib=64)
    keyed = in_place(asked, "fp16", "1.31.1", PLACE)
    name = Path(keyed["engine_cache"]).name
    assert keyed == {
        **asked,
        "engine_cache": str(tmp_path / "e" / name),
        "timing_cache": str(Path("t") / name),
    }
    own = chain(keyed, "fp16")[0][1]
    assert own["trt_engine_cache_path"] == keyed["engine_cache"]
    assert own["trt_timing_cache_path"] == keyed["timing_cache"]


def test_an_engine_of_another_driver_is_not_seen_and_one_of_this_is(tmp_path):
    def opened(place):
        keyed = in_place(options(engine_cache=str(tmp_path)), "fp16", "1.31.1", place)
        were_loaded = watch(chain(keyed, "fp16")[0][1])
        folder = Path(keyed["engine_cache"])
        folder.mkdir(exist_ok=True)
        if not list(folder.iterdir()):
            (folder / "built.engine").write_bytes(b"engine")  # as the provider would
        return were_loaded()

    assert [opened(PLACE), opened(PLACE)] == [False, True]
    newer = replace(PLACE, driver="590.10")
    assert [opened(newer), opened(newer), opened(PLACE)] == [False, True, True]


@pytest.mark.parametrize(
    "kept",
    [
        {"provider": CPU, "intra_op_num_threads": 1},
        options(workspace_mib=64),
        options(provider_options={"trt_engine_cache_enable": "1", "trt_engine_cache_path": "e"}),
    ],
)
def test_without_a_folder_of_ours_options_stay_as_they_are(kept):
    assert with_key(kept, "fp16", "1.31.1") == kept


@pytest.mark.parametrize("device_id", [0, "none"])
def test_here_the_folder_is_below_the_users_and_stays(tmp_path, device_id):
    asked = options(engine_cache=str(tmp_path), device_id=device_id)
    first, second = (with_key(asked, "fp16", "1.31.1") for _ in range(2))
    assert Path(first["engine_cache"]).parent == tmp_path
    assert first == second


def test_what_cannot_be_known_is_empty():
    place = place_of(63)  # no machine of ours has so many
    assert (place.device, place.capability) == ("", "")
    assert not place.flavour.endswith("rtx")  # which the provider does not use
