"""Images as ImageNet's and CLIP's own pre-processing make them, and masks cut alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_inferbench.accuracy.crops import (
    CLIP_MEAN,
    CLIP_STD,
    IGNORED,
    IMAGENET_MEAN,
    IMAGENET_STD,
    fit_mask,
    nearest,
    plan_for,
    to_tensor,
)
from pytest_inferbench.errors import InferbenchError

pillow = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(2)


def picture(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (501, 333), (256, 256), (50, 60)])
@pytest.mark.parametrize(
    ("style", "resize", "mean", "std", "kind"),
    [
        ("imagenet", 256, IMAGENET_MEAN, IMAGENET_STD, "BILINEAR"),
        ("clip", 224, CLIP_MEAN, CLIP_STD, "BICUBIC"),
    ],
)
def test_resize_crop_and_normalize_as_published(height, width, style, resize, mean, std, kind):
    image = picture(height, width)
    tensor = to_tensor(image, plan_for((224, 224), style))
    scale = resize / min(height, width)
    size = [resize if side == min(height, width) else int(side * scale) for side in (width, height)]
    scaled = pillow.fromarray(image).resize(size, getattr(pillow.Resampling, kind))
    left, top = (round((side - 224) / 2) for side in scaled.size)
    cropped = np.asarray(scaled.crop((left, top, left + 224, top + 224)), np.float64) / 255
    expected = ((cropped - mean) / std).transpose(2, 0, 1)[None]
    assert (tensor.dtype, tensor.shape) == (np.float32, (1, 3, 224, 224))
    np.testing.assert_allclose(tensor, expected, atol=1e-5)


def test_torchvision_gives_the_same():
    transforms = pytest.importorskip("torchvision.transforms")
    chain = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    image = picture(301, 417)
    expected = chain(pillow.fromarray(image)).numpy()[None]
    np.testing.assert_allclose(to_tensor(image, plan_for((224, 224))), expected, atol=1e-5)


def test_what_is_given_replaces_what_the_style_has():
    plan = plan_for((8, 8), "squash", mean=(0, 0, 0), std=(1, 1, 1), scale=1.0)
    image = picture(8, 8)
    np.testing.assert_array_equal(to_tensor(image, plan)[0], image.transpose(2, 0, 1))


def test_letterbox_is_the_detectors_own():
    from pytest_inferbench.accuracy.letterbox import letterbox, to_input

    image = picture(30, 50)
    found = to_tensor(image, plan_for((64, 64), "letterbox"))
    np.testing.assert_allclose(found, to_input(letterbox(image, (64, 64))[0]), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"resize": 100}, {"std": (1, 0, 1)}, {"mean": (np.nan, 0, 0)}])
def test_plans_that_no_image_can_follow(wrong):
    with pytest.raises(InferbenchError) as error:
        plan_for((224, 224), **wrong)
    assert error.value.code == "IB-586"


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["imagenet", "clip", "squash", "letterbox"]),
)
def test_any_image_and_its_mask_fit(height, width, style):
    plan = plan_for((32, 48), style)
    assert to_tensor(picture(height, width), plan).shape == (1, 3, 32, 48)
    mask = RNG.integers(0, 5, (height, width)).astype(np.uint8)
    fitted = fit_mask(mask, plan)
    assert fitted.shape == (32, 48)
    assert set(np.unique(fitted)) <= {*np.unique(mask), IGNORED}


@pytest.mark.parametrize("style", ["imagenet", "squash", "letterbox"])
def test_a_mask_shows_what_the_image_shows(style):
    image = np.zeros((60, 100, 3), np.uint8)
    image[20:45, 30:70] = 255
    mask = (image[:, :, 0] > 0).astype(np.uint8)
    plan = plan_for((48, 48), style, mean=(0, 0, 0), std=(1, 1, 1), resize=54)
    shown, fitted = to_tensor(image, plan)[0, 0] > 0.5, fit_mask(mask, plan) == 1
    assert np.count_nonzero(shown != fitted) < 0.06 * shown.size


def test_nearest_takes_the_pixel_at_the_centre():
    mask = np.arange(4)[None].repeat(4, 0)
    assert nearest(mask, (4, 8))[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert nearest(mask, (2, 2))[0].tolist() == [1, 3]
