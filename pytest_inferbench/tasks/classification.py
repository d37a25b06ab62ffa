"""Classification: the best class of each sample, against labels and against the reference's.

Takes a model's settings and data; gives inputs and scores. Knows neither workers nor budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_inferbench.tasks.base import Scores
from pytest_inferbench.tasks.imaging import ImageTask

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.classification import Classified, PairedDrop
    from pytest_inferbench.tasks.base import Sample

_SHOWN = 5
_NO_LABELS = (
    "the data have no labels (folders by class, arrays of that name, or models.<name>.labels)"
)


class ClassificationTask(ImageTask):
    """A classifier, with labels or without."""

    kind = "classification"
    reserved = frozenset({"labels"})

    @cached_property
    def labels(self) -> list[object] | None:
        """The right class of every sample: of the settings' file, the arrays, or the folders."""
        from pytest_inferbench.accuracy.labels import labels_of, labels_of_folders, load_labels

        if self.model.data is None:
            return None
        if self.model.labels is not None:
            labels = load_labels(self.model.labels)
            return list(labels_of(self.names, labels, str(self.model.labels)))
        if (tensors := self._tensors) is not None:
            arrays = tensors.beside("labels")
            return None if arrays is None else [x for array in arrays for x in array.ravel()]
        found = labels_of_folders(self.names)
        return None if found is None else list(found)

    def postprocess(self, outputs: Sequence[Sample]) -> Classified:
        """Rank the classes of every sample."""
        from pytest_inferbench.accuracy.classification import classify

        return classify(self.output_of(outputs), self.labels)

    def compare(self, reference: Classified, candidate: Classified) -> Scores:
        """Return agreement with the reference; top-1 and top-5 where there are labels."""
        from pytest_inferbench.accuracy.classification import TOP, agreement, paired_drop

        if faults := _faults(reference, candidate):
            return Scores({}, faults=faults)
        figures = {"top1_agreement": agreement(reference, candidate)}
        details: dict[str, str] = {}
        missing: dict[str, str] = {}
        for name, k in (("top1", 1), ("top5", TOP)):
            before, after = reference.right(k), candidate.right(k)
            if before is None or after is None:
                missing |= {name: _NO_LABELS, f"{name}_drop": _NO_LABELS}
            elif k > 1 and candidate.classes <= k:
                why = f"the model has {candidate.classes} classes, so any are among the first {k}"
                missing |= {name: why, f"{name}_drop": why}
            else:
                drop = paired_drop(before, after)
                figures |= {
                    name: float(after.mean()),
                    f"{name}_drop": drop.drop,
                    f"{name}_drop_low": drop.low,
                    f"{name}_drop_high": drop.high,
                }
                details[f"{name}_drop"] = details[name] = self._say_drop(
                    name, float(before.mean()), float(after.mean()), drop, candidate.samples
                )
        return Scores(figures, details, self._changes(reference, candidate), missing=missing)

    def _say_drop(
        self, name: str, before: float, after: float, drop: PairedDrop, samples: int
    ) -> str:
        luck = "luck alone could explain it" if drop.p_value > 0.05 else "luck does not explain it"
        return (
            f"{name} {before:.4f} at the reference, {after:.4f} here; over {samples} samples the"
            f" drop's 95 % interval is {drop.low:+.4f} to {drop.high:+.4f}; {drop.lost} lost,"
            f" {drop.gained} gained: {luck} (McNemar's p = {drop.p_value:.2g})"
        )

    def _changes(self, reference: Classified, candidate: Classified) -> dict[str, str]:
        from pytest_inferbench.accuracy.classification import changed, lost_by_class

        context = {}
        differ = changed(reference, candidate)
        if len(differ):
            each = [
                f"{self._name(i)} ({reference.top[i, 0]} -> {candidate.top[i, 0]})"
                for i in differ[:_SHOWN]
            ]
            more = f", and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
            context["samples whose class changed"] = ", ".join(each) + more
        lost = [x for x in lost_by_class(reference, candidate).most_common(3) if x[1] > 0]
        if lost:
            context["classes that lost most"] = ", ".join(f"{k} ({n})" for k, n in lost)
        return context

    def _name(self, row: int) -> str:
        """What a row is called: its sample's name, where each sample is one row."""
        return self.names[row] if len(self.names) > row else str(row)


def _faults(reference: Classified, candidate: Classified) -> tuple[str, ...]:
    return tuple(
        f"{who}, {fault}"
        for who, side in (("the reference", reference), ("the candidate", candidate))
        for fault in side.faults
    )
