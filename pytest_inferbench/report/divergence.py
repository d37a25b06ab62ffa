"""Where two graphs diverge, in words: takes a `Divergence`, gives lines and plain rows. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_inferbench.report.messages import counted, first_of

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.divergence import Curve, Point, Reading
    from pytest_inferbench.artifacts.fusion import Fused
    from pytest_inferbench.bisection import Divergence

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 48
_DECADES = 8  # that the bars show, at most
_SHOWN = 3
_LISTED = 8  # nodes of a fused layer


def lines(found: Divergence) -> dict[str, str]:
    """Return what a message should say: label -> text."""
    said = {"first layer that diverges": _verdict(found)}
    if found.fused is not None:
        said["runs as one"] = _as_one(found.fused)
    curve = found.curve
    if found.finding.first_beyond is not None:
        said["first tensor beyond tolerance"] = _first_beyond(found, found.finding.first_beyond)
    effect = found.finding.effects.get(_index(found.finding.culprit))
    if effect is not None and not math.isnan(effect.wrong):
        said["what it does"] = (
            f"where all before it is right, the outputs' error is {_number(effect.wrong)}, and"
            f" where it is right too, {_number(effect.right)}; in all it is"
            f" {_number(curve.final_error)}"
        )
    others = [_brief(curve, i) for i in found.finding.others[:_SHOWN]]
    if others:
        said["also"] = "; ".join(others)
    measured = [r for r in curve.readings if r.error is not None]
    if measured:
        said["error over depth"] = f"{sparkline(curve)} ({counted(len(measured), 'tensor')})"
    if found.failures:
        name, why = found.failures[0]
        more = f", and {len(found.failures) - 1} more" if len(found.failures) > 1 else ""
        said["could not be looked at"] = f"{name!r}{more}: {why}"
    for number, note in enumerate(found.notes):
        said[f"note {number + 1}" if number else "note"] = note
    return said


def as_fields(found: Divergence) -> dict[str, Any]:
    """Return everything as plain types; the curve as rows, see `Curve.as_rows`."""
    finding, curve = found.finding, found.curve
    culprit = _point_fields(curve, finding.culprit)
    if culprit is not None and found.fused is not None:
        culprit["fused"] = {"layer": found.fused.layer, "nodes": list(found.fused.nodes)}
    return {
        "kind": finding.kind,
        "culprit": culprit,
        "first_beyond": _point_fields(curve, finding.first_beyond),
        "others": [_point_fields(curve, i) for i in finding.others],
        "effects": {
            curve.points[i].tensor: [each.right, each.wrong] for i, each in finding.effects.items()
        },
        "tolerance": curve.tolerance,
        "final_error": curve.final_error,
        "seen_error": found.seen_error,
        "nodes": found.nodes,
        "slices": found.slices,
        "failures": [list(each) for each in found.failures],
        "notes": list(found.notes),
        "curve": curve.as_rows(),
    }


def table(found: Divergence, most: int = 40) -> list[str]:
    """Return the curve as lines: all of it, or the points with the largest own errors."""
    curve = found.curve
    chosen: Sequence[int] = range(len(curve.points))
    if len(chosen) > most:
        by_own = sorted(chosen, key=lambda i: -_rank(curve.readings[i]))
        chosen = sorted({*(i for i in by_own[:most] if _rank(curve.readings[i])), *curve.outputs})
    rows = [f"{'node':>5}  {'error':>9}  {'own':>9}  layer"]
    for i in chosen:
        point, reading = curve.points[i], curve.readings[i]
        mark = "  <--" if i == found.finding.culprit else ""
        error = reading.state if reading.error is None or reading.state else _number(reading.error)
        own = "-" if reading.own is None else _number(reading.own)
        rows.append(f"{point.depth:>5}  {error or '-':>9}  {own:>9}  {_layer(point)}{mark}")
    return rows


def sparkline(curve: Curve) -> str:
    """Return the errors over depth in one line, on a logarithmic scale; `!` is not finite."""
    errors = [r.error for r in curve.readings if r.error is not None]
    width = min(_WIDTH, len(errors))
    finite = [e for e in errors if e and math.isfinite(e)]
    if not finite:
        return "".join("!" if not math.isfinite(e) else _BARS[0] for e in errors[:width])
    high = math.log10(max(finite))
    # A few errors far below the others would leave these no room.
    low = max(math.log10(sorted(finite)[len(finite) // 20]), high - _DECADES)
    drawn = []
    for column in range(width):
        part = errors[column * len(errors) // width : (column + 1) * len(errors) // width]
        worst = max(part)
        if not math.isfinite(worst):
            drawn.append("!")
            continue
        height = 0.0 if not worst or high == low else (math.log10(worst) - low) / (high - low)
        drawn.append(_BARS[round(max(0.0, height) * (len(_BARS) - 1))])
    return "".join(drawn)


def _verdict(found: Divergence) -> str:
    finding, curve = found.finding, found.curve
    if finding.culprit is None and finding.kind == "agrees":
        return (
            f"none: every tensor is within {curve.tolerance:.3g} of the reference's, so look at"
            " what is done before the model and behind it"
        )
    if finding.culprit is None:
        return "not found: too little could be measured"
    at, own = _place(found, finding.culprit), _own(found)
    return {
        "non-finite": f"{at}: the first value that is not finite where the reference's is",
        "spread": f"none stands out; the largest error of its own has {at}: {own}",
        "together": f"{at}: right by itself and wrong in the whole graph, as what is fused can be",
        "recovers": f"none that the outputs show; inside, {at}: {own}",
    }.get(finding.kind, f"{at}: {own}")


def _own(found: Divergence) -> str:
    curve, index = found.curve, _index(found.finding.culprit)
    point, reading = curve.points[index], curve.readings[index]
    before = [e for p in point.parents if (e := curve.readings[p].error) is not None]
    arrives = _number(max(before, default=0.0))
    leaves = "not measured" if reading.error is None else _number(reading.error)
    text = f"error {arrives} -> {leaves}"
    if reading.own is not None:
        text += (
            f"; given the reference's inputs it is off by {_number(reading.own)}, the median layer"
            f" by {_number(curve.typical_own)}"
        )
    return text


def _first_beyond(found: Divergence, index: int) -> str:
    curve = found.curve
    point, reading = curve.points[index], curve.readings[index]
    error = _number(reading.error if reading.error is not None else math.nan)
    place = "the same layer" if index == found.finding.culprit else _place(found, index)
    return f"{point.reference!r} ({error}, tolerance {curve.tolerance:.3g}), of {place}"


def _as_one(fused: Fused) -> str:
    names = fused.nodes
    return f"{fused.layer} of {first_of(names, _LISTED)}"


def _place(found: Divergence, index: int) -> str:
    point = found.curve.points[index]
    return f"{_layer(point)}, node {point.depth} of {found.nodes}"


def _layer(point: Point) -> str:
    made = f"{point.node} ({point.op})"
    rest = [name for name in point.covers if name != point.node]
    if rest:
        made += f" with {first_of(rest, _SHOWN)}"
    return f"{made}, quantized" if point.quantized else made


def _brief(curve: Curve, index: int) -> str:
    own = curve.readings[index].own
    beside = "" if own is None else f" (own error {_number(own)})"
    return f"{_layer(curve.points[index])}{beside}"


def _point_fields(curve: Curve, index: int | None) -> dict[str, Any] | None:
    if index is None:
        return None
    point, reading = curve.points[index], curve.readings[index]
    return {
        "depth": point.depth,
        "tensor": point.tensor,
        "reference": point.reference,
        "node": point.node,
        "op": point.op,
        "covers": list(point.covers),
        "quantized": point.quantized,
        "error": reading.error,
        "own": reading.own,
        "state": reading.state,
    }


def _rank(reading: Reading) -> float:
    return max(reading.own or 0.0, 0.0 if reading.own is not None else reading.error or 0.0)


def _index(index: int | None) -> int:
    return -1 if index is None else index


def _number(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else ("not finite" if value > 0 else "unknown")
