"""What became of a case, and what that means beside what was recorded. Pure.

Takes where a case ended and how its outputs compare, gives an `Outcome`; takes that and what is
recorded for it, gives a `Ruling`. Knows neither pytest nor workers nor files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pytest_inferbench.onnx_cases.tensors import Mismatch


class Kind(str, Enum):
    """How a case can end."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"


_BROKEN = frozenset({Kind.CRASHED, Kind.TIMED_OUT})
_NOT_IMPLEMENTED = ("not_implemented", "notimplemented", "not implemented", "unsupported op")


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        detail: Why it did not pass, in a line.
        max_error: The largest difference of an output, where that is why.
        note: What must be said of it however it ended.
    """

    kind: Kind
    detail: str = ""
    max_error: float | None = None
    note: str = ""


def ended_early(stage: str, error: Mapping[str, str]) -> Outcome:
    """Return the outcome of a case whose model or inputs the backend refused.

    What is refused when the model is opened is not supported, and so is what a runtime says it has
    not implemented; anything else that is raised while it runs is a failure.

    Args:
        stage: Where it ended; see `serve.run_case`.
        error: ``code``, ``type`` and ``message`` of what was raised.
    """
    ours = f"[{error['code']}] " if error["code"] else f"{error['type']}: "
    text = one_line(ours + error["message"])
    said = f"{error['type']} {error['message']}".lower()
    refused = stage in ("open", "types") or any(sign in said for sign in _NOT_IMPLEMENTED)
    return Outcome(Kind.UNSUPPORTED if refused else Kind.FAILED, text)


def compared(mismatches: Mapping[str, Mismatch]) -> Outcome:
    """Return the outcome of a case that ran, from the outputs that differ, by name."""
    if not mismatches:
        return Outcome(Kind.PASSED)
    errors = [each.max_error for each in mismatches.values() if each.max_error is not None]
    text = "; ".join(f"output {name!r}: {each.text}" for name, each in mismatches.items())
    return Outcome(Kind.FAILED, one_line(text), max(errors, default=None))


def fell_back(ran: Mapping[str, Any]) -> str | None:
    """Return where a model ran, if none of it ran where it was asked to."""
    fallback, placement = ran.get("fallback") or [], dict(ran.get("placement") or {})
    if not fallback:
        return None
    elsewhere = {node.get("provider") for node in fallback}
    if any(count for where, count in placement.items() if where not in elsewhere):
        return None
    ops = ", ".join(dict.fromkeys(str(node.get("op")) for node in fallback))
    return f"{ops} ran on {', '.join(sorted(map(str, elsewhere)))} instead"


class Verdict(str, Enum):
    """What an outcome means beside what is recorded."""

    PASS = "pass"
    IMPROVED = "improved"
    REGRESSED = "regressed"
    FAILED = "failed"
    KNOWN = "known to fail"
    UNSUPPORTED = "unsupported"
    RECORDED = "recorded"


@dataclass(frozen=True)
class Ruling:
    """The verdict of a case, with its code and what to say."""

    verdict: Verdict
    code: str
    text: str

    @property
    def fails(self) -> bool:
        """Whether its test fails."""
        return self.verdict in (Verdict.REGRESSED, Verdict.FAILED)

    @property
    def passes(self) -> bool:
        """Whether its test passes; what neither fails nor passes is skipped."""
        return self.verdict in (Verdict.PASS, Verdict.IMPROVED)


@dataclass(frozen=True)
class Earlier:
    """What is recorded for a case.

    Attributes:
        kind: How it ended then; None where nothing is recorded for it.
        version: The runtime's version then.
    """

    kind: Kind | None
    version: str


def rule(outcome: Outcome, earlier: Earlier | None, version: str, *, updating: bool) -> Ruling:
    """Return the verdict of a case.

    Args:
        outcome: How it ended.
        earlier: What the version that it is compared with has recorded; None where no version is.
        version: The runtime's version now.
        updating: Whether this session is recorded, so that what is not as it should be is noted
            instead of failed.
    """
    before = earlier.kind if earlier else None
    if outcome.kind is Kind.PASSED:
        if earlier is None or before in (None, Kind.PASSED):
            return Ruling(Verdict.PASS, "IB-600", _said(outcome))
        was = f"{before.value} with {earlier.version}" if before else ""
        return Ruling(Verdict.IMPROVED, "IB-634", f"passes with {version}; {was}")
    if updating:
        was = f"; it passed with {earlier.version}" if earlier and before is Kind.PASSED else ""
        return Ruling(Verdict.RECORDED, "IB-635", f"recorded as {_said(outcome)}{was}")
    return _rule_what_did_not_pass(outcome, earlier, version)


def _rule_what_did_not_pass(outcome: Outcome, earlier: Earlier | None, version: str) -> Ruling:
    said, before = _said(outcome), earlier.kind if earlier else None
    then = f"with {earlier.version}" if earlier else ""
    if before is Kind.PASSED:
        text = f"{said}, with {version}; it passed {then}"
        return Ruling(Verdict.REGRESSED, "IB-631", text)
    if outcome.kind is Kind.UNSUPPORTED:
        return Ruling(Verdict.UNSUPPORTED, "IB-632", said)
    if before is None:
        hint = "never recorded: accept it as known with --update-baselines"
        return Ruling(Verdict.FAILED, "IB-630", f"{said}, with {version}; {hint}")
    if _badness(outcome.kind) > _badness(before):
        text = f"{said}, with {version}; it was {before.value} {then}"
        return Ruling(Verdict.FAILED, "IB-630", text)
    return Ruling(Verdict.KNOWN, "IB-633", f"known to fail: {said}; {before.value} {then} too")


def _said(outcome: Outcome) -> str:
    said = f"{outcome.kind.value}: {outcome.detail}" if outcome.detail else outcome.kind.value
    return f"{said} ({outcome.note})" if outcome.note else said


def _badness(kind: Kind) -> int:
    """Refused is better than wrong, and wrong better than broken."""
    return 2 if kind in _BROKEN else int(kind is Kind.FAILED)


def one_line(text: str, limit: int = 400) -> str:
    """Return a text as one line of a length that can be read."""
    words = " ".join(text.split())
    return words if len(words) <= limit else words[: limit - 1] + "…"
