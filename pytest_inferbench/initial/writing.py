"""The text of first settings: takes a plan, gives TOML with comments. Pure."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from pytest_inferbench.initial.plan import Plan, PlannedModel

_WIDTH = 96
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")

_END = """\
# What may change is in budgets; without any the defaults hold (docs/settings.md). For example:
# [models.NAME.budgets]
# p50 = "+15%"                  # against the recorded baseline
# p99 = "30 ms"                 # an objective of its own, which needs no baseline
# cosine = { fp16 = 0.999 }     # against the fp32 reference

# Packages that exclude each other, and other machines, have environments of their own:
# [environments.orin]
# backends = ["trt", "ort-trt"]
# ssh = "nvidia@orin"
# hardware = "jetson-orin-nano-15w"    # `inferbench doctor --write` fills in what it finds
"""

_BROKEN = """\
# Broken on purpose: int8 with ranges that hold little more than half of a layer's values, as
# calibrating on the wrong samples would give. Its accuracy tests fail. Delete this file afterwards.
"""


def settings_text(plan: Plan, version: str, *, broken: bool = False) -> str:
    """Return the settings.

    Args:
        plan: What they say.
        version: This project's.
        broken: Whether they are of a build that is to fail: int8, quantized wrongly.
    """
    lines = [
        f"# Written by `inferbench init` of pytest-inferbench {version}; yours to change.",
        "# Paths belong to the folder of this file. Every key: docs/settings.md.",
    ]
    lines += _BROKEN.splitlines() if broken else []
    for note in plan.notes:
        lines += _comment(note)
    for model in plan.models:
        lines += ["", *_model(model, broken=broken)]
    lines += ["", *_matrix(plan, broken=broken)]
    if not broken:
        lines += ["", *_END.splitlines()]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a string as TOML has it."""
    escaped = json.dumps(text, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04X}", escaped)


def _model(model: PlannedModel, *, broken: bool) -> Iterator[str]:
    for what, tensors in (("takes", model.takes), ("gives", model.gives)):
        for tensor in tensors:
            yield from _comment(f"{what} {tensor}")
    if model.left_out:
        yield from _comment(f"left out: {model.left_out}")
        yield from (f"# {line}" for line in _table(model) if not line.startswith("#"))
        return
    if model.guess:
        sentences = [*model.guess.why, *model.guess.could_be]
        for sentence in sentences:
            yield from _comment(sentence)
    yield from _table(model, broken=broken)


def _table(model: PlannedModel, *, broken: bool = False) -> Iterator[str]:
    yield f"[models.{quoted(model.name) if not _is_bare(model.name) else model.name}]"
    yield f"path = {quoted(model.path)}"
    guess = model.guess
    scored = guess is not None and guess.task != "tensors"
    yield f"task = {quoted(guess.task if guess and not broken else 'tensors')}"
    if guess and guess.layout and not broken:
        yield f"layout = {quoted(guess.layout)}"
    if not (broken and scored):  # a detector's are images, and are not needed to break it
        yield from (
            f"{key} = {quoted(path)}"
            for key, path in (("data", model.data), ("calibration", model.calibration))
            if path
        )
    for line in model.sizes:
        yield from _comment(line)
    if model.shapes:
        yield f"shapes = {_inline(model.shapes)}"
    if broken:
        yield 'precisions = ["int8"]'
        yield 'quantization = { method = "percentile", percentile = 51 }'
        return
    if model.about_precisions:
        yield from _comment(model.about_precisions)
    yield f"precisions = {_array(model.precisions)}"


def _matrix(plan: Plan, *, broken: bool) -> Iterator[str]:
    yield "[matrix]"
    if broken:
        yield f"backends = {_array(plan.backends[:1])}"
        return
    yield "# What can run on this machine; the others say what they need."
    yield "backends = ["
    yield from (f"  {quoted(name)}," for name in plan.backends)
    for name, needs in plan.missing.items():
        first, *more = _wrapped(f"{quoted(name)},  {needs}", _WIDTH - 4)
        yield f"  # {first}"
        yield from (f"  #     {line}" for line in more)
    yield "]"


def _inline(shapes: Mapping[str, Sequence[int]]) -> str:
    inner = ", ".join(f"{quoted(name)} = {list(shape)}" for name, shape in shapes.items())
    return f"{{ {inner} }}"


def _array(names: Sequence[str]) -> str:
    return "[" + ", ".join(map(quoted, names)) + "]"


def _is_bare(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None


def _comment(text: str) -> Iterator[str]:
    yield from (f"# {line}" for line in _wrapped(text, _WIDTH - 2))


def _wrapped(text: str, width: int) -> list[str]:
    """Return lines; what a file calls its tensors may hold anything, a line's end included."""
    plain = _UNSAFE.sub(" ", text)
    return textwrap.wrap(plain, width, break_long_words=False, break_on_hyphens=False) or [""]
