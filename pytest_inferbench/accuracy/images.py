"""Reading an image file as the 8-bit RGB that detectors are fed.

Takes a path; gives pixels the way up that a person sees them, or an error that names the file.
Knows neither annotations nor models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

Pixels = npt.NDArray[np.uint8]


def read_rgb(path: Path) -> Pixels:
    """Return height x width x 3: EXIF orientation applied, alpha dropped, 16 bits cut to 8.

    Raises:
        InferbenchError: IB-540 without Pillow, IB-541 if the file is not a sound image.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise InferbenchError(
            "IB-540",
            f"images are read by Pillow, which cannot be imported: {error}",
            "install the extra: pip install 'pytest-inferbench[coco]'",
        ) from error
    try:
        with Image.open(path) as file:
            file.load()
            return _to_rgb(ImageOps.exif_transpose(file))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InferbenchError(
            "IB-541",
            f"the image {path} cannot be read: {error}",
            "replace it, or take it out of the data set",
        ) from error


def read_classes(path: Path) -> npt.NDArray[np.int64]:
    """Return a mask's class of each pixel, height x width: a palette's numbers, or grey values.

    Raises:
        InferbenchError: IB-540 without Pillow, IB-541 if the file is no sound mask.
    """
    read_rgb(path)  # says what is wrong with a file that is no image
    from PIL import Image

    with Image.open(path) as file:
        if file.mode not in ("1", "L", "P", "I", "I;16"):
            raise InferbenchError(
                "IB-541",
                f"the mask {path} has the mode {file.mode}: its colours name no classes",
                "Write the class of each pixel as a grey value or a palette's number.",
            )
        return np.asarray(file).astype(np.int64)


def _to_rgb(image: Any) -> Pixels:
    if image.mode == "F":
        raise ValueError("its pixels are floating point, whose range nobody states")
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow's own conversion clips at 255
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255)
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    return np.array(image.convert("RGB"), np.uint8)
