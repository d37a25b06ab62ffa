"""The columns of the table of cells: takes rows, gives titles and text. Pure.

The terminal and Markdown show the same table; what differs is how they draw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_inferbench.launches import PARTS
from pytest_inferbench.report.escaping import one_line
from pytest_inferbench.report.table import Row

# A column each where some cell has the figure.
_SCORES = {
    "top1": "top-1",
    "top1_agreement": "top-1 kept",
    "recall_at_k": "recall@k",
    "mask_iou": "mask IoU",
    "miou": "mIoU",
    "token_agreement": "tokens kept",
    "wer": "WER",
}

_TOLD = {"device_peak_mib": "device MiB", "watts": "W", "joules_per_inference": "J/inf"}
"""Figures that have a column where any cell has them."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        texts: What stands in it, row by row.
        is_number: Whether it is of numbers, which stand at the right.
    """

    title: str
    texts: tuple[str, ...]
    is_number: bool = False


def columns(table: Sequence[Row]) -> list[Column]:
    """Return the columns that a table of these cells has."""

    def number(title: str, name: str, spec: str) -> Column:
        texts = tuple(_number(row.figures.get(name), spec) for row in table)
        return Column(title, texts, is_number=True)

    def named(title: str, texts: Sequence[str]) -> Column:
        return Column(title, tuple(map(one_line, texts)))  # a document's may be anybody's

    # Only services have a network to speak of.
    split = [name for name in PARTS if any(name in row.figures for row in table)]
    # Not every machine tells what its devices hold and draw, and tasks have their own scores.
    told = [name for name in _TOLD if any(name in row.figures for row in table)]
    scored = [name for name in _SCORES if any(name in row.figures for row in table)]
    sessions = [named("session", [row.session for row in table])]
    return [
        named("model", [row.cell.model for row in table]),
        named("backend", [row.cell.backend for row in table]),
        named("precision", [row.cell.precision for row in table]),
        *(sessions if any(row.session for row in table) else []),
        number("p50 ms", "p50_ms", ".3f"),
        number("p99 ms", "p99_ms", ".3f"),
        *(number(name.replace("_", " "), name, ".3f") for name in split),
        Column("speed-up", tuple(_number(row.speedup, ".2f", "x") for row in table), True),
        number("MiB", "peak_mib", ".0f"),
        *(number(_TOLD[name], name, ".3g") for name in told),
        number("mAP", "map", ".4f"),
        *(number(_SCORES[name], name, ".4f") for name in scored),
        number("cosine", "cosine", ".6f"),
        named("verdict", [" ".join([row.verdict, *row.codes]) for row in table]),
    ]


def _number(value: float | None, spec: str, suffix: str = "") -> str:
    return "" if value is None else f"{value:{spec}}{suffix}"
