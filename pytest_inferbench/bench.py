"""A place to try graphs: takes files and inputs, gives outputs of a cell's own backend in a worker.

A worker that dies is replaced for the next file. What is left to build of a graph, such as an
engine, is built by the cell's own steps. Knows nothing of references, errors or budgets.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.accuracy.carried import bfloat16_values
from pytest_inferbench.artifacts.bfloat16 import round_to_bfloat16
from pytest_inferbench.cellrun import FATAL
from pytest_inferbench.errors import InferbenchError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from pytest_inferbench.tasks import Array, Sample
    from pytest_inferbench.worker.client import AnyWorker

    OnWait = Callable[[float], None]

_LARGEST_HALF = 65504.0
_MASK = 1e30


@dataclass(frozen=True)
class BuildStep:
    """What is still to be built of a graph.

    Attributes:
        fields: Those of the worker's verb `build`, model and output apart.
        file_name: The file that it makes.
        calibration: What it is calibrated on.
    """

    fields: Mapping[str, Any]
    file_name: str
    calibration: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Outputs:
    """What came out of a graph.

    Attributes:
        names: Its outputs in order.
        samples: The arrays by name, for every sample.
    """

    names: tuple[str, ...]
    samples: Sequence[Mapping[str, Array]]


class Bench:
    """Opens one graph after another in the worker of one cell."""

    def __init__(
        self,
        launch: Callable[[], AnyWorker],
        opening: Mapping[str, Any],
        steps: Sequence[BuildStep] = (),
        *,
        is_remote: bool = False,
        on_wait: OnWait | None = None,
        near: Path | None = None,
    ) -> None:
        """Take what is needed to open graphs.

        Args:
            launch: Starts a worker that can open and build them.
            opening: Fields of the worker's verb `open`, the artifact apart.
            steps: What is built of each graph first.
            is_remote: Whether the worker runs on another host.
            on_wait: Is told how long a call has taken.
            near: Where to keep files, so that large weights may be linked.
        """
        self._launch, self._opening, self._steps = launch, opening, steps
        self._is_remote, self._on_wait = is_remote, on_wait
        self._near = near
        self._folder: Path | None = None
        self._worker: AnyWorker | None = None
        self._count = 0

    @property
    def is_calibrated(self) -> bool:
        """Whether what is built needs calibration samples, which fit the whole graph alone."""
        return any(step.calibration for step in self._steps)

    def __enter__(self) -> Self:
        """Give itself."""
        if self._near is not None:
            self._near.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=".bisect-", dir=self._near))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """End the worker and remove the files."""
        self._drop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """Return an empty folder of its own for the next graph; the one before it is removed."""
        assert self._folder is not None
        shutil.rmtree(self._folder / str(self._count), ignore_errors=True)
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder

    def build(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Have the worker build something; return its facts."""
        return self._call("build", fields)

    def run(self, file: Path, samples: Sequence[Sample]) -> Outputs:
        """Build what is left to build of a graph, open it, run it, and close it.

        Args:
            file: The graph.
            samples: Inputs; those that it does not take are left out.

        Raises:
            InferbenchError: It could not be built, opened or run.
        """
        import numpy as np

        opened = self._open(file)
        try:
            dtypes = {each["name"]: each["dtype"] for each in opened["outputs"]}
            found = []
            for sample in samples:
                given = {each["name"]: sample[each["name"]] for each in opened["inputs"]}
                arrays = self._worker_here().call("infer", {}, given, on_wait=self._on_wait).arrays
                found.append({n: widened(np.asarray(a), dtypes[n]) for n, a in arrays.items()})
        except InferbenchError as error:
            if error.code in FATAL:
                self._drop()
            raise
        finally:
            self._close_graph()
        return Outputs(tuple(dtypes), found)

    def placement(self, file: Path) -> dict[str, Any]:
        """Build and open a graph likewise; return what its backend tells without running it.

        Raises:
            InferbenchError: It could not be built or opened, or its backend cannot tell.
        """
        self._open(file)
        try:
            return self._call("placement", {"runs": False})
        finally:
            self._close_graph()

    def _open(self, file: Path) -> dict[str, Any]:
        artifact = self._built(self._there(file))
        return self._call("open", {**self._opening, "artifact": artifact})

    def _built(self, model: str) -> str:
        for step in self._steps:
            output = str(Path(model).parent / f"built-{step.file_name}")
            fields = {**step.fields, "model": model, "output": output}
            self._call("build", fields, step.calibration)
            model = output
        return model

    def _there(self, file: Path) -> str:
        """Return the file's path where the worker runs."""
        if not self._is_remote:
            return str(file)
        import numpy as np

        if len(list(file.parent.iterdir())) > 1:
            raise InferbenchError(
                "IB-562",
                f"{file.name} has weights beside it, and its graphs are not sent to another host",
                "Look for the layer on this host: `inferbench bisect`.",
            )
        data = np.frombuffer(file.read_bytes(), np.uint8)
        path: str = self._call("scratch", {"name": file.name}, {"data": data})["path"]
        return path

    def _call(
        self, verb: str, fields: Mapping[str, Any], arrays: Mapping[str, Array] | None = None
    ) -> dict[str, Any]:
        try:
            return (
                self._worker_here().call(verb, fields, arrays or {}, on_wait=self._on_wait).fields
            )
        except InferbenchError as error:
            if error.code in FATAL:
                self._drop()
            raise

    def _worker_here(self) -> AnyWorker:
        if self._worker is None:
            self._worker = self._launch()
        return self._worker

    def _close_graph(self) -> None:
        if self._worker is not None:
            try:
                self._worker.call("close")
            except InferbenchError:
                self._drop()

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            with suppress(InferbenchError):
                worker.close()


def widened(array: Array, dtype: str) -> Array:
    """Return an array in a type that numpy has: bfloat16 comes as its bits."""
    return bfloat16_values(array) if dtype == "bfloat16" else array


def fits(array: Array, dtype: str) -> bool:
    """Whether a type holds an array's values; masks, which are beyond 1e30, fit as its largest."""
    import numpy as np

    if dtype != "float16":
        return True
    sizes = np.abs(np.asarray(array, np.float64))
    return not bool(((sizes > _LARGEST_HALF) & (sizes < _MASK)).any())


def narrowed(array: Array, dtype: str) -> Array:
    """Return an array in another floating-point type; what is too large becomes the largest."""
    import numpy as np

    if dtype == "float16":
        wide = np.asarray(array, np.float64)
        return np.where(np.isfinite(wide), wide.clip(-_LARGEST_HALF, _LARGEST_HALF), wide).astype(
            np.float16
        )
    if dtype == "bfloat16":
        return round_to_bfloat16(np.asarray(array, np.float32))
    return np.asarray(array).astype(dtype)
