"""How often the latency gate is wrong: identical and slowed builds, judged in many sessions.

Real models in real workers, compared by the code that `--inferbench-against-model` runs; a slowed
model has real extra layers. A session is one comparison, with a budget of +2.5 % on p5. The peers'
rules judge the samples of the same sessions. Each session is appended to RESULTS as it ends, so a
run that was stopped goes on where it was; the table is made of what is there. What this project
has recorded so far lies in benchmarks/results/gate-quality.

    pip install -e ".[ort,bench]"
    python benchmarks/gate_quality.py record --to RESULTS [--only aa ...] [--minutes 60]
    python benchmarks/gate_quality.py table --to RESULTS [--markdown docs/gate-quality.md]
    python benchmarks/gate_quality.py traces --to RESULTS --fixtures fixtures/noise
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # its parts lie beside it

from quality.models import write_models
from quality.sessions import Session, judge_session
from quality.table import markdown

_FEWEST_TRACED = 20  # of a few sessions the median is not yet zero, and drawn rounds would differ

ALL = 0
"""Threads: one for each core, as ONNX Runtime does by itself."""

_SPIN = """
import os, time
parent = os.getppid()
while os.getppid() == parent:  # it ends with the benchmark, however that ends
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        sum(range(1000))
"""


@dataclass(frozen=True)
class Scenario:
    """What is compared, how often, and beside what.

    Attributes:
        name: Its id.
        slower: By how much the candidate does more work.
        threads: Of the models, taken in turn: one, or `ALL`.
        loaded: Whether every core is busy with something else.
        sessions: How many are wanted.
    """

    name: str
    slower: str
    threads: tuple[int, ...]
    loaded: bool
    sessions: int


SCENARIOS = (
    Scenario("aa", "+0%", (1, ALL), False, 300),
    Scenario("aa-loaded", "+0%", (1, ALL), True, 300),
    Scenario("plus5", "+5%", (1, ALL), False, 60),
    Scenario("plus10-loaded-1", "+10%", (1,), True, 60),
    Scenario("plus10-loaded-all", "+10%", (ALL,), True, 60),
)


def main() -> None:
    """Record sessions, or make the table or the tests' traces of those recorded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("record", "table", "traces"))
    parser.add_argument("--to", type=Path, required=True, help="folder of the results")
    parser.add_argument("--only", nargs="+", default=[s.name for s in SCENARIOS])
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after so long")
    parser.add_argument("--fixtures", type=Path, help="folder that traces are written to")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    if options.what == "traces":
        write_traces(options.to, options.fixtures)
        return
    if options.what == "record":
        record(options.to, options.only, time.monotonic() + 60 * options.minutes)
    text = markdown(SCENARIOS, {s.name: recorded(options.to, s.name) for s in SCENARIOS})
    if options.markdown:
        options.markdown.write_text(text)
    print(text)


def record(folder: Path, only: list[str], until: float) -> None:
    """Take the sessions that are missing, scenario by scenario, until the time is spent."""
    with tempfile.TemporaryDirectory(prefix="inferbench-quality-") as scratch:
        models = write_models(Path(scratch))
        for scenario in SCENARIOS:
            if scenario.name not in only:
                continue
            with load() if scenario.loaded else contextlib.nullcontext():
                done = len(recorded(folder, scenario.name))
                for index in range(done, scenario.sessions):
                    if time.monotonic() > until:
                        return
                    threads = scenario.threads[index % len(scenario.threads)]
                    session = judge_session(
                        models["+0%"], models[scenario.slower], threads, Path(scratch)
                    )
                    keep(folder, scenario.name, session)
                    print(
                        f"{scenario.name} {index + 1}/{scenario.sessions}: {session.line()}",
                        flush=True,
                    )


def write_traces(folder: Path, fixtures: Path) -> None:
    """Write the log ratios of the rounds of equal builds, session by session."""
    for scenario in SCENARIOS:
        sessions = recorded(folder, scenario.name)
        if scenario.slower != "+0%" or len(sessions) < _FEWEST_TRACED:
            continue
        lines = [
            f'"{statistic}": [\n  '
            + ",\n  ".join(json.dumps(session.logs[statistic]) for session in sessions)
            + "\n ]"
            for statistic in ("p5", "p50")
        ]
        path = fixtures / f"rounds-{scenario.name}.json"
        path.write_text("{\n " + ",\n ".join(lines) + "\n}\n")


@contextlib.contextmanager
def load() -> Iterator[None]:
    """Keep every core busy."""
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def keep(folder: Path, scenario: str, session: Session) -> None:
    """Append a session to what is recorded."""
    with (folder / f"{scenario}.jsonl").open("a") as stream:
        stream.write(json.dumps(session.as_fields()) + "\n")


def recorded(folder: Path, scenario: str) -> list[Session]:
    """Return a scenario's sessions so far."""
    path = folder / f"{scenario}.jsonl"
    if not path.exists():
        return []
    return [Session(**json.loads(line)) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
