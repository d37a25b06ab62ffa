"""Images for a service that takes image files: takes an array, gives PNG or JPEG files.

PNG needs the standard library alone and loses nothing; JPEG needs Pillow and does. Floating-point
pixels are sent only if scaling gives whole numbers, so that nothing is rounded away unseen.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_inferbench.backends.contract import Array
from pytest_inferbench.errors import InferbenchError

_PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
_NEAR_WHOLE = 0.01
_FASTEST = 1

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ImageForm:
    """How an input becomes images.

    Attributes:
        format: "png" or "jpeg".
        quality: JPEG's quality, 1 to 100.
        scale: What pixels are multiplied by to be 0 to 255: 255 for an input of 0 to 1.
        layout: "nhwc" or "nchw"; without the batch for an input of rank 3.
    """

    format: str = "png"
    quality: int = 95
    scale: float = 1.0
    layout: str = "nhwc"


def encode_images(name: str, array: Array, form: ImageForm) -> list[bytes]:
    """Return one file for each image of a batch, or for the one of an input of rank 2 or 3.

    Raises:
        InferbenchError: The input is no image of 8 bits (IB-389), or Pillow is absent.
    """
    if array.ndim not in {2, 3, 4}:
        raise _no_image(name, array, "An image has rank 2 or 3, a batch of images rank 4.")
    pixels = _to_bytes(name, array, form.scale)
    if form.layout == "nchw" and array.ndim > 2:
        pixels = np.moveaxis(pixels, -3, -1)
    batch = pixels if array.ndim == 4 else pixels[None]
    if array.ndim == 2:
        batch = batch[..., None]
    colours = {1, 3} if form.format == "jpeg" else set(_PNG_COLOURS)
    if batch.shape[-1] not in colours or 0 in batch.shape[1:]:
        hint = f"{form.format} has {colours} channels; the layout is {form.layout}."
        raise _no_image(name, array, hint)
    if form.format == "jpeg":
        return [_jpeg(each, form.quality) for each in batch]
    return [png(each) for each in batch]


def png(pixels: Pixels) -> bytes:
    """Return an 8-bit PNG of height x width x channels: 1, 2 (with alpha), 3 or 4."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # a filter byte: 0, none
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOURS[channels], 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), _FASTEST)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    try:
        from PIL import Image
    except ImportError as error:
        raise InferbenchError(
            "IB-389",
            f"JPEG is written by Pillow, which cannot be imported: {error}",
            'Install Pillow where the worker runs, or use image_format = "png".',
        ) from error
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(file, "jpeg", quality=quality)
    return file.getvalue()


def _to_bytes(name: str, array: Array, scale: float) -> Pixels:
    if array.dtype == np.uint8 and scale == 1:
        return array
    if array.dtype.kind not in "iuf":
        raise _no_image(name, array, "Pixels are numbers.")
    scaled = array.astype(np.float64) * scale
    whole = np.rint(scaled)
    rounding = 255 * float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
    near = np.abs(scaled - whole) <= max(_NEAR_WHOLE, rounding)
    if not (near & (whole >= 0) & (whole <= 255)).all():
        raise _no_image(
            name,
            array,
            f"Times {scale:g} its values are not all whole numbers from 0 to 255: set image_scale, "
            'or send tensors with encoding = "raw".',
        )
    return whole.astype(np.uint8)


def _no_image(name: str, array: Array, hint: str) -> InferbenchError:
    return InferbenchError(
        "IB-389",
        f"input {name!r} ({array.dtype} of shape {list(array.shape)}) cannot be sent as an image",
        hint,
    )
