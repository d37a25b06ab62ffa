"""How close outputs are x budgets -> judgements, output by output.

Pure: takes a comparison's figures and what limits them; gives verdicts that name the output, the
sample and the first element outside tolerance. Knows neither workers nor files.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_inferbench.accuracy.similarity import Null, OutputSimilarity, Similarity, Spread
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.judge.verdict import Judgement, judge_absolute
from pytest_inferbench.settings.budgets import Budget

Rows = Sequence[OutputSimilarity]

_COSINES = ("cosine", "cosine_mean", "cosine_p1")
_CENTRED = "centred_cosine"
_ALIKE = 1 - 5e-7  # what is shown as 1.000000: no budget fits between it and the most there is
_ERRORS: Mapping[str, Callable[[OutputSimilarity], float]] = {
    "max_error": lambda row: row.max_error,
    "mean_error": lambda row: row.mean_error,
    "outside": lambda row: row.outside,
    "snr_db": lambda row: min(row.snr_db, 1e308),  # infinite where all is equal
}


@dataclass(frozen=True)
class Limits:
    """What limits one metric at a cell.

    Attributes:
        rest: For every output without a limit of its own.
        own: By output; None where the user switched it off there.
    """

    rest: Budget | None
    own: Mapping[str, Budget | None]


def judge_similarity(found: Similarity, limits_of: Callable[[str], Limits]) -> list[Judgement]:
    """Judge every output against its own limit, and the worst of the others against the model's.

    Args:
        found: Figures without faults.
        limits_of: What limits a metric.

    Raises:
        InferbenchError: IB-505 for a limit on an output that is not there; IB-502 for one that
            needs other samples; IB-503 for one that a wrong answer would keep.
    """
    judgements = []
    centred_at: set[str] = set()  # outputs whose centred cosine is judged
    for name, budget, rows in _groups(found, _CENTRED, limits_of(_CENTRED)):
        judged = _centred(budget, rows)
        if judged is not None:
            judgements.append(replace(judged, metric=name))
            centred_at.update(row.output for row in rows if row.centred is not None)
    for metric in _COSINES:
        for name, budget, rows in _groups(found, metric, limits_of(metric)):
            # The plain cosine of outputs that share a large common part is blind, so the package's
            # own default for it only stands in where no centred one can be had.
            default = budget.origin == "default"
            left = [row for row in rows if not default or row.output not in centred_at]
            if left:
                judged = _judge_cosine(budget, metric, left, lambda row: (row.cosine, row.null))
                judgements.append(replace(judged, metric=name))
    for metric, value in _ERRORS.items():
        for name, budget, rows in _groups(found, metric, limits_of(metric)):
            worst = _worst(rows, value, budget)
            judged = judge_absolute(budget, value(worst), describe(worst))
            judgements.append(replace(judged, metric=name))
    return judgements


def describe(row: OutputSimilarity) -> str:
    """Say where an output is off most, in parts that a message prints line by line."""
    parts = [
        f"output {row.output!r}: largest error {row.max_error:.4g} {_place(row.largest_error_at)}"
        f", mean {row.mean_error:.4g}, signal to noise {row.snr_db:.1f} dB"
        f" over {row.samples} samples"
    ]
    if row.first_outside is not None and row.first_outside_values is not None:
        reference, candidate = row.first_outside_values
        parts.append(
            f"{row.outside:.3%} of its elements are outside tolerance, the first"
            f" {_place(row.first_outside)}: {reference:.6g} at the reference, {candidate:.6g} here"
        )
    return "; ".join(parts)


def _groups(
    found: Similarity, metric: str, limits: Limits
) -> Iterator[tuple[str, Budget, list[OutputSimilarity]]]:
    """Yield the outputs that share a limit, with what the limit is called."""
    for output, budget in limits.own.items():
        if output not in found.outputs:
            raise _no_such_output(output, metric, found)
        if budget is not None:
            yield f"outputs.{output}.{metric}", budget, [found.outputs[output]]
    rest = [row for name, row in found.outputs.items() if name not in limits.own]
    if limits.rest is not None and rest:
        yield metric, limits.rest, rest


def _no_such_output(output: str, metric: str, found: Similarity) -> InferbenchError:
    near = difflib.get_close_matches(output, found.outputs, n=1)
    return InferbenchError(
        "IB-505",
        f"budgets.outputs.{output}.{metric} is about an output that the model does not have",
        f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(found.outputs)}.",
    )


def _centred(budget: Budget, rows: Rows) -> Judgement | None:
    varied = [row for row in rows if row.centred is not None]
    if not varied:
        if budget.origin == "default":
            return None
        raise InferbenchError(
            "IB-502",
            f"{budget.metric} needs at least two samples of one shape whose reference outputs"
            " differ",
            "Give the model more data, or budget `cosine` instead.",
        )
    return _judge_cosine(budget, _CENTRED, varied, lambda row: (row.centred, row.centred_null))


def _judge_cosine(
    budget: Budget,
    metric: str,
    rows: Rows,
    side: Callable[[OutputSimilarity], tuple[Spread | None, Null | None]],
) -> Judgement:
    def value(row: OutputSimilarity) -> float:
        spread = side(row)[0]
        assert spread is not None
        return {"cosine_mean": spread.mean, "cosine_p1": spread.p1}.get(metric, spread.min)

    worst = _worst(rows, value, budget)
    for row in rows:
        null = side(row)[1]
        if null is not None and budget.limit <= null.high:
            raise _tells_nothing(budget, row, value(row), null, one_of_many=len(rows) > 1)
    spread, null = side(worst)
    assert spread is not None
    beside = f"null {null.high:.4f}, " if null is not None else ""
    sample = worst.worst_centred_sample if metric == _CENTRED else worst.worst_sample
    detail = (
        f"output {worst.output!r}: {beside}mean {spread.mean:.6f}, 1st percentile {spread.p1:.6f},"
        f" smallest {spread.min:.6f} at sample {sample}; {describe(worst)}"
    )
    return judge_absolute(budget, value(worst), detail)


def _tells_nothing(
    budget: Budget, row: OutputSimilarity, value: float, null: Null, *, one_of_many: bool
) -> InferbenchError:
    whose = "default " if budget.origin == "default" else ""
    return InferbenchError(
        "IB-503",
        f"the {whose}{budget.metric} budget {budget.text} tells nothing here: outputs"
        f" {row.output!r} of different inputs reach {null.high:.6f}, and this cell's {value:.6f}",
        _instead_of(budget.metric, row, null, one_of_many=one_of_many),
    )


def _instead_of(metric: str, row: OutputSimilarity, null: Null, *, one_of_many: bool) -> str:
    """Say what to do where a cosine's budget lies at or below what a wrong answer scores."""
    others = (
        "give the model data whose outputs differ more, or budget `max_error` or `snr_db` and set"
        f" `{metric} = false`"
    )
    if metric != _CENTRED and row.centred is not None:
        others = f"budget `centred_cosine` (here {row.centred.min:.6f})"
    if one_of_many:
        others += f", for this output alone under `budgets.outputs.{row.output}`"
    if null.high > _ALIKE:
        return f"No budget lies above that, for some outputs are alike: {others}."
    return f"Raise it above that, or {others}."


def _worst(
    rows: Rows, value: Callable[[OutputSimilarity], float], budget: Budget
) -> OutputSimilarity:
    return (min if budget.better == "higher" else max)(rows, key=value)


def _place(where: tuple[int, ...]) -> str:
    sample, *index = where
    return f"at sample {sample}, index {tuple(index)}" if index else f"at sample {sample}"
