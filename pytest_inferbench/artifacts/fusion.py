"""What a runtime fused, in a model's own nodes: takes its word and an outline, gives layers. Pure.

A runtime calls a node by its name, or by that of a tensor that it gives, and may write several
names in one text with commas between them, which names may hold too. What is no node of the
model, such as a cast or a quantizer that a converter put in, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.divergence import Point
    from pytest_inferbench.artifacts.outline import Graph


@dataclass(frozen=True)
class Fused:
    """A layer of a runtime that computes several nodes of a model at once.

    Attributes:
        layer: What the runtime says it is.
        nodes: Its nodes, called as in `Point`, in the order of the model.
    """

    layer: str
    nodes: tuple[str, ...]


def is_told_of(fact: Any) -> bool:
    """Whether a backend's fact `fused` has its form: layers, each with the nodes it is made of."""
    return isinstance(fact, list) and all(
        isinstance(each, Mapping)
        and isinstance(each.get("layer"), str)
        and isinstance(each.get("nodes"), list)
        and all(isinstance(name, str) for name in each["nodes"])
        for each in fact
    )


def fused_layers(fact: Iterable[Mapping[str, Any]], model: Graph) -> list[Fused]:
    """Return the layers that compute more than one node of a model.

    Args:
        fact: A backend's fact `fused`.
        model: The model.
    """
    known = {name: i for i, node in enumerate(model.nodes) for name in node.output if name}
    known |= {node.name: i for i, node in enumerate(model.nodes) if node.name}
    most = 1 + max((name.count(",") for name in known), default=0)
    found = []
    for each in fact:
        places = sorted({known[name] for name in _names(each["nodes"], known, most)})
        if len(places) > 1:
            found.append(Fused(each["layer"], tuple(map(model.label, places))))
    return found


def fused_at(point: Point, layers: Iterable[Fused]) -> Fused | None:
    """Return the layer that a point's node is part of, else one that another of its nodes is."""
    told = list(layers)
    for name in (point.node, *reversed(point.covers)):
        for each in told:
            if name in each.nodes:
                return each
    return None


def _names(pieces: Sequence[str], known: Mapping[str, int], most: int) -> Iterator[str]:
    """Give the known names in a list of names that may have been cut at commas, longest first."""
    start = 0
    while start < len(pieces):
        for end in range(min(start + most, len(pieces)), start, -1):
            name = ",".join(pieces[start:end])
            if name in known:
                yield name
                start = end
                break
        else:
            start += 1
