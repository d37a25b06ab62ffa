"""The checkout's own conftest: pytester for the tests of the plugin.

The suites need nothing from here; pytest finds the plugin through its entry point.
"""

from __future__ import annotations

pytest_plugins = ["pytester"]
