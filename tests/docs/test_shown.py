"""Every command, table of settings and program that README and docs show is one that works.

All are parsed here, cheaply, by what will read them; what is cheap enough is run: the README by
`test_readme.py`, `docs/start.md` by `test_start.py`, the example of a task by `test_tasks_docs.py`.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

from pytest_inferbench.settings import load
from pytest_inferbench.settings.find import parse
from pytest_inferbench.settings.metrics import METRICS

ELSEWHERE = {
    "docs/tasks.md": "counting",  # a task that its own page registers: test_tasks_docs.py
}
"""Settings that cannot be loaded by themselves: what they name, and where they are tested."""


def test_every_command_is_one_that_its_program_takes(shown, faults_of):
    wrong, count = [], 0
    for page in shown.PAGES:
        for block in shown.blocks(page):
            for line in shown.commands(block):
                count += 1
                wrong += [f"{block.where}: {line.strip()}: {fault}" for fault in faults_of(line)]
    assert wrong == []
    assert count > 100, "fewer commands than the pages have"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("pytest -m latency --inferbench-requires x", "no option --inferbench-requires"),
        ('pytest -m "latency and ort-cpuu"', "no marker ort-cpuu"),
        ('pytest --inferbench-require "trt and"', "trt and"),
        ("pytest suites/nothing", "no such path"),
        ("inferbench doktor", "invalid choice"),
        ("inferbench baselines diff --jason", "unrecognized arguments"),
        ("tox -e nothing", "tox has no nothing"),
        ('pip install "pytest-inferbench[ort-gpus]"', "no extra ort-gpus"),
        ("nvidia-smj -q", "not known here"),
        ("true && sudo inferbench cache --clean", "not known here"),
        ("python fixtures/nothing.py", "no such program"),
    ],
)
def test_a_command_that_does_not_work_is_found(faults_of, line, says):
    assert says in " ".join(faults_of(line))


def test_no_command_takes_what_the_installation_above_it_does_not_bring(shown):
    lines = [line for block in shown.blocks(shown.PAGES[0]) for line in shown.commands(block)]
    spread = [line for line in lines if "pytest" in line and " -n " in line]
    assert [line for line in spread if "[dev]" not in line and "xdist" not in line] == []
    assert spread, "the project's own tests"


def test_every_locust_command_is_one_that_locust_and_the_files_take(shown, tmp_path):
    if find_spec("locust") is None:
        pytest.skip("locust is not installed")
    lines = [
        line.split("#")[0]
        for page in shown.PAGES
        for block in shown.blocks(page)
        for line in shown.commands(block)
        if line.startswith("locust ")
    ]
    assert len(lines) >= 2
    # Locust replaces the standard library's sockets: never in this process.
    program = textwrap.dedent("""
        import json, runpy, shlex, sys
        from locust import events
        from locust.argument_parser import get_parser
        for line in json.loads(sys.argv[1]):
            words = shlex.split(line)[1:]
            for file in words[words.index("-f") + 1].split(","):
                runpy.run_path(file)
            parser = get_parser()
            events.init_command_line_parser.fire(parser=parser)
            known, unknown = parser.parse_known_args(words)
            if unknown:
                sys.exit(f"{line}: {unknown}")
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(lines)],
        cwd=shown.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_every_table_of_settings_loads(shown, tmp_path):
    wrong, count = [], 0
    for page in shown.PAGES:
        for block in shown.blocks(page):
            tables = settings_in(block)
            if tables is None or ELSEWHERE.get(block.page, "\0") in block.text:
                continue
            count += 1
            folder = tmp_path / str(count)
            write_project(folder, tables)
            try:
                load(folder)
            except Exception as error:  # noqa: BLE001 - whatever it is, the page is wrong
                wrong.append(f"{block.where}: {error}")
    assert wrong == []
    assert count > 40, "fewer tables than the pages have"


def settings_in(block):
    """Return a block's settings, what a fragment leaves out filled in; None if it has none."""
    headed = not block.language and re.match(r"\[[a-z][\w.\"-]+\]\n", block.text)
    if block.language != "toml" and not headed:
        return None
    tables = parse(block.text.encode())
    if tables.keys() & {"project", "build-system", "reference"}:  # other files than settings
        return None
    if tables.keys() <= METRICS.keys():
        tables = {"models": {"net": {"budgets": tables}}}
    for model in tables.get("models", {}).values():
        budgets = model.get("budgets", {})
        model.setdefault("path", "net.onnx")
        model.setdefault(
            "task", "detection" if any("map" in name for name in budgets) else "tensors"
        )
        if model["task"] == "detection":
            model.setdefault("data", "val.json")
            model.setdefault("calibration", "calib")
    served = [name for name in ("plain", "batched") if f"triton-{name}-" in block.text]
    for name in served:
        tables.setdefault("serving", {}).setdefault("variants", {}).setdefault(name, {})
    return tables


def write_project(folder, tables):
    """Write settings, and a file or a folder wherever they name one."""
    folder.mkdir()
    named = []
    for model in tables.get("models", {}).values():
        named += [model.get(key) for key in ("path", "data", "calibration", "labels")]
        named += [v for v in model.get("sources", {}).values() if "://" not in v]
        named.append(model.get("speech", {}).get("vocabulary"))
    named += [e.get("python") for e in tables.get("environments", {}).values() if "ssh" not in e]
    for name in filter(None, named):
        path = folder / name
        if ":" in name:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if "." in path.name or "/bin/" in name:
            path.write_text("{}")
            path.chmod(0o755)
        else:
            path.mkdir(exist_ok=True)
            (path / "1.png").touch()
    (folder / "inferbench.toml").write_text(toml(tables))


def toml(tables):
    """Return tables as TOML, all of them inline."""

    def value(each):
        if isinstance(each, dict):
            return "{ " + ", ".join(f"{json.dumps(k)} = {value(v)}" for k, v in each.items()) + " }"
        if isinstance(each, list):
            return "[" + ", ".join(map(value, each)) + "]"
        return json.dumps(each)

    return "".join(f"{json.dumps(key)} = {value(each)}\n" for key, each in tables.items())


def test_every_program_compiles_and_imports_what_there_is(shown):
    wrong, count = [], 0
    for page in shown.PAGES:
        for block in shown.blocks(page):
            if block.language != "python":
                continue
            count += 1
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("pytest_inferbench"):
                    module = importlib.import_module(node.module)
                    wrong += [
                        f"{block.where}: {node.module} has no {alias.name}"
                        for alias in node.names
                        if not hasattr(module, alias.name)
                    ]
    assert wrong == []
    assert count >= 5
