"""A plugin of tests whose settings take any speed for the same: workers probe theirs in less time.

What is shipped to them is the product's own source with one number changed.
"""

from __future__ import annotations


def pytest_configure():
    from pytest_inferbench.worker import bundle

    original = bundle._source

    def shorter(name: str) -> str:
        text = original(name)
        if name != "pytest_inferbench.measure.machine":
            return text
        assert "PROBE_REPEATS = 60\n" in text
        return text.replace("PROBE_REPEATS = 60\n", "PROBE_REPEATS = 5\n")

    bundle._source = shorter
