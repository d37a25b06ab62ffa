"""Records a machine: everything the gate can ask of it, in one command that resumes.

Builds the models, then asks the product's own suites: right (contract, placement, parity), speed
(latency, throughput by batch size, memory, cold start, power) of the built-in detector, of two
classifiers and of MiniLM, the same again against what was just recorded, a Triton under load,
ONNX's own cases, and on several GPUs how a server scales over them. Results lie in a folder a
machine, baselines where the gate keeps them; `results_page.py` makes tables of all of it. A step
that was done is not done again, and one that was stopped is.

    pip install -e ".[ort-gpu,torch,export,coco,conformance,triton,load]" pytest-xdist
    python benchmarks/record.py                  # an hour on a GPU; stop and start it freely
    python benchmarks/record.py --only right,speed-detector --minutes 20
    python benchmarks/record.py --list

On a machine without a GPU the extra is `cpu` instead of `ort-gpu`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # its parts lie beside it

from field.kept import Kept
from recording import settings
from recording.steps import Places, Step, preparations, questions

from pytest_inferbench import __version__
from pytest_inferbench.hardware import detect

ROOT = Path(__file__).parents[1]
ENDS_S = 30.0


def main() -> int:
    """Do what is missing, until the time is up."""
    chosen = arguments()
    found = detect()
    hardware = found.gpus[0] if found.gpus else found.cpu
    machine = settings.Machine(hardware, len(found.gpus))
    places = Places(ROOT, chosen.work, chosen.to / hardware)
    kept = Kept(places.results / "record.json", {"hardware": hardware, "gpus": list(found.gpus)})
    until_s = time.monotonic() + 60 * chosen.minutes
    done = 0
    if not chosen.list:
        for step in preparations(places):
            run(step, until_s)
    names = write_settings(machine, places, chosen)
    reason = f"record of {time.strftime('%Y-%m-%d')} with inferbench {__version__}"
    for step in questions(places, machine, names, reason, chosen.workers):
        wanted = not chosen.only or step.name in chosen.only
        if chosen.list:
            print(f"{'done' if step.name in kept else 'to do':6} {step.name}")
        elif not wanted or (step.name in kept and not chosen.anew):
            print(f"record: {step.name}: {'done before' if wanted else 'not asked for'}")
        elif until_s - time.monotonic() < 60 * step.minutes * chosen.patience:
            print(f"record: {step.name}: no time left for it")
        else:
            status, seconds = run(step, until_s)
            done += 1
            if step.results is not None and step.results.exists() and status in (0, 1):
                entry = {"exit": status, "seconds": round(seconds, 1), "ended": now()}
                kept.add(step.name, {**entry, "results": step.results.name})
    print(f"record: {done} steps; {places.results}")
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--to", type=Path, default=ROOT / "docs" / "records", help="where results are kept")
    add("--work", type=Path, default=Path("build/record"), help="models and settings")
    add("--baselines", type=Path, default=ROOT / "baselines", help="where baselines are kept")
    add("--only", type=lambda text: text.split(","), help="these steps: speed-detector,serving")
    add("--anew", action="store_true", help="steps that were done before, too")
    add("--list", action="store_true", help="say what is done and what is not")
    add("--minutes", type=float, default=240.0, help="begin nothing that would end later")
    add("--patience", type=float, default=1.0, help="how many times as long as usual steps take")
    add("--workers", type=int, default=1, help="processes for what is not timed (needs xdist)")
    add("--runs", type=int, default=5, help="launches a session")
    add("--seconds", type=float, default=1.0, help="how long each is sampled")
    chosen = parser.parse_args()
    for name in ("to", "work", "baselines"):
        setattr(chosen, name, getattr(chosen, name).absolute())
    return chosen


def write_settings(
    machine: settings.Machine, places: Places, chosen: argparse.Namespace
) -> tuple[str, ...]:
    """Write the settings of every step; return the models that were built."""
    built = places.work / "models"
    names = tuple(name for name in settings.GRAPHS if (built / name / "model.pt2").exists())
    sentences = (built / "zoo" / "sentences").exists()
    common = (machine, chosen.baselines, chosen.runs, chosen.seconds)
    texts = {
        "detector": settings.detector(*common),
        "models": settings.models(*common, built, names, sentences),
        "serving": settings.serving(machine, chosen.baselines),
    }
    for name, text in texts.items():
        path = places.settings(name) / "inferbench.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return (*names, *(["minilm"] if sentences else []))


def run(step: Step, until_s: float) -> tuple[int, float]:
    """Run a command to its end, or to the end of the time; return its status and its seconds."""
    print(f"record: {step.name}: {' '.join(step.command)}", flush=True)
    began_s = time.monotonic()
    process = subprocess.Popen(step.command, cwd=ROOT, start_new_session=True)
    try:
        status = process.wait(max(1.0, until_s - began_s))
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as why:
        status = end(process)
        if isinstance(why, KeyboardInterrupt):
            raise
    seconds = time.monotonic() - began_s
    print(f"record: {step.name}: exit status {status} after {seconds:.0f} s", flush=True)
    return status, seconds


def end(process: subprocess.Popen[bytes]) -> int:
    """End a command that took too long: as Ctrl-C does, so that it ends what it started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        try:
            return process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            continue
    return process.wait()


def now() -> str:
    """Return the time, in words that sort."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


if __name__ == "__main__":
    sys.exit(main())
