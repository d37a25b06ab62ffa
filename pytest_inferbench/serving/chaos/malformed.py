"""Requests that no server may answer: takes a good one, draws ways to break it, by hypothesis.

Each way is wrong for certain, and says how it is wrong and which endings are right for it. What a
server may take or leave, such as keys that it does not know, is not drawn. All are in KServe's
protocol over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_inferbench.serving.chaos.asking import Body
from pytest_inferbench.serving.chaos.wire import request_of

if TYPE_CHECKING:
    from hypothesis import strategies as st

REFUSALS = frozenset({400, 404, 405, 406, 408, 411, 412, 413, 414, 415, 417, 422, 431, 501, 505})
"""What a client is told whose request is wrong: 4xx, or that this is nothing the server does."""

_DATATYPES = ("BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES")
_HUGE = (2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1)
_LONG = 1 << 17


@dataclass(frozen=True)
class Good:
    """A request that is right, to be broken.

    Attributes:
        path: Where it goes.
        body: What it sends.
    """

    path: str
    body: Body

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON of its header, to be changed."""
        fields: dict[str, Any] = json.loads(self.body.header)
        return fields


@dataclass(frozen=True)
class Malformed:
    """A request that is wrong.

    Attributes:
        way: How, in words.
        request: The bytes.
        may_close: Whether the server may hang up without an answer: where the bytes are no HTTP, or
            end before they should.
        half_close: Whether the client says that nothing follows.
    """

    way: str
    request: bytes = field(repr=False)
    may_close: bool = False
    half_close: bool = False

    def __repr__(self) -> str:
        shown = self.request[:300] + (b"..." if len(self.request) > 300 else b"")
        return f"{self.way}: {shown!r}"


def malformed(good: Good) -> st.SearchStrategy[Malformed]:
    """Return a strategy that draws from every way, each as often as any other."""
    from hypothesis import strategies as st

    return st.one_of(*(way(good) for way in WAYS.values()))


def _with_fields(good: Good, fields: Any, way: str) -> Malformed:
    body = Body(json.dumps(fields).encode(), good.body.tensors)
    return Malformed(way, request_of(good.path, body.content, body.headers))


def not_json(good: Good) -> st.SearchStrategy[Malformed]:
    """Texts and bytes that are no JSON: drawn ones, and the good one cut short."""
    from hypothesis import strategies as st

    header = good.body.header

    def made(content: bytes) -> Malformed:
        headers = {"Content-Type": "application/json"}
        return Malformed("a body that is no JSON", request_of(good.path, content, headers))

    cut = st.integers(1, len(header) - 1).map(lambda end: header[:end])
    drawn = st.binary(min_size=1, max_size=64).filter(_is_no_json)
    return (cut | drawn).map(made)


def _is_no_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return True
    return False


def _junk() -> st.SearchStrategy[Any]:
    """Return a strategy for values that stand for no key."""
    from hypothesis import strategies as st

    numbers = st.integers(-5, 5) | st.floats(allow_nan=False)
    return st.none() | st.booleans() | numbers | st.text(max_size=8)


def structure(good: Good) -> st.SearchStrategy[Malformed]:
    """JSON of another structure: keys gone, or of another type."""
    from hypothesis import strategies as st

    @st.composite
    def draw_one(draw: st.DrawFn) -> Malformed:
        fields = good.fields
        key = draw(st.sampled_from(["inputs", "name", "datatype", "shape", "all"]))
        if key == "all":
            whole = draw(_junk() | st.lists(_junk(), max_size=3))
            return _with_fields(good, whole, "JSON that is no object")
        holder = fields if key == "inputs" else draw(st.sampled_from(fields["inputs"]))
        if draw(st.booleans()):
            del holder[key]
            return _with_fields(good, fields, f"{key} is missing")
        wrong = _junk().filter(lambda value: key == "shape" or not isinstance(value, str))
        holder[key] = draw(wrong)
        return _with_fields(good, fields, f"{key} is of another type")

    return draw_one()


def names(good: Good) -> st.SearchStrategy[Malformed]:
    """Inputs, outputs and models that there are not."""
    from hypothesis import strategies as st

    known = {each["name"] for each in (*good.fields["inputs"], *good.fields["outputs"])}
    strange = st.text(max_size=200).filter(lambda name: name not in known)
    in_path = st.from_regex(r"\A[A-Za-z0-9_.%-]{1,40}\Z").map(lambda name: f"no-{name}")

    @st.composite
    def draw_one(draw: st.DrawFn) -> Malformed:
        fields = good.fields
        which = draw(st.sampled_from(["inputs", "outputs", "model", "version", "twice"]))
        if which in ("model", "version"):
            name = draw(in_path)
            model = good.path.removesuffix("/infer")
            path = (
                f"/v2/models/{name}/infer" if which == "model" else f"{model}/versions/{name}/infer"
            )
            body = good.body
            return Malformed(
                f"a {which} that is not there", request_of(path, body.content, body.headers)
            )
        if which == "twice":
            fields["inputs"].append(fields["inputs"][0])
            return _with_fields(good, fields, "an input that is there twice")
        draw(st.sampled_from(fields[which]))["name"] = draw(strange)
        return _with_fields(good, fields, f"a name of {which} that the model does not have")

    return draw_one()


def dtypes(good: Good) -> st.SearchStrategy[Malformed]:
    """Types that are not the model's, or none at all."""
    from hypothesis import strategies as st

    @st.composite
    def draw_one(draw: st.DrawFn) -> Malformed:
        fields = good.fields
        chosen = draw(st.sampled_from(fields["inputs"]))
        others = [each for each in _DATATYPES if each != chosen["datatype"]]
        chosen["datatype"] = draw(
            st.sampled_from(others)
            | st.text(max_size=12).filter(lambda name: name not in _DATATYPES)
        )
        return _with_fields(good, fields, "another datatype")

    return draw_one()


def shapes(good: Good) -> st.SearchStrategy[Malformed]:
    """Shapes that do not hold the tensor's elements: of other sizes, ranks, signs, and huge."""
    from hypothesis import strategies as st

    size = st.integers(-3, 300) | st.sampled_from(_HUGE) | st.sampled_from([2**63, 10**30])

    @st.composite
    def draw_one(draw: st.DrawFn) -> Malformed:
        fields = good.fields
        chosen = draw(st.sampled_from(fields["inputs"]))
        elements = _product(chosen["shape"])
        chosen["shape"] = draw(
            st.lists(size, max_size=9).filter(lambda shape: _product(shape) != elements)
        )
        return _with_fields(good, fields, "a shape that does not hold the elements")

    return draw_one()


def _product(shape: list[int]) -> int:
    product = 1
    for each in shape:
        product *= each
    return product


def sizes(good: Good) -> st.SearchStrategy[Malformed]:
    """Lengths inside the request that are not the tensors': short, long, negative, huge, text."""
    from hypothesis import strategies as st

    @st.composite
    def draw_one(draw: st.DrawFn) -> Malformed:
        fields = good.fields
        chosen = draw(st.sampled_from(fields["inputs"]))
        right = chosen["parameters"]["binary_data_size"]
        wrong = st.integers(-5, right + 64) | st.sampled_from(_HUGE)
        chosen["parameters"]["binary_data_size"] = draw(
            wrong.filter(lambda given: given != right) | st.text(max_size=4)
        )
        return _with_fields(good, fields, "a tensor of another size in bytes")

    return draw_one()


def header_lengths(good: Good) -> st.SearchStrategy[Malformed]:
    """A length of the JSON that is not its length."""
    from hypothesis import strategies as st

    body = good.body
    right = len(body.header)
    numbers = st.integers(0, right - 1) | st.integers(len(body.content) + 1, 2**63)
    texts = st.from_regex(r"\A[a-z. -]{1,12}\Z")
    claimed = numbers.map(str) | st.integers(-(2**63), -1).map(str) | texts

    def made(length: str) -> Malformed:
        headers = {**body.headers, "Inference-Header-Content-Length": length}
        return Malformed("another length of the JSON", request_of(good.path, body.content, headers))

    return claimed.map(made)


def content_lengths(good: Good) -> st.SearchStrategy[Malformed]:
    """A length of the body that is not its length; the client says that nothing follows."""
    from hypothesis import strategies as st

    body = good.body
    whole = len(body.content)
    longer = st.integers(whole + 1, whole + 4096) | st.sampled_from(_HUGE) | st.just(10**12)
    claimed = (
        longer.map(str) | st.from_regex(r"\A[a-z;:-]{1,8}\Z") | st.integers(-(2**40), -1).map(str)
    )

    def made(length: str) -> Malformed:
        request = request_of(good.path, body.content, body.headers, length=length)
        return Malformed("another length of the body", request, may_close=True, half_close=True)

    return claimed.map(made)


def methods(good: Good) -> st.SearchStrategy[Malformed]:
    """Methods that inference does not have, and paths that nothing is at."""
    from hypothesis import strategies as st

    body = good.body
    method = st.sampled_from(["GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "HEAD", "OPTIONS"])
    path = st.from_regex(r"\A/[A-Za-z0-9_.%/-]{1,60}\Z").filter(lambda p: not p.startswith("/v2"))
    wrong_methods = method.map(
        lambda name: Malformed(
            f"the method {name}",
            request_of(good.path, body.content, body.headers, name),
            half_close=True,
            may_close=name == "BREW",
        )
    )
    wrong_paths = path.map(
        lambda to: Malformed(
            "a path of nothing", request_of(to, body.content, body.headers), may_close="%" in to
        )
    )
    return wrong_methods | wrong_paths


def headers(good: Good) -> st.SearchStrategy[Malformed]:
    """Bytes that are no HTTP: request lines, headers without names, headers without end."""
    from hypothesis import strategies as st

    rest = request_of(good.path, good.body.content, good.body.headers).partition(b"\r\n")[2]
    line = st.binary(min_size=1, max_size=80).filter(lambda b: b"\n" not in b and b"\r" not in b)
    words = line.map(lambda drawn: drawn.replace(b" ", b"_") + b"\r\n" + rest)
    ends = st.integers(1, 40).map(
        lambda cut: (b"POST " + good.path.encode() + b" HTTP/1.1\r\n" + rest)[:cut]
    )
    nameless = st.binary(min_size=1, max_size=40).map(
        lambda drawn: (
            b"POST " + good.path.encode() + b" HTTP/1.1\r\n: " + drawn.hex().encode() + b"\r\n"
        )
    )
    return (words | ends | nameless).map(
        lambda drawn: Malformed("bytes that are no HTTP", drawn, may_close=True, half_close=True)
    )


def large_headers(good: Good) -> st.SearchStrategy[Malformed]:
    """Headers that never end: one of 128 KiB, or thousands; no inference follows them."""
    from hypothesis import strategies as st

    def made(length: int, count: int) -> Malformed:
        more = {f"X-{number}": "a" * length for number in range(count)}
        request = request_of(good.path + "/nothing", b"{}", more)
        return Malformed(f"{count} headers of {length} bytes", request, may_close=True)

    return st.builds(made, st.just(_LONG), st.just(1)) | st.builds(
        made, st.integers(1, 64), st.integers(1000, 4000)
    )


def memories(good: Good) -> st.SearchStrategy[Malformed]:
    """Tensors in shared memory that nobody registered, with offsets of any size."""
    from hypothesis import strategies as st

    @st.composite
    def draw_one(draw: st.DrawFn) -> Malformed:
        fields = good.fields
        chosen = draw(st.sampled_from(fields[draw(st.sampled_from(["inputs", "outputs"]))]))
        chosen["parameters"] = {
            "shared_memory_region": draw(st.text(max_size=40)),
            "shared_memory_byte_size": draw(st.sampled_from([0, 1, *_HUGE])),
            "shared_memory_offset": draw(st.sampled_from([0, 1, *_HUGE])),
        }
        return _with_fields(good, fields, "shared memory that is not registered")

    return draw_one()


WAYS: Mapping[str, Callable[[Good], st.SearchStrategy[Malformed]]] = {
    "JSON": not_json,
    "structure": structure,
    "names": names,
    "dtypes": dtypes,
    "shapes": shapes,
    "sizes": sizes,
    "header lengths": header_lengths,
    "content lengths": content_lengths,
    "methods and paths": methods,
    "headers": headers,
    "large headers": large_headers,
    "shared memory": memories,
}
"""Name -> what draws such requests."""
