"""Images as classifiers, embedders and segmenters are fed them: resized, cropped, normalized.

Takes pixels and a plan; gives a tensor, or the same part of a mask. Pure: knows neither files nor
models. Detectors have `letterbox.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.letterbox import Image, letterbox
from pytest_inferbench.errors import InferbenchError

Style = Literal["imagenet", "clip", "squash", "letterbox"]
Channels = tuple[float, float, float]
Mask = npt.NDArray[Any]
Pixel = TypeVar("Pixel", bound=np.generic)

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_NONE: tuple[Channels, Channels] = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_NORMS: dict[str, tuple[Channels, Channels]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "squash": (IMAGENET_MEAN, IMAGENET_STD),
    "clip": (CLIP_MEAN, CLIP_STD),
    "letterbox": _NONE,
}
_SHORTER_SIDE = 256 / 224  # what ImageNet models are evaluated with
IGNORED = 255
"""The class of a mask's pixels that count for nothing, as in Pascal VOC and Cityscapes."""


@dataclass(frozen=True)
class Plan:
    """How an image becomes an input.

    Attributes:
        size: Height and width of the input.
        resize: Length of the shorter side before the crop; unused by styles that crop nothing.
    """

    style: Style
    size: tuple[int, int]
    resize: int
    mean: Channels
    std: Channels
    scale: float
    interpolation: Literal["bilinear", "bicubic"]


def plan_for(
    size: tuple[int, int],
    style: Style = "imagenet",
    *,
    resize: int | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    scale: float | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
) -> Plan:
    """Return the plan of a style, with what is given in place of what it has.

    Raises:
        InferbenchError: IB-586 for a plan that no image can follow.
    """
    usual = max(size) if style == "clip" else round(max(size) * _SHORTER_SIDE)
    plan = Plan(
        style=style,
        size=size,
        resize=resize or usual,
        mean=_NORMS[style][0] if mean is None else mean,
        std=_NORMS[style][1] if std is None else std,
        scale=1 / 255 if scale is None else scale,
        interpolation=interpolation or ("bicubic" if style == "clip" else "bilinear"),
    )
    if style in ("imagenet", "clip") and plan.resize < max(size):
        raise InferbenchError(
            "IB-586",
            f"images are resized to {plan.resize} pixels and cropped to {size[0]} x {size[1]},"
            " which is more",
            "Set preprocess.resize to the input's longer side or more.",
        )
    if not all(map(np.isfinite, (*plan.mean, *plan.std))) or 0 in plan.std:
        raise InferbenchError("IB-586", f"mean {plan.mean} and std {plan.std} normalize nothing")
    return plan


def to_tensor(image: Image, plan: Plan) -> npt.NDArray[np.float32]:
    """Return an RGB image as [1, 3, height, width]."""
    fitted = _fitted(image, plan).astype(np.float32) * np.float32(plan.scale)
    normal = (fitted - np.array(plan.mean, np.float32)) / np.array(plan.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)


def fit_mask(mask: Mask, plan: Plan) -> Mask:
    """Return the part of a mask [height, width] that the input shows, by nearest neighbour."""
    if plan.style == "letterbox":
        height, width = mask.shape
        _, place = letterbox(np.zeros((height, width, 3), np.uint8), plan.size)
        inside = nearest(mask, (round(height * place.scale_y), round(width * place.scale_x)))
        padded = np.full(plan.size, IGNORED, mask.dtype)
        below, right = place.pad_y + inside.shape[0], place.pad_x + inside.shape[1]
        padded[place.pad_y : below, place.pad_x : right] = inside
        return padded
    if plan.style == "squash":
        return nearest(mask, plan.size)
    return _centre(nearest(mask, _shorter_side(mask.shape, plan.resize)), plan.size)


def nearest(mask: Mask, size: tuple[int, int]) -> Mask:
    """Return a mask at another size: each pixel takes the class at its own centre."""
    rows = ((np.arange(size[0]) + 0.5) * mask.shape[0] / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * mask.shape[1] / size[1]).astype(np.int64)
    resized: Mask = mask[rows[:, None], columns[None, :]]
    return resized


def _fitted(image: Image, plan: Plan) -> Image:
    if plan.style == "letterbox":
        return letterbox(image, plan.size)[0]
    if plan.style == "squash":
        return _resize(image, plan.size, plan)
    return _centre(_resize(image, _shorter_side(image.shape, plan.resize), plan), plan.size)


def _shorter_side(shape: tuple[int, ...], length: int) -> tuple[int, int]:
    """Return the size whose shorter side has a length; the longer is cut, not rounded."""
    height, width = shape[:2]
    if height <= width:
        return length, int(length * width / height)
    return int(length * height / width), length


def _centre(image: npt.NDArray[Pixel], size: tuple[int, int]) -> npt.NDArray[Pixel]:
    top = round((image.shape[0] - size[0]) / 2)
    left = round((image.shape[1] - size[1]) / 2)
    return image[top : top + size[0], left : left + size[1]]


def _resize(image: Image, size: tuple[int, int], plan: Plan) -> Image:
    if image.shape[:2] == size:
        return image
    from PIL import Image as Pillow

    kinds = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}
    fitted = Pillow.fromarray(image).resize((size[1], size[0]), kinds[plan.interpolation])
    return np.asarray(fitted, np.uint8)
