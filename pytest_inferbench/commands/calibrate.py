"""`inferbench calibrate MODEL`: which way of quantizing, by evidence."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.commands.arguments import Subparsers, add_json, add_settings, add_verb

if TYPE_CHECKING:
    from pytest_inferbench.calibrating import Calibration, Search
    from pytest_inferbench.gate import Gate


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "calibrate",
        "try ways to quantize a model, and say which is best by evidence",
        [
            "inferbench calibrate detector",
            "inferbench calibrate detector --backend openvino --methods minmax,percentile=99.9",
            "inferbench calibrate detector --sensitivity --budget map_drop=0.01",
        ],
        [
            "0  done",
            "1  nothing could be built, no number of layers kept the budget, or something asked"
            " about is wrong",
            "2  bad arguments",
        ],
    )
    parser.add_argument("model", help="a name from the settings")
    parser.add_argument("--backend", default="ort-cpu", help="where it runs (default: ort-cpu)")
    parser.add_argument("--precision", default="int8", help="int8 (the default) or fp8")
    parser.add_argument(
        "--methods",
        default="minmax,entropy,percentile",
        help="what to try (default: minmax,entropy,percentile); percentile=99.9 gives the share",
    )
    parser.add_argument(
        "--per-tensor", action="store_true", help="try one scale for each weight tensor as well"
    )
    parser.add_argument("--samples", type=_count, help="run on the first so many samples alone")
    parser.add_argument(
        "--sensitivity",
        action="store_true",
        help="find the layers to leave in float, with the settings' own method",
    )
    parser.add_argument("--budget", help="what must hold: map_drop=0.01, centred_cosine=0.99")
    parser.add_argument(
        "--max-layers", type=_count, default=32, help="leave no more in float (default: 32)"
    )
    parser.add_argument(
        "--time", type=float, default=1800, help="begin no trial after so many seconds (1800)"
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Try, and print what came out."""
    from pytest_inferbench.calibrating import Calibration, with_samples
    from pytest_inferbench.gate import Gate

    gate = Gate.from_folder(Path.cwd(), options.settings)
    gate.say = _say
    with_samples(gate, options.model, options.samples)
    calibration = Calibration(gate, options.model, options.backend, options.precision)
    with gate.host.shared(on_wait=gate.progress("waiting for the host")):
        if options.sensitivity:
            return _sensitivity(calibration, options)
        return _methods(gate, calibration, options)


def _methods(gate: Gate, calibration: Calibration, options: argparse.Namespace) -> int:
    from pytest_inferbench.calibration_choice import choose, parse_methods
    from pytest_inferbench.calibration_tables import choice_lines, methods_table, plain

    methods = parse_methods(options.methods, per_tensor=options.per_tensor)
    trials = calibration.try_methods(methods)
    choice = choose(trials, calibration.certain_gain)
    if options.json:
        found: dict[str, Any] = {
            "cell": calibration.cell.id,
            "trials": [plain(trial) for trial in trials],
            "best": choice and {"method": choice.trial.label, "reason": choice.reason},
        }
        print(json.dumps(found, indent=1))
        return 0 if choice else 1
    print(f"{calibration.cell}, {_data(gate, calibration)}\n")
    print("\n".join(methods_table(trials, choice)))
    print()
    if choice is None:
        print("none of them worked")
        return 1
    print("\n".join(choice_lines(options.model, choice)))
    return 0


def _sensitivity(calibration: Calibration, options: argparse.Namespace) -> int:
    from pytest_inferbench.calibrating import plain_search
    from pytest_inferbench.calibration_choice import quantization_toml
    from pytest_inferbench.calibration_tables import curve_table, plain

    budget = calibration.budget(options.budget)
    search = calibration.search(budget, most_layers=options.max_layers, most_s=options.time)
    fewest = search.fewest
    if options.json:
        points = {count: plain(trial) for count, trial in sorted(search.points.items())}
        print(
            json.dumps(
                {"cell": calibration.cell.id, **plain_search(search), "points": points}, indent=1
            )
        )
        return 0 if fewest is not None else 1
    print(f"{calibration.cell}, {_data(calibration.gate, calibration)}\n")
    print("\n".join(_ranking(search)))
    print()
    print("\n".join(curve_table(search.points, search.layers)))
    print(f"\nstopped: {search.stopped}")
    if fewest is None:
        return 1
    if fewest:
        print(f"\n{quantization_toml(options.model, search.points[fewest].quantization)}")
    return 0


def _ranking(search: Search) -> list[str]:
    shown = 10
    lines = ["what each layer alone costs, as a share of the outputs' variance:"]
    lines += [
        f"  {noise:9.2e}  {name}"
        for name, noise in list(zip(search.layers, search.noise, strict=True))[:shown]
    ]
    if len(search.layers) > shown:
        lines.append(f"  and {len(search.layers) - shown} more")
    if search.nameless:
        lines.append(f"  ({search.nameless} have no name in the file, and cannot be excluded)")
    return lines


def _data(gate: Gate, calibration: Calibration) -> str:
    task = gate.task_of(calibration.model)
    length = len(next(iter(task.calibration.values())))
    return f"{len(task.inputs)} samples, calibrated on {length} of " + str(
        task.model.calibration or "the samples that the task has for it"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return count
