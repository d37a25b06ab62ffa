"""Embedding: each sample's vector, its nearest others, and its duplicates.

Takes a model's settings and data (images, or tensors such as token ids with their mask); gives
inputs and scores. Knows neither workers nor budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_inferbench.tasks.base import Scores
from pytest_inferbench.tasks.imaging import ImageTask

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.retrieval import Embedded
    from pytest_inferbench.tasks.base import Array, Sample

MASKS = ("attention_mask", "mask")
"""What the input is called that says which tokens are there."""

_THRESHOLD = 0.9


class EmbeddingTask(ImageTask):
    """A model whose output is a direction."""

    kind = "embedding"

    def postprocess(self, outputs: Sequence[Sample]) -> Embedded:
        """Pool and normalize the vector of every sample."""
        from pytest_inferbench.accuracy.retrieval import embed, pool

        arrays, pooling = self.output_of(outputs), self.model.pooling
        masked = pooling in ("mean", "last") and any(
            spec.name in MASKS for spec in self.facts.inputs
        )
        masks = [_mask(sample) for sample in self.inputs] if masked else [None] * len(arrays)
        rows = [pool(array, mask, pooling) for array, mask in zip(arrays, masks, strict=True)]
        return embed(rows)

    def compare(self, reference: Embedded, candidate: Embedded) -> Scores:
        """Return cosines, recall of the reference's nearest, agreement of duplicates."""
        from pytest_inferbench.accuracy import retrieval

        faults = [
            f"{who}, {fault}"
            for who, side in (("the reference", reference), ("the candidate", candidate))
            for fault in side.faults
        ]
        each = retrieval.cosines(reference, candidate)
        stuck = candidate.samples > 1 and retrieval.is_all_one(candidate)
        if stuck and not retrieval.is_all_one(reference):
            faults.append("the candidate's embedding is the same for every sample")
        if faults:
            return Scores({}, faults=tuple(faults))
        figures = {
            "embedding_cosine": float(each.min()),
            "embedding_cosine_mean": float(each.mean()),
        }
        details = {"embedding_cosine": f"smallest at {self._name(int(each.argmin()))}"}
        nulls: dict[str, float] = {}
        if (null := retrieval.null_cosine(reference)) is not None:
            figures["embedding_cosine_null"] = nulls["embedding_cosine"] = null
            details["embedding_cosine"] += f"; different samples have {null:.4f} on average"
        missing = self._rank(reference, candidate, figures, details, nulls)
        return Scores(figures, details, missing=missing, nulls=nulls)

    def _rank(
        self,
        reference: Embedded,
        candidate: Embedded,
        figures: dict[str, float],
        details: dict[str, str],
        nulls: dict[str, float],
    ) -> Mapping[str, str]:
        """Add what concerns pairs of samples; return why a figure cannot be had."""
        from pytest_inferbench.accuracy import retrieval

        missing, k, others = {}, self.model.recall_at, reference.samples - 1
        if retrieval.is_all_one(reference):
            missing["recall_at_k"] = "the reference's embeddings are all the same"
        elif others <= k:
            missing["recall_at_k"] = (
                f"a sample has {others} others, so any ranking finds the nearest {k}: it takes more"
                " data, or a smaller models.<name>.recall_at"
            )
        else:
            figures["recall_at_k"], worst = retrieval.recall_at(reference, candidate, k)
            nulls["recall_at_k"] = k / others  # what a random ranking finds
            details["recall_at_k"] = (
                f"of the reference's {k} nearest of {others}, mean over {reference.samples}"
                f" samples; least at {self._name(worst)}; a random ranking finds {k / others:.3f}"
            )
        threshold = _THRESHOLD if self.model.threshold is None else self.model.threshold
        pairs = retrieval.duplicates(reference, candidate, threshold)
        figures |= {"duplicates": float(pairs.candidate)}
        if pairs.agreement is None:
            missing["duplicate_agreement"] = (
                f"no two samples have a cosine of {threshold:g}, neither at the reference nor here"
            )
        else:
            figures["duplicate_agreement"] = pairs.agreement
            details["duplicate_agreement"] = (
                f"pairs with a cosine of {threshold:g} or more: {pairs.reference} at the"
                f" reference, {pairs.candidate} here, {pairs.common} in common"
            )
        return missing

    def _name(self, row: int) -> str:
        return self.names[row] if len(self.names) > row else f"row {row}"


def _mask(sample: Sample) -> Array | None:
    return next((sample[name] for name in MASKS if name in sample), None)
