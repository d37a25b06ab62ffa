"""What is sent is what tritonclient understands; header blocks are read as RFC 7541 says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.load import hpack, kserve_grpc, kserve_http
from pytest_inferbench.load.protobuf import fields, integers, packed, varint
from pytest_inferbench.load.tensors import DTYPES, ModelSpec, Place, TensorSpec, from_raw, to_raw

X = np.arange(12, dtype=np.float32).reshape(3, 4)
SPEC = ModelSpec("a/b", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "INT64", (-1, 2)),))
PLACES = {"x": Place("region", 64, 48), "y": Place("other", 0, 16)}


def test_an_inference_is_read_by_the_protocol_s_own_classes():
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    message = pb2.ModelInferRequest.FromString(kserve_grpc.infer(SPEC, {"x": X}))
    assert message.model_name == "a/b"
    (given_,) = message.inputs
    assert (given_.name, given_.datatype, list(given_.shape)) == ("x", "FP32", [3, 4])
    assert list(message.raw_input_contents) == [X.tobytes()]
    assert [each.name for each in message.outputs] == ["y"]
    shared = pb2.ModelInferRequest.FromString(kserve_grpc.infer(SPEC, {"x": X}, PLACES))
    assert not shared.raw_input_contents
    told = shared.inputs[0].parameters
    assert told["shared_memory_region"].string_param == "region"
    assert told["shared_memory_offset"].int64_param == 64
    assert told["shared_memory_byte_size"].int64_param == 48
    assert shared.outputs[0].parameters["shared_memory_region"].string_param == "other"


def test_metadata_and_answers_of_the_protocol_s_own_classes_are_read():
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    told = pb2.ModelMetadataResponse(name="a/b", versions=["1"], platform="p")
    for spec, group in ((SPEC.inputs[0], told.inputs), (SPEC.outputs[0], told.outputs)):
        group.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    assert kserve_grpc.spec_of(told.SerializeToString()) == SPEC
    answer = pb2.ModelInferResponse(model_name="a/b")
    for name in ("y", "z"):
        answer.outputs.add(name=name, datatype="FP32", shape=[3, 4])
        answer.raw_output_contents.append(X.tobytes())
    raw = answer.SerializeToString()
    assert kserve_grpc.answer(raw).keys() == {"y", "z"}
    np.testing.assert_array_equal(kserve_grpc.answer(raw)["y"], X)
    del answer.raw_output_contents[0]
    (left,) = kserve_grpc.answer(answer.SerializeToString(), {"y"}).items()
    np.testing.assert_array_equal(left[1], X)
    with pytest.raises(ValueError, match="cut off"):
        kserve_grpc.answer(raw[:-1])


def test_registrations_are_read_by_the_protocol_s_own_classes():
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    message = kserve_grpc.register(Place("r", 0, 640), "/key")
    told = pb2.SystemSharedMemoryRegisterRequest.FromString(message)
    assert (told.name, told.key, told.offset, told.byte_size) == ("r", "/key", 0, 640)
    gone = pb2.SystemSharedMemoryUnregisterRequest.FromString(kserve_grpc.unregister("r"))
    assert gone.name == "r"


@pytest.mark.parametrize("binary", [True, False])
def test_a_body_over_http_holds_the_arrays(binary):
    headers, body = kserve_http.infer(SPEC, {"x": X}, binary=binary)
    head = "".join(f"\r\n{name}: {value}" for name, value in headers.items())
    # A request has inputs where an answer has outputs; the rest is the same.
    like_an_answer = body.replace(b'"outputs"', b'"_"', 1).replace(b'"inputs"', b'"outputs"', 1)
    size = len(body) - (X.nbytes if binary else 0)
    head = head.replace(f": {size}", f": {size - len(body) + len(like_an_answer)}")
    np.testing.assert_array_equal(kserve_http.answer(head.encode(), like_an_answer)["x"], X)


@given(st.integers(-(2**63), 2**63 - 1), st.lists(st.integers(-(2**31), 2**31), max_size=9))
def test_integers_come_back(one, many):
    message = packed(3, [one, *many]) + varint(4 << 3) + varint(one)
    (_, several), (number, single) = fields(message)
    assert integers(several) == [one, *many]
    assert (number, integers(single)) == (4, [one])


@given(st.sampled_from([name for name in DTYPES if name != "BYTES"]), st.binary(max_size=64))
def test_arrays_come_back(datatype, raw):
    array = np.frombuffer(raw[: len(raw) // 8 * 8], np.dtype(DTYPES[datatype]))
    np.testing.assert_array_equal(from_raw(to_raw(array), datatype, array.shape), array)


def test_texts_come_back():
    texts = np.array([["a", "", "ü" * 300]], object)
    again = from_raw(to_raw(texts), "BYTES", texts.shape)
    assert [each.decode() for each in again.ravel()] == texts.ravel().tolist()


names = st.text("abcxyz-", min_size=1, max_size=12)
values = st.text(st.characters(max_codepoint=255), max_size=300)


@given(st.lists(st.tuples(names, values), max_size=6))
def test_header_blocks_come_back(pairs):
    pairs = [(":status", "200"), ("grpc-status", "0"), *pairs]
    assert hpack.decoded(hpack.encoded(pairs)) == pairs


def test_packed_texts_are_read():
    """Bytes that the package `hpack` 4.1 wrote, its table's size set to 0."""
    block = (
        "2040899acac8b5254207317f9ba4f216853fd79ff4a190a5474a9614727ab8a7fff1ffff77fcfe3f"
        "40889acac8b21234da8f820b5f88"
    )
    assert hpack.decoded(bytes.fromhex(block)) == [
        ("grpc-message", "model 'x' is not ready: Ã©?!"),
        ("grpc-status", "14"),
        (":status", "200"),
    ]


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(block):
    try:
        hpack.decoded(block)
    except ValueError:
        return


def test_a_table_that_is_not_kept_is_refused():
    with pytest.raises(ValueError, match="not kept"):
        hpack.decoded(b"\xbe")
