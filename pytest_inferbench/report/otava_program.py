"""A program of its own: series as JSON on stdin, their change points by Apache Otava on stdout.

It runs in whatever Python has `apache-otava`, which pins packages that a gate must not share, and
imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version


def main() -> None:
    """Answer one question."""
    # Otava's packages may print; only the answer goes to where it is read.
    out, sys.stdout = sys.stdout, sys.stderr
    asked = json.load(sys.stdin)
    from otava.analysis import compute_change_points

    answer: list[list[list[float]]] = []
    for each in asked["series"]:
        # its merging divides by the spread of what may have none: a series that never moves
        if len(set(each["values"])) < 2:
            answer.append([])
            continue
        points, _ = compute_change_points(
            each["values"],
            window_len=asked["window"],
            max_pvalue=asked["p_value"],
            min_magnitude=each["least"],
        )
        answer.append(
            [
                [
                    int(point.index),
                    float(point.stats.mean_before()),
                    float(point.stats.mean_after()),
                    float(point.stats.pvalue),
                ]
                for point in points
            ]
        )
    json.dump({"version": version("apache-otava"), "points": answer}, out)


if __name__ == "__main__":
    main()
