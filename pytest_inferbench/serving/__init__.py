"""Triton Inference Server: having one, starting it, what it is told to serve."""
