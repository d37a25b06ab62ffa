"""`[serving.variants]`: each is a backend of the matrix; what is wrong with one is said."""

from __future__ import annotations

import pytest

from pytest_inferbench.backends.registry import users_options
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.gate import Gate
from pytest_inferbench.hardware import Hardware
from pytest_inferbench.options import Options
from pytest_inferbench.settings import load

MODELS = """
[models.net]
path = "net.onnx"
task = "tensors"

[models.alone]
path = "net.onnx"
task = "tensors"
backends = ["ort-cpu"]

[models.chosen]
path = "net.onnx"
task = "tensors"
backends = ["triton-batched"]

[matrix]
backends = ["ort-cpu"]
precisions = ["fp32"]
"""
VARIANTS = """
[serving.variants.plain]

[serving.variants.batched]
batching = true
queue_delay_us = 500
protocol = "grpc"
"""


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "net.onnx").write_text("")

    def loaded(text):
        (tmp_path / "inferbench.toml").write_text(MODELS + text)
        return load(tmp_path)

    return loaded


def test_variants_join_the_matrix_of_models_that_do_not_choose(loaded):
    gate = Gate(loaded(VARIANTS), Options(), Hardware("cpu-test-2c"))
    asked = {}
    for cell in gate.cells:
        asked.setdefault(cell.model, []).append(cell.backend)
    assert asked == {
        "net": ["ort-cpu", "triton-plain", "triton-batched"],
        "alone": ["ort-cpu"],
        "chosen": ["triton-batched"],
    }
    options = users_options("triton-batched", gate.settings.backends)
    assert options == {"batching": True, "queue_delay_us": 500, "protocol": "grpc"}
    assert gate.catalog["triton-batched"].served
    assert not gate.catalog["ort-cpu"].served
    assert {"triton-plain", "triton-batched"} <= gate.markers


def test_paths_of_a_variant_belong_to_the_settings(loaded, tmp_path):
    text = '[serving.variants.before]\npreprocess = "before.py"\n'
    gate = Gate(loaded(VARIANTS + text), Options(), Hardware("cpu-test-2c"))
    options = users_options("triton-before", gate.settings.backends)
    assert options["preprocess"] == str(tmp_path / "before.py")


def test_a_backend_may_be_like_a_variant_and_a_table_has_the_last_word(loaded):
    more = """
        [backends.mine]
        like = "triton-batched"
        instances = 2
        [backends.triton-batched]
        queue_delay_us = 100
    """
    gate = Gate(loaded(VARIANTS + more), Options(), Hardware("cpu-test-2c"))
    assert gate.catalog["mine"].served
    assert users_options("mine", gate.settings.backends)["queue_delay_us"] == 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x.batchin = true", 'serving.variants.x.batchin: unknown key "batchin"; did you mean'),
        ("x.queue_delay_us = 5", "serving.variants.x: queue_delay_us needs batching = true"),
        ('x.instances = "two"', "serving.variants.x: instances must be a whole number"),
        ("http = {}", 'serving.variants.http: "triton-http" is a backend already'),
        ('"a/b" = {}', 'serving.variants."a/b": names go into test ids'),
        ("x = 3", "serving.variants"),
    ],
)
def test_what_is_no_variant_is_refused_with_its_key(loaded, text, says):
    with pytest.raises(InferbenchError) as caught:
        loaded(f"[serving.variants]\n{text}")
    assert caught.value.code == "IB-103"
    assert says in caught.value.message


def test_models_may_name_variants_that_there_are(loaded):
    with pytest.raises(InferbenchError) as caught:
        loaded("[serving.variants.bached]\n")
    assert 'unknown backend "triton-batched"; did you mean "triton-bached"?' in caught.value.message


def test_speedups_under_load_name_cells(loaded):
    text = '[models.net.budgets.load_speedup]\n"triton-batched-fp32 / triton-plain-fp32" = 1.5\n'
    settings = loaded(VARIANTS + text)
    (asked,) = settings.load_speedups("net", "triton-batched", "fp32")
    assert (asked.partner, asked.budget.limit) == (("triton-plain", "fp32"), 1.5)
    assert settings.speedups("net", "triton-batched", "fp32") == ()
    with pytest.raises(InferbenchError) as caught:
        loaded(text)
    assert "models.net.budgets.load_speedup" in caught.value.message
