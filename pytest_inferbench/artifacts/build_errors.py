"""What a build may fail with: takes what was built, gives a named error; knows no recipe.

Runtimes and quantizers raise whatever they like; a user reads what could not be built, and why.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_inferbench.errors import InferbenchError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_BYTES = 1 << 20  # some runtimes do not say why they could not write


@contextmanager
def explained(precision: str, source: Path, output: Path) -> Iterator[None]:
    """Name what failed while an artifact was built.

    Raises:
        InferbenchError: As it came; IB-420 the disk is full; IB-433 anything else.
    """
    try:
        yield
    except InferbenchError:
        raise
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in _FULL
        if full or shutil.disk_usage(output.parent).free < _FULL_BYTES:
            raise InferbenchError(
                "IB-420",
                f"the disk is full: {source.name} at {precision} did not fit into {output.parent}",
                "Make room (`inferbench cache --clear`), or set INFERBENCH_CACHE to another disk.",
            ) from error
        raise InferbenchError(
            "IB-433",
            f"{source.name} could not be built at {precision}: {type(error).__name__}: {error}",
            "If calibration failed, check that the samples fit the model's inputs; else exclude"
            f" the node that is named, or leave {precision} out of the model's precisions.",
        ) from error
