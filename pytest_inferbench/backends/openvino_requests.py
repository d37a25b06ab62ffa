"""Lends the infer requests of a compiled model: takes what compiles it; knows no names or types.

Once a call has failed, the CPU plug-in keeps the shapes that it got to, and every later call of
that compiled model, whichever its request, may fail for them. So it is not used again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Compiled:
    """A compiled model, its idle requests, and how many calls are under way on it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.idle: deque[Any] = deque()
        self.running = 0


class Requests:
    """Runs calls, each with a request to itself; replaces the compiled model after a failure."""

    def __init__(self, model: Any, compile_again: Callable[[], Any]) -> None:
        """Take a compiled model, and what gives another one of the same."""
        self._compile = compile_again
        self._lock = threading.Lock()
        self._current: Compiled | None = Compiled(model)

    @property
    def model(self) -> Any:
        """The compiled model that the next call will run on."""
        with self._lock:
            return self._fresh().model

    def run(self, call: Callable[[Any], Any]) -> Any:
        """Return what a call gives that is handed a request.

        One that failed while others ran may have failed for one of them, and is run once more, by
        itself.
        """
        with self._lock:
            compiled = self._fresh()
            compiled.running += 1
        try:
            # Pop is atomic; a request serves one thread at a time.
            request = (
                compiled.idle.pop() if compiled.idle else compiled.model.create_infer_request()
            )
            result = call(request)
        except Exception:
            with self._lock:
                alone = compiled is self._current and compiled.running == 1
                compiled.running -= 1
                self._retire(compiled)
            if alone:
                raise
        else:
            with self._lock:
                compiled.running -= 1
            compiled.idle.append(request)
            return result
        return call(self._compile().create_infer_request())

    def prepare(self, bind: Callable[[Any], object]) -> Callable[[], object]:
        """Return a call that runs one request over and over.

        Args:
            bind: Binds inputs to a request; what it returns is kept as long as that is used.
        """
        compiled, request, bound = self._bound(bind)

        def run() -> object:
            nonlocal compiled, request, bound
            if compiled is not self._current:
                compiled, request, bound = self._bound(bind)
            try:
                return request.infer(share_outputs=True)
            except Exception:
                with self._lock:
                    self._retire(compiled)
                raise

        return run

    def close(self) -> None:
        """Let go of the model."""
        self._current = None

    def _bound(self, bind: Callable[[Any], object]) -> tuple[Compiled, Any, object]:
        with self._lock:
            compiled = self._fresh()
        request = compiled.model.create_infer_request()
        return compiled, request, bind(request)

    def _fresh(self) -> Compiled:
        if self._current is None:
            self._current = Compiled(self._compile())
        return self._current

    def _retire(self, compiled: Compiled) -> None:
        if compiled is self._current:
            self._current = None
