"""Video files through PyAV and through OpenCV: the same frames."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import InputSpec, Resize
from edgecv_runtime.preprocess import preprocess
from edgecv_runtime.streams.pixels import DecodedFrame
from edgecv_runtime.streams.videos import Video, open_video

FRAMES, WIDTH, HEIGHT, RATE = 12, 70, 48, 10  # a width whose rows FFmpeg pads


@pytest.fixture(params=["pyav", "opencv"])
def reader(request: pytest.FixtureRequest, block_import: Callable[[str], None]) -> str:
    if request.param == "opencv":
        block_import("av")
    else:
        pytest.importorskip("av")
    return str(request.param)


def write(path: Path, codec: str = "MJPG") -> Path:
    """Frame k is grey, of level 10 + 20 k, with a white left upper quarter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), RATE, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for k in range(FRAMES):
        image = np.full((HEIGHT, WIDTH, 3), 10 + 20 * k, np.uint8)
        image[: HEIGHT // 2, : WIDTH // 2] = 255
        writer.write(image)
    writer.release()
    return path


def frames_of(video: Video) -> list[tuple[float, np.ndarray]]:
    found = []
    while (timestamp := video.grab()) is not None:
        pixels = video.pixels()
        found.append((timestamp, pixels() if callable(pixels) else pixels))
    video.close()
    return found


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "MJPG"), (".mp4", "mp4v")])
def test_every_frame_with_its_time(reader: str, tmp_path: Path, suffix: str, codec: str) -> None:
    video = open_video(write(tmp_path / f"grey{suffix}", codec))
    assert video.length == FRAMES
    frames = frames_of(video)
    np.testing.assert_allclose([timestamp for timestamp, _ in frames], np.arange(FRAMES) / RATE, atol=1e-6)
    for k, (_, image) in enumerate(frames):
        assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
        assert abs(int(image[-8:, -8:].mean()) - (10 + 20 * k)) < 6
        assert image[:8, :8].min() > 240
    video.close()


def test_opencv_and_pyav_give_the_same_pixels(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = write(tmp_path / "grey.mp4", "mp4v")
    capture = cv2.VideoCapture(str(path))
    for _, image in frames_of(open_video(path)):
        _, bgr = capture.read()
        np.testing.assert_array_equal(image, bgr[..., ::-1])
    capture.release()


def test_a_picture_is_converted_once_and_may_be_drawn_upon(tmp_path: Path) -> None:
    pytest.importorskip("av")
    video = open_video(write(tmp_path / "grey.avi"))
    video.grab()
    pixels = video.pixels()
    assert isinstance(pixels, DecodedFrame)
    image = pixels()
    assert pixels() is image
    before = image.copy()
    while video.grab() is not None:  # the decoder's memory is another
        pass
    video.close()
    np.testing.assert_array_equal(image, before)
    image[:] = 7
    assert (pixels() == 7).all()


def test_a_video_held_upright_is_turned(reader: str, tmp_path: Path) -> None:
    """A track header may ask for a quarter turn (ISO/IEC 14496-12, 8.3.2): its matrix is written here by hand."""
    path = write(tmp_path / "phone.mp4", "mp4v")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    upright = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    assert content[matrix : matrix + 36] == upright
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    path.write_bytes(content)
    for _, image in frames_of(open_video(path)):
        assert image.shape == (WIDTH, HEIGHT, 3)  # the white quarter has gone to the right upper corner
        assert image[:8, -8:].min() > 240 and image[-8:, :].max() < 240


def test_a_damaged_frame_does_not_end_a_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = write(tmp_path / "grey.avi")
    content = bytearray(path.read_bytes())
    starts = [at for at in range(len(content)) if content[at : at + 4] == b"00dc"]
    begin = starts[5] + 8
    content[begin : starts[6]] = bytes(starts[6] - begin)
    path.write_bytes(content)
    levels = [int(image[-8:, -8:].mean()) for _, image in frames_of(open_video(path))]
    assert len(levels) == FRAMES - 1 and levels[-1] > 10 + 20 * (FRAMES - 1) - 6


def test_what_holds_no_picture(reader: str, tmp_path: Path, wave_file: Any) -> None:
    with pytest.raises(InputError, match="is not a video that can be decoded"):
        open_video(wave_file)


@pytest.fixture
def wave_file(tmp_path: Path) -> Path:
    """Half a second of silence."""
    import wave

    path = tmp_path / "silence.avi"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    return path


def colourful(width: int, height: int, form: str = "yuv420p", space: int = 1, full_range: int = 1) -> Any:
    """A frame of noise as a decoder gives it. `space`: 1 is ITU-R BT.709, 6 BT.601; `full_range`: 2 is 0..255."""
    av = pytest.importorskip("av")
    frame = av.VideoFrame(width, height, form)
    generator = np.random.default_rng(7)
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[:] = generator.integers(0, 256, plane.buffer_size, np.uint8)
    frame.colorspace, frame.color_range = space, full_range
    return frame


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p"])
@pytest.mark.parametrize(("space", "full_range"), [(1, 1), (6, 1), (6, 2), (2, 0)])
@pytest.mark.parametrize("size", [(96, 64), (80, 34), (70, 48), (66, 35)])  # some of them do not come apart
def test_a_region_has_the_pixels_of_the_whole(form: str, space: int, full_range: int, size: tuple[int, int]) -> None:
    width, height = size
    frame = colourful(width, height, form, space, full_range)
    whole = frame.to_ndarray(format="rgb24")
    generator = np.random.default_rng(3)
    for _ in range(20):
        top, left = int(generator.integers(0, height)), int(generator.integers(0, width))
        rows, columns = int(generator.integers(1, height - top + 1)), int(generator.integers(1, width - left + 1))
        region = DecodedFrame(frame).region(top, left, rows, columns)
        np.testing.assert_array_equal(region, whole[top : top + rows, left : left + columns])


def test_a_region_costs_no_conversion_of_the_whole() -> None:
    pixels = DecodedFrame(colourful(640, 480))
    region = pixels.region(101, 203, 99, 55)
    assert region.base is not None and region.base.size == 100 * 80 * 3  # rows 100..199, columns 192..271
    whole = pixels()
    assert whole.shape == (480, 640, 3) == (*pixels.size, 3)
    again = pixels.region(101, 203, 99, 55)
    assert np.shares_memory(again, whole)
    np.testing.assert_array_equal(again, region)


@pytest.mark.parametrize("mode", ["crop", "stretch", "letterbox"])
def test_a_model_sees_a_decoded_frame_as_it_sees_the_picture(mode: str) -> None:
    """The input tensor of every resize rule, from the decoder's own form and from the converted picture."""
    fraction = {"crop_fraction": 0.875} if mode == "crop" else {}
    spec = InputSpec("image", (1, 64, 64, 3), "uint8", resize=Resize(mode, **fraction))  # type: ignore[arg-type]
    frame = colourful(320, 240)
    tensor, geometry = preprocess(DecodedFrame(frame), spec)
    expected, places = preprocess(frame.to_ndarray(format="rgb24"), spec)
    np.testing.assert_array_equal(tensor, expected)
    assert geometry == places
