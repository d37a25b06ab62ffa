"""The errors a user is meant to read: a short code, what happened, and what to do next.

Code ranges: 1xx settings, 2xx matrix and availability, 3xx worker, 4xx artifacts and models,
5xx accuracy and data, 6xx latency and verdicts, 7xx baselines. Standard library only, because
the worker is shipped this file too.
"""

from __future__ import annotations


class InferbenchError(Exception):
    """A failure whose message is part of the product.

    Attributes:
        code: A stable short code such as ``IB-301``, for documentation and searching.
        message: What happened, and to what.
        hint: What to do next; empty when the message says it all.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        hint = f"\n  {self.hint}" if self.hint else ""
        return f"[{self.code}] {self.message}{hint}"
