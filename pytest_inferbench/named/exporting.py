"""Builds an architecture into the artifact cache: takes its name, gives the entry.

torch and transformers stay out of this process: `fixtures/architectures/build.py` runs in a Python
that has the extra `[export]`, this one or the one that `INFERBENCH_EXPORT_PYTHON` names. What was
built once on a host is used by all of its sessions, whichever Python built it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_inferbench.named.catalog import ARCHITECTURES_FOLDER, architectures, folder_of
from pytest_inferbench.named.programs import Program
from pytest_inferbench.named.references import split_size

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache, CachedArtifact

MODEL_FILE, CARD_FILE, PROGRAM_FILE = "model.onnx", "card.json", "model.pt2"
PYTHON_VARIABLE = "INFERBENCH_EXPORT_PYTHON"
BUILD_S = 3600.0


def export_python(env: Mapping[str, str] = os.environ) -> str:
    """Return the Python that exports."""
    return env.get(PYTHON_VARIABLE) or sys.executable


class Exporter:
    """Architectures as cached artifacts."""

    def __init__(
        self, cache: ArtifactCache, say: Callable[[str], None], python: str | None = None
    ) -> None:
        self._cache, self._say = cache, say
        self._python = python or export_python()

    def find(self, name: str) -> CachedArtifact | None:
        """Return a model, `NAME-small` or `NAME-real`, if it is built and whole."""
        return self._cache.find(_key(name))

    def get(self, name: str) -> CachedArtifact:
        """Return a model, `NAME-small` or `NAME-real`, built on first use.

        Raises:
            InferbenchError: IB-471 packages are missing, IB-472 it could not be built, IB-473 it
                took too long, IB-474 there is no such Python; or what the cache says.
        """

        def build(folder: Path) -> Mapping[str, object]:
            return self._build(name, folder)

        return self._cache.get_or_build(_key(name), {"architecture": name}, build)

    def write_program(self, name: str, folder: Path) -> Path:
        """Write a model for torch, as an exported program, into a folder; return its path.

        Raises:
            InferbenchError: As `get`.
        """
        self._run(name, folder, "--program")
        return folder / PROGRAM_FILE

    def _build(self, name: str, folder: Path) -> Mapping[str, object]:
        self._run(name, folder)
        card: dict[str, Any] = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        return card

    def _run(self, name: str, folder: Path, *flags: str) -> None:
        base, size = split_size(name)
        script = folder_of(ARCHITECTURES_FOLDER) / "build.py"
        program = Program(
            f"inferbench:{name}", "export", self._python, architectures()[base].needs, self._say
        )
        program.run([str(script), base, "--size", size, "--to", str(folder), *flags], BUILD_S)


def as_recorded(name: str, card: Mapping[str, Any]) -> bool | None:
    """Whether a built model has the bytes in the manifest; None where the manifest has none."""
    text = (folder_of(ARCHITECTURES_FOLDER) / "manifest.json").read_bytes()
    recorded = msgspec.json.decode(text)["models"].get(name)
    return None if recorded is None else bool(recorded["sha256"] == card["sha256"])


def _key(name: str) -> str:
    """Hash the name with the programs that build it, so that changed ones build anew."""
    digest = hashlib.sha256(f"architecture {name}".encode())
    folder = folder_of(ARCHITECTURES_FOLDER)
    for script in (*sorted(folder.glob("*.py")), folder.parent / "detector" / "model.py"):
        if script.stem != "record":  # which only takes notes
            digest.update(script.name.encode() + b"\0" + script.read_bytes())
    return digest.hexdigest()
