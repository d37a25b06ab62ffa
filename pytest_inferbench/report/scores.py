"""What a cell's accuracy is called: figure -> title. Pure data.

A table's columns are narrower, and have words of their own (`report/columns.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SCORES: Mapping[str, str] = MappingProxyType(
    {
        "map": "mAP",
        "top1": "top-1",
        "miou": "mean IoU",
        "wer": "word error rate",
        "recall_at_k": "recall@k",
        "mask_iou": "mask IoU",
        "token_agreement": "tokens kept",
        "embedding_cosine": "embedding cosine",
        "top1_agreement": "top-1 kept",
        "cosine": "cosine",
    }
)
"""The first that a cell has is its accuracy."""
