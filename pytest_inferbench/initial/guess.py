"""Which task a model has: takes its facts and the annotations there are, gives a guess. Pure.

Conservative: a detector is one whose output fits annotations that are there; whatever else is
compared with its reference and nothing more, and what it could be is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.initial.sizes import is_free

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.inspect import ModelFacts, TensorFacts


@dataclass(frozen=True)
class Annotations:
    """COCO annotations that can be used: where they are, as the settings would say it."""

    path: str
    classes: int
    images: int


@dataclass(frozen=True)
class Guess:
    """What a model is taken for.

    Attributes:
        why: A sentence each.
        could_be: What else, and what that needs; a sentence each.
        annotations: What a detector is scored on.
        layout: How its detections lie.
    """

    task: str
    why: tuple[str, ...]
    could_be: tuple[str, ...] = ()
    annotations: Annotations | None = None
    layout: str | None = None


def guess_task(
    facts: ModelFacts, annotations: Sequence[Annotations], cannot_score: str = ""
) -> Guess:
    """Return what a model is taken for.

    Args:
        facts: Its inputs and outputs.
        annotations: What there is to score a detector on, nearest first.
        cannot_score: Why nothing can be scored here, such as a missing package.
    """
    for each in annotations:
        layout = layout_for(facts, each.classes)
        if layout is None:
            continue
        fits = f"its output fits the layout {layout} with the {each.classes} classes of {each.path}"
        if not cannot_score:
            return Guess(
                "detection", (fits,), _other_annotations(facts, annotations, each), each, layout
            )
        needs = f'{fits}; for task = "detection" {cannot_score}'
        return Guess("tensors", (_PLAIN,), (needs,))
    return Guess("tensors", (_PLAIN,), tuple(_hints(facts)))


_PLAIN = "its outputs are compared with those of the fp32 reference, and nothing is scored"


def layout_for(facts: ModelFacts, classes: int | None = None) -> str | None:
    """Return the layout of a detector's outputs, if they can be one's."""
    if not _takes_one_image(facts):
        return None
    from pytest_inferbench.accuracy import detection, detr

    outputs = {spec.name: spec.shape for spec in facts.outputs}
    try:
        if pair := detr.names_of(outputs):
            columns = outputs[pair[0]][-1]
            if classes is None or not isinstance(columns, int):
                return None
            return detr.infer_layout(columns, classes)
        shape = facts.outputs[0].shape
        if len(outputs) != 1 or len(shape) != 3:
            return None
        sizes = [int(size) if isinstance(size, int) else -1 for size in shape]
        return detection.infer_layout(sizes, classes)
    except InferbenchError:
        return None


def _takes_one_image(facts: ModelFacts) -> bool:
    if len(facts.inputs) != 1:
        return False
    shape = facts.inputs[0].shape
    return len(shape) == 4 and (shape[1] == 3 or is_free(shape[1]))


def _other_annotations(
    facts: ModelFacts, annotations: Sequence[Annotations], chosen: Annotations
) -> tuple[str, ...]:
    others = [
        each.path
        for each in annotations
        if each is not chosen and layout_for(facts, each.classes) is not None
    ]
    return (f"data could also be {', '.join(others[:3])}",) if others else ()


def _hints(facts: ModelFacts) -> list[str]:
    """Say what else a model could be, by its shapes alone."""
    hints = []
    if layout := layout_for(facts):
        hints.append(
            f'with COCO annotations it could be task = "detection": its output looks like {layout}'
        )
    first: TensorFacts = facts.outputs[0]
    rank, last = len(first.shape), first.shape[-1] if first.shape else 0
    if _takes_one_image(facts) and rank == 2 and isinstance(last, int) and last > 1:
        hints.append(
            f'with a folder of images as data: task = "classification" ({last} classes), or'
            f' "embedding" (vectors of {last})'
        )
    elif _takes_one_image(facts) and rank == 4:
        hints.append('with a folder of images as data: task = "segmentation"')
    elif rank == 3 and any(spec.dtype.startswith("int") for spec in facts.inputs):
        hints.append('with .npz files of tokens as data: task = "embedding" and a pooling')
    return hints
