"""The host's lock between real processes: exclusion, no starvation, no hold of the dead."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_inferbench import host_lock
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.host_lock import HostLock

PATIENCE_S = 60.0

# A holder: says "waiting", then "held" once it holds, and lets go at a line on its input.
HOLDER = """
import sys
from pathlib import Path
from pytest_inferbench.host_lock import HostLock
lock = HostLock(Path(sys.argv[1]))
print("waiting", flush=True)
with getattr(lock, sys.argv[2])():
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
sys.stdin.readline()
"""

# Takes shared holds, one after the other with no pause and overlapping with its twins'.
STREAM = """
import sys, time
from pathlib import Path
from pytest_inferbench.host_lock import HostLock
lock = HostLock(Path(sys.argv[1]))
print("held", flush=True)
while True:
    with lock.shared():
        time.sleep(0.05)
"""

# Adds 1 to a counter, not atomically, under an exclusive hold.
COUNT = """
import sys, time
from pathlib import Path
from pytest_inferbench.host_lock import HostLock
lock, counter = HostLock(Path(sys.argv[1])), Path(sys.argv[2])
for _ in range(15):
    with lock.shared(), lock.exclusive():
        value = int(counter.read_text())
        time.sleep(0.002)
        counter.write_text(str(value + 1))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def run(script: str, *arguments: object, folder: Path = folder) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(folder), *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert said(process) == "released"


def hold(start: Start, kind: str) -> subprocess.Popen[str]:
    process = start(HOLDER, kind)
    assert said(process) == "waiting"
    assert said(process) == "held"
    return process


def gets(folder: Path, kind: str, within_s: float = 0.3) -> bool:
    """Whether a hold is had now."""

    class GaveUpError(Exception):
        pass

    # No alarm: in a process that has loaded runtimes, who knows which thread it wakes.
    class Impatient(host_lock._Wait):
        def _say(self) -> None:
            if time.monotonic() - self._started > within_s:
                raise GaveUpError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_lock, "_Wait", Impatient)
        try:
            with getattr(HostLock(folder), kind)():
                return True
        except GaveUpError:
            return False


@pytest.mark.parametrize(
    ("held", "wanted", "had"),
    [
        ("shared", "shared", True),
        ("shared", "exclusive", False),
        ("exclusive", "shared", False),
        ("exclusive", "exclusive", False),
    ],
)
def test_who_may_hold_beside_whom(
    start: Start, folder: Path, held: str, wanted: str, had: bool
) -> None:
    holder = hold(start, held)
    assert gets(folder, wanted, within_s=PATIENCE_S if had else 0.3) is had
    release(holder)
    assert gets(folder, wanted, PATIENCE_S)


def test_exclusive_holds_of_many_processes_lose_no_update(
    start: Start, folder: Path, tmp_path: Path
) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [start(COUNT, counter) for _ in range(3)]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0, 0]
    assert counter.read_text() == "45"


def test_a_stream_of_shared_holders_does_not_starve_an_exclusive_one(
    start: Start, folder: Path
) -> None:
    streams = [start(STREAM) for _ in range(4)]
    assert {said(process) for process in streams} == {"held"}
    for _ in range(5):
        assert gets(folder, "exclusive", PATIENCE_S)
    assert all(process.poll() is None for process in streams)


@pytest.mark.parametrize("held", ["shared", "exclusive"])
def test_a_killed_holder_holds_nothing(start: Start, folder: Path, held: str) -> None:
    holder = hold(start, held)
    assert not gets(folder, "exclusive")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert gets(folder, "exclusive", PATIENCE_S)


def test_a_process_killed_while_it_waits_bars_nobody(start: Start, folder: Path) -> None:
    holder = hold(start, "shared")
    waiting = start(HOLDER, "exclusive")
    assert said(waiting) == "waiting"
    _until(lambda: not gets(folder, "shared"))  # it stands in the turnstile now
    waiting.kill()
    waiting.wait()
    assert gets(folder, "shared", PATIENCE_S)
    release(holder)


def test_a_child_of_the_holder_does_not_inherit_the_hold(folder: Path) -> None:
    with HostLock(folder).exclusive():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert gets(folder, "exclusive", PATIENCE_S)
    finally:
        child.communicate(b"\n")


def test_exclusive_inside_shared_gives_it_up_and_takes_it_back(start: Start, folder: Path) -> None:
    lock = HostLock(folder)
    with lock.shared():
        assert not gets(folder, "exclusive")
        with lock.exclusive():
            assert not gets(folder, "shared")
        assert gets(folder, "shared", PATIENCE_S)
        assert not gets(folder, "exclusive")
    assert gets(folder, "exclusive", PATIENCE_S)


def test_two_processes_may_want_exclusive_inside_shared_at_once(start: Start, folder: Path) -> None:
    """Each would wait for the other's shared hold for ever, if it kept its own."""
    lock = HostLock(folder)
    with lock.shared():
        other = start(HOLDER, "exclusive")
        assert said(other) == "waiting"
        _until(lambda: not gets(folder, "shared"))
        assert other.stdin is not None
        other.stdin.write("\n")  # lets go as soon as it holds
        other.stdin.flush()
        with lock.exclusive():
            assert said(other) == "held"
            assert said(other) == "released"


@pytest.mark.parametrize("outer", ["shared", "exclusive"])
@pytest.mark.parametrize("inner", ["shared", "exclusive"])
def test_holds_nest(folder: Path, outer: str, inner: str) -> None:
    lock = HostLock(folder)
    with getattr(lock, outer)():
        for _ in range(2):
            with getattr(lock, inner)(), getattr(lock, outer)(), getattr(lock, inner)():
                assert not gets(folder, "exclusive")
        assert gets(folder, "shared", 0.3) is (outer == "shared")
    assert gets(folder, "exclusive", PATIENCE_S)


def test_a_nested_shared_hold_does_not_queue_behind_a_waiting_exclusive_one(
    start: Start, folder: Path
) -> None:
    lock = HostLock(folder)
    with lock.shared():
        waiting = start(HOLDER, "exclusive")
        assert said(waiting) == "waiting"
        _until(lambda: not gets(folder, "shared"))
        with lock.shared():
            assert waiting.poll() is None
    assert said(waiting) == "held"


def test_a_failure_inside_ends_the_hold(folder: Path) -> None:
    lock = HostLock(folder)
    for kind in ("shared", "exclusive"):
        with pytest.raises(ZeroDivisionError), lock.shared(), getattr(lock, kind)():
            raise ZeroDivisionError
        assert gets(folder, "exclusive", PATIENCE_S)


def test_an_interrupted_upgrade_leaves_no_hold_behind(start: Start, folder: Path) -> None:
    holder = hold(start, "shared")
    lock = HostLock(folder)

    def interrupt(_waited_s: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), lock.shared(), lock.exclusive(interrupt):
        pytest.fail("the other process still shares the host")
    release(holder)
    assert gets(folder, "exclusive", PATIENCE_S)


@pytest.mark.parametrize("kind", ["shared", "exclusive"])
def test_a_wait_is_told_of_after_two_seconds(start: Start, folder: Path, kind: str) -> None:
    holder = hold(start, "exclusive")
    told: list[float] = []

    def on_wait(waited_s: float) -> None:
        told.append(waited_s)
        release(holder)

    started = time.monotonic()
    with getattr(HostLock(folder), kind)(on_wait):
        assert time.monotonic() - started >= 2
    assert len(told) == 1
    assert told[0] >= 2


@pytest.mark.slow
def test_a_long_wait_is_told_of_every_ten_seconds(start: Start, folder: Path) -> None:
    holder = hold(start, "exclusive")
    told: list[float] = []

    def on_wait(waited_s: float) -> None:
        told.append(waited_s)
        if len(told) == 3:
            release(holder)

    with HostLock(folder).exclusive(on_wait):
        assert [int(waited_s // 10) for waited_s in told] == [0, 1, 2]


def test_a_hold_at_once_is_not_told_of(folder: Path) -> None:
    told: list[float] = []
    with HostLock(folder).exclusive(told.append):
        assert told == []


def test_other_users_can_open_what_the_first_made(folder: Path) -> None:
    previous = os.umask(0o077)
    try:
        with HostLock(folder).exclusive():
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(previous)
    assert modes == {"host.lock": 0o644, "turnstile.lock": 0o644}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
@pytest.mark.parametrize("uids", [(0, 65534), (65534, 0)])
def test_two_users_exclude_each_other(start: Start, uids: tuple[int, int]) -> None:
    """In a folder with the mode 1777, where `fs.protected_regular` is at work."""
    # Imported while still root, who may read the checkout.
    first, second = (
        f"import os, pytest_inferbench.host_lock\nos.setuid({uid})\n{HOLDER}" for uid in uids
    )
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders shut other users out
        everybodys = Path(name)
        everybodys.chmod(0o1777)
        holder = start(first, "exclusive", folder=everybodys)
        assert [said(holder), said(holder)] == ["waiting", "held"]
        waiting = start(second, "shared", folder=everybodys)
        assert said(waiting) == "waiting"
        assert not gets(everybodys, "shared")
        release(holder)
        assert said(waiting) == "held"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InferbenchError, match=r"file/lock.*cannot be used") as caught,
        HostLock(tmp_path / "file" / "lock").shared(),
    ):
        pytest.fail("there is no such folder")
    assert caught.value.code == "IB-690"


def test_a_symbolic_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "target").write_text("")
    (folder / "host.lock").symlink_to(tmp_path / "target")
    with pytest.raises(InferbenchError), HostLock(folder).shared():
        pytest.fail("somebody else chose the file")


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
