"""A server that may be broken: takes an installation and a model, gives one to be asked.

Each question has a server of its own, on ports of its own, so that none sees what another did. A
server that somebody else runs can be asked too, but never be broken.
"""

from __future__ import annotations

import dataclasses
import http.client
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pytest_inferbench.conformance.contract import NotAsked, NotHere
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.chaos.asking import (
    Asker,
    Example,
    Tensors,
    body_of,
    exchange_once,
)
from pytest_inferbench.serving.repository import write_repository
from pytest_inferbench.serving.server import Installation, Order, Process, Server, connect, start
from pytest_inferbench.serving.unlike import ALIKE, told_apart
from pytest_inferbench.serving.variant import Variant

MODEL = "model"
_EXIT_S = 1
_CALM_S = 30.0
_SLOWEST_S = 1.0
_EXAMPLES = 4


@dataclass(frozen=True)
class Staging:
    """What a server is made of, or where it is.

    Attributes:
        inputs: Several, all different: what is asked for.
        tolerance: How far an output may be off by rounding, relative to its values.
        installation: The server's programs; None where somebody else runs it.
        artifact: The model's file.
        variant: How it is served.
        url: Somebody else's server, over HTTP.
        model: What the model is called there.
    """

    inputs: Sequence[Tensors]
    tolerance: float
    installation: Installation | None = None
    artifact: Path = Path()
    variant: Variant = dataclasses.field(default_factory=Variant)
    url: str = ""
    model: str = MODEL

    @property
    def is_owned(self) -> bool:
        """Whether it may be broken."""
        return self.installation is not None


class Stage:
    """A running server with a model, and examples whose answers are known.

    Attributes:
        server: It; another one after `restart`.
        model: The model's name.
        address: "host:port" for HTTP; it stays the same.
        examples: What it answered while nothing else went on, every two unlike.
        calm_s: The longest that this took, the first answer apart.
    """

    def __init__(self, staging: Staging, folder: Path) -> None:
        self._staging, self._folder = staging, folder
        self.model = staging.model
        self._models: Sequence[str] = (self.model,)
        if staging.is_owned:
            served = write_repository(folder, self.model, staging.artifact, staging.variant)
            self._models = served.models
            self.server = self._start((0, 0, 0))
        else:
            self.server = connect(staging.url)
        self.address = urlsplit(self.server.http_url).netloc
        if not self.address:
            raise NotAsked("the server is reached by gRPC alone: its HTTP is what is asked")
        try:
            self.examples, self.calm_s = self._calm()
        except BaseException:
            self.close()
            raise

    @property
    def process(self) -> Process:
        """The server's process.

        Raises:
            NotAsked: Somebody else runs it.
        """
        if self.server.process is None:
            raise NotAsked("somebody else runs this server: it is not broken from here")
        return self.server.process

    @property
    def has_ended(self) -> bool:
        """Whether it is a server of our own that is gone."""
        return self.server.process is not None and self.server.process.has_ended()

    def asker(self, timeout_s: float = 10.0) -> Asker:
        """Return one who asks for the examples and checks what comes."""
        tolerance = self._staging.tolerance
        return Asker(self.address, self.model, self.examples, tolerance, timeout_s)

    def files(self) -> list[Path]:
        """Return the files of the repository."""
        return [path for path in self._folder.rglob("*") if path.is_file()]

    def restart(self) -> None:
        """Start a server like the one that is gone, at the same addresses."""
        urls = self.server.http_url, f"grpc://{self.server.grpc_url}", self.server.metrics_url
        http, grpc, metrics = (urlsplit(url).port or 0 for url in urls)
        self.close()
        self.server = self._start((http, grpc, metrics))

    def close(self) -> None:
        """End the server, if it is our own."""
        self.server.stop(gently=False)

    def _start(self, ports: tuple[int, int, int]) -> Server:
        installation, variant = self._staging.installation, self._staging.variant
        assert installation is not None
        order = Order(
            self._folder,
            models=self._models,
            gpu=variant.device == "gpu",
            cache_mib=variant.response_cache_mib if variant.response_cache else 0,
            exit_s=_EXIT_S,
            ports=ports,
        )
        return start(installation, order)

    def _calm(self) -> tuple[list[Example], float]:
        """Ask for every input while nothing else goes on; return the answers and the longest wait.

        Raises:
            NotHere: It takes so long that nothing could be told from a few seconds of load.
            NotAsked: An answer to the wrong caller could not be told from the right one.
        """
        told = self.server.control.model_metadata(self.model)
        outputs = [each["name"] for each in told["outputs"]]
        examples, waits_s = [], []
        connection = http.client.HTTPConnection(self.address, timeout=_CALM_S)
        try:
            for inputs in self._staging.inputs:
                body, started_s = body_of(inputs, outputs), time.monotonic()
                examples.append(Example(inputs, exchange_once(connection, self.model, body)))
                waits_s.append(time.monotonic() - started_s)
        finally:
            connection.close()
        calm_s = max(waits_s[1:])
        if calm_s > _SLOWEST_S:
            raise NotHere(f"an answer takes {calm_s:.1f} s: too long to be asked under load")
        answers = ((number, each.outputs) for number, each in enumerate(examples))
        chosen = told_apart(answers, self._staging.tolerance, _EXAMPLES)
        if len(chosen) < 2:
            raise NotAsked(ALIKE)
        return [examples[number] for number in chosen], calm_s


@contextmanager
def staged(staging: Staging) -> Iterator[Stage]:
    """Have a server for the length of a `with`; it and its repository are gone afterwards.

    Raises:
        InferbenchError: It does not start, or does not answer even while nothing else goes on.
        NotAsked: The model cannot be served in this way.
    """
    with tempfile.TemporaryDirectory(prefix="inferbench-stage-") as folder:
        try:
            stage = Stage(staging, Path(folder))
        except InferbenchError as error:
            if error.code == "IB-806":
                raise NotAsked(f"the model cannot be served like this: {error.message}") from error
            raise
        try:
            yield stage
        finally:
            stage.close()


def wait_until_gone(process: Process, within_s: float) -> bool:
    """Wait until a server and all that it had is gone; return whether it was in time."""
    deadline_s = time.monotonic() + within_s
    while not process.has_ended():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.005)
    return True
