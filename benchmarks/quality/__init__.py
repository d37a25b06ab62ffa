"""The parts of `gate_quality.py`."""
