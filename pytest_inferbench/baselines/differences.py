"""What is not as it was recorded: takes two environments, gives differences by kind. Pure.

A slower figure means little before one knows what else is other: a driver, a clock, a package, the
file that ran, an option. So messages say this first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

KINDS = ("machine", "packages", "artifact", "options")
"""In the order they are told: what nobody chose comes first."""

ABSENT = "absent"

_SINGULAR = ("machine", "artifact")

_ARTIFACT = "artifact"
_OPTION = "option "
# Whatever else an environment names is the version of a package, whose names nobody can list.
_MACHINE = (
    *("kernel", "memory_", "board", "cpu_", "gpu_", "nvidia_", "cuda_driver", "power_", "clock"),
    *("jetson_", "fan_", "thermal_"),
)


@dataclass(frozen=True)
class Difference:
    """One name whose value changed.

    Attributes:
        kind: One of `KINDS`.
        before: Its value then; None where there was none.
        now: Its value now; None where there is none.
    """

    kind: str
    name: str
    before: str | None
    now: str | None

    def __str__(self) -> str:
        before, now = (ABSENT if each is None else each for each in (self.before, self.now))
        return f"{self.name} {before} -> {now}"


def kind_of(name: str) -> str:
    """Return the kind of what an environment records under a name."""
    if name == _ARTIFACT:
        return "artifact"
    if name.startswith(_OPTION):
        return "options"
    return "machine" if name.startswith(_MACHINE) else "packages"


def differences(
    before: Mapping[str, str], now: Mapping[str, str], artifacts: tuple[str, str] = ("", "")
) -> tuple[Difference, ...]:
    """Return what differs between two environments, by kind, then by name.

    A fact about the machine that one side did not record says nothing: it is left out.

    Args:
        before: Name -> value, as a session records it.
        now: The same, of what is compared with it.
        artifacts: The hashes of the files that ran, then and now.
    """
    then_all = {**before, _ARTIFACT: artifacts[0][:12]}
    now_all = {**now, _ARTIFACT: artifacts[1][:12]}
    found = []
    for name in then_all.keys() | now_all.keys():
        kind, old, new = kind_of(name), then_all.get(name), now_all.get(name)
        if old == new or (kind == "machine" and None in (old, new)):
            continue
        shown = name.removeprefix(_OPTION)
        found.append(Difference(kind, shown, old, new))
    return tuple(sorted(found, key=lambda each: (KINDS.index(each.kind), each.name)))


def lines_of(found: Iterable[Difference]) -> list[str]:
    """Return a line for each kind that differs, in the order of `KINDS`."""
    grouped: dict[str, list[str]] = {}
    for each in found:
        # the artifact is the only one of its kind: its name is said already
        text = str(each).removeprefix(f"{_ARTIFACT} ") if each.kind == _ARTIFACT else str(each)
        grouped.setdefault(each.kind, []).append(text)
    return [
        f"{kind} {_verb([kind])}: {', '.join(grouped[kind])}" for kind in KINDS if kind in grouped
    ]


def in_brief(found: Iterable[Difference]) -> str:
    """Return which kinds differ, in words: "the machine and packages differ"; empty for none."""
    there = {each.kind for each in found}
    kinds = [kind for kind in KINDS if kind in there]
    if not kinds:
        return ""
    named = [f"the {kind}" if kind in _SINGULAR else kind for kind in kinds]
    all_but_last = ", ".join(named[:-1])
    return f"{' and '.join(filter(None, [all_but_last, named[-1]]))} {_verb(kinds)}"


def _verb(kinds: Sequence[str]) -> str:
    return "differs" if len(kinds) == 1 and kinds[0] in _SINGULAR else "differ"
