"""What documents show: takes Markdown or a line of shell, gives blocks, commands and their faults.

A command of ours is parsed by the parser that will meet it; a program of others has to be on a list
here, so that a misspelt one is found. Nothing is run.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from _pytest.mark.expression import Expression

from pytest_inferbench.backends.catalog import CATALOG, PRECISIONS
from pytest_inferbench.cli import make_parser
from pytest_inferbench.entry import _MARKERS
from pytest_inferbench.settings.find import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_OURS = ("pytest", "inferbench", "locust", "tox")
OTHERS = frozenset(
    [
        "apt-get",
        "bash",
        "cat",
        "cd",
        "chmod",
        "cp",
        "cpupower",
        "docker",
        "echo",
        "git",
        "head",
        "jetson_clocks",
        "mkdir",
        "nvidia-smi",
        "nvpmodel",
        "pip",
        "python",
        "python3",
        "python3.10",
        "rm",
        "rsync",
        "scp",
        "ssh",
        "ssh-copy-id",
        "ssh-keygen",
        "systemd-run",
        "tee",
        "test",
    ]
)
"""Programs of others that pages may show: they are not parsed."""

_WRAPPERS = {"sudo": 0, "taskset": 2, "numactl": 4, "nice": 0, "timeout": 1, "exec": 0}
"""What may stand before a command, with how many arguments of its own."""

_SHOWN = re.compile(rf"^(?:\$ )?((?:\w+=\S+ )*(?:{'|'.join(_OURS)}) .*)$")
_EXTRA_MARKERS = frozenset({"alone", "cpu", "gpu", "ort", "serving", "slow", "triton"})


@dataclass(frozen=True)
class Block:
    """A fenced block, or one that is indented."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """Return the blocks of code of a page; indented ones have no language."""
    found: list[Block] = []
    page = path.relative_to(ROOT).as_posix()
    fence, start, info, inside = "", 0, "", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        opened = re.match(r"^( *)```(.*)$", line)
        if fence and opened and not opened[2]:
            found.append(_block(page, start, info, inside, len(fence)))
            fence, inside = "", []
        elif fence:
            inside.append(line)
        elif opened:
            _flush(found, page, start, inside)
            fence, start, info, inside = f"{opened[1]}`", number + 1, opened[2], []
        elif line.startswith("    ") or (inside and not line.strip()):
            start = start if inside else number
            inside.append(line)
        else:
            _flush(found, page, start, inside)
            inside = []
    _flush(found, page, start, inside)
    return found


def _flush(found: list[Block], page: str, start: int, inside: list[str]) -> None:
    if any(line.strip() for line in inside):
        found.append(_block(page, start, "", inside, 5))
    inside.clear()


def _block(page: str, start: int, info: str, lines: list[str], indent: int) -> Block:
    language, _, rest = info.partition(" ")
    titled = re.search(r'title="([^"]*)"', rest)
    text = "\n".join(line[indent - 1 :] for line in lines) + "\n"
    return Block(page, start, language, titled[1] if titled else "", text)


def commands(block: Block) -> list[str]:
    """Return a block's lines of shell: all of ```sh, those of ours where no language is told."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "sh":
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if block.language:
        return []
    return [match[1] for line in lines if (match := _SHOWN.match(line)) and "..." not in line]


def faults(line: str, parse_pytest) -> list[str]:
    """Return what is wrong with a line of shell.

    Args:
        line: Several commands, perhaps, joined by `&&`, `||`, `|` or `;`.
        parse_pytest: Takes arguments of pytest, gives its namespace and what it does not know.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    words: list[list[str]] = [[]]
    try:
        for word in lexer:
            if set(word) <= set("&|;"):
                words.append([])
            else:
                words[-1].append(word)
    except ValueError as error:
        return [f"no shell: {error}"]
    return [fault for each in words if each for fault in _command(each, parse_pytest)]


def _command(words: list[str], parse_pytest) -> list[str]:
    words = list(words)
    while words and (re.match(r"^\w+=", words[0]) or words[0] in _WRAPPERS):
        del words[: 1 + _WRAPPERS.get(words[0], 0)]
    if not words:
        return []
    words = [
        w for i, w in enumerate(words) if w not in "<>" and (not i or words[i - 1] not in "<>")
    ]
    program, arguments = Path(words[0]).name, words[1:]
    if program.startswith("python") and arguments[:2] == ["-m", "pytest"]:
        program, arguments = "pytest", arguments[2:]
    match program:
        case "pytest":
            return _pytest(arguments, parse_pytest)
        case "inferbench":
            return _parsed(make_parser().parse_args, arguments)
        case "tox":
            return _tox(arguments)
        case "pip":
            return _pip(arguments)
        case "python" | "python3" | "python3.10":
            return _script(arguments)
        case "locust":
            return []  # a process of its own parses those: test_shown.py
    return [] if program in OTHERS else [f"a program that is not known here: {program}"]


def _parsed(parse, arguments: list[str]) -> list[str]:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parse(arguments)
    except SystemExit as end:
        return [said.getvalue().strip().splitlines()[-1]] if end.code else []
    return []


def _pytest(arguments: list[str], parse_pytest) -> list[str]:
    known, unknown = parse_pytest(arguments)
    wrong = [f"pytest has no option {word}" for word in unknown if word.startswith("-")]
    for expression in filter(None, (known.markexpr, *known.inferbench_require)):
        wrong += _expression(expression)
    for path in known.file_or_dir:
        if path.startswith(("suites", "tests/")) and not (ROOT / path.partition("::")[0]).exists():
            wrong.append(f"no such path: {path}")
    return wrong


def _expression(text: str) -> list[str]:
    try:
        Expression.compile(text)
    except SyntaxError as error:
        return [f"{text!r}: {error}"]
    names = set(re.findall(r"[\w-]+", text)) - {"and", "or", "not"}
    return [f"no marker {name}" for name in sorted(names) if not _is_marker(name)]


def _is_marker(name: str) -> bool:
    suites = {re.match(r"\w+", line)[0] for line in _MARKERS}
    known = {*suites, *CATALOG, *PRECISIONS, *_EXTRA_MARKERS}
    return name in known or name.startswith(("triton-", "jetson-", "nvidia-", "cpu-"))


def _tox(arguments: list[str]) -> list[str]:
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    names = arguments[arguments.index("-e") + 1].split(",") if "-e" in arguments else []
    return [f"tox has no {name}" for name in names if f"[testenv:{name}]" not in text]


def _pip(arguments: list[str]) -> list[str]:
    project = parse((ROOT / "pyproject.toml").read_bytes())["project"]
    wrong = []
    for word in arguments:
        if extras := re.search(r"(?:pytest-inferbench|\.)\[([\w,-]+)\]", word):
            missing = set(extras[1].split(",")) - project["optional-dependencies"].keys()
            wrong += [f"there is no extra {name}" for name in sorted(missing)]
    return wrong


def _script(arguments: list[str]) -> list[str]:
    if arguments and arguments[0].startswith(("fixtures/", "benchmarks/", "docs/", "ci/")):
        return [] if (ROOT / arguments[0]).is_file() else [f"no such program: {arguments[0]}"]
    return []
