"""The verbs by which a worker's host keeps files: receives them, or builds them, into its cache.

Takes a verb's fields and arrays; gives what `worker/depot.py` answers. Knows no backend: how
something is built is handed to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.worker.protocol import Array

if TYPE_CHECKING:
    from pytest_inferbench.worker.depot import Depot

Fields = dict[str, Any]
Arrays = dict[str, Array]
Answer = tuple[Fields, Arrays]


class CacheVerbs:
    """What a worker can do with its host's cache; each public method but `verbs` is a verb."""

    def __init__(self, build: Callable[..., Answer]) -> None:
        """Take the verb that builds."""
        self._build = build
        self._depot: Depot | None = None

    def verbs(self) -> dict[str, Callable[..., Answer]]:
        """Return them by name."""
        return {
            "cache_find": self.find,
            "cache_begin": self.begin,
            "cache_write": self.write,
            "cache_finish": self.finish,
            "cache_build": self.build,
        }

    def find(self, _arrays: Arrays, *, key: str) -> Answer:
        """Tell where this host's cache has an entry; see `Depot.find`."""
        return self._cache().find(key), {}

    def begin(self, _arrays: Arrays, *, key: str, describe: Fields) -> Answer:
        """Start to receive an entry; see `Depot.begin`."""
        return self._cache().begin(key, describe), {}

    def write(self, arrays: Arrays, *, name: str, offset: int) -> Answer:
        """Receive a chunk, the array `data`; see `Depot.write`."""
        return self._cache().write(name, offset, arrays["data"].data), {}

    def finish(self, _arrays: Arrays, *, files: dict[str, str]) -> Answer:
        """Keep what was received; see `Depot.finish`."""
        return self._cache().finish(files), {}

    def build(
        self,
        arrays: Arrays,
        *,
        key: str,
        describe: Fields,
        file_name: str,
        build: Fields,
        anew: bool = False,
    ) -> Answer:
        """Have an entry, built by the verb `build` with these fields where it is missing."""

        def fill(folder: Path) -> Fields:
            return self._build(arrays, output=str(folder / file_name), **build)[0]

        return self._cache().build(key, describe, fill, anew=anew), {}

    def _cache(self) -> Depot:
        if self._depot is None:
            from pytest_inferbench.worker.depot import Depot

            self._depot = Depot()
        return self._depot
