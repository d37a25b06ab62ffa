"""Fitting an image into a detector's input, and boxes back onto the image.

Takes an RGB image and an input size; gives the padded image, the tensor and where it was placed.
Pure: knows neither files, models nor annotations. Training and the gate share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

GREY = 114  # what YOLO models are trained with

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Where an image lies in a model's input.

    Attributes:
        scale_x: Input pixels an image pixel is wide; the two scales differ by rounding alone.
        scale_y: Input pixels an image pixel is high.
        pad_x: Input pixels left of the image.
        pad_y: Input pixels above the image.
        width: The image's own width in pixels.
        height: The image's own height in pixels.
    """

    scale_x: float
    scale_y: float
    pad_x: int
    pad_y: int
    width: int
    height: int

    def to_image(self, boxes: npt.NDArray[Any], /) -> Boxes:
        """Return xyxy boxes of the input in pixels of the original image, clipped to it."""
        scales, pads = self._arrays()
        limits = np.array([self.width, self.height] * 2, np.float64)
        return np.clip((np.asarray(boxes, np.float64).reshape(-1, 4) - pads) / scales, 0, limits)

    def to_padded(self, boxes: npt.NDArray[Any], /) -> Boxes:
        """Return xyxy boxes of the original image in pixels of the input."""
        scales, pads = self._arrays()
        return np.asarray(boxes, np.float64).reshape(-1, 4) * scales + pads

    def _arrays(self) -> tuple[Boxes, Boxes]:
        scales = np.array([self.scale_x, self.scale_y] * 2, np.float64)
        return scales, np.array([self.pad_x, self.pad_y] * 2, np.float64)


def letterbox(image: npt.NDArray[Any], size: tuple[int, int]) -> tuple[Image, Placement]:
    """Resize an image to fit a size, keeping its ratio, and centre it on grey.

    It is the default of YOLOv8: small images are enlarged, an odd row or column of padding goes
    below or to the right.

    Args:
        image: uint8 RGB, height x width x 3.
        size: Height and width of the model's input.

    Raises:
        InferbenchError: IB-530 for what is no RGB image, or a size without area.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InferbenchError(
            "IB-530",
            f"an image is {image.dtype} of shape {list(image.shape)}, not uint8 height x width x 3",
            "convert it to 8-bit RGB first",
        )
    if min(size) < 1:
        raise InferbenchError("IB-530", f"an image cannot be fitted into {size[0]} x {size[1]}")
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    fitted_height = max(1, round(height * scale))
    fitted_width = max(1, round(width * scale))
    pad_y, pad_x = (size[0] - fitted_height) // 2, (size[1] - fitted_width) // 2
    padded = np.full((*size, 3), GREY, np.uint8)
    inside = slice(pad_y, pad_y + fitted_height), slice(pad_x, pad_x + fitted_width)
    padded[inside] = _resize(image, fitted_height, fitted_width)
    scale_x, scale_y = fitted_width / width, fitted_height / height
    return padded, Placement(scale_x, scale_y, pad_x, pad_y, width, height)


def to_input(padded: Image) -> npt.NDArray[np.float32]:
    """Return the tensor of a padded image: RGB from 0 to 1, shape [1, 3, height, width]."""
    planes: npt.NDArray[np.float32] = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], "f4")
    planes /= 255
    return planes


def _resize(image: Image, height: int, width: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    from PIL import Image as Pillow

    fitted = Pillow.fromarray(image).resize((width, height), Pillow.Resampling.BILINEAR)
    return np.asarray(fitted, np.uint8)
