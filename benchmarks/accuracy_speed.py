"""What scoring a detector costs: decode, NMS, evaluation and the bootstrap, per 1,000 images.

Outputs like a YOLOv8's on COCO (80 classes, 8,400 anchors) are made up from a seed, an image at a
time. Beside our path stand the plain loop that people write (Python over anchors and pairs of
boxes), and pycocotools and faster-coco-eval called directly. The loop must find the same boxes, and
pycocotools the same figures, or this fails. Raw outputs of a few hundred images and detections of
all of them are timed, so that it ends within three minutes on two cores; each row says on how many.
Seconds are of CPU time on one core, which other processes disturb less than the clock's.

    python benchmarks/accuracy_speed.py [--images 5000] [--raw 200] [--looped 10] [--json PATH]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pytest_inferbench.accuracy.coco import evaluate
from pytest_inferbench.accuracy.detection import (
    CONFIDENCE,
    IOU,
    MAX_DETECTIONS,
    Detections,
    detect,
)
from pytest_inferbench.accuracy.drop import map_drop
from pytest_inferbench.accuracy.ground_truth import parse_ground_truth
from pytest_inferbench.accuracy.letterbox import Placement

CLASSES, ANCHORS, SIZE = 80, 8400, 640
OBJECTS = 7  # an image, as in COCO's val2017
WHOLE = Placement(1.0, 1.0, 0, 0, SIZE, SIZE)


def objects_of(image: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image's boxes (corners) and classes; a few classes are common, as in COCO."""
    rng = np.random.default_rng([1, image])
    count = 1 + rng.poisson(OBJECTS - 1)
    sizes = np.exp(rng.normal(4, 0.9, (count, 2))).clip(8, 500)
    corners = rng.uniform(0, 1, (count, 2)) * (SIZE - sizes)
    labels = np.minimum(rng.geometric(0.06, count) - 1, CLASSES - 1)
    return np.concatenate([corners, corners + sizes], axis=1), labels


def raw_output(image: int) -> np.ndarray:
    """Return what a detector could put out: [1, 84, 8400], most anchors next to nothing."""
    rng = np.random.default_rng([2, image])
    boxes, labels = objects_of(image)
    table = np.empty((ANCHORS, 4 + CLASSES), np.float32)
    table[:, :4] = rng.uniform(5, SIZE - 5, (ANCHORS, 4))
    table[:, 2:4] /= 8
    table[:, 4:] = rng.random((ANCHORS, CLASSES), np.float32) ** 2 * CONFIDENCE * 0.999
    doubtful = rng.integers(0, ANCHORS, 300)
    table[doubtful, 4 + rng.integers(0, CLASSES, 300)] = rng.uniform(CONFIDENCE, 0.05, 300)
    near = rng.permutation(ANCHORS)[: 15 * len(boxes)].reshape(len(boxes), 15)
    for box, label, anchors in zip(boxes, labels, near, strict=True):
        sides = box[2:] - box[:2]
        centre = (box[:2] + box[2:]) / 2 + rng.normal(0, 0.05, (15, 2)) * sides
        table[anchors, :4] = np.concatenate(
            [centre, sides * np.exp(rng.normal(0, 0.08, (15, 2)))], axis=1
        )
        table[anchors, 4 + label] = rng.beta(3, 2, 15)
    return table.T[None]


def detections_of(images: int, seed: int, blur: float) -> Detections:
    """Return what detectors find of the objects in many images, without their raw outputs."""
    rng = np.random.default_rng([3, seed])
    rows: list[np.ndarray] = []
    for image in range(1, images + 1):
        boxes, labels = objects_of(image)
        count = len(boxes)
        found = np.repeat(np.arange(count), 2)
        sides = np.tile(boxes[found, 2:] - boxes[found, :2], 2)
        moved = boxes[found] + rng.normal(0, blur, (2 * count, 4)) * sides
        strays = rng.uniform(0, SIZE / 2, (40, 4))
        strays[:, 2:] += strays[:, :2]
        part = np.concatenate([np.sort(moved.reshape(-1, 2, 2), axis=1).reshape(-1, 4), strays])
        scores = np.concatenate([rng.beta(3, 2, 2 * count), rng.beta(1, 20, 40)])
        kinds = np.concatenate([labels[found], rng.integers(0, CLASSES, 40)])
        rows.append(np.column_stack([np.full(len(part), image), part, scores, kinds]))
    table = np.concatenate(rows)
    return Detections(
        images=tuple(range(1, images + 1)),
        image_ids=table[:, 0].astype(np.int64),
        boxes_xyxy=table[:, 1:5],
        scores=table[:, 5],
        labels=table[:, 6].astype(np.int64),
    )


def annotations(images: int) -> dict:
    """Return COCO's JSON of the objects."""
    rows = []
    for image in range(1, images + 1):
        for box, label in zip(*objects_of(image), strict=True):
            x, y, w, h = *box[:2].tolist(), *(box[2:] - box[:2]).tolist()
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image,
                    "category_id": int(label) + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(1, images + 1)],
        "categories": [{"id": k + 1, "name": f"class {k}"} for k in range(CLASSES)],
        "annotations": rows,
    }


def plain_loop(output: np.ndarray) -> list[tuple[float, int, list[float]]]:
    """Decode and suppress as it is written by hand: a loop over anchors, a loop over boxes."""
    found: list[tuple[float, int, list[float]]] = []
    for row in output[0].T.astype(np.float64):
        scores = row[4:]
        for label in np.nonzero(scores >= CONFIDENCE)[0]:
            x, y, w, h = row[:4].tolist()
            box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
            found.append((float(scores[label]), int(label), box))
    found.sort(key=lambda each: -each[0])
    kept: list[tuple[float, int, list[float]]] = []
    for each in found:
        if all(each[1] != best[1] or overlap(best[2], each[2]) <= IOU for best in kept):
            kept.append(each)
            if len(kept) == MAX_DETECTIONS:
                break
    return kept


def overlap(a: list[float], b: list[float]) -> float:
    """Return the intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def results_of(found: Detections) -> list[dict]:
    """Return detections as COCO's JSON has them."""
    sizes = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
    return [
        {"image_id": image, "category_id": label + 1, "bbox": box, "score": score}
        for image, label, box, score in zip(
            found.image_ids.tolist(),
            found.labels.tolist(),
            np.concatenate([found.boxes_xyxy[:, :2], sizes], axis=1).tolist(),
            found.scores.tolist(),
            strict=True,
        )
    ]


def alone(judge_class: type, dataset_class: type, truth: dict, found: Detections) -> tuple:
    """Score as a package's own example does; return its table of precision and the seconds."""
    results = results_of(found)
    started = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = dataset_class()
        annotated.dataset = truth
        annotated.createIndex()
        judge = judge_class(annotated, annotated.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.eval["precision"][..., -1], time.process_time() - started


def rows(options: argparse.Namespace) -> Iterator[dict]:
    """Yield what was timed, one row a step."""
    ours_s = loop_s = 0.0
    for image in range(1, options.raw + 1):
        output = raw_output(image)
        started = time.process_time()
        found = detect([output], [WHOLE], [image], classes=CLASSES, layout="yolov8")
        ours_s += time.process_time() - started
        if image <= options.looped:
            started = time.process_time()
            looped = plain_loop(output)
            loop_s += time.process_time() - started
            boxes = np.clip([box for _, _, box in looped], 0, SIZE)
            solid = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
            if not np.allclose(boxes[solid], found.boxes_xyxy):
                sys.exit(f"image {image}: the plain loop finds other boxes than we do")
    yield row("decode and NMS: this package", options.raw, ours_s)
    yield row("decode and NMS: plain loop", options.looped, loop_s)

    truth = annotations(options.images)
    reference = detections_of(options.images, 0, 0.03)
    checked = parse_ground_truth(json.dumps(truth), "made up")
    started = time.process_time()
    scores = evaluate(checked, reference)
    own_s = time.process_time() - started
    yield row("evaluation: this package", options.images, own_s)
    table, alone_s = alone(COCOeval, COCO, truth, reference)
    if not np.array_equal(table, scores.precision):
        sys.exit("pycocotools alone and this package differ in precision")
    yield row("evaluation: pycocotools alone", options.images, alone_s)
    if find_spec("faster_coco_eval"):
        import faster_coco_eval

        judge, dataset = faster_coco_eval.COCOeval_faster, faster_coco_eval.COCO
        table, faster_s = alone(judge, dataset, truth, reference)
        name = f"evaluation: faster-coco-eval {faster_coco_eval.__version__} alone"
        yield row(name, options.images, faster_s)
        furthest = np.abs(table - scores.precision).max()
        print(f"  its precision is up to {furthest:.2g} from pycocotools'", file=sys.stderr)
    per_image_s = [ours_s / options.raw, loop_s / options.looped]
    per_image_s[0] += own_s / options.images
    per_image_s[1] += alone_s / options.images
    yield row("all of it: this package", 1000, 1000 * per_image_s[0])
    yield row("all of it: plain loop, then pycocotools", 1000, 1000 * per_image_s[1])
    few = max(2, options.images // 5)
    pair = [evaluate(checked.first(few), detections_of(few, seed, 0.03)) for seed in (0, 1)]
    started = time.process_time()
    drop = map_drop(*pair)
    bootstrap_s = time.process_time() - started
    yield row(f"bootstrap of the drop, {drop.resamples} resamples", few, bootstrap_s)


def row(step: str, images: int, seconds: float) -> dict:
    """Return a row, scaled to 1,000 images."""
    return {
        "step": step,
        "images": images,
        "seconds": round(seconds, 3),
        "seconds_per_1000": round(seconds * 1000 / images, 3),
    }


def main() -> int:
    """Time, print, and write JSON if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000, help="images that are scored")
    parser.add_argument("--raw", type=int, default=200, help="images with raw outputs")
    parser.add_argument("--looped", type=int, default=10, help="images for the plain loop")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    done = []
    print(f"{'step':44}{'images':>8}{'seconds':>10}{'per 1,000':>11}")
    for each in rows(options):
        done.append(each)
        print(
            f"{each['step']:44}{each['images']:8}{each['seconds']:10.2f}"
            f"{each['seconds_per_1000']:11.2f}",
            flush=True,
        )
    if options.json:
        said = {"classes": CLASSES, "anchors": ANCHORS, "rows": done}
        options.json.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
