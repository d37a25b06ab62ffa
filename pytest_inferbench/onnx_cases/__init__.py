"""ONNX's own backend tests: which there are, how they are run, judged and remembered."""

MODEL = "onnx-ops"
"""What stands for a model's name in the cells, tests and baseline files of the cases."""
