"""The reference, written from the code: what mkdocs adds to the site when it is built.

`pages()` takes nothing and gives each page's path in the site with its Markdown; `on_files` is
the hook by which mkdocs asks for them (`mkdocs.yml`). Nothing is kept in git, so nothing is stale.
"""

from __future__ import annotations

import argparse
import ast
import re
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to mkdocs's files."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Return every page of the reference by its path in the site."""
    made = {
        "settings-keys": settings_keys(),
        "options": options(),
        "commands": commands(),
        "fixtures": fixtures(),
        "metrics": metrics(),
        "backends": backends(),
        "codes": codes(),
    }
    note = "*Written from the code when this site was built.*"
    pieces = {name: text.split("\n", 1) for name, text in made.items()}
    return {f"reference/{name}.md": f"{t}\n\n{note}\n{rest}" for name, (t, rest) in pieces.items()}


def settings_keys() -> str:
    """Return the page of every key of the settings: its type and its default."""
    from pytest_inferbench.settings.schema import Settings

    sections = list(_tables("", Settings))
    return "# Keys of the settings\n\nWhat each means: [settings](../settings.md).\n" + "".join(
        f"\n## {title}\n\n{_table(('key', 'type', 'default'), rows)}" for title, rows in sections
    )


def _tables(path: str, struct: type) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield a table of the settings and the ones inside it."""
    import msgspec

    hints = typing.get_type_hints(struct, include_extras=True)
    rows, inner = [], []
    for field in msgspec.structs.fields(struct):
        key, kind = field.encode_name, hints[field.name]
        if key.startswith("_"):
            continue
        below = f"{path}.{key}".lstrip(".")
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind.__name__.endswith("Settings"):
                inner.append((below, kind))
                rows.append((f"`{key}`", "a table, below", ""))
                continue
        elif (found := _struct_in(kind)) is not None:
            inner.append((f"{below}.NAME", found))
            rows.append((f"`{key}`", "a table a name, below", ""))
            continue
        rows.append((f"`{key}`", _type(kind), _default(field)))
    yield (f"`[{path}]`" if path else "Top level"), rows
    for below, kind in inner:
        yield from _tables(below, kind)


def _struct_in(kind: Any) -> type | None:
    """Return the table that a dictionary of tables holds, if it is one."""
    inside = get_args(kind)[1:] if get_origin(kind) is dict else ()
    return next((k for k in inside if getattr(k, "__name__", "").endswith("Settings")), None)


def _type(kind: Any) -> str:
    """Return a type as a person writes its values."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        said = next((m.description for m in inside[1:] if getattr(m, "description", None)), None)
        bounds = " and ".join(_bounds(inside[1]))
        return said or " ".join(filter(None, (_type(inside[0]), bounds)))
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in inside)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(k) for k in inside if k is not type(None))
    if origin in (tuple, list):
        return f"array of {_type(inside[0])}"
    if origin is dict:
        return "a table"
    names = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}
    names[Path] = "a path"
    return names.get(kind, "a table")


def _bounds(meta: Any) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most"}
    for name, word in words.items():
        if (value := getattr(meta, name, None)) is not None:
            yield f"{word} {value:g}"


def _default(field: Any) -> str:
    import msgspec

    if field.required:
        return "required"
    value = field.default
    if value is None or value is msgspec.NODEFAULT or value in ({}, ()):
        return "none"
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        value = list(value)
    suffix = " s" if field.name.endswith("_s") else ""
    text = str(value).replace("'", '"') if not isinstance(value, str) else f'"{value}"'
    return f"`{text}{suffix}`"


def options() -> str:
    """Return the page of what pytest's command line gains: options and markers."""
    from pytest_inferbench.entry import _MARKERS

    rows = []
    for option in _pytest_options():
        attributes = option.attrs()
        name = " ".join(filter(None, (option.names()[0], attributes.get("metavar"))))
        rows.append((f"`{name}`", attributes["help"]))
    markers = [tuple(line.split(": ", 1)) for line in _MARKERS]
    return (
        "# Options and markers of pytest\n\n"
        + _table(("option", "does"), rows)
        + "\n## Markers\n\nBeside these: ids of backends, precisions and hardware.\n\n"
        + _table(("marker", "is"), [(f"`{name}`", text) for name, text in markers])
    )


def _pytest_options() -> list[Any]:
    from _pytest.config.argparsing import Parser

    from pytest_inferbench.plugin import pytest_addoption

    parser = Parser(_ispytest=True)
    pytest_addoption(parser)
    return list(parser.getgroup("inferbench").options)


def commands() -> str:
    """Return the page of the verbs of `inferbench`, as `--help` shows them."""
    from pytest_inferbench.cli import make_parser

    parts = [
        f"\n## `{parser.prog}`\n\n```text\n{parser.format_help().rstrip()}\n```\n"
        for parser in _leaves(make_parser())
    ]
    return "# The command `inferbench`\n" + "".join(parts)


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of verbs: those that have no verbs below."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for child in action.choices.values():
            yield from _leaves(child)


def fixtures() -> str:
    """Return the page of fixtures that tests may ask for, and of hooks."""
    package = ROOT / "pytest_inferbench"
    asked = list(_documented(package / "testkit.py", "fixture"))
    hooks = list(_documented(package / "hookspecs.py", "hookspec"))
    return (
        "# Fixtures and hooks\n\n"
        "How they are used: [tests of your own](../start.md#your-own-tests).\n\n"
        + _table(("fixture", "gives"), asked)
        + "\n## Hooks\n\n"
        + _table(("hook", "is asked to"), hooks)
    )


def _documented(path: Path, decorator: str) -> Iterator[tuple[str, str]]:
    """Yield the public functions under a decorator, with the first line of each docstring."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if any(decorator in ast.unparse(each) for each in node.decorator_list):
            yield f"`{node.name}`", (ast.get_docstring(node) or "").split("\n\n")[0]


def metrics() -> str:
    """Return the page of metrics, with the budgets that hold by default."""
    from pytest_inferbench.settings.metrics import DEFAULTS, METRICS

    rows = [
        (
            f"`{metric.name}`",
            metric.unit,
            metric.better,
            "yes" if metric.relative else "no",
            metric.task or "any",
            ", ".join(f"{k} {v}" for k, v in DEFAULTS.get(metric.name, {}).items()),
            metric.meaning,
        )
        for metric in METRICS.values()
    ]
    titles = ("metric", "unit", "better", "relative", "task", "default budget", "is")
    return "# Metrics\n\nHow budgets are written: [settings](../settings.md#budgets).\n\n" + _table(
        titles, rows
    )


def backends() -> str:
    """Return the page of backends as the catalog has them."""
    from pytest_inferbench.backends.catalog import CATALOG

    rows = [
        (
            f"`{info.name}`",
            ", ".join(info.devices),
            ", ".join(info.precisions),
            " or ".join(f"`{name}`" for name in info.distributions) or "nothing",
            f"`{info.extra}`" if info.extra else "",
            info.family,
        )
        for info in CATALOG.values()
    ]
    titles = ("backend", "devices", "precisions", "needs", "extra", "artifacts by")
    return "# The catalog\n\nWhat ran where: [backends](../backends.md).\n\n" + _table(titles, rows)


def codes() -> str:
    """Return the page of codes, each with where it is explained."""
    table = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    explained = explained_codes()
    rows = []
    for code, means in re.findall(r"^\| (IB-\d{3}) \| (.+?) \| `", table, re.MULTILINE):
        link = f"[what to do](../troubleshooting.md#{code.lower()})" if code in explained else ""
        rows.append((f'<span id="{code.lower()}"></span>{code}', means, link))
    return "# Codes\n\n`inferbench explain CODE` says the same.\n\n" + _table(
        ("code", "means", ""), rows
    )


def explained_codes() -> list[str]:
    """Return the codes that have a section in troubleshooting.md."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^## (IB-\d{3})\b", text, re.MULTILINE)


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = tuple(titles)
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join(f"| {' | '.join(_cell(c) for c in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
