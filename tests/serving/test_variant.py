"""Variants: plain fields in, the same out, and every fault by its name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.variant import DEFAULT_BATCH, KEYS, PROTOCOLS, Variant

_counts = st.integers(1, 64)
_values = st.one_of(st.text("ab1", max_size=3), st.integers(), st.booleans())
_texts = st.text("abcXYZ09_.-", min_size=1, max_size=12)


@st.composite
def variants(draw):
    """Fields that stand together."""
    fields = {
        "instances": draw(_counts),
        "protocol": draw(st.sampled_from([p for p in PROTOCOLS if p != "cuda-shm"])),
        "response_cache": draw(st.booleans()),
        "parameters": draw(
            st.dictionaries(_texts, st.one_of(_texts, st.integers(), st.booleans()))
        ),
    }
    if draw(st.booleans()):
        fields |= {
            "batching": True,
            "max_batch_size": draw(st.integers(8, 64)),
            "preferred_batch_sizes": draw(st.lists(st.integers(1, 8), unique=True)),
            "queue_delay_us": draw(st.integers(0, 10**6)),
            "max_queue_size": draw(st.integers(0, 100)),
        }
    if draw(st.booleans()):
        fields |= {
            "device": "gpu",
            "gpus": draw(st.lists(st.integers(0, 7), unique=True)),
            "accelerator": "tensorrt",
            "accelerator_parameters": {"precision_mode": "FP16"},
        }
    return fields


@given(variants())
def test_fields_come_back_as_they_went(fields):
    variant = Variant.from_fields(fields)
    plain = variant.as_fields()
    assert Variant.from_fields(json.loads(json.dumps(plain))) == variant
    assert set(plain) <= set(fields)


_anything = st.one_of(
    st.none(),
    st.integers(),
    st.sampled_from(["", "gpu", "tensorrt", "grpc", "x"]),
    st.booleans(),
    st.lists(st.integers(), max_size=3),
    st.floats(),
)


@given(st.dictionaries(st.sampled_from(KEYS), _anything))
def test_whatever_is_given_is_taken_or_refused(fields):
    try:
        variant = Variant.from_fields(fields)
    except InferbenchError:
        return  # anything else is a fault
    assert Variant.from_fields(variant.as_fields()) == variant


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batchin": True}, "did you mean 'batching'"),
        ({"runtime": "torch"}, "one of 'onnxruntime', 'openvino', 'tensorrt', 'python'"),
        ({"instances": 0}, "a whole number of at least 1"),
        ({"instances": True}, "a whole number of at least 1"),
        ({"batching": "yes"}, "true or false"),
        ({"preferred_batch_sizes": [4, 4], "batching": True}, "a list of numbers >= 1"),
        ({"parameters": {"a b": "c"}}, "a table of names"),
        ({"queue_delay_us": 5}, "queue_delay_us needs batching"),
        ({"batching": True, "max_batch_size": 0}, "max_batch_size of at least 1"),
        (
            {"batching": True, "max_batch_size": 4, "preferred_batch_sizes": [8]},
            "a preferred batch of 8 is larger",
        ),
        ({"gpus": [0]}, 'need device = "gpu"'),
        ({"runtime": "tensorrt"}, 'needs device = "gpu"'),
        ({"protocol": "cuda-shm"}, 'needs device = "gpu"'),
        ({"accelerator": "tensorrt"}, 'needs device = "gpu"'),
        ({"accelerator": "openvino", "device": "gpu"}, 'needs device = "cpu"'),
        ({"accelerator": "openvino", "runtime": "openvino"}, "the runtime onnxruntime's"),
        ({"accelerator_parameters": {"a": 1}}, "need an accelerator"),
        ({"cuda_graphs": True, "device": "gpu"}, "need TensorRT"),
    ],
)
def test_faults(fields, said):
    with pytest.raises(InferbenchError) as caught:
        Variant.from_fields(fields)
    assert caught.value.code == "IB-800"
    assert said in str(caught.value)


def test_the_largest_batch():
    assert Variant().batch_limit == 0
    assert Variant(batching=True).batch_limit == DEFAULT_BATCH
    assert Variant(batching=True, preferred_batch_sizes=(16,)).batch_limit == 16
    assert Variant(max_batch_size=3).batch_limit == 3


def test_free_parameters_are_text():
    variant = Variant.from_fields({"parameters": {"on": True, "count": 3, "share": 0.5}})
    assert dict(variant.parameters) == {"on": "true", "count": "3", "share": "0.5"}
