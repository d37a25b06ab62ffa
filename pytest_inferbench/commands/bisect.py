"""`inferbench bisect`: the first layer at which one ONNX file diverges from another."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pytest_inferbench.commands.arguments import (
    BAD_ARGUMENTS,
    Subparsers,
    add_json,
    add_settings,
    add_verb,
)


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "bisect",
        "the first layer at which one ONNX file diverges from another",
        [
            "inferbench bisect model.onnx model-int8.onnx",
            "inferbench bisect model.onnx converted.onnx --backend openvino --shape x=1,3,640,640",
        ],
        (
            "0  the outputs agree within the tolerance",
            "1  they do not, and the layer is named; or something is wrong, as stderr says",
            BAD_ARGUMENTS,
        ),
    )
    parser.add_argument("reference", type=Path, help="the file to compare with, run on ort-cpu")
    parser.add_argument("candidate", type=Path, help="the file that may be wrong")
    parser.add_argument("--backend", default="ort-cpu", help="runs the candidate (%(default)s)")
    parser.add_argument("--precision", default="fp32", help="what it is asked for (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="tensors (default: random)")
    parser.add_argument("--samples", type=int, default=2, help="how many of them (%(default)s)")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="INPUT=1,3,640,640", help="a dynamic input"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.01, help="relative L2 error (%(default)s)"
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, and print where they diverge."""
    from pytest_inferbench.bisect import Question, of_files, parse_shapes
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.report.divergence import as_fields, lines, table
    from pytest_inferbench.report.reading import finite

    gate = Gate.from_folder(Path.cwd(), options.settings)
    gate.say = lambda line: print(line, file=sys.stderr)
    question = Question(
        backend=options.backend,
        precision=options.precision,
        data=options.data,
        samples=options.samples,
        shapes=parse_shapes(options.shape),
        tolerance=options.tolerance,
    )
    found = of_files(gate, options.reference, options.candidate, question)
    if options.json:
        print(json.dumps(finite(as_fields(found)), allow_nan=False, indent=1))
    else:
        said = (f"{label}: {text}" for label, text in lines(found).items())
        print("\n".join([*said, "", *table(found)]))
    return 0 if found.curve.final_error <= question.tolerance else 1
