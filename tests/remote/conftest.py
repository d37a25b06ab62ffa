"""Another host: a real sshd on the loopback address, and interpreters that hold nothing of ours."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pytest_inferbench.lockfile import open_lock, try_lock
from pytest_inferbench.worker.client import Environment

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")

SERVER = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
MaxStartups 50
AcceptEnv {mark}
"""
CLIENT = """
Host there banner
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  SendEnv {mark}
Host there
  IdentityFile {folder}/user_key
Host banner
  IdentityFile {folder}/banner_key
"""


@dataclass(frozen=True)
class Host:
    """What tests hold of the server."""

    folder: Path
    pid: int

    def ssh(self, name: str = "there") -> str:
        return f"-F {self.folder}/client {name}"

    def environment(self, name: str = "there", python: str = sys.executable, **env) -> Environment:
        return Environment("orin", python, self.ssh(name), env)

    def logins(self) -> int:
        return (self.folder / "log").read_text().count("Accepted publickey")

    def connections(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _make_keys(folder: Path) -> None:
    for name in ("host_key", "user_key", "banner_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    user, banner = ((folder / f"{name}_key.pub").read_text() for name in ("user", "banner"))
    talkative = 'command="echo Welcome to Ubuntu; eval \\"$SSH_ORIGINAL_COMMAND\\""'
    (folder / "authorized_keys").write_text(f"{user}{talkative} {banner}")


@pytest.fixture(scope="session")
def host(tmp_path_factory, mark_variable):
    """A server that lets this user in, ended with the session."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd on this machine (apt-get install openssh-server)")
    folder, port = tmp_path_factory.mktemp("sshd"), free_port()
    facts = {"folder": folder, "port": port, "mark": mark_variable, "user": getpass.getuser()}
    _make_keys(folder)
    (folder / "server").write_text(SERVER.format(**facts))
    (folder / "client").write_text(CLIENT.format(**facts))
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # Debian's start script makes it
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "server")], stderr=log)
    try:
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"sshd did not start: {(folder / 'log').read_text()}")
            time.sleep(0.05)
        yield Host(folder, server.pid)
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(autouse=True)
def _adversaries_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "worker"))


@pytest.fixture(scope="session")
def python_with(request):
    """Make a Python 3.10 that has some packages and nothing else; kept between sessions."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [str(path) for path in sorted(pyenv.glob("3.10.*/bin/python"))]
    found += filter(None, [shutil.which("python3.10")])

    def make(*packages: str) -> str:
        if not found:
            pytest.skip("no Python 3.10 on this machine")
        name = "-".join(package.partition("<")[0] for package in packages)
        folder = request.config.cache.mkdir("inferbench-venvs") / name
        python = folder / "bin" / "python"
        lock = open_lock(folder.with_suffix(".lock"))  # one process makes it, the others wait
        while not try_lock(lock):
            time.sleep(0.1)
        try:
            if not (folder / "whole").exists():
                shutil.rmtree(folder, ignore_errors=True)
                subprocess.run([found[0], "-m", "venv", str(folder)], check=True)
                install = [str(python), "-m", "pip", "install", "-q", *packages]
                subprocess.run(install, check=True)
                (folder / "whole").touch()
        finally:
            os.close(lock)
        return str(python)

    return make


@pytest.fixture(scope="session")
def bare_python(python_with):
    """A Python 3.10 that has numpy, before its version 2, and onnxruntime."""
    return python_with("numpy<2", "onnxruntime")
