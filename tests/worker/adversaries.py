"""Backends that do the worst that a runtime can do, on the verb and in the way they are told."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import numpy as np

from pytest_inferbench.backends.contract import Backend, TensorSpec

IMAGE = TensorSpec("x", "float32", (1, "n"))


class Adversary(Backend):
    """Does `options["deed"]` when it infers, or when it opens if `options["when"]` says so."""

    def _open(self, artifact, options, precision):
        self._options = options
        if options.get("when") == "open":
            self._do()
        return (IMAGE,), (TensorSpec("y", "float32", (1, "n")),)

    def _infer(self, inputs):
        self._do()
        return {"y": inputs["x"] + 1}

    def _close(self):
        pass

    def _do(self):
        globals()[self._options.get("deed", "nothing")]()


def nothing():
    pass


def segfault():
    ctypes.string_at(0)


def abort():
    os.abort()


def leave():
    os._exit(7)


def leave_politely():
    sys.exit(9)


def hold_the_gil():
    while True:  # PyDLL keeps the GIL; a signal's handler ends one sleep, not the loop
        ctypes.PyDLL(None).sleep(1000)


def spin():
    while True:
        pass


def ignore_sigterm():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(1000)


def print_megabytes():
    for _ in range(100):
        os.write(1, b"noise on fd 1\n" * 8000)
        sys.stdout.write("noise on stdout\n" * 1000)
        sys.stderr.write("noise on stderr\n" * 1000)


def print_forever():
    while True:
        os.write(2, b"noise without end\n" * 4000)


def answer_forever():
    while True:
        for fd in range(3, 64):
            try:
                os.write(fd, b"\x0f" * 4096)
            except OSError:
                continue


def print_and_die():
    print_megabytes()
    sys.stdout.write("the last words\n")
    os.abort()


def eat_memory():
    kept = []
    while True:
        kept.append(np.ones(2_000_000))  # 16 MiB, touched


def eat_memory_in_a_grandchild():
    subprocess.run([sys.executable, "-c", "x=[]\nwhile 1: x.append(b'1'*10**7)"], check=False)


def raise_an_error():
    raise ValueError("the value is of no use")


def close_pipes():
    os.closerange(3, 256)
    time.sleep(1000)


def close_output():
    os.closerange(1, 3)


def talk_on_the_pipe():
    for fd in range(3, 64):
        try:
            os.write(fd, b"\xff" * 64)
        except OSError:
            continue


def grandchildren():
    """Leave processes behind in every way there is, then fall silent."""
    sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
    subprocess.Popen(sleep)
    subprocess.Popen(sleep, start_new_session=True)
    if os.fork() == 0:  # a daemon: forked twice, in a session of its own, pipes still open
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(1000)
        os._exit(0)
    time.sleep(0.3)


def grandchildren_then_crash():
    grandchildren()
    segfault()


def grandchildren_then_hang():
    grandchildren()
    hold_the_gil()


def slow():
    time.sleep(1.5)


def not_an_array():
    raise SystemError("native code returned a result with an exception set")
