"""Trained models in installed packages: takes a model's name, gives its ONNX file.

Found without importing the package: as installed, or as `fixtures/zoo/fetch.py` unpacked it; each
file is checked against the catalog's SHA-256. What is not ONNX is converted once, by a program in a
Python that has what that takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.artifacts.cache import default_root, sha256_of
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.named.catalog import (
    ARCHITECTURES_FOLDER,
    ZOO_FOLDER,
    ZooModel,
    folder_of,
    zoo,
)
from pytest_inferbench.named.exporting import BUILD_S, MODEL_FILE, export_python
from pytest_inferbench.named.programs import Program

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache, CachedArtifact


def fetched_folder(model: ZooModel) -> Path:
    """Return where a package is unpacked that cannot be installed beside others."""
    return default_root() / "zoo" / f"{model.package}-{model.version}"


def package_file(model: ZooModel) -> Path | None:
    """Return the file in the package, installed or fetched; None where it is neither."""
    try:
        installed = metadata.distribution(model.package)
    except metadata.PackageNotFoundError:
        installed = None
    if installed is not None and installed.version == model.version:
        path = Path(str(installed.locate_file(model.file)))
        if path.is_file():
            return path
    path = fetched_folder(model) / model.file
    return path if path.is_file() else None


def why_absent(name: str) -> str | None:
    """Return why a model of the zoo cannot be had here, None if it can."""
    model = zoo()[name]
    if package_file(model) is not None:
        return None
    return f"zoo:{name} is in the package {model.package} {model.version}, not here ({_way(name)})"


class Zoo:
    """Trained models as ONNX files."""

    def __init__(
        self, cache: ArtifactCache, say: Callable[[str], None], python: str | None = None
    ) -> None:
        self._cache, self._say = cache, say
        self._python = python or export_python()

    def find(self, name: str) -> Path | None:
        """Return a model's ONNX file if it is here, converted if need be."""
        model = zoo()[name]
        if not model.converter:
            return package_file(model)
        entry = self._cache.find(_key(name, model))
        return None if entry is None else entry.folder / MODEL_FILE

    def get(self, name: str) -> Path:
        """Return a model's ONNX file, converted on first use.

        Raises:
            InferbenchError: IB-475 its package is not here, IB-476 its file is another one than
                in the catalog, or it cannot be converted (IB-471 to IB-474).
        """
        model = zoo()[name]
        if not model.converter:
            return checked_file(name)
        return self._converted(name, model).folder / MODEL_FILE

    def _converted(self, name: str, model: ZooModel) -> CachedArtifact:
        script, *arguments = model.converter

        def build(folder: Path) -> Mapping[str, object]:
            source = checked_file(name)
            program = Program(f"zoo:{name}", "export", self._python, model.needs, self._say)
            command = [str(folder_of(ZOO_FOLDER) / script), str(source), str(folder), *arguments]
            program.run(command, BUILD_S)
            return {"package": f"{model.package} {model.version}", "sha256": model.sha256}

        return self._cache.get_or_build(_key(name, model), {"zoo": name}, build)


def checked_file(name: str) -> Path:
    """Return the file in a model's package, which is the one in the catalog.

    Raises:
        InferbenchError: IB-475 it is not here, IB-476 it is another one.
    """
    model = zoo()[name]
    path = package_file(model)
    if path is None:
        raise InferbenchError("IB-475", str(why_absent(name)), "docs/models.md has every model.")
    if sha256_of(path) != model.sha256:
        raise InferbenchError(
            "IB-476",
            f"{path} is not the file of {model.package} {model.version}: its SHA-256 differs",
            f"Get it anew ({_way(name)}).",
        )
    return path


def _way(name: str) -> str:
    """Return the command that gets a model here."""
    if zoo()[name].extra:
        return "pip install 'pytest-inferbench[zoo]'"
    return f"inferbench models fetch {name}"


def _key(name: str, model: ZooModel) -> str:
    """Hash what the converted file depends on."""
    digest = hashlib.sha256(f"zoo {name} {model.sha256} {model.converter}".encode())
    for script in (
        *sorted(folder_of(ZOO_FOLDER).glob("convert*.py")),
        *(folder_of(ARCHITECTURES_FOLDER) / f"{part}.py" for part in ("writing", "whisper")),
    ):
        digest.update(script.name.encode() + b"\0" + script.read_bytes())
    return digest.hexdigest()
