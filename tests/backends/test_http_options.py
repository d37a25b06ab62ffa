"""What the `http` backend is told, and where a call's time went: pure parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.backends.http_options import read_options, read_signature
from pytest_inferbench.backends.http_timings import (
    KEPT_CALLS,
    Call,
    Timings,
    server_share,
    server_timing,
)
from pytest_inferbench.errors import InferbenchError

URL = "http://127.0.0.1:8000/infer"


@pytest.mark.parametrize(
    ("url", "style"),
    [
        (URL, "infer"),
        ("http://[::1]:8000/v2/embed", "embed"),
        ("https://example.org/v1/embeddings?x=1", "openai"),
        ("http://localhost/embed/", "embed"),
    ],
)
def test_the_path_tells_the_style(url, style):
    chosen = read_options(url, {"model": "m"})
    assert chosen.style == style
    assert chosen.health == ("/health" if style == "openai" else "/healthz")
    assert read_options(url, {"style": "infer"}).style == "infer"
    assert (chosen.tls() is None) is url.startswith("http:")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("model.onnx", "needs http"),
        ("ftp://host/infer", "needs http"),
        ("http:///infer", "needs http"),
        ("http://host:0/infer", "needs http"),
        ("http://host:99999/infer", "[Pp]ort"),
        ("http://[::1/infer", "IPv6"),
        ("http://me:pass@host/infer", "a name or password"),
        ("http://host/infer#top", "fragment"),
        ("http://host/in fer", "encoding"),
        ("http://host/infer\r\nX: 1", "encoding"),
        ("http://höst/infer", "encoding"),
        ("http://host/predict", "says no style"),
        ("http://host", "says no style"),
    ],
)
def test_what_is_no_url_of_a_service_is_refused(url, says):
    with pytest.raises(InferbenchError, match=says) as caught:
        read_options(url, {})
    assert caught.value.code == "IB-380"
    assert caught.value.hint
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"encodin": "raw"}, "did you mean 'encoding'"),
        ({"encoding": "xml"}, "'encoding' cannot be 'xml'"),
        ({"encoding": ["raw"]}, "'encoding' cannot be"),
        ({"style": "openai"}, "'model' cannot be None"),
        ({"style": "openai", "model": "m", "encoding": "raw"}, "'encoding' cannot be 'raw'"),
        ({"timeout_s": 0}, "'timeout_s' cannot be 0"),
        ({"timeout_s": True}, "'timeout_s' cannot be True"),
        ({"timeout_s": "5"}, "'timeout_s' cannot be '5'"),
        ({"jpeg_quality": 101}, "at most 100"),
        ({"prepared": 1}, "'prepared' cannot be 1"),
        ({"health": "healthz"}, "'health' cannot be"),
        ({"health": "/a b"}, "'health' cannot be"),
        ({"headers": {"Content-Length": "1"}}, "'headers' cannot be 'Content-Length'"),
        ({"headers": {"A b": "1"}}, "'headers' cannot be 'A b'"),
        ({"headers": {"A": "1\r\nB: 2"}}, "line breaks"),
        ({"headers": {"A": "${INFERBENCH_NO_SUCH}"}}, "needs INFERBENCH_NO_SUCH"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(options, says):
    with pytest.raises(InferbenchError, match=says) as caught:
        read_options(URL, options)
    assert caught.value.code == "IB-323"
    assert caught.value.hint


def test_a_missing_authority_is_an_error(tmp_path):
    options = read_options("https://host/infer", {"verify": str(tmp_path / "none.pem")})
    with pytest.raises(InferbenchError, match="'verify' cannot be"):
        options.tls()


def test_a_signature_is_read_in_every_spelling():
    told = {
        "inputs": [{"name": "x", "dtype": "str", "shape": None}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [1, "n", -1, None]}],
    }
    (x,), (y,) = read_signature(told, "it")
    assert (x.dtype, x.shape) == ("string", None)
    assert y.shape == (1, "n", -1, -1)
    assert read_signature({"status": "ok"}, "it") is None


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ["inputs", "outputs"],
            st.recursive(
                st.sampled_from([None, "x", "float32", "n", "", 2, -1]),
                lambda inner: (
                    st.lists(inner, max_size=2)
                    | st.dictionaries(
                        st.sampled_from(["name", "dtype", "shape"]), inner, max_size=3
                    )
                ),
                max_leaves=8,
            ),
        ),
    )
)
def test_any_signature_is_read_or_named(told):
    try:
        assert (read_signature(told, "it") is None) is (not told)
    except InferbenchError as error:
        assert error.code == "IB-387"  # noqa: PT017 - most of what is drawn is wrong


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, {}),
        ("", {}),
        ("infer;dur=1.23", {"infer": 1.23}),
        ('db;desc="a, b;dur=9";dur=2, Infer ; DUR = "3.5"', {"db": 2, "infer": 3.5}),
        ("miss, cache;desc=hit, total;dur=4", {"total": 4}),
        ("infer;dur=fast, a;dur=-1, b;dur=nan, c;dur=inf", {}),
        (",;=,;;", {}),
    ],
)
def test_server_timing_is_read(header, found):
    assert server_timing(header) == found


@given(st.text())
def test_any_header_is_read(header):
    assert all(value >= 0 for value in server_timing(header).values())


@pytest.mark.parametrize(
    ("header", "told_ms", "share"),
    [
        (None, None, (None, None)),
        (None, 3.0, (3.0, 3.0)),
        ("infer;dur=1, total;dur=2", 3.0, (1, 2)),
        ("gpu;dur=1", None, (1, 1)),
        ("a;dur=1, b;dur=2", None, (None, None)),
        ("infer;dur=2, total;dur=1", None, (2, 2)),
    ],
)
def test_the_services_share_is_what_it_says(header, told_ms, share):
    assert server_share(header, told_ms) == share


def test_the_last_calls_are_kept_and_parted():
    timings = Timings()
    assert timings.as_fields() == {}
    for _ in range(10):
        timings.add(Call(100, 100, 100, 50, 50, 1, 1))
    for _ in range(KEPT_CALLS):
        timings.add(Call(1, 10, 2, 4, 6, 100, 200))
    fields = timings.as_fields()
    p50 = {name: part["p50"] for name, part in fields.items()}
    assert p50 == {
        "total_ms": 13,
        "serialize_ms": 1,
        "wire_ms": 10,
        "deserialize_ms": 2,
        "request_bytes": 100,
        "response_bytes": 200,
        "server_ms": 4,
        "server_overhead_ms": 2,
        "network_ms": 4,
    }
    assert fields["total_ms"]["count"] == KEPT_CALLS
    assert fields["total_ms"]["mean"] == 13


def test_a_service_that_tells_no_time_has_no_share():
    timings = Timings()
    timings.add(Call(1, 10, 2, None, None, 1, 1))
    assert not {"server_ms", "network_ms", "implausible_server_times"} & set(timings.as_fields())
