"""Which cases there are: takes the cache, gives their names and facts, and each one's data.

The cases are generated once on a host and kept in the artifact cache, the small index in an entry
of its own, so that to collect them costs no more than reading it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache, CachedArtifact
    from pytest_inferbench.onnx_cases.tensors import Array

_FORMAT = 2  # grows with every change of what `generate.py` writes
_GENERATE_S = 600.0


class CaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a case without its data.

    Attributes:
        name: Its name in the `onnx` package.
        kind: node, simple, pytorch-operator, pytorch-converted or light.
        op: The operator it is about, with its domain unless that is ONNX's own.
        opset: The version of the operator's domain.
        ir: The IR version that its model declares.
        not_tensors: Which inputs or outputs are no tensors; None where all are.
        offset: Where its data begin.
        size_bytes: How long they are.
    """

    name: str
    kind: str
    op: str
    opset: int
    ir: int
    not_tensors: str | None
    offset: int
    size_bytes: int


class _Index(msgspec.Struct, frozen=True):
    onnx: str
    cases: tuple[CaseInfo, ...]


@dataclass(frozen=True)
class DataSet:
    """One set of inputs, and the outputs that are expected for it, with their types."""

    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]
    types: Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """A case with its data."""

    info: CaseInfo
    model: Array
    sets: Sequence[DataSet]
    rtol: float
    atol: float


class CaseIndex:
    """The cases of the installed `onnx` package."""

    def __init__(self, cache: ArtifactCache, say: Callable[[str], None]) -> None:
        self._cache, self._say = cache, say
        self.onnx_version = metadata.version("onnx")

    @cached_property
    def cases(self) -> Mapping[str, CaseInfo]:
        """Every case by its name.

        Raises:
            InferbenchError: They could not be generated (IB-450), or kept.
        """
        from pytest_inferbench.onnx_cases.generate import INDEX_FILE

        def build(folder: Path) -> Mapping[str, object]:
            shutil.copyfile(self._data.folder / INDEX_FILE, folder / INDEX_FILE)
            return {}

        entry = self._cache.get_or_build(self._key("index"), self._describe("index"), build)
        text = (entry.folder / INDEX_FILE).read_bytes()
        index = msgspec.json.decode(text, type=_Index)
        return {case.name: case for case in index.cases}

    def read(self, name: str) -> Case:
        """Return a case with its data."""
        from pytest_inferbench.onnx_cases.generate import CASES_FILE
        from pytest_inferbench.worker.protocol import decode

        info = self.cases[name]
        with (self._data.folder / CASES_FILE).open("rb") as file:
            file.seek(info.offset)
            fields, arrays = decode(bytearray(file.read(info.size_bytes)))
        sets = [_data_set(i, fields["types"], arrays) for i in range(fields["sets"])]
        return Case(info, arrays["model"], sets, fields["rtol"], fields["atol"])

    @cached_property
    def _data(self) -> CachedArtifact:
        return self._cache.get_or_build(self._key("data"), self._describe("data"), self._generate)

    def _generate(self, folder: Path) -> Mapping[str, object]:
        self._say(f"collecting the backend tests of onnx {self.onnx_version}, once on this host")
        command = [sys.executable, "-W", "ignore", "-m", "pytest_inferbench.onnx_cases.generate"]
        try:
            done = subprocess.run(
                [*command, str(folder)],
                capture_output=True,
                text=True,
                timeout=_GENERATE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise self._not_generated(f"it took over {_GENERATE_S:g} s") from error
        if done.returncode:
            last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
            raise self._not_generated(last)
        return {"onnx": self.onnx_version}

    def _not_generated(self, why: str) -> InferbenchError:
        return InferbenchError(
            "IB-450",
            f"the backend tests of onnx {self.onnx_version} could not be collected: {why}",
            "`python -m pytest_inferbench.onnx_cases.generate FOLDER` shows all of it.",
        )

    def _key(self, part: str) -> str:
        text = f"onnx cases {part} {_FORMAT} {self.onnx_version}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _describe(self, part: str) -> dict[str, object]:
        return {"onnx cases": part, "onnx": self.onnx_version}


def _data_set(number: int, types: Mapping[str, str], arrays: Mapping[str, Any]) -> DataSet:
    def part(kind: str, of: Mapping[str, Any]) -> dict[str, Any]:
        start = f"{kind}/{number}/"
        return {key[len(start) :]: value for key, value in of.items() if key.startswith(start)}

    return DataSet(part("in", arrays), part("out", arrays), part("out", types))
