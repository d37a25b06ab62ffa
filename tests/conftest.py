"""Fast by default: slow tests run only when a marker expression is given (`-m slow`)."""

from __future__ import annotations

import signal

# A shell starts background jobs with these ignored, and what is ignored here stays ignored in the
# processes that tests start and interrupt.
for each in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(each) is signal.SIG_IGN:
        default = signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL
        signal.signal(each, default)


def pytest_collection_modifyitems(config, items):
    """Leave the slow ones out unless `-m` speaks of markers."""
    if config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
