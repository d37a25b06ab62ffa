"""What a code means: takes codes, gives their texts from the documentation that is packaged.

`docs/troubleshooting.md` has a section for the codes that people meet most, `docs/verdicts.md` a
row for each. Knows neither pytest nor the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.locate import packaged_folder

if TYPE_CHECKING:
    from pytest_inferbench.ledger import Entry

_SAID = re.compile(r"\[(IB-\d{3})\]")

_MOST_NAMED = 4
_NOTHING_TO_DO = frozenset({"IB-204", "IB-600", "IB-616", "IB-640", "IB-702"})
"""What is as it should be, or says all that there is to say where it stands."""


def explained(code: str) -> str:
    """Return what is known of a code: its section, else its row.

    Raises:
        InferbenchError: There is no such code (IB-930).
    """
    wanted = f"IB-{code.upper().removeprefix('IB-')}"
    if re.fullmatch(r"IB-\d{3}", wanted, re.ASCII) is None:
        raise _unknown(wanted)
    for section in re.split(r"^## ", _text("troubleshooting.md"), flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        if title.startswith(wanted):
            return f"{title}\n\n{body.strip()}\n"
    row = re.search(rf"^\| {wanted} \| (.+?) \| ", _text("verdicts.md"), re.MULTILINE)
    if row is None:
        raise _unknown(wanted)
    return f"{wanted}: {row[1]}\n"


def _unknown(wanted: str) -> InferbenchError:
    return InferbenchError(
        "IB-930", f"there is no code {wanted}", "A message begins with its code: [IB-603]."
    )


def pointer(entries: Iterable[Entry], notices: Iterable[str]) -> str:
    """Return the line that leads from a session's codes to what to do; empty without any."""
    failed: list[str] = []
    others: list[str] = []
    for entry in entries:
        judged = [j["code"] for j in entry.payload.get("judgements", ())]
        codes = [*judged, *_SAID.findall(entry.reason)]
        (failed if entry.outcome == "failed" else others).extend(codes)
    others += [code for notice in notices for code in _SAID.findall(notice)]
    found = [c for c in dict.fromkeys((*failed, *others)) if c not in _NOTHING_TO_DO]
    if not found:
        return ""
    return f"what to do: inferbench explain {' '.join(found[:_MOST_NAMED])}"


def _text(name: str) -> str:
    return (packaged_folder("docs") / name).read_text(encoding="utf-8")
