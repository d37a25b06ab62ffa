"""The parts of `benchmarks/record.py`."""
