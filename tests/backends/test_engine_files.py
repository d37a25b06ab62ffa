"""Engines that the provider keeps: where, and whether opening used them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_inferbench.backends.engine_files import engines_in, folder_of, watch, were_loaded
from pytest_inferbench.backends.ort_providers import TENSORRT, chain


@pytest.mark.parametrize("enabled", ["1", "True", "true"])
def test_the_folder_is_that_of_the_providers_options(enabled):
    options = {"trt_engine_cache_enable": enabled, "trt_engine_cache_path": "/a/b"}
    assert folder_of(options) == Path("/a/b")


@pytest.mark.parametrize("options", [{}, {"trt_engine_cache_path": "/a"}])
def test_no_folder_where_none_is_kept(options):
    assert folder_of(options) is None
    assert folder_of({**options, "trt_engine_cache_enable": "0"}) is None


def test_the_adapters_own_option_sets_both(tmp_path):
    own = chain({"provider": TENSORRT, "engine_cache": str(tmp_path)}, "fp16")[0][1]
    assert folder_of(own) == tmp_path


def test_what_is_kept_is_watched_from_before_to_after(tmp_path):
    options = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(tmp_path)}
    assert watch({})() is None
    first = watch(options)
    (tmp_path / "a.engine").write_bytes(b"1")
    assert first() is False
    assert watch(options)() is True


def test_engines_that_were_there_and_stayed_were_loaded(tmp_path):
    assert engines_in(tmp_path / "absent") == {}
    assert not were_loaded({}, engines_in(tmp_path))
    (tmp_path / "a.engine").write_bytes(b"1")
    (tmp_path / "a.profile").write_bytes(b"1")
    first = engines_in(tmp_path)
    assert list(first) == ["a.engine"]
    assert not were_loaded({}, first)
    assert were_loaded(first, engines_in(tmp_path))
    os.utime(tmp_path / "a.engine", (1, 1))
    assert not were_loaded(first, engines_in(tmp_path))  # built anew under the same name
    (tmp_path / "b.engine").write_bytes(b"2")
    assert not were_loaded(first, engines_in(tmp_path))
