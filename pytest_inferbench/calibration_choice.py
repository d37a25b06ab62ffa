"""Which way of quantizing is best by evidence, and how many layers to leave in float. Pure.

Takes figures of ways that were tried; gives the choice with its reason, the next number of layers
to try, and the lines of settings that say so. Knows neither models nor workers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_inferbench.errors import InferbenchError

METHODS = ("minmax", "entropy", "percentile")
BUDGETS = ("map_drop", "map", "centred_cosine", "cosine")
"""Figures that a search for layers may be bound to; the first that there is, by default."""

_FAST_FROM = 4  # so many layers are added one by one, then half as many again at a time


@dataclass(frozen=True)
class Trial:
    """One way of quantizing, and what came of it.

    Attributes:
        quantization: What `[models.NAME.quantization]` says of it.
        figures: `cosine`, `cosine_mean`, `centred_cosine`, `centred_mean`, `map`, `map_drop`,
            `map_drop_low`, `map_drop_high`, as far as there are such.
        size_mib: Of the artifact; None where it is not on this host.
        build_s: What it took; None where it was in the cache.
        outside: The figures that break the model's budgets.
        failed: Why there are no figures.
        is_wrong: Whether it ran, and gave outputs that cannot be compared, such as zeros.
    """

    quantization: Mapping[str, object]
    figures: Mapping[str, float] = field(default_factory=dict)
    size_mib: float | None = None
    build_s: float | None = None
    outside: tuple[str, ...] = ()
    failed: str = ""
    is_wrong: bool = False

    @property
    def label(self) -> str:
        """The method with what it takes, as `--methods` has it."""
        method = str(self.quantization.get("method", "default"))
        if "percentile" in self.quantization:
            method += f"={self.quantization['percentile']:g}"
        return method if self.quantization.get("per_channel", True) else f"{method}, per tensor"


@dataclass(frozen=True)
class Choice:
    """The best of some trials, and why."""

    trial: Trial
    reason: str


def parse_methods(text: str, *, per_tensor: bool = False) -> list[dict[str, object]]:
    """Read `minmax,percentile=99.9` into what the settings would say.

    Args:
        text: Methods, separated by commas; a percentile may have its share.
        per_tensor: Whether each is tried with one scale a weight tensor as well.

    Raises:
        InferbenchError: IB-570 there is no such method, or none is named.
    """
    found: list[dict[str, object]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        method, given, share = part.partition("=")
        entry: dict[str, object] = {"method": method}
        if method not in METHODS or (given and method != "percentile"):
            raise _no_method(part)
        if given:
            entry["percentile"] = _share(part, share)
        if entry not in found:
            found.append(entry)
    if not found:
        raise _no_method(text)
    return found + ([{**entry, "per_channel": False} for entry in found] if per_tensor else [])


def choose(trials: Sequence[Trial], certain_gain: Callable[[Trial, Trial], float]) -> Choice | None:
    """Return the best trial: by what the task scores, and by outputs where scores are level.

    Args:
        trials: What was tried.
        certain_gain: The lower bound of what the first of two trials scores more than the second.

    Returns:
        None where nothing worked.
    """
    worked = [trial for trial in trials if trial.figures]
    if not worked:
        return None
    if all("map_drop" in trial.figures for trial in worked):
        top = min(worked, key=lambda trial: trial.figures["map_drop"])
        level = [t for t in worked if t is top or not certain_gain(top, t) > 0]
    else:
        top, level = worked[0], worked
    nearest = max(level, key=_nearness)
    what, value = _nearness_named(nearest)
    if len(worked) == 1:
        reason = "the only one that worked" if len(trials) > 1 else "the only one that was tried"
    elif len(level) == 1:
        reason = f"it loses least mAP ({top.figures['map_drop']:+.4f}), and that is no luck"
    elif "map_drop" in top.figures:
        others = ", ".join(trial.label for trial in level if trial is not nearest)
        reason = (
            f"its mAP and that of {others} differ by no more than luck, and its outputs are"
            f" nearest to the reference's: {what} {value:.5f} on average"
        )
    else:
        reason = f"its outputs are nearest to the reference's: {what} {value:.5f} on average"
    return Choice(nearest, reason)


def next_count(tried: Mapping[int, bool], most: int) -> int | None:
    """Return how many layers to leave in float next, None when there is nothing more to learn.

    More and more are left until the budget holds, then halfway between what holds and what does
    not: the fewest of the ranking's first layers with which it holds, if each helps.

    Args:
        tried: Whether the budget held, by number of layers.
        most: How many there are.
    """
    if not tried:
        return 0
    holding = min((count for count, held in tried.items() if held), default=None)
    failing = max(
        (n for n, held in tried.items() if not held and (holding is None or n < holding)),
        default=-1,
    )
    if holding is None:
        step = failing + 1 if failing < _FAST_FROM else math.ceil(failing * 1.5)
        return min(step, most) if failing < most else None
    return (failing + holding) // 2 if holding - failing > 1 else None


def quantization_toml(model: str, quantization: Mapping[str, object]) -> str:
    """Return the lines to paste into the settings."""
    name = model if model.replace("_", "").replace("-", "").isalnum() else json.dumps(model)
    lines = [f"[models.{name}.quantization]"]
    return "\n".join([*lines, *(f"{key} = {_toml(value)}" for key, value in quantization.items())])


def _toml(value: object) -> str:
    if isinstance(value, (list, tuple)):
        inner = "".join(f"    {_toml(each)},\n" for each in value)
        return f"[\n{inner}]" if len(value) > 1 else f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def _nearness(trial: Trial) -> float:
    return _nearness_named(trial)[1]


def _nearness_named(trial: Trial) -> tuple[str, float]:
    if "centred_mean" in trial.figures:
        return "centred cosine", trial.figures["centred_mean"]
    return "cosine", trial.figures["cosine_mean"]


def _share(part: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise _no_method(part) from None
    if not 50 < share <= 100:
        raise _no_method(part)
    return share


def _no_method(text: str) -> InferbenchError:
    return InferbenchError(
        "IB-570",
        f"{text!r} names no method of calibration",
        f"The methods are {', '.join(METHODS)}, separated by commas; percentile=99.9 gives the"
        " share of values that a range holds, above 50 and at most 100.",
    )
