"""docs/http-service.md shows what is really sent and read, and names every option and code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pytest_inferbench.backends import http_options, http_payloads
from pytest_inferbench.backends.contract import TensorSpec
from pytest_inferbench.backends.http_images import ImageForm

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/http-service.md").read_text(encoding="utf-8")
X = np.array([[1.5, -0.0], [np.nan, -np.inf]], np.float32)


def block(info):
    language, title = info.split(" ", 1)
    (found,) = re.findall(rf'```{language} title="{title}"\n(.*?)```', TEXT, re.DOTALL)
    return found


@pytest.mark.parametrize(
    ("style", "encoding"), [("infer", "json"), ("infer", "base64"), ("embed", "json")]
)
def test_requests_are_those_shown(style, encoding):
    body = http_payloads.tensor_body({"x": X}, encoding, style)
    assert json.loads(body.content) == json.loads(block(f"json request {style} {encoding}"))


def test_raw_headers_are_those_shown():
    headers = http_payloads.tensor_body({"x": X}, "raw", "infer").headers
    shown = dict(line.split(": ", 1) for line in block("text request infer raw").splitlines())
    assert shown.items() <= headers.items()


def test_requests_of_images_and_texts_are_those_shown():
    body = http_payloads.image_body({"x": np.zeros((1, 2, 2, 3), np.uint8)}, ImageForm())
    sent, shown = json.loads(body.content), json.loads(block("json request infer image"))
    assert sent.keys() == shown.keys()
    assert sent["images"][0].startswith(shown["images"][0].rstrip("…"))
    texts = np.array(["a text", "another"], object)
    body = http_payloads.openai_body({"x": texts}, "tiny", "float")
    assert json.loads(body.content) == json.loads(block("json request openai"))


@pytest.mark.parametrize("style", ["infer", "embed", "openai"])
def test_answers_that_are_shown_are_read(style):
    outputs = [TensorSpec("y", "float32", (2, 2))]
    content = block(f"json answer {style}").encode()
    headers = {"Content-Type": "application/json"}
    found = http_payloads.read_answer(content, headers, outputs, style, 2).arrays["y"]
    np.testing.assert_array_equal(found, X)


def test_the_metadata_shown_is_read():
    told = json.loads(re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)[1])
    (images,), _ = http_options.read_signature(told, "docs")
    assert images == TensorSpec("images", "float32", ("batch", 3, 192, 192))


def test_every_option_and_code_has_a_row():
    options = set(
        re.findall(r"^\| `(\w+)` \|", TEXT.partition("## What is asked")[0], re.MULTILINE)
    )
    assert options == {*http_options._CHOICES, *http_options._TYPES}
    sources = (ROOT / "pytest_inferbench/backends").glob("http_*.py")
    used = {c for path in sources for c in re.findall(r"IB-38\d", path.read_text("utf-8"))}
    assert used == set(re.findall(r"^\| (IB-\d+) \|", TEXT, re.MULTILINE))
