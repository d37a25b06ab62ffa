"""Fast by default: slow tests run only when a marker expression is given (`-m slow`)."""

from __future__ import annotations


def pytest_collection_modifyitems(config, items):
    """Leave the slow ones out unless `-m` speaks of markers."""
    if config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
