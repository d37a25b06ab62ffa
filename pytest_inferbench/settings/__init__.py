"""The user's settings: from TOML text to typed, checked values, or one error that lists all faults.

Nothing is imported here until it is asked for, so that looking for a file costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_inferbench.settings.loader import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from pytest_inferbench.settings.loader import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
