"""Random scenes: annotations and the detections of a model that finds some of them."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest

from pytest_inferbench.accuracy.detection import Detections
from pytest_inferbench.accuracy.ground_truth import GroundTruth, parse_ground_truth


class Scenes:
    """COCO annotations from a seed, with ids that are neither dense nor sorted like the rows."""

    def __init__(self, seed: int, images: int = 12, classes: int = 3, crowds: float = 0.1) -> None:
        self.rng = np.random.default_rng(seed)
        self.image_ids = [7 * (images - i) for i in range(images)]
        self.classes = classes
        self.annotations: list[dict[str, Any]] = []
        for image_id in self.image_ids:
            for _ in range(self.rng.integers(0, 6)):
                w, h = self.rng.uniform(5, 200, 2)
                x, y = self.rng.uniform(0, 300, 2)
                self.annotations.append(
                    {
                        "id": 100 + len(self.annotations),
                        "image_id": image_id,
                        "category_id": 10 * (1 + int(self.rng.integers(classes))),
                        "bbox": [x, y, w, h],
                        "area": w * h * 0.7,
                        "iscrowd": int(self.rng.random() < crowds),
                    }
                )
        self.dataset = {
            "images": [{"id": i, "file_name": f"{i}.png"} for i in self.image_ids],
            "categories": [
                {"id": 10 * (k + 1), "name": f"class-{k}"} for k in reversed(range(classes))
            ],
            "annotations": self.annotations,
        }

    @property
    def truth(self) -> GroundTruth:
        return parse_ground_truth(json.dumps(self.dataset), "scenes.json")

    def detect(self, noise_px: float = 5.0, strays: int = 6, digits: int = 2) -> Detections:
        """Detect every object up to twice and some that are not there; scores have ties."""
        rows = []
        for a in self.annotations:
            for _ in range(self.rng.integers(0, 3)):
                x, y, w, h = np.array(a["bbox"]) + self.rng.normal(0, noise_px, 4)
                box = [x, y, x + abs(w), y + abs(h)]
                rows.append((a["image_id"], box, self.rng.random(), a["category_id"] // 10 - 1))
        for image_id in self.image_ids:
            for _ in range(self.rng.integers(0, strays)):
                x, y, w, h = self.rng.uniform(0, 200, 4)
                box = [x, y, x + w, y + h]
                rows.append((image_id, box, self.rng.random(), self.rng.integers(self.classes)))
        return detections(self.image_ids, rows, digits)


def detections(images: list[int], rows: list[Any], digits: int = 6) -> Detections:
    return Detections(
        images=tuple(images),
        image_ids=np.array([row[0] for row in rows], np.int64),
        boxes_xyxy=np.array([row[1] for row in rows], np.float64).reshape(-1, 4),
        scores=np.round(np.array([row[2] for row in rows], np.float64), digits),
        labels=np.array([row[3] for row in rows], np.int64),
    )


@pytest.fixture
def scenes() -> type[Scenes]:
    return Scenes


@pytest.fixture
def make_detections() -> Any:
    return detections


def direct(dataset: dict[str, Any], found: Detections, folder: Any) -> Any:
    """Return pycocotools' own judge, called as its users do: from a file and rows of results."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    path = folder / "instances.json"
    path.write_text(json.dumps(dataset))
    categories = sorted(category["id"] for category in dataset["categories"])
    columns = (found.image_ids, found.labels, found.boxes_xyxy, found.scores)
    rows = [
        {
            "image_id": image,
            "category_id": categories[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image, label, (x1, y1, x2, y2), score in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        judge = COCOeval(truth, truth.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


@pytest.fixture
def pycocotools_alone() -> Any:
    return direct
