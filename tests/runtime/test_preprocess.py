from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.errors import InputError, MissingPackageError
from edgecv_runtime.manifest import InputSpec, Normalization, Quantization, Resize
from edgecv_runtime.preprocess import Geometry, crop_region, dequantize, preprocess, quantize, resize

FLAGS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


def spec(height: int = 24, width: int = 32, **options: Any) -> InputSpec:
    layout, channels = options.get("layout", "NHWC"), 1 if options.get("color") == "GRAY" else 3
    shape = (1, height, width, channels) if layout == "NHWC" else (1, channels, height, width)
    return InputSpec("image", shape, options.pop("dtype", "uint8"), options.pop("quantization", None), **options)


# -- resize --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", FLAGS)
@pytest.mark.parametrize("size", [(480, 640), (100, 37), (11, 7), (24, 32)])
def test_stretch_is_cv2_resize(tiny: Any, interpolation: str, size: tuple[int, int]) -> None:
    image = tiny.image(0, size)
    tensor, geometry = preprocess(image, spec(resize=Resize(interpolation=interpolation)))
    np.testing.assert_array_equal(tensor[0], cv2.resize(image, (32, 24), interpolation=FLAGS[interpolation]))
    assert geometry == Geometry(size, (size[1] / 32, size[0] / 24), (0, 0))
    np.testing.assert_allclose(geometry.to_source([[0, 0], [32, 24]]), [[0, 0], [size[1], size[0]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "size", "fraction", "region"),
    [
        # The classic: shorter side to 256, centre 224: 224/256 = 0.875 of it.
        ((256, 256), (224, 224), 0.875, (16, 16, 224, 224)),
        ((480, 640), (224, 224), 0.875, (30, 110, 420, 420)),
        ((640, 480), (224, 224), 0.875, (110, 30, 420, 420)),
        ((1080, 1920), (224, 224), 1.0, (0, 420, 1080, 1080)),
        # 375 x 500: 0.875 * 375 = 328.125 -> 328; (375 - 328) // 2 = 23; (500 - 328) // 2 = 86.
        ((375, 500), (224, 224), 0.875, (23, 86, 328, 328)),
        # A wide input of 100 x 200 from 300 x 400: the largest such rectangle is 200 x 400; half of it is 100 x 200.
        ((300, 400), (100, 200), 0.5, (100, 100, 100, 200)),
        ((300, 400), (100, 200), 1.0, (50, 0, 200, 400)),
        # One row of pixels: at least one pixel is left.
        ((1, 1000), (224, 224), 0.5, (0, 499, 1, 1)),
        ((1, 1), (224, 224), 0.875, (0, 0, 1, 1)),
    ],
)
def test_crop_region_by_hand(
    source: tuple[int, int], size: tuple[int, int], fraction: float, region: tuple[int, int, int, int]
) -> None:
    assert crop_region(source, size, fraction) == region


def test_crop_takes_the_region_and_only_that(tiny: Any) -> None:
    image = tiny.image(1, (480, 640))
    tensor, geometry = preprocess(image, spec(224, 224, resize=Resize("crop", 0.875)))
    np.testing.assert_array_equal(tensor[0], cv2.resize(image[30:450, 110:530], (224, 224)))
    assert geometry == Geometry((480, 640), (420 / 224, 420 / 224), (110, 30))
    np.testing.assert_allclose(geometry.to_source([[0, 0], [224, 224]]), [[110, 30], [530, 450]])


@pytest.mark.data
def test_crop_is_near_resizing_first(data_dir: Any) -> None:
    """The two-step recipe of the papers (shorter side to 256, then the centre 224), on real photographs."""
    from edgecv_runtime.images import list_images, read_image

    for path in list_images(data_dir / "imagenet-samples")[:10]:
        image = read_image(path)
        height, width = image.shape[:2]
        scale = 256 / min(height, width)
        whole = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
        top, left = (whole.shape[0] - 224) // 2, (whole.shape[1] - 224) // 2
        two_steps = whole[top : top + 224, left : left + 224].astype(int)
        one_step = preprocess(image, spec(224, 224, resize=Resize("crop", 0.875)))[0][0]
        blur = (9, 9)  # they may lie half a pixel apart; compare what a network sees
        assert np.abs(cv2.blur(one_step, blur).astype(int) - cv2.blur(two_steps.astype(np.uint8), blur)).mean() < 4


def test_letterbox_by_hand() -> None:
    """100 wide, 50 high into 32 x 32: 32 wide, 16 high; 8 rows of grey above and below."""
    image = np.full((50, 100, 3), 200, np.uint8)
    tensor, geometry = preprocess(image, spec(32, 32, resize=Resize("letterbox", pad_value=7)))
    expected = np.full((32, 32, 3), 7)
    expected[8:24] = 200
    np.testing.assert_array_equal(tensor[0], expected)
    assert geometry == Geometry((50, 100), (3.125, 3.125), (0, -25))
    tensor, geometry = preprocess(image, spec(32, 32, resize=Resize("letterbox", align="top-left")))
    expected = np.full((32, 32, 3), 114)
    expected[:16] = 200
    np.testing.assert_array_equal(tensor[0], expected)
    assert geometry.offset == (0, 0)


@pytest.mark.parametrize("align", ["center", "top-left"])
@pytest.mark.parametrize("source", [(480, 640), (640, 480), (333, 777), (7, 900), (900, 7), (416, 416)])
def test_letterbox_geometry_leads_back_to_the_source(align: Any, source: tuple[int, int]) -> None:
    """A white square is found in the input and mapped back to where it was, within a pixel of the input."""
    image = np.zeros((*source, 3), np.uint8)
    height, width = source
    box = (width // 4, height // 4, width - width // 3, height - height // 3)  # x0, y0, x1, y1
    image[box[1] : box[3], box[0] : box[2]] = 255
    size = (416, 416)
    resized, geometry = resize(image, size, Resize("letterbox", align=align, pad_value=0))
    rows, columns = np.nonzero(resized[..., 0] > 127)
    found = geometry.to_source([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]).ravel()
    assert np.abs(found - box).max() <= max(geometry.scale) + 1e-3
    # And exactly: the corners of the source.
    inner = [(0 - geometry.offset[0]) / geometry.scale[0], (0 - geometry.offset[1]) / geometry.scale[1]]
    np.testing.assert_allclose(geometry.to_source([inner]), [[0, 0]], atol=1e-4)


def test_the_right_size_is_not_resized_and_needs_no_opencv(tiny: Any, block_import: Any) -> None:
    block_import("cv2")
    image = tiny.image(0, (24, 32))
    for rule in (Resize(), Resize("crop"), Resize("letterbox")):
        tensor, _ = preprocess(image, spec(resize=rule))
        np.testing.assert_array_equal(tensor[0], image)
    with pytest.raises(MissingPackageError, match=r"resizing an image .*edgecv-runtime\[cv\]"):
        preprocess(tiny.image(0, (25, 32)), spec())


def test_views_are_resized_as_their_copies(tiny: Any) -> None:
    image = tiny.image(0, (60, 80))
    for view in (image[::-1], image[:, ::-1], image[..., ::-1], image[5:50, 7:70], np.asfortranarray(image)):
        a, _ = preprocess(view, spec())
        b, _ = preprocess(np.ascontiguousarray(view), spec())
        np.testing.assert_array_equal(a, b)


def test_the_source_is_never_changed(tiny: Any) -> None:
    image = tiny.image(0, (24, 32))
    image.flags.writeable = False
    for options in ({"dtype": "int8"}, {"color": "BGR"}, {"color": "GRAY"}, {"layout": "NCHW"}):
        preprocess(image, spec(**options))
    np.testing.assert_array_equal(image, tiny.image(0, (24, 32)))


# -- colour, layout, dtype -----------------------------------------------------------------------------------------


def test_grey_is_cv2_s_bit_for_bit() -> None:
    generator = np.random.default_rng(0)
    for size in ((300, 401), (17, 3)):
        image = generator.integers(0, 256, (*size, 3), np.uint8)
        tensor, _ = preprocess(image, spec(*size, color="GRAY"))
        np.testing.assert_array_equal(tensor[0, :, :, 0], cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def test_every_grey_level_stays_what_it_is() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(preprocess(levels, spec(16, 16, color="GRAY"))[0][0, :, :, 0], levels)


@pytest.mark.parametrize("kind", ["grey", "grey1", "rgb", "rgba", "rgb16", "grey16"])
def test_every_kind_of_source_for_every_input(tiny: Any, kind: str) -> None:
    rgb = tiny.image(0, (24, 32))
    if kind.startswith("grey"):
        rgb = np.dstack([rgb[..., 0]] * 3)
    source = {
        "grey": rgb[..., 0],
        "grey1": rgb[..., :1],
        "rgb": rgb,
        "rgba": np.dstack([rgb, rgb[..., :1]]),
        "rgb16": rgb.astype(np.uint16) * 256 + 99,
        "grey16": rgb[..., 0].astype(np.uint16) * 256 + 99,
    }[kind]
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None]
    for color, expected in (("RGB", rgb), ("BGR", rgb[..., ::-1]), ("GRAY", gray)):
        for layout in ("NHWC", "NCHW"):
            tensor, _ = preprocess(source, spec(color=color, layout=layout))
            wanted = expected if layout == "NHWC" else expected.transpose(2, 0, 1)
            np.testing.assert_array_equal(tensor[0], wanted)
            assert tensor.dtype == np.uint8 and tensor.flags.c_contiguous


def test_int8_is_the_pixel_minus_128() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tensor, _ = preprocess(levels, spec(16, 16, dtype="int8"))
    assert tensor.dtype == np.int8
    np.testing.assert_array_equal(tensor[0, :, :, 1], levels.astype(int) - 128)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_float_without_normalization_is_the_pixel(tiny: Any, dtype: str) -> None:
    image = tiny.image(0, (24, 32))
    tensor, _ = preprocess(image, spec(dtype=dtype))
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor[0], image)


def test_normalization_by_hand() -> None:
    image = np.array([[[10, 20, 30], [255, 0, 128]]], np.uint8)
    rule = Normalization((10.0, 0.0, 128.0), (2.0, 255.0, 64.0))
    tensor, _ = preprocess(image, spec(1, 2, dtype="float32", normalization=rule))
    expected = [[[0, 20 / 255, -98 / 64], [122.5, 0, 0]]]
    np.testing.assert_allclose(tensor[0], expected, rtol=1e-6)
    # In the input's own colour order: for BGR the first mean is blue's.
    tensor, _ = preprocess(image, spec(1, 2, dtype="float32", color="BGR", layout="NCHW", normalization=rule))
    np.testing.assert_allclose(tensor[0, :, 0, 0], [(30 - 10) / 2, 20 / 255, (10 - 128) / 64], rtol=1e-6)


def test_normalized_and_quantized_input() -> None:
    """MobileNet's [-1, 1] at scale 1/127.5, zero point -1: q = round((p - 127.5) / 127.5 * 127.5) - 1, clipped."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rule = Normalization((127.5,) * 3, (127.5,) * 3)
    quantization = Quantization(1 / 127.5, -1)
    tensor, _ = preprocess(levels, spec(16, 16, dtype="int8", normalization=rule, quantization=quantization))
    expected = np.clip(np.rint(levels.astype(np.float64) - 127.5) - 1, -128, 127)
    assert np.abs(tensor[0, :, :, 0] - expected).max() <= 1  # .5 falls either way in float32
    assert tensor.min() == -128 and tensor.max() in (126, 127)


def test_normalized_integers_without_a_scale_are_refused(tiny: Any) -> None:
    rule = Normalization((0.0,) * 3, (1.0,) * 3)
    with pytest.raises(InputError, match="input 'image' is normalised and int8, but its quantization is not given"):
        preprocess(tiny.image(0), spec(6, 8, dtype="int8", normalization=rule))


# -- quantization --------------------------------------------------------------------------------------------------


def test_quantize_by_hand() -> None:
    real = np.array([-10.0, -0.26, -0.25, 0.0, 0.24, 0.25, 0.75, 1.0, 1000.0], np.float32)
    # /0.5: -20, -.52, -.5, 0, .48, .5, 1.5, 2, 2000; rint (ties to even): -20, -1, 0, 0, 0, 0, 2, 2, 2000; +3; clip.
    np.testing.assert_array_equal(quantize(real, 0.5, 3, np.uint8), [0, 2, 3, 3, 3, 3, 5, 5, 255])
    np.testing.assert_array_equal(quantize(real, 0.5, 3, np.int8), [-17, 2, 3, 3, 3, 3, 5, 5, 127])
    assert quantize(real, 0.5, 3, "int16").dtype == np.int16


def test_dequantize_by_hand() -> None:
    codes = np.array([-128, -1, 0, 127], np.int8)
    real = dequantize(codes, 0.25, -1)
    assert real.dtype == np.float32
    np.testing.assert_array_equal(real, [-31.75, 0, 0.25, 32])
    np.testing.assert_array_equal(dequantize(np.array([0, 255], np.uint8), 2.0, 128), [-256, 254])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
def test_every_code_survives_the_round_trip(dtype: str) -> None:
    limits = np.iinfo(dtype)
    codes = np.arange(limits.min, limits.max + 1).astype(dtype)
    for scale, zero in ((0.0039, 0), (1.7, 5), (1e-6, -20)):
        np.testing.assert_array_equal(quantize(dequantize(codes, scale, zero), scale, zero, dtype), codes)
