"""The command that starts a server: takes where it is and what is asked of it, gives arguments.

On this host, or in NVIDIA's container. Starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

from pytest_inferbench.serving.variant import Variant

READY_S, EXIT_S = 60.0, 3
HOST = "127.0.0.1"

# Ends the server when asked to, and when nobody holds the standard input any more.
_IN_CONTAINER = """\
exec 3<&0
tritonserver "$@" & server=$!
trap 'kill -TERM $server' TERM
(cat > /dev/null; kill -TERM $server) <&3 &
wait $server; code=$?
[ $code -gt 128 ] && { wait $server; code=$?; }
exit $code
"""


@dataclass(frozen=True)
class Installation:
    """Where a server's programs are; `install.py` makes one.

    Attributes:
        tritonserver: The executable; with an image, its name in it.
        backends: The folder of backends; empty for the server's own.
        caches: The folder of response caches; empty for the server's own.
        path: Where the stub finds its Python.
        libraries: Where the loader finds that Python's library, and the server's own.
        image: NVIDIA's container to run it in; empty for this host.
    """

    tritonserver: str
    backends: str = ""
    caches: str = ""
    path: str = ""
    libraries: str = ""
    image: str = ""

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Installation:
        """Return one of plain fields."""
        return cls(**fields)

    def as_fields(self) -> dict[str, str]:
        """Return plain fields."""
        return asdict(self)


@dataclass(frozen=True)
class Order:
    """What to start.

    Attributes:
        repository: The model repository.
        models: What to load from it; more can be loaded later.
        gpu: Whether the server may see GPUs.
        cache_mib: Memory for the response cache; 0 for none.
        ready_s: How long it may take until it is ready.
        exit_s: How long requests in flight may take when it is stopped.
        ports: HTTP, gRPC and metrics; 0 for any that is free.
        arguments: Further arguments.
        env: Further environment variables.
    """

    repository: Path
    models: Sequence[str] = ()
    gpu: bool = False
    cache_mib: int = 0
    ready_s: float = READY_S
    exit_s: int = EXIT_S
    ports: tuple[int, int, int] = (0, 0, 0)
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def order_for(
    repository: Path, models: Sequence[str], variant: Variant, ready_s: float = READY_S
) -> Order:
    """Return what is asked of a server for a variant's models."""
    return Order(
        repository,
        models,
        gpu=variant.device == "gpu",
        cache_mib=variant.response_cache_mib if variant.response_cache else 0,
        ready_s=ready_s,
    )


def command_of(
    installation: Installation, order: Order, ports: Sequence[int], name: str, prefix: str
) -> list[str]:
    """Return the command that starts a server.

    Args:
        installation: Where it is.
        order: What is asked of it.
        ports: HTTP, gRPC and metrics.
        name: Its id, which it tells.
        prefix: How it names its shared memory.
    """
    inside = installation.image != ""
    arguments = [
        f"--id={name}",
        f"--model-repository={'/models' if inside else order.repository}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in order.models),
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={order.exit_s}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--metrics-config=summary_latencies=true",  # percentiles of the queue
        *(
            f"--{service}-{key}={value}"
            for service, port in zip(("http", "grpc", "metrics"), ports, strict=True)
            for key, value in (("address", HOST), ("port", port))
        ),
    ]
    if installation.backends:
        arguments.append(f"--backend-directory={installation.backends}")
    if order.cache_mib:
        arguments.append(f"--cache-config=local,size={order.cache_mib << 20}")
        if installation.caches:
            arguments.append(f"--cache-directory={installation.caches}")
    arguments += order.arguments
    if inside:
        return docker_command(installation.image, order, name, arguments)
    return [installation.tritonserver, *arguments]


def docker_command(image: str, order: Order, name: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs NVIDIA's container; never run by this project's authors.

    It shares this host's network, so that the loopback address is the host's, and its shared
    memory. The server in it ends when the command's standard input does, which is when the
    command is killed: a container would otherwise outlive it.
    """
    variables = {"ORT_DISABLE_TELEMETRY": "1", **order.env}
    return [
        *("docker", "run", "--rm", "--interactive", "--name", f"inferbench-{name}"),
        *("--network=host", "--ipc=host"),
        *(("--gpus=all",) if order.gpu else ()),
        *(f"--env={key}={value}" for key, value in variables.items()),
        f"--volume={order.repository}:/models:ro",
        image,
        *("sh", "-c", _IN_CONTAINER, "sh"),
        *arguments,
    ]


def environment_of(installation: Installation, order: Order) -> dict[str, str]:
    """Return the environment of a server: its own Python before any other, no telemetry."""
    passed = ("HOME", "TMPDIR", "LANG", "TZ", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
    kept = {name: os.environ[name] for name in passed if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("INFERBENCH_")}
    if not order.gpu:
        kept["CUDA_VISIBLE_DEVICES"] = ""
    path = os.environ.get("PATH", "") if installation.image else "/usr/bin:/bin"
    return {
        **kept,
        "PATH": ":".join(filter(None, (installation.path, path))),
        **({"LD_LIBRARY_PATH": installation.libraries} if installation.libraries else {}),
        "ORT_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        **order.env,
    }
