"""Watches one child: takes an execnet channel, gives replies or how it died; opaque to both.

Runs inside an execnet gateway, sent there as text: standard library only, Linux only. One thread
runs a select loop. From the controller come ``("call", timeout_s, memory_mib, bytes)`` and more
bytes, all for the child's pipe; to it go ``("reply", size, bytes)`` and more bytes, or, at last,
``("dead", facts)``. When the channel ends for any reason, so does every process the child ever
started: they cannot leave, because this process is a subreaper and kills whatever it is above.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_TOKEN = "INFERBENCH_WORKER"  # gateway.TOKEN, which this text cannot import
_PIPE_BYTES = 1 << 20
_LOG_BYTES = 1 << 16
_LOG_LINES = 40
_IDLE_TICK_S = 1.0
_MEMORY_TICK_S = 0.05
_FAMILY_TICKS = 10  # the search for new descendants reads all of /proc: not at every tick
_KILL_TIMEOUT_S = 10.0
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Supervisor:
    """One child process, its pipes, and its limits."""

    def __init__(self, channel: Any, command: list[str], env: dict[str, str]) -> None:
        """Start the child.

        Args:
            channel: The execnet channel to the controller.
            command: Arguments of this interpreter; the two pipes' numbers and our pid are added.
            env: Environment variables on top of our own.
        """
        self.channel = channel
        self.inbox: deque[Any] = deque()
        self.wake_fd, self._wake_write_fd = os.pipe()
        os.set_blocking(self._wake_write_fd, False)
        child_read, self.to_fd = os.pipe()
        self.from_fd, child_write = os.pipe()
        self.log_fd, log_write = os.pipe()
        for fd in (self.to_fd, self.from_fd):
            with contextlib.suppress(OSError, AttributeError):
                import fcntl

                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self.child = subprocess.Popen(
            [sys.executable, *command, str(child_read), str(child_write), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log_write,
            stderr=log_write,
            pass_fds=(child_read, child_write),
            env={**os.environ, **env},
            start_new_session=True,
        )
        with contextlib.suppress(OSError), open(f"/proc/{self.child.pid}/oom_score_adj", "w") as f:  # noqa: PTH123
            f.write("1000")
        for fd in (child_read, child_write, log_write):
            os.close(fd)
        for fd in (self.to_fd, self.from_fd, self.log_fd):
            os.set_blocking(fd, False)
        self.selector = selectors.DefaultSelector()
        for fd in (self.wake_fd, self.from_fd, self.log_fd):
            self.selector.register(fd, selectors.EVENT_READ)
        self.parent = os.getppid()
        self.token = env.get(_TOKEN, "")
        self.outbox: deque[memoryview] = deque()
        self.log = bytearray()
        self.reply_head = bytearray()
        self.reply_left = 0
        self.deadline: float | None = None
        self.memory_mib: float | None = None
        self.peak_mib = 0.0
        self.ticks = 0
        self.family = {self.child.pid}

    def serve(self) -> None:
        """Relay until the channel ends or the child does."""
        self.channel.setcallback(self._receive, endmarker=None)
        signal.signal(signal.SIGTERM, lambda *_: self._receive(None))
        self.channel.send(("started", self.child.pid))
        reason: str | None = None
        try:
            while reason is None:
                reason = self._step()
            if reason == "timeout":
                self._ask_where()
            elif reason == "ended":  # the pipe ends a moment before the process does
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.child.wait(1.0)
            alive = self.child.poll() is None
        finally:
            kill_descendants(self.child)
            remove_segments(self.token)
        if reason == "orphaned":
            os._exit(1)  # execnet itself would wait for the end of the channel
        if reason != "closed":
            while self._read_log():
                pass
            code = self.child.returncode
            facts = {
                "reason": reason,
                "exit_code": code if code is not None and code >= 0 else None,
                "signal": -code if code is not None and code < 0 else None,
                "killed_by_us": alive,
                "peak_mib": self.peak_mib,
                "stderr_tail": self._log_tail(),
            }
            self.channel.send(("dead", facts))

    def _receive(self, item: Any) -> None:
        """Take an item in execnet's receiver thread, or in a signal handler."""
        self.inbox.append(item)
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write_fd, b".")

    def _step(self) -> str | None:
        """Wait for one round of events; return why to stop, if so."""
        events = self.selector.select(self._patience_s())
        ready = {key.fd for key, _ in events}
        if self.wake_fd in ready:
            os.read(self.wake_fd, 4096)
        while self.inbox:
            item = self.inbox.popleft()
            if item is None:
                return "closed"
            if not isinstance(item, bytes):
                _, timeout_s, self.memory_mib, item = item
                self.deadline = time.monotonic() + timeout_s
                self.ticks = 0
            self.outbox.append(memoryview(item))
        self._write_child()
        if self.log_fd in ready and not self._read_log():
            self.selector.unregister(self.log_fd)
        if self.from_fd in ready:  # what a dying child still said comes before its death
            return self._broken_limit() if self._relay_reply() else "ended"
        return "ended" if self.child.poll() is not None else self._broken_limit()

    def _patience_s(self) -> float:
        if self.deadline is None:
            return _IDLE_TICK_S
        tick = _IDLE_TICK_S if self.memory_mib is None else _MEMORY_TICK_S
        return max(0.0, min(tick, self.deadline - time.monotonic()))

    def _broken_limit(self) -> str | None:
        if os.getppid() != self.parent:  # a fork of the controller may still hold the channel open
            return "orphaned"
        if self.deadline is None:
            return None
        if self.memory_mib is not None:
            if self.ticks % _FAMILY_TICKS == 0:
                self.family = {self.child.pid, *descendants(os.getpid())}
            self.ticks += 1
            used_mib = sum(map(rss_mib, self.family))
            self.peak_mib = max(self.peak_mib, used_mib)
            if used_mib > self.memory_mib:
                return "memory"
        return "timeout" if time.monotonic() >= self.deadline else None

    def _write_child(self) -> None:
        try:
            while self.outbox:
                head = self.outbox.popleft()
                sent = os.write(self.to_fd, head)
                if sent < len(head):
                    self.outbox.appendleft(head[sent:])
        except BlockingIOError:
            self.outbox.appendleft(head)
        except BrokenPipeError:
            self.outbox.clear()  # its end is seen on the other pipe, or at the next tick
        waiting = self.to_fd in self.selector.get_map()
        if self.outbox and not waiting:
            self.selector.register(self.to_fd, selectors.EVENT_WRITE)
        elif waiting and not self.outbox:
            self.selector.unregister(self.to_fd)

    def _relay_reply(self) -> bool:
        """Pass on what the child wrote; return False at its end."""
        data = os.read(self.from_fd, _PIPE_BYTES)
        if not data or self.deadline is None:  # an end, or an answer that nobody asked for
            return False
        if not self.reply_left:
            self.reply_head += data
            if len(self.reply_head) < 8:
                return True
            self.reply_left = int.from_bytes(self.reply_head[:8], "little")
            data = bytes(self.reply_head[8:])
            self.reply_head.clear()
            self.channel.send(("reply", self.reply_left, data))
        else:
            self.channel.send(data)
        self.reply_left -= len(data)
        if self.reply_left <= 0:
            self.deadline = None
        return self.reply_left >= 0

    def _read_log(self) -> bool:
        """Keep the last of what the child printed; return False at its end."""
        try:
            data = os.read(self.log_fd, _LOG_BYTES)
        except BlockingIOError:
            return False
        self.log = (self.log + data)[-_LOG_BYTES:]
        return bool(data)

    def _ask_where(self) -> None:
        """Have a hanging child print its Python stacks; faulthandler needs no GIL for that."""
        with contextlib.suppress(OSError):
            os.kill(self.child.pid, signal.SIGUSR1)
        time.sleep(0.1)

    def _log_tail(self) -> str:
        lines = self.log.decode(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


def kill_descendants(child: subprocess.Popen[bytes]) -> None:
    """Kill and reap everything below this process; an orphan comes back to us and is next."""
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                os.killpg(
                    pid, signal.SIGKILL
                )  # a leader's whole group at once: it cannot fork away
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if child.poll() is not None:  # before waitpid(-1) could take its status
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
        time.sleep(0.002)


def remove_segments(token: str) -> None:
    """Remove the shared memory and folders of servers below the child: those named after it.

    Whoever is killed outright cleans up nothing.
    """
    for folder in ("/dev/shm", tempfile.gettempdir()) if token else ():
        for path in glob.glob(f"{folder}/inferbench-{token}*"):  # noqa: PTH207
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)  # noqa: PTH108, PTH112


def descendants(root: int) -> list[int]:
    """Return the pids below a process, in no order."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as f:  # noqa: PTH123
                parent = int(f.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, pending = [], [root]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def rss_mib(pid: int) -> float:
    """Return a process's resident memory; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as f:  # noqa: PTH123
            return int(f.read().split()[1]) * _PAGE_MIB
    except OSError:
        return 0.0


def serve(channel: Any, command: list[str], env: dict[str, str]) -> None:
    """Be the supervisor of one child until the channel ends."""
    for name in (signal.SIGINT, signal.SIGHUP):  # the controller's to answer, not ours; and not
        signal.signal(name, lambda *_: None)  # SIG_IGN, which the child would inherit
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Supervisor(channel, command, env).serve()


if __name__ == "__channelexec__":
    serve(channel, *channel.receive())  # type: ignore[name-defined]  # noqa: F821
