"""What a record consists of: takes where things are, gives commands in their order. Pure.

Each step is one command whose results are one file, so that a record that was stopped goes on with
the step that it was in. What a step asks is the product's own suites: a record is what a user gets.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from recording.settings import GRAPHS, Machine

RIGHT = "accuracy or (conformance and not torch-compile)"
"""Conformance opens a model hundreds of times, and compiling takes a minute."""

_TIMED = "latency or throughput or memory or cold_start"
_VARIANTS = "ort-cuda-host or ort-cuda-graph or torch-compile"
SPEED = f"({_TIMED}) and not (({_VARIANTS}) and (bf16 or int8 or throughput))"
"""Ways to call the same session are compared where that is the question: at fp32 and fp16."""


@dataclass(frozen=True)
class Places:
    """Where a record's parts are.

    Attributes:
        root: The checkout.
        work: Models and settings that were made for the record.
        results: What is kept.
    """

    root: Path
    work: Path
    results: Path

    def settings(self, name: str) -> Path:
        """Return the folder of one settings file."""
        return self.work / "settings" / name


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: What its results are kept as.
        command: Its words.
        minutes: About how long it takes on a GPU; nothing begins that cannot end in time.
        results: The file that it writes; None where it only makes what others need.
    """

    name: str
    command: tuple[str, ...]
    minutes: float
    results: Path | None


def preparations(places: Places, graphs: tuple[str, ...] = GRAPHS) -> list[Step]:
    """Return what makes models and data, where their packages are."""
    inferbench = (sys.executable, "-m", "pytest_inferbench.cli")
    zoo = places.root / "fixtures" / "zoo"
    steps = [
        Step(
            f"build-{name}",
            (
                *(*inferbench, "models", "build", name, "--size", "real", "--torch"),
                *("--to", str(places.work / "models" / name)),
            ),
            2.0,
            None,
        )
        for name in graphs
        if not (places.work / "models" / name / "model.pt2").exists()
    ]
    if not (places.work / "models" / "zoo" / "sentences").exists():
        prepare = (str(zoo / "prepare.py"), "--to", str(places.work / "models" / "zoo"))
        steps += [
            Step("fetch-minilm", (sys.executable, str(zoo / "fetch.py"), "minilm"), 1.0, None),
            Step("prepare-minilm", (sys.executable, *prepare), 1.0, None),
        ]
    return steps


def questions(
    places: Places, machine: Machine, models: tuple[str, ...], reason: str, workers: int
) -> list[Step]:
    """Return what is asked, the quickest to tell something first.

    Args:
        places: Where things are.
        machine: What is recorded.
        models: Those of the settings `models`, each asked in a session of its own.
        reason: What baselines say of why they were recorded.
        workers: How many processes ask what is not timed.
    """
    record = ("--update-baselines", "--inferbench-reason", reason)
    beside = ("-n", str(workers)) if workers > 1 else ()
    timed = [("detector", "detector", ())]
    timed += [("models", name, ("-k", f"{name} and not require")) for name in models]
    steps = [
        _gate(places, "detector", "right", 6.0, ("-m", RIGHT, *beside)),
        *(
            _gate(places, kind, f"speed-{name}", 5.0, ("-m", SPEED, *only, *record))
            for kind, name, only in timed
        ),
        _gate(places, "serving", "serving", 6.0, ("suites/serving", *record)),
        *(
            _gate(places, kind, f"again-{name}", 5.0, ("-m", SPEED, *only))
            for kind, name, only in timed
        ),
        _gate(
            places,
            "detector",
            "onnx-ops",
            6.0,
            ("suites/conformance/test_onnx_ops.py", *record, *beside),
        ),
    ]
    if machine.gpus > 1:
        kept = places.results / "scaling.json"
        scaling = (str(places.root / "benchmarks" / "serving_scaling.py"), "--kept", str(kept))
        counts = ",".join(map(str, _doubled(machine.gpus)))
        words = ("--units", "gpus", "--instances", counts, "--clients", "1,8,32,64")
        steps.append(Step("scaling", (sys.executable, *scaling, *words), 6.0, kept))
    return steps


def _gate(places: Places, settings: str, name: str, minutes: float, words: tuple[str, ...]) -> Step:
    results = places.results / f"{name}.json"
    pytest = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rf")
    given = () if any(word.startswith("suites/") for word in words) else ("suites",)
    told = ("--inferbench-settings", str(places.settings(settings)))
    return Step(
        name,
        (*pytest, *given, *words, *told, "--inferbench-json", str(results)),
        minutes,
        results,
    )


def _doubled(most: int) -> list[int]:
    """Return 1, 2, 4 and so on, up to what there is."""
    return [1 << power for power in range(most.bit_length()) if 1 << power <= most]
