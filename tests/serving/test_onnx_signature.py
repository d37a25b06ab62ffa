"""ONNX files read without `onnx`, against what `onnx` says, and files that are damaged."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.locate import packaged_folder
from pytest_inferbench.serving.onnx_signature import read_onnx

DETECTOR = packaged_folder("fixtures") / "detector" / "detector.onnx"


def test_as_the_package_reads_it(net):
    from pytest_inferbench.artifacts.inspect import inspect

    for path in (DETECTOR, net):
        found, facts = read_onnx(path), inspect(path)
        for ours, theirs in ((found.inputs, facts.inputs), (found.outputs, facts.outputs)):
            assert [(s.name, s.dtype) for s in ours] == [(t.name, t.dtype) for t in theirs]
            for spec, tensor in zip(ours, theirs, strict=True):
                assert len(spec.shape) == len(tensor.shape)
                pairs = zip(spec.shape, tensor.shape, strict=True)
                fixed = [(a, b) for a, b in pairs if isinstance(b, int)]
                assert all(a == b for a, b in fixed if b >= 0)


_sizes = st.one_of(st.integers(0, 2**40), st.text("abN", min_size=1, max_size=3))
_tensors = st.tuples(st.sampled_from([1, 6, 7, 9, 10, 11]), st.lists(_sizes, max_size=5))
_names = st.text(min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tensors=st.dictionaries(_names, _tensors, min_size=1, max_size=4))
def test_any_signature(tmp_path, tensors):
    import onnx
    from onnx import helper

    infos = [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in tensors.items()]
    graph = helper.make_graph([], "g", infos, infos)
    path = tmp_path / "any.onnx"
    onnx.save(helper.make_model(graph), path)
    found = read_onnx(path)
    assert [spec.name for spec in found.inputs] == list(tensors)
    assert [spec.shape for spec in found.outputs] == [tuple(s) for _, s in tensors.values()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 400), noise=st.binary(max_size=40), at=st.integers(0, 400))
def test_a_damaged_file_is_an_error_with_a_name(tmp_path, net, cut, noise, at):
    content = net.read_bytes()
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes((content[:at] + noise + content[at + len(noise) :])[:cut])
    with contextlib.suppress(InferbenchError):  # anything else is a fault
        read_onnx(damaged)


def test_no_file(tmp_path):
    with pytest.raises(InferbenchError, match="is no ONNX model"):
        read_onnx(tmp_path / "nowhere.onnx")
