"""What `inferbench calibrate` prints: takes trials, gives lines of text, or plain types. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_inferbench.calibration_choice import Choice, Trial, quantization_toml

_COLUMNS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("cosine min", ("cosine",), "{:.5f}"),
    ("mean", ("cosine_mean",), "{:.5f}"),
    ("centred min", ("centred_cosine",), "{:.5f}"),
    ("mean", ("centred_mean",), "{:.5f}"),
    ("mAP", ("map",), "{:.4f}"),
    ("drop", ("map_drop",), "{:+.4f}"),
    ("95% interval", ("map_drop_low", "map_drop_high"), "{:+.4f} to {:+.4f}"),
)


def methods_table(trials: Sequence[Trial], choice: Choice | None) -> list[str]:
    """Return a row for every way that was tried; the chosen one has a star."""
    names = [trial.label for trial in trials]
    marks = ["*" if choice and trial is choice.trial else " " for trial in trials]
    lines = _table(
        ["  method", *_heads(trials), "MiB", "built in", "budgets"],
        [
            [
                f"{mark} {name}",
                *_cells(trial, trials),
                "" if trial.size_mib is None else f"{trial.size_mib:.2f}",
                _built(trial),
                _budgets(trial),
            ]
            for mark, name, trial in zip(marks, names, trials, strict=True)
        ],
    )
    failed = (f"{trial.label}: {trial.failed}" for trial in trials if trial.failed)
    return lines + [f"  {line}" for text in failed for line in text.splitlines()]


def curve_table(points: Mapping[int, Trial], layers: Sequence[str]) -> list[str]:
    """Return a row for every number of layers that was tried, fewest first."""
    trials = [points[count] for count in sorted(points)]
    return _table(
        ["  layers in float", *_heads(trials), "MiB", "last one added"],
        [
            [
                f"  {count}",
                *_cells(points[count], trials),
                "" if (size := points[count].size_mib) is None else f"{size:.2f}",
                layers[count - 1] if count else "",
            ]
            for count in sorted(points)
        ],
    )


def choice_lines(model: str, choice: Choice) -> list[str]:
    """Return what was chosen, why, and what to paste."""
    lines = [f"best: {choice.trial.label}: {choice.reason}"]
    if choice.trial.outside:
        lines.append(
            f"and yet outside the model's budgets ({', '.join(choice.trial.outside)}): calibrate on"
            " samples that look more like the data, or leave layers in float: --sensitivity"
        )
    return [*lines, "", quantization_toml(model, choice.trial.quantization)]


def plain(trial: Trial) -> dict[str, Any]:
    """Return a trial as plain types, fit for JSON."""
    return {
        "method": trial.label,
        "quantization": {k: list(v) if isinstance(v, tuple) else v for k, v in _items(trial)},
        "figures": dict(trial.figures),
        "size_mib": trial.size_mib,
        "build_s": trial.build_s,
        "outside": list(trial.outside),
        "failed": trial.failed or None,
    }


def _items(trial: Trial) -> list[tuple[str, object]]:
    return list(trial.quantization.items())


def _columns(trials: Sequence[Trial]) -> list[tuple[str, tuple[str, ...], str]]:
    """Those of which any trial has the figures."""
    return [each for each in _COLUMNS if any(each[1][0] in trial.figures for trial in trials)]


def _heads(trials: Sequence[Trial]) -> list[str]:
    return [head for head, _, _ in _columns(trials)]


def _cells(trial: Trial, trials: Sequence[Trial]) -> list[str]:
    return [
        form.format(*(trial.figures[key] for key in keys))
        if all(key in trial.figures for key in keys)
        else ""
        for _, keys, form in _columns(trials)
    ]


def _built(trial: Trial) -> str:
    if trial.failed:
        return ""
    return "cached" if trial.build_s is None else f"{trial.build_s:.1f} s"


def _budgets(trial: Trial) -> str:
    if trial.failed:
        return "wrong" if trial.is_wrong else "failed"
    return f"outside: {', '.join(trial.outside)}" if trial.outside else "within"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]
