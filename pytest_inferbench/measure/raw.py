"""Raw samples on disk: takes a run's timings and what is known of it, gives a compressed file.

One `.npz` holds one run: the array `ns` (nanoseconds a call, in the order taken) and the array
`facts` (one JSON text). `load` reads it back; nothing in it is pickled.

    from pytest_inferbench.measure.raw import load

    run = load("raw/net-ort-cpu-fp32-cpu-....npz")
    run.ns, run.facts["calls_per_sample"], run.facts["probes_ms"]
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

SCHEMA = 1


@dataclass(frozen=True)
class RawRun:
    """One run as it was timed.

    Attributes:
        ns: Nanoseconds a call, in the order taken, the clock's own cost taken off.
        facts: What else is known: `cell`, `calls_per_sample` (each timing is the mean of so many),
            `warmup_calls`, `warmup_s`, `warmup_steady`, `overhead_ns`, `probes_ms`,
            `steal_share`, `other_share`, `set_aside`, `environment`, `recorded`.
    """

    ns: npt.NDArray[np.int64]
    facts: dict[str, Any]


def save(folder: Path, name: str, ns: npt.NDArray[Any], facts: Mapping[str, Any]) -> str:
    """Write one run; return the file's name, which no other has.

    Args:
        folder: Where; it is made if it is not there.
        name: How the file's name begins: a cell's id.
        ns: The timings.
        facts: Plain types.

    Raises:
        InferbenchError: It cannot be written (IB-671); nothing is left of it then.
    """
    recorded = time.gmtime()
    text = json.dumps(
        {
            "schema": SCHEMA,
            "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", recorded),
            **facts,
        }
    )
    stamp = time.strftime("%Y%m%dT%H%M%SZ", recorded)
    temporary = folder / f".{name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez_compressed(file, ns=np.asarray(ns, np.int64), facts=np.array(text))
        for number in range(1, 10_000):
            path = folder / f"{name}.{stamp}-{number}.npz"
            try:
                os.link(temporary, path)  # unlike a rename, it never takes another's place
            except FileExistsError:
                continue
            return path.name
        raise OSError(f"{folder} is full of files of this second")
    except OSError as error:
        raise InferbenchError(
            "IB-671",
            f"the raw samples of {name} could not be written to {folder}: {error}",
            "Name a folder that can be written to: --inferbench-raw DIR.",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it may be the folder that is none
            temporary.unlink()


def load(path: str | Path) -> RawRun:
    """Read one run back.

    Raises:
        InferbenchError: It is no file of raw samples (IB-672).
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            ns, facts = file["ns"], json.loads(str(file["facts"]))
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise _no_samples(path, str(error)) from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise _no_samples(path, "it is of another schema")
    if ns.dtype != np.int64 or ns.ndim != 1:
        raise _no_samples(path, f"its timings are {ns.dtype} of {ns.ndim} dimensions")
    return RawRun(ns, facts)


def _no_samples(path: str | Path, why: str) -> InferbenchError:
    return InferbenchError(
        "IB-672",
        f"{path} holds no raw samples: {why}",
        "It takes what --inferbench-raw wrote.",
    )
