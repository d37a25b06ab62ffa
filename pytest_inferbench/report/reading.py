"""The results document as a file: written whole or not at all, read back with distrust.

Takes a path; gives `Results`, or an error that says what the file is instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pytest_inferbench import __version__
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.replacing import replacing
from pytest_inferbench.report.document import SCHEMA, Results
from pytest_inferbench.report.parts import FIGURE

MOST_MIB = 2048
"""A larger file is no results document that anybody wrote on purpose."""

_HINT = "A results document is what `pytest --inferbench-json PATH` writes (docs/reports.md)."


class _Head(msgspec.Struct):
    schema: Any = None
    cells: Any = None


def write(results: Results, path: Path) -> None:
    """Write a document, atomically.

    Raises:
        OSError: It could not be written; an earlier one is left as it was.
        TypeError: It holds what is no plain type; likewise.
    """
    write_text(encode(results).decode(), path)


def write_text(text: str, path: Path) -> None:
    """Write a text, atomically; into what is no file of its own, such as a device, as it comes.

    Raises:
        OSError: It could not be written; an earlier file is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        # /dev/null and /dev/stdout would be replaced by a file, for everybody on the machine
        path.write_text(text, encoding="utf-8")
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def encode(results: Results) -> bytes:
    """Return a document as JSON.

    Raises:
        TypeError: It holds what is no plain type.
    """
    plain = finite(msgspec.to_builtins(results, str_keys=True))
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"


def read_results(path: Path) -> Results:
    """Read a document back.

    Raises:
        InferbenchError: It cannot be read (IB-900), is no results document (IB-901), or of a form
            that this version does not know (IB-902).
    """
    try:
        if path.stat().st_size > MOST_MIB << 20:
            raise OSError(f"it has more than {MOST_MIB} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise InferbenchError("IB-900", f"{path} could not be read: {error}", _HINT) from error
    return decode(data, str(path))


def decode(data: bytes, name: str) -> Results:
    """Return the document in some JSON.

    Args:
        data: The JSON.
        name: What to call it in an error.

    Raises:
        InferbenchError: As `read_results` raises.
    """
    try:
        head = msgspec.json.decode(data, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InferbenchError("IB-901", f"{name} is no JSON object: {error}", _HINT) from error
    if not isinstance(head.schema, int) or not isinstance(head.cells, list):
        raise InferbenchError("IB-901", f"{name} is no results document", _HINT)
    if head.schema != SCHEMA:
        raise _other_schema(name, head.schema)
    try:
        # not strict, for figures that JSON has no words for are text
        results = msgspec.json.decode(data, type=Results, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InferbenchError("IB-901", f"{name} is damaged: {error}", _HINT) from error
    named = [part.session for part in results.cells]
    named += [part.session for part in results.serving]
    named += [part.session for part in results.onnx_ops]
    if not all(0 <= session < len(results.sessions) for session in named):
        raise InferbenchError("IB-901", f"{name} is damaged: it names a session it has not", _HINT)
    cells = {(cell.session, cell.id) for cell in results.cells}
    variants = ((part.session, each.cell) for part in results.serving for each in part.variants)
    if not cells.issuperset(variants):
        raise InferbenchError("IB-901", f"{name} is damaged: it names a cell it has not", _HINT)
    return results


def _other_schema(name: str, schema: int) -> InferbenchError:
    if schema > SCHEMA:
        return InferbenchError(
            "IB-902",
            f"{name} is of a newer form (schema {schema}); this is pytest-inferbench {__version__},"
            f" which reads schema {SCHEMA}",
            "Update pytest-inferbench where you read it.",
        )
    return InferbenchError(
        "IB-902",
        f"{name} is of an older form (schema {schema}); this version reads schema {SCHEMA}",
        "Run the gate again with this version, or read it with the one that wrote it.",
    )


def finite(value: Any) -> Any:
    """Make a value fit for JSON: NaN and infinity become text, never a silent null.

    Halves of characters, as undecodable bytes of a path or an argument become, are spelt out.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {finite(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value


def schema_text() -> str:
    """Return docs/schema.json: what a document is, for programs that are not ours."""
    schema = msgspec.json.schema(Results)
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "generated by `inferbench report schema`; do not edit",
        **_with_figures(schema),
    }
    return json.dumps(described, indent=1) + "\n"


def _with_figures(node: Any) -> Any:
    """Return a schema in which figures may be the three words that stand for no finite number."""
    if isinstance(node, Mapping):
        if node.get("title") == FIGURE:
            words = {"enum": ["nan", "inf", "-inf"]}
            return {**node, "type": ["number", "string"], "anyOf": [{"type": "number"}, words]}
        return {key: _with_figures(inner) for key, inner in node.items()}
    return [_with_figures(inner) for inner in node] if isinstance(node, list) else node
