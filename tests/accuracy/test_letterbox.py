"""Letterboxing: where pixels go, and that boxes find their way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_inferbench.accuracy.letterbox import GREY, letterbox, to_input
from pytest_inferbench.errors import InferbenchError

sides = st.integers(1, 400)


def picture(height: int, width: int) -> np.ndarray:
    """An image without a grey pixel."""
    return np.random.default_rng(height * 1000 + width).integers(0, 100, (height, width, 3), "u1")


@pytest.mark.parametrize(
    ("height", "width", "inside"),
    [
        (192, 144, (0, 192, 24, 168)),
        (108, 192, (42, 150, 0, 192)),
        (160, 160, (0, 192, 0, 192)),
        (385, 192, (0, 192, 48, 144)),
        (192, 143, (0, 192, 24, 167)),  # an odd column of padding goes to the right
    ],
)
def test_image_is_fitted_and_centred_on_grey(height, width, inside):
    padded, placement = letterbox(picture(height, width), (192, 192))
    top, bottom, left, right = inside
    grey = np.ones((192, 192), bool)
    grey[top:bottom, left:right] = False
    assert (padded[grey] == GREY).all()
    assert (padded[~grey] < 100).all()
    assert (placement.pad_y, placement.pad_x) == (top, left)
    assert (placement.height, placement.width) == (height, width)


def test_an_image_of_the_right_size_is_untouched():
    image = picture(96, 160)
    padded, placement = letterbox(image, (96, 160))
    assert (padded == image).all()
    assert (placement.scale_x, placement.scale_y) == (1, 1)


def test_size_is_height_then_width():
    padded, _ = letterbox(picture(50, 50), (64, 96))
    assert padded.shape == (64, 96, 3)


def test_resizing_keeps_what_is_where():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 120:180] = 255
    padded, placement = letterbox(image, (192, 192))
    found = np.argwhere(padded[:, :, 0] > 127)
    top_left, bottom_right = found.min(axis=0), found.max(axis=0) + 1
    box = placement.to_image(np.array([[*top_left[::-1], *bottom_right[::-1]]]))
    assert np.abs(box - [120, 20, 180, 60]).max() < 1.1


@given(sides, sides, sides, sides, st.data())
@settings(max_examples=60, deadline=None)
def test_boxes_return_to_where_they_were(height, width, input_height, input_width, data):
    _, placement = letterbox(np.zeros((height, width, 3), np.uint8), (input_height, input_width))
    xs = sorted(data.draw(st.tuples(*[st.floats(0, width)] * 2)))
    ys = sorted(data.draw(st.tuples(*[st.floats(0, height)] * 2)))
    boxes = np.array([[xs[0], ys[0], xs[1], ys[1]]])
    padded = placement.to_padded(boxes)
    np.testing.assert_allclose(placement.to_image(padded), boxes, rtol=1e-9, atol=1e-6)
    assert (padded >= -1e-9).all()
    assert (padded <= np.array([input_width, input_height] * 2) + 1e-9).all()


@given(sides, sides, st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_boxes_are_clipped_to_the_image(height, width, box):
    _, placement = letterbox(np.zeros((height, width, 3), np.uint8), (192, 192))
    found = placement.to_image(np.array([box]))
    assert (found >= 0).all()
    assert (found <= [width, height, width, height]).all()


def test_no_boxes_stay_no_boxes():
    _, placement = letterbox(picture(10, 10), (20, 20))
    assert placement.to_image(np.empty((0, 4))).shape == (0, 4)
    assert placement.to_padded(np.empty((0, 4))).shape == (0, 4)


def test_input_is_planes_from_0_to_1():
    image = np.zeros((2, 3, 3), np.uint8)
    image[1, 2] = [255, 51, 0]
    tensor = to_input(image)
    assert tensor.shape == (1, 3, 2, 3)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor[0, :, 1, 2], [1, 0.2, 0])
    assert image[1, 2, 0] == 255


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(InferbenchError, match="IB-530") as failure:
        letterbox(image, (8, 8))
    assert str(list(image.shape)) in failure.value.message


def test_a_size_without_area_is_refused():
    with pytest.raises(InferbenchError, match="IB-530"):
        letterbox(picture(4, 4), (0, 8))
