"""What a session says while it runs: takes pytest's config, gives a voice for lines and progress.

A statement is a line that stays. Progress is a line that moves on: it is redrawn in place where
there is a terminal that nobody else draws on, a plain line now and then elsewhere, and nothing
with `-q`. A process of xdist sends both to the controller, which has the terminal.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_inferbench.progress import NEXT_WORD_S

if TYPE_CHECKING:
    from pytest_inferbench.gate import Gate

_EVENT = "inferbench_told"
_REDRAW_S = 0.5
_SEND_S = 1.0
_ERASE = "\r\x1b[2K"


class Voice(Protocol):
    """Where a session's words go."""

    def say(self, line: str) -> None:
        """Say what happened."""

    def show(self, line: str) -> None:
        """Say how far something is, as often as wanted; the voice chooses which of it is heard."""

    def hide(self) -> None:
        """Take back what is drawn, before somebody else writes."""


def voice_of(config: pytest.Config) -> Voice:
    """Return the voice of this process."""
    return _Sent(config) if hasattr(config, "workerinput") else _Late(config)


def send_words(node: Any, gate: Gate) -> None:
    """Have one of xdist's processes send its words to this one, which says them.

    xdist refuses events that it does not know, so its own reading of them is wrapped, for this
    node; a process that is not told that somebody listens sends nothing.
    """
    session = node.config.pluginmanager.getplugin("dsession")
    voice = gate.voice
    if session is None or voice is None or not hasattr(node, "process_from_remote"):
        return
    node.workerinput[_EVENT] = True
    reading = node.process_from_remote

    def read(event: Any) -> None:
        if isinstance(event, tuple) and event[0] == _EVENT:
            node.notify_inproc(_EVENT, **event[1])  # said by the main thread, in its turn
        else:
            reading(event)

    def said(line: str, *, moves: bool) -> None:
        (voice.show if moves else voice.say)(line)

    node.process_from_remote = read
    setattr(session, f"worker_{_EVENT}", said)


class _Mute:
    def say(self, line: str) -> None:
        """Say nothing."""

    def show(self, line: str) -> None:
        """Say nothing."""

    def hide(self) -> None:
        """There is nothing."""


class _Late:
    """Chooses its voice when it first speaks: a gate may be made before pytest has a reporter."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @cached_property
    def _voice(self) -> Voice:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is None:
            return _Mute()
        return _Live(self._config) if _may_draw(self._config, reporter) else _Plain(self._config)

    def say(self, line: str) -> None:
        self._voice.say(line)

    def show(self, line: str) -> None:
        self._voice.show(line)

    def hide(self) -> None:
        if "_voice" in vars(self):
            self._voice.hide()


class _Sent:
    """Sends words to the process that has the terminal, if that one listens."""

    def __init__(self, config: pytest.Config) -> None:
        found = (getattr(each, "sendevent", None) for each in config.pluginmanager.get_plugins())
        senders: list[Callable[..., None]] = [each for each in found if each is not None]
        listens = config.workerinput.get(_EVENT)  # type: ignore[attr-defined]
        self._send = senders[0] if listens and senders else None
        self._next_s = 0.0

    def say(self, line: str) -> None:
        if self._send is not None:
            self._send(_EVENT, line=line, moves=False)

    def show(self, line: str) -> None:
        now_s = time.monotonic()
        if self._send is not None and now_s >= self._next_s:
            self._next_s = now_s + _SEND_S
            self._send(_EVENT, line=line, moves=True)

    def hide(self) -> None:
        """The controller does."""


class _Plain:
    """Lines, the moving ones at most every `NEXT_WORD_S`."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_quiet = config.get_verbosity() < 0
        self._next_s = 0.0

    def say(self, line: str) -> None:
        self._write(line)

    def show(self, line: str) -> None:
        now_s = time.monotonic()
        if not self._is_quiet and now_s >= self._next_s:
            self._next_s = now_s + NEXT_WORD_S
            self._write(line)

    def hide(self) -> None:
        """Nothing is drawn."""

    def _write(self, line: str) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            with _shown(self._config):
                reporter.ensure_newline()
                reporter.write_line(line, flush=True)


class _Live(_Plain):
    """A moving line is drawn below pytest's own, and the cursor goes back to where it was."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self._is_drawn = False

    def say(self, line: str) -> None:
        self.hide()
        super().say(line)

    def show(self, line: str) -> None:
        now_s = time.monotonic()
        if not self._is_quiet and (now_s >= self._next_s or not self._is_drawn):
            self._next_s = now_s + _REDRAW_S
            self._draw(line)
            self._is_drawn = True

    def hide(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            self._draw("")

    def _draw(self, line: str) -> None:
        terminal = self._config.pluginmanager.getplugin("terminalreporter")._tw
        back = f"\x1b[1A\x1b[{terminal.width_of_current_line + 1}G"
        with _shown(self._config):
            # Not through pytest's writer, which counts what stands in its own line.
            terminal._file.write(f"\n{_ERASE}{line[: terminal.fullwidth - 1]}{back}")
            terminal._file.flush()


@contextlib.contextmanager
def _shown(config: pytest.Config) -> Iterator[None]:
    """Reach the terminal, also in the middle of a test whose output is captured."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled():
        yield


def _may_draw(config: pytest.Config, reporter: Any) -> bool:
    """Whether there is a terminal, and neither tests, nor logs, nor another reporter draw on it."""
    # Asked of the reporter, who looked before anything was captured.
    terminal = reporter.isatty and reporter.hasmarkup
    known = type(reporter).__module__ == "_pytest.terminal"
    logs = config.getoption("log_cli_level", None) is not None or config.getini("log_cli")
    captured = config.getoption("capture") != "no"
    return bool(known and captured and not logs and terminal)
