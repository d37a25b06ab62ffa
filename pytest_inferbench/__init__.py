"""pytest-inferbench: the gate for inference, as ordinary pytest.

Importing this package imports nothing else: what a pytest run does not use, it does not pay for.
"""

__version__ = "0.1.0"
