from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from edgecv_runtime.errors import InputError, MissingFileError, MissingPackageError
from edgecv_runtime.images import as_rgb, list_images, read_image


def encode(rgb: np.ndarray, suffix: str) -> bytes:
    done, encoded = cv2.imencode(suffix, rgb[..., ::-1] if rgb.ndim == 3 else rgb)
    assert done
    return encoded.tobytes()


def smooth(height: int = 40, width: int = 60) -> np.ndarray:
    """Colours that JPEG keeps within a few levels."""
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x, 4 * y, 2 * (x + y)], -1).astype(np.uint8)


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm"])
def test_lossless_formats_come_back_as_rgb(tmp_path: Path, tiny: Any, suffix: str) -> None:
    image = tiny.image(0, (20, 30))
    path = tmp_path / f"größe 猫{suffix}"
    path.write_bytes(encode(image, suffix))
    for given in (path, str(path)):
        read = read_image(given)
        assert read.dtype == np.uint8 and read.flags.c_contiguous
        np.testing.assert_array_equal(read, image)


def test_jpeg_and_webp_have_the_colours_the_right_way_round(tmp_path: Path) -> None:
    image = smooth()
    for suffix in (".jpg", ".webp"):
        (tmp_path / f"a{suffix}").write_bytes(encode(image, suffix))
        difference = read_image(tmp_path / f"a{suffix}").astype(int) - image
        assert np.abs(difference).mean() < 4


def exif(orientation: int) -> bytes:
    """An APP1 segment with one entry, written by hand: TIFF header, one IFD, tag 0x0112 SHORT."""
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff


# EXIF 2.32, 4.6.4: where row 0 and column 0 of the stored picture belong in the upright one.
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[::-1],
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: image.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = smooth(40, 60)
    jpeg = encode(np.ascontiguousarray(STORED[orientation](upright)), ".jpg")
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg[:2] + exif(orientation) + jpeg[2:])
    read = read_image(path)
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).max() < 24
    # Pillow agrees on which turn that is.
    from PIL import ImageOps

    with Pillow.open(path) as opened:
        turned = np.asarray(ImageOps.exif_transpose(opened))
    assert np.abs(read.astype(int) - turned).max() <= 4


def test_grey_palette_and_alpha(tmp_path: Path, tiny: Any) -> None:
    image = tiny.image(1, (20, 30))
    grey = image[..., 0]
    alpha = np.dstack([image, np.full((20, 30), 7, np.uint8)])
    palette = Pillow.fromarray(image).quantize(16)
    files = {
        "grey": (Pillow.fromarray(grey), np.dstack([grey] * 3)),
        "alpha": (Pillow.fromarray(alpha), image),  # dropped, not blended
        "grey-alpha": (Pillow.fromarray(np.dstack([grey, grey])), np.dstack([grey] * 3)),
        "palette": (palette, np.asarray(palette.convert("RGB"))),
        "bilevel": (Pillow.fromarray(grey > 127), np.dstack([np.where(grey > 127, 255, 0)] * 3)),
    }
    for name, (picture, expected) in files.items():
        picture.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png"), expected, err_msg=name)


def test_16_bit_files_and_arrays_give_the_same_picture(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), np.uint16)
    (tmp_path / "deep.png").write_bytes(encode(deep, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), as_rgb(deep))
    np.testing.assert_array_equal(as_rgb(deep), deep // 256)
    (tmp_path / "grey.png").write_bytes(encode(deep[..., 0], ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), as_rgb(deep[..., 0]))
    # OpenCV's TIFF reader rounds (v / 257) where its others take the high byte.
    (tmp_path / "deep.tiff").write_bytes(encode(deep, ".tiff"))
    assert np.abs(read_image(tmp_path / "deep.tiff").astype(int) - as_rgb(deep)).max() <= 1


# -- what is no image ----------------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_missing_file_and_folder(tmp_path: Path, one_line: Any) -> None:
    with pytest.raises(MissingFileError) as caught:
        read_image(tmp_path / "none.jpg")
    assert one_line(caught) == f"no image at {tmp_path / 'none.jpg'}"
    with pytest.raises(MissingFileError) as caught:
        read_image(tmp_path)
    assert one_line(caught) == f"no image at {tmp_path} (it is a folder)"
    assert isinstance(caught.value, FileNotFoundError)


def test_zero_bytes(tmp_path: Path, one_line: Any) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "empty.jpg")
    assert one_line(caught) == f"{tmp_path / 'empty.jpg'} is empty (0 bytes): an image file is required"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.jpg", b"this is a shopping list\n" * 20),
        ("one.png", b"\x89"),
        ("noise.png", np.random.default_rng(0).bytes(4000)),
        ("html.jpg", b"<html><body>404 Not Found</body></html>"),
        ("wide.png", png_header(2**31 - 1, 2**31 - 1)),
        ("large.png", png_header(100_000, 100_000)),
        ("claims.png", png_header(20_000, 10_000)),
    ],
)
def test_files_that_are_no_image(tmp_path: Path, one_line: Any, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert one_line(caught) == f"{path} is not an image that can be decoded ({len(content):,} bytes)"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".ppm", ".tiff"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_truncated_file_is_refused_not_half_shown(tmp_path: Path, suffix: str, share: float) -> None:
    """OpenCV 5 refuses a JPEG that ends early; its version 4 filled the rest with grey."""
    content = encode(np.random.default_rng(1).integers(0, 256, (50, 60, 3), np.uint8), suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="is not an image that can be decoded"):
        read_image(path)


def test_opencv_is_named_with_its_extra(tmp_path: Path, block_import: Any, one_line: Any) -> None:
    (tmp_path / "a.png").write_bytes(encode(smooth(), ".png"))
    block_import("cv2")
    with pytest.raises(MissingPackageError) as caught:
        read_image(tmp_path / "a.png")
    assert one_line(caught) == (
        "reading an image file needs the package cv2, which is not installed: pip install 'edgecv-runtime[cv]'"
    )


# -- arrays --------------------------------------------------------------------------------------------------------


def test_arrays_of_every_kind(tiny: Any) -> None:
    rgb = tiny.image(2, (5, 7))
    grey = rgb[..., 1]
    assert as_rgb(rgb).base is rgb or np.shares_memory(as_rgb(rgb), rgb)
    np.testing.assert_array_equal(as_rgb(grey), np.dstack([grey] * 3))
    np.testing.assert_array_equal(as_rgb(grey[..., None]), np.dstack([grey] * 3))
    np.testing.assert_array_equal(as_rgb(np.dstack([rgb, grey])), rgb)
    deep = rgb.astype(np.uint16) * 257
    np.testing.assert_array_equal(as_rgb(deep), rgb)
    np.testing.assert_array_equal(as_rgb(deep[..., 0]), np.dstack([rgb[..., 0]] * 3))
    np.testing.assert_array_equal(as_rgb(np.array([[[255, 256, 65535]]], np.uint16)), [[[0, 1, 255]]])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5, 3), np.float32), "received float32. For values 0..1: (255 * image).round().astype('uint8')"),
        (np.zeros((4, 5, 3), np.int64), "an image must be uint8 (0..255) or uint16; received int64"),
        (np.zeros((4, 5, 3), bool), "received bool"),
        (np.zeros((4, 5), ">u2"), "received >u2"),
        (
            np.zeros((3, 40, 50), np.uint8),
            "received shape (3, 40, 50). Channels must come last: image.transpose(1, 2, 0)",
        ),
        (np.zeros((1, 4, 5, 3), np.uint8), "received shape (1, 4, 5, 3). Is it a batch? Pass a list of images"),
        (np.zeros((4, 5, 2), np.uint8), "received shape (4, 5, 2)"),
        (np.zeros((0, 5, 3), np.uint8), "received shape (0, 5, 3)"),
        (np.zeros((4, 0), np.uint8), "received shape (4, 0, 1)"),
        (np.zeros(5, np.uint8), "received shape (5,)"),
        (np.uint8(3), "received uint8"),
        (None, "an image must be a numpy array or a path; received NoneType"),
        (b"abc", "received bytes"),
        ([[1, 2], [3, 4]], "received list"),
        (Pillow.new("RGB", (4, 4)), "received Image"),
    ],
)
def test_arrays_that_are_no_image(one_line: Any, image: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        as_rgb(image)
    assert one_line(caught).endswith(message)


# -- folders -------------------------------------------------------------------------------------------------------


def test_list_images(tmp_path: Path, one_line: Any) -> None:
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "notes.txt", "sub/d.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == ["a.png", "b.JPG", "sub/c.jpeg"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError) as caught:
        list_images(tmp_path / "none")
    assert one_line(caught).startswith(f"{tmp_path / 'none'} holds no image (.bmp, .jpeg")
    for absent in (tmp_path / "absent", tmp_path / "a.png"):
        with pytest.raises(MissingFileError, match="no folder at"):
            list_images(absent)


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_image("a\0b.jpg")


@pytest.mark.data
def test_real_photographs_decode_as_pillow_decodes_them(data_dir: Path) -> None:
    paths = list_images(data_dir / "imagenet-samples")[:20]
    for path in paths:
        with Pillow.open(io.BytesIO(path.read_bytes())) as opened:
            expected = np.asarray(opened.convert("RGB")).astype(int)
        assert np.abs(read_image(path) - expected).mean() < 2


def test_an_image_that_may_not_be_read(tmp_path: Path) -> None:
    """As another user: root may read everything."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    path = tmp_path / "secret.png"
    path.write_bytes(encode(smooth(), ".png"))
    path.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "popen-", "test_")):
            folder.chmod(0o755)
    program = (
        "import os, sys\n"
        "import cv2\n"
        "from edgecv_runtime.errors import InputError\n"
        "from edgecv_runtime.images import read_image\n"
        "os.setuid(65534)\n"
        "try: read_image(sys.argv[1])\n"
        "except InputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{path} cannot be read: Permission denied"
