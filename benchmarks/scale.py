"""What a gate costs as cells, machines and history grow, measuring itself left out.

Each stage runs at n, 2n and 4n, several times in turn; its CPU time is fitted by `a * n ** b`, and
b is printed with its 95 % interval: 1 is linear. The inputs are SIMULATED (`scaling/simulated.py`).

    python benchmarks/scale.py [--only session reports baselines] [--repeats 3] [--json PATH]

    session    pytest over so many cells whose test does nothing: collection, a run, two processes
    reports    results documents of so many machines, 50 cells each: read, merge, Markdown, HTML
    baselines  folders of so many machines, 50 cells, 20 sessions each: list, diff, prune, record
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from scaling import simulated
from scaling.fit import exponent

from pytest_inferbench.cli import collected_later

CELLS_A_MACHINE, SESSIONS_A_CELL = 50, 20
MACHINES = (50, 100, 200)
CELLS = (2, 2_500, 5_000, 10_000)
"""Two cells cost what starting costs, which is taken off before the exponent is fitted."""
EMPTY = "def test_it(cell):\n    pass\n"
BARE = (
    "import pytest\n\n@pytest.mark.parametrize('cell', range({n}))\ndef test_it(cell):\n    pass\n"
)

Stage = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="*", choices=[*GROUPS], default=[*GROUPS])
    parser.add_argument("--stage", default="", help="only stages whose name has this in it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shrink", type=int, default=1, help="divide every size by this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[int, list[float]]] = {}
    facts: dict[str, dict[int, float]] = {}
    for group in options.only:
        sizes_of, stages_of = GROUPS[group]
        for size in [max(2, size // options.shrink) for size in sizes_of]:
            with tempfile.TemporaryDirectory() as created:
                stages, told = stages_of(Path(created), size)
                for _ in range(options.repeats):
                    for name, stage in stages.items():
                        if options.stage not in name:
                            continue
                        cost_s = cpu_s_of(stage)
                        found.setdefault(f"{group}: {name}", {}).setdefault(size, []).append(cost_s)
                for name, tell in told.items() if not options.stage else ():
                    facts.setdefault(f"{group}: {name}", {})[size] = tell()
    show(found, facts)
    if options.json:
        options.json.write_text(json.dumps({"cpu_s": found, "facts": facts}, indent=1) + "\n")


def cpu_s_of(stage: Stage) -> float:
    """Return the CPU time of a stage, its child processes included."""
    before = used_s()
    stage()
    return used_s() - before


def used_s() -> float:
    """Return the CPU time used so far by this process and by those that it has waited for."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))


def show(
    found: Mapping[str, Mapping[int, list[float]]], facts: Mapping[str, Mapping[int, float]]
) -> None:
    """Print a row a stage: its median CPU time at each size, and how it grows."""
    for name, by_size in found.items():
        starting_s = statistics.median(by_size.get(CELLS[0], [0.0]))
        points = [
            (size, max(cost - starting_s, 0.01))
            for size, costs in by_size.items()
            for cost in costs
            if size > CELLS[0]
        ]
        medians = "  ".join(f"{n}: {statistics.median(c):8.2f} s" for n, c in by_size.items())
        low, value, high = exponent(points)
        print(f"{name:<44} {medians}  n^{value:.2f} ({low:.2f} to {high:.2f})")
    for name, of_size in facts.items():
        print(f"{name:<44} " + "  ".join(f"{n}: {value:.4g}" for n, value in of_size.items()))


def session_stages(folder: Path, cells: int) -> tuple[dict[str, Stage], dict[str, Stage]]:
    """Return sessions over so many cells of two precisions, beside bare pytest's."""
    cells -= cells % 2
    ours, bare = folder / "ours", folder / "bare"
    ours.mkdir()
    bare.mkdir()
    (ours / "test_it.py").write_text(EMPTY)
    (ours / "model.onnx").write_bytes(b"nothing opens it")
    models = "".join(
        f'[models.m{number}]\npath = "model.onnx"\ntask = "tensors"\n'
        for number in range(cells // 2)
    )
    matrix = '[matrix]\nbackends = ["ort-cpu"]\nprecisions = ["fp32", "fp16"]\n'
    (ours / "inferbench.toml").write_text(f'lock = "{folder / "lock"}"\n{matrix}{models}')
    (bare / "test_it.py").write_text(BARE.format(n=cells))
    json_path = ours / "out.json"
    required = ("--inferbench-require", "ort-cpu and fp32")
    without = ("-p", "no:inferbench")
    stages: dict[str, Stage] = {
        "collection": lambda: run_pytest(ours, cells, "--collect-only"),
        "collection, bare pytest": lambda: run_pytest(bare, cells, "--collect-only", *without),
        "a run": lambda: run_pytest(ours, cells, *required, "--inferbench-json", str(json_path)),
        "a run, bare pytest": lambda: run_pytest(bare, cells, *without),
        "a run over 2 processes": lambda: run_pytest(ours, cells, "-n", "2"),
        "a run over 2 processes, bare pytest": lambda: run_pytest(bare, cells, *without, "-n", "2"),
    }
    return stages, {"MB of JSON": lambda: json_path.stat().st_size / 1e6}


def run_pytest(folder: Path, cells: int, *options: str) -> None:
    """Run a session of its own and check that all of it was there."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPYCACHEPREFIX": str(folder / ".bytecode"), "PYTEST_ADDOPTS": "-p no:randomly"}
    command = [sys.executable, "-m", "pytest", "-q", "test_it.py", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert str(cells) in done.stdout or str(cells + 1) in done.stdout, done.stdout[-500:]


def report_stages(folder: Path, machines: int) -> tuple[dict[str, Stage], dict[str, Stage]]:
    """Return what is done with the results of so many machines."""
    from pytest_inferbench.report.markdown import markdown
    from pytest_inferbench.report.merge import merge
    from pytest_inferbench.report.reading import encode, read_results

    documents = [simulated.results(machine, CELLS_A_MACHINE) for machine in range(machines)]
    paths = [folder / f"{machine:03d}.json" for machine in range(machines)]
    for path, document in zip(paths, documents, strict=True):
        path.write_bytes(encode(document))
    merged = merge(documents)
    stages: dict[str, Stage] = {
        "inferbench report merge": lambda: inferbench(
            *("report", "merge", *map(str, paths), "--to", str(folder / "all.json")), status=1
        ),
        "of it reading": as_in_a_verb(lambda: [read_results(path) for path in paths]),
        "of it merging": as_in_a_verb(lambda: merge(documents)),
        "of it writing": as_in_a_verb(lambda: encode(merged)),
        "Markdown": as_in_a_verb(lambda: markdown(merged)),
    }
    facts: dict[str, Stage] = {
        "MB of one machine's JSON": lambda: paths[0].stat().st_size / 1e6,
        "MB of merged JSON": lambda: len(encode(merged)) / 1e6,
        "MB of Markdown": lambda: len(markdown(merged)) / 1e6,
    }
    with contextlib.suppress(ImportError):
        from pytest_inferbench.report.html import html

        stages["HTML"] = as_in_a_verb(lambda: html(merged))
        facts["MB of HTML"] = lambda: len(html(merged)) / 1e6
    return stages, facts


def as_in_a_verb(stage: Stage) -> Stage:
    """Return a stage during which cycles are looked for as little as in a verb of the command."""

    def staged() -> None:
        with collected_later():
            stage()

    return staged


def baseline_stages(folder: Path, machines: int) -> tuple[dict[str, Stage], dict[str, Stage]]:
    """Return what is done with the baselines of so many machines, in a git repository."""
    from pytest_inferbench.baselines.schema import Addition
    from pytest_inferbench.baselines.store import BaselineStore

    models = "".join(
        f'[models.{name}]\npath = "m.onnx"\ntask = "tensors"\n'
        for name, _ in simulated.models_of(CELLS_A_MACHINE)
    )
    backends, precisions = list(simulated.BACKENDS), list(simulated.PRECISIONS)
    (folder / "m.onnx").write_bytes(b"nothing opens it")
    (folder / "inferbench.toml").write_text(
        f"[matrix]\nbackends = {backends}\nprecisions = {precisions}\n{models}"
    )
    held = folder / "baselines"
    simulated.write_baselines(held, machines, CELLS_A_MACHINE, SESSIONS_A_CELL)
    git = ("git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@y")
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "x")):
        subprocess.run([*git, *arguments], check=True, capture_output=True)

    def record() -> None:
        store, draw = BaselineStore(held), random.Random(time.monotonic())
        for machine in range(machines):
            for model, keys in simulated.models_of(CELLS_A_MACHINE):
                for key in keys:
                    (session,) = simulated.sessions(draw, 1)
                    addition = Addition(cell=key, session=session)
                    store.add(simulated.hardware_of(machine), model, addition)
        store.flush()

    def verb(*arguments: str) -> Callable[[], None]:
        return lambda: inferbench("baselines", *arguments, "--settings", str(folder))

    stages: dict[str, Stage] = {
        "list": verb("list"),
        "diff": verb("diff"),
        "prune, said only": verb("prune", "--keep", "5", "--unused"),
        "record one session of every cell": record,
    }
    size = sum(path.stat().st_size for path in held.rglob("*.json")) / 1e6
    return stages, {"MB of baselines": lambda: size}


def inferbench(*arguments: str, status: int = 0) -> None:
    """Run a verb in this process, its output thrown away."""
    from pytest_inferbench.cli import main as verb

    with quiet():
        ended = verb(list(arguments))
    assert ended == status, f"inferbench {arguments[:3]} ended with {ended}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Throw away what is printed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


GROUPS = {
    "session": (CELLS, session_stages),
    "reports": (MACHINES, report_stages),
    "baselines": (MACHINES, baseline_stages),
}

if __name__ == "__main__":
    main()
