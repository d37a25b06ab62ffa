"""Writes docs/results.md from what is in git: baselines, records, and what others published.

Nothing is measured here. Every figure is the median over a cell's recorded sessions, each the
median of its runs; a cell without a baseline has no row.

    python benchmarks/results_page.py [--to docs/results.md]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # its parts lie beside it

from recording import tables

from pytest_inferbench.report.html.references import read_references

ROOT = Path(__file__).parents[1]
CASES = "onnx-ops"
_HEAD = """# Results

What is recorded in this repository, by hardware; written by `benchmarks/results_page.py`. A figure
is the median over a cell's sessions. *speed-up* is against the slowest fp32 cell of the model,
*first answer* is opening and the first inference together, *mAP drop* is from a record of the same
hardware. Machines of one id differ, and shared ones are noisy: the spread of each cell is in its
baseline. `benchmarks/record.py` records a machine of yours.
"""
_PUBLISHED = """## Published elsewhere, not measured here

Figures that users compare with. Nothing is judged by them, and none was run by this project.
"""


def page() -> str:
    """Return the page."""
    parts, cases = [_HEAD], {}
    for hardware, files in baselines():
        parts.append(f"## {hardware}\n")
        records = dict(results(hardware))
        drops = {} if "right" not in records else tables.drops_of(records["right"])
        for model, file in files.items():
            if model == CASES:
                cases[hardware] = file["cells"]
                continue
            parts.append(f"**{model}**: {tables.versions_line(file['cells'])}\n")
            own = drops if model == "detector" else {}
            parts.append(tables.model_table(file["cells"], own) + "\n")
            if rates := tables.throughput_table(file["cells"]):
                parts.append(f"Inferences a second, one caller:\n\n{rates}\n")
        if "right" in records:
            parts.append("Accuracy and conformance of the built-in detector, from the record:\n")
            parts.append(tables.outcomes_table(records["right"]) + "\n")
    parts.append("## ONNX's own cases\n")
    parts.append(tables.cases_table(cases) + "\n")
    published = read_references(ROOT / "fixtures" / "published.toml")
    parts += [_PUBLISHED, tables.published_table(published) + "\n"]
    return "\n".join(parts)


def baselines() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give what is recorded: a hardware's files by model."""
    for folder in sorted(path for path in (ROOT / "baselines").iterdir() if path.is_dir()):
        paths = sorted(folder.glob("*.json"))
        yield folder.name, {path.stem: json.loads(path.read_bytes()) for path in paths}


def results(hardware: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the sessions of a record, by step."""
    folder = ROOT / "docs" / "records" / hardware
    kept = folder / "record.json"
    for step, entry in json.loads(kept.read_bytes())["entries"].items() if kept.exists() else ():
        yield step, json.loads((folder / entry["results"]).read_bytes())


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results.md")
    to = parser.parse_args().to
    to.write_text(page(), encoding="utf-8")
    print(to)


if __name__ == "__main__":
    main()
