"""A backend of a third party: what pytest-inferbench must know before anything runs."""

from pytest_inferbench.backends.catalog import BackendInfo

INFO = BackendInfo(
    name="onnx-reference",
    family="ort",  # its fp16 graphs are made as they are for ONNX Runtime
    devices=("cpu",),
    distributions=("onnx",),
    adapter="inferbench_reference.adapter:OnnxReference",
    precisions=("fp32", "fp16"),
)
