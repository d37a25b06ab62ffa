"""The way to the packaged suites: takes the paths that pytest meets, says which of them lead there.

The suites often lie in a virtual environment inside the project, a folder that pytest leaves out.
This opens the way to them, and to nothing beside it: site-packages is full of others' tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def add_suites(config: pytest.Config, suites: Path) -> None:
    """Have pytest collect the suites beside what it was told to walk.

    Where it was told to walk a folder above them, they must not be named as well: pytest before 9
    then drops the rest of that folder, and pytest 9 drops the suites.
    """
    walked = {Path(config.invocation_params.dir, argument) for argument in config.args}
    way = (*reversed(suites.parents), suites)
    inside = [folder for folder in way if not walked.isdisjoint(folder.parents)]
    if not inside:
        config.args.append(str(suites))
    for folder in inside:
        if config.hook.pytest_ignore_collect(collection_path=folder, config=config):
            config.pluginmanager.register(WayToSuites(folder, suites))
            return


class WayToSuites:
    """Lets pytest walk through a folder that it leaves out, to the suites and nowhere else."""

    def __init__(self, left_out: Path, suites: Path) -> None:
        self._left_out = left_out
        self._suites = suites
        self._way = (suites, *suites.parents)

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Answer for what lies in that folder; leave everything else to pytest."""
        if self._left_out not in (collection_path, *collection_path.parents):
            return None
        if self._suites in collection_path.parents:
            return None
        return collection_path not in self._way
