"""Has a Triton server on this host: makes one in the cache, or takes the one that is named.

The server is a wheel from the package index; what runs models in it is an environment of its own,
because the server's stub and this project's workers need different numpy. Everything is made once,
in the artifact cache. Knows neither models nor gates; nothing is started but what installs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving.command import Installation
from pytest_inferbench.serving.installing import ask_python, run_step
from pytest_inferbench.serving.variant import Variant

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache, CachedArtifact

WHEEL, WHEEL_VERSION, TRITON_VERSION = "nvidia-pytriton", "0.7.0", "2.51.0"
SERVER_VARIABLE, PYTHON_VARIABLE = "INFERBENCH_TRITON_SERVER", "INFERBENCH_TRITON_PYTHON"
PYTHONS = ("3.12", "3.11", "3.10")
"""What the stub of this server can run with, the newest first."""

_DOCKER = "docker:"
_REVISION = 1
_STUB = "triton_python_backend_stub"
_PYTHON_BACKEND = ("libtriton_python.so", "triton_python_backend_utils.py")
_RUNTIMES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("onnxruntime", "cpu"): ("onnxruntime",),
    ("onnxruntime", "gpu"): ("onnxruntime-gpu[cuda,cudnn]",),
    ("openvino", "cpu"): ("openvino",),
}
_IMPORTS = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
_LEAST = {"onnxruntime": "1.20", "onnxruntime-gpu": "1.21", "openvino": "2025.0"}
_BATCHING = Path(__file__).parent / "backends" / "batching.py"
_INSTALL_S, _ASK_S = 1800.0, 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Python:
    """An interpreter that a stub can be run with.

    Attributes:
        executable: It.
        version: Its major and minor version.
        libraries: The folder with its shared library.
    """

    executable: str
    version: str
    libraries: str


def installation_for(
    variant: Variant,
    cache: ArtifactCache,
    say: Say,
    versions: Mapping[str, str] | None = None,
    env: Mapping[str, str] = os.environ,
) -> Installation:
    """Return a server that can serve a variant, made on first use.

    Args:
        variant: What will be served.
        cache: Where it is kept.
        say: Told what is being done, as it takes a minute or two.
        versions: The runtimes' versions to have in the server, by distribution; those of the
            cells that it is compared with.
        env: The variables that may name a server or a Python.

    Raises:
        InferbenchError: IB-805 no Python that the stub runs with; IB-810 it could not be
            installed; IB-811 the stub would have numpy 2; IB-812 the named server is none.
    """
    if env.get(SERVER_VARIABLE):
        return named_installation(env[SERVER_VARIABLE], variant, env)
    requirements = requirements_for(variant, versions or {})
    python = find_python(env)
    return Installer(cache, say, python).get(requirements)


def requirements_for(variant: Variant, versions: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the server's own environment needs for a variant.

    Raises:
        InferbenchError: No backend of this project runs it (IB-812).
    """
    if variant.runtime == "python":
        return ("numpy<2",)
    wanted = _RUNTIMES.get((variant.runtime, variant.device))
    if wanted is None or variant.accelerator == "openvino":
        what = variant.accelerator and f" with the accelerator {variant.accelerator}"
        raise InferbenchError(
            "IB-812",
            f"the server that is installed from the package index has no backend for"
            f" {variant.runtime} on {variant.device}{what}",
            f"Name one that has: {SERVER_VARIABLE}=/opt/tritonserver, or"
            f" {SERVER_VARIABLE}=docker:nvcr.io/nvidia/tritonserver:24.10-py3.",
        )
    return ("numpy<2", *(_pinned(name, versions) for name in wanted))


def find_python(env: Mapping[str, str] = os.environ) -> Python:
    """Return the Python to run the stub with: the one that is named, this one, or one on PATH.

    Raises:
        InferbenchError: There is none that it runs with (IB-805).
    """
    named = env.get(PYTHON_VARIABLE)
    tried = []
    for candidate in [named] if named else _candidates(env):
        found, why = _examined(candidate)
        if found is not None:
            return found
        tried.append(f"{candidate} {why}")
    raise InferbenchError(
        "IB-805",
        f"no Python here runs Triton's stub, which takes {', '.join(reversed(PYTHONS))} with their"
        f" shared library: {'; '.join(tried) or 'none was found'}",
        f"Name one with {PYTHON_VARIABLE}, or a server that runs already with"
        " --inferbench-triton-url.",
    )


class Installer:
    """What installs into the cache."""

    def __init__(self, cache: ArtifactCache, say: Say, python: Python) -> None:
        self._cache, self._say, self._python = cache, say, python

    def get(self, requirements: Sequence[str]) -> Installation:
        """Return a server whose stub has what is required.

        Raises:
            InferbenchError: See `installation_for`.
        """
        python = self._python
        environment = self._entry(
            ("environment", python.executable, python.version, *requirements),
            lambda folder: self._make_environment(folder, requirements),
        )
        interpreter = environment.folder / "venv" / "bin" / "python"
        server = self._entry(
            ("server", WHEEL, WHEEL_VERSION), lambda folder: self._unpack(folder, interpreter)
        )
        home = server.folder / "pytriton" / "tritonserver"
        backends = self._entry(
            (
                "backends",
                WHEEL_VERSION,
                python.version,
                _hash_of({**own_backends(), "batching": _BATCHING}),
            ),
            lambda folder: self._put_backends(folder, home),
        )
        return Installation(
            tritonserver=str(home / "bin" / "tritonserver"),
            backends=str(backends.folder),
            caches=str(home / "caches"),
            path=str(interpreter.parent),
            libraries=f"{python.libraries}:{server.folder / 'nvidia_pytriton.libs'}",
        )

    def _entry(
        self, what: tuple[str, ...], build: Callable[[Path], Mapping[str, object]]
    ) -> CachedArtifact:
        key = hashlib.sha256(json.dumps([_REVISION, *what]).encode()).hexdigest()
        waiting: Say = self._say

        def on_wait(waited_s: float) -> None:
            waiting(f"triton: another process installs it ({waited_s:.0f} s)")

        return self._cache.get_or_build(key, {"triton": what[0]}, build, on_wait)

    def _make_environment(self, folder: Path, requirements: Sequence[str]) -> Mapping[str, object]:
        self._say(f"triton: making the server's environment ({', '.join(requirements)})")
        venv = folder / "venv"
        run_step([self._python.executable, "-m", "venv", str(venv)], "its environment", _INSTALL_S)
        interpreter = str(venv / "bin" / "python")
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run_step([*pip, *requirements], f"{', '.join(requirements)}", _INSTALL_S)
        names = [each for each in _IMPORTS if any(r.startswith(each) for r in requirements)]
        return check_environment(interpreter, [_IMPORTS[each] for each in names])

    def _unpack(self, folder: Path, interpreter: Path) -> Mapping[str, object]:
        self._say(f"triton: downloading the server, {WHEEL} {WHEEL_VERSION} (55 MB)")
        wheel = f"{WHEEL}=={WHEEL_VERSION}"
        command = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        quiet = ("--disable-pip-version-check", "--only-binary=:all:")
        run_step([*command, *quiet, "--target", str(folder), wheel], wheel, _INSTALL_S)
        for each in folder.iterdir():  # the library around the server is not used
            if each.name not in ("pytriton", "nvidia_pytriton.libs"):
                shutil.rmtree(each) if each.is_dir() else each.unlink()
        for each in (folder / "pytriton").iterdir():
            if each.name != "tritonserver":
                shutil.rmtree(each) if each.is_dir() else each.unlink()
        return {"version": TRITON_VERSION}

    def _put_backends(self, folder: Path, home: Path) -> Mapping[str, object]:
        python = folder / "python"
        python.mkdir()
        for name in _PYTHON_BACKEND:
            shutil.copy2(home / "backends" / "python" / name, python)
        shutil.copy2(home / "python_backend_stubs" / self._python.version / _STUB, python)
        for name, file in own_backends().items():
            (folder / name).mkdir()
            shutil.copy2(file, folder / name / "model.py")
            shutil.copy2(_BATCHING, folder / name)
        return {"backends": sorted(each.name for each in folder.iterdir())}


def own_backends() -> dict[str, Path]:
    """Return this project's backends in Python, by the name of the native one they stand in for."""
    folder = Path(__file__).parent / "backends"
    return {file.parent.name: file for file in sorted(folder.glob("*/model.py"))}


def named_installation(
    name: str, variant: Variant, env: Mapping[str, str] = os.environ
) -> Installation:
    """Return the server that somebody named: an executable, its folder, or `docker:IMAGE`.

    Raises:
        InferbenchError: It is none, or has no backend for the variant (IB-812), or its stub's
            numpy is too new (IB-811).
    """
    if name.startswith(_DOCKER):
        if shutil.which("docker", path=env.get("PATH")) is None:
            raise InferbenchError(
                "IB-812",
                f"{name} needs Docker, which is not on PATH",
                "Install it, or run it"
                " elsewhere and name its address with --inferbench-triton-url.",
            )
        return Installation("tritonserver", image=name.removeprefix(_DOCKER))
    path = Path(name).expanduser().absolute()
    executable = path / "bin" / "tritonserver" if path.is_dir() else path
    home = executable.parent.parent
    backends = home / "backends"
    if not (executable.is_file() and os.access(executable, os.X_OK) and backends.is_dir()):
        raise InferbenchError(
            "IB-812",
            f"{SERVER_VARIABLE}={name} names no Triton server: there is no"
            f" {executable} with {backends}",
            "Name the folder that has bin/tritonserver and backends/, such as /opt/tritonserver.",
        )
    if not (backends / variant.runtime).is_dir():
        has = ", ".join(sorted(each.name for each in backends.iterdir() if each.is_dir()))
        raise InferbenchError(
            "IB-812",
            f"the Triton server {home} has no backend {variant.runtime}; it has {has or 'none'}",
            "Serve another runtime, or name another server.",
        )
    search = env.get(PYTHON_VARIABLE, "")
    folder = str(Path(search).parent) if search else env.get("PATH", "")
    stub_python = shutil.which("python3", path=folder)
    if (backends / "python").is_dir() and stub_python:
        refuse_numpy_2(stub_python)
    caches = home / "caches"
    return Installation(
        tritonserver=str(executable),
        backends=str(backends),
        caches=str(caches) if caches.is_dir() else "",
        path=folder,
        libraries=env.get("LD_LIBRARY_PATH", ""),
    )


def check_environment(python: str, modules: Iterable[str] = ()) -> Mapping[str, str]:
    """Return the versions of what a stub's Python imports.

    Raises:
        InferbenchError: Something cannot be imported (IB-810), or numpy is 2 or newer (IB-811).
    """
    found: dict[str, str] = {}
    for name in ("numpy", *modules):
        code = f"import {name}, json; print(json.dumps({name}.__version__))"
        found[name] = str(ask_python(python, code, _ASK_S, f"{name} in the server's environment"))
    _refuse(python, found["numpy"])
    return found


def refuse_numpy_2(python: str) -> None:
    """Refuse a Python whose numpy corrupts tensors in the stub; none at all is not its fault.

    Raises:
        InferbenchError: IB-811.
    """
    code = (
        "import json, importlib.metadata as m\n"
        "try: print(json.dumps(m.version('numpy')))\n"
        "except m.PackageNotFoundError: print('null')"
    )
    version = ask_python(python, code, _ASK_S, "the stub's numpy")
    if version is not None:
        _refuse(python, str(version))


def _refuse(python: str, version: str) -> None:
    if int(version.partition(".")[0]) >= 2:
        raise InferbenchError(
            "IB-811",
            f"{python} has numpy {version}, with which Triton's stub reads wrong values in silence",
            "The server's Python needs numpy < 2: pip install 'numpy<2' there.",
        )


def _candidates(env: Mapping[str, str]) -> list[str]:
    on_path = (shutil.which(f"python{version}", path=env.get("PATH")) for version in PYTHONS)
    return list(dict.fromkeys([sys.executable, *filter(None, on_path)]))


_DESCRIBE = """
import ctypes, json, os, sys, sysconfig
name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
folder = sysconfig.get_config_var("LIBDIR") or ""
places = [folder, os.path.join(sys.base_prefix, "lib")]
places.append(os.path.join(folder, sysconfig.get_config_var("MULTIARCH") or ""))
found = next((p for p in places if p and os.path.exists(os.path.join(p, name))), None)
if found is None:
    try: ctypes.CDLL(name); found = ""
    except OSError: pass
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps(["%d.%d" % sys.version_info[:2], found, base]))
"""


def _examined(candidate: str) -> tuple[Python | None, str]:
    """Return a Python if a stub runs with it, or why not."""
    try:
        version, libraries, base = _described(candidate)
    except InferbenchError as error:
        return None, f"does not answer ({error.message})"
    if version not in PYTHONS:
        return None, f"is {version}"
    if libraries is None:
        return None, f"has no libpython{version}.so.1.0"
    return Python(base, version, libraries), ""


def _described(candidate: str) -> tuple[str, str | None, str]:
    version, libraries, base = ask_python(candidate, _DESCRIBE, _ASK_S, candidate)
    return str(version), libraries, str(base)


def _pinned(requirement: str, versions: Mapping[str, str]) -> str:
    """Return a requirement at the version of what it is compared with, where that is known."""
    name = requirement.partition("[")[0]
    version = versions.get(name)
    return f"{requirement}=={version}" if version else f"{requirement}>={_LEAST[name]}"


def _hash_of(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
