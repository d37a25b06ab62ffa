"""The checkout's own conftest, deliberately empty.

The suites' fixtures come from the plugin's entry point (`pytest_inferbench/testkit.py`). pytest
loads this file also for other projects that collect these suites from an editable install, so
nothing that concerns this checkout alone may stand here; that goes to tests/conftest.py.
"""
