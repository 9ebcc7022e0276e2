from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.errors import InputError, MissingFileError, MissingPackageError, UnsupportedError
from edgecv_runtime.streams import open_stream

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (0, 0, 0), (255,) * 3]


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of one colour each, 64 x 48, 10 a second."""
    path = tmp_path_factory.mktemp("video") / "colours.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for colour in COLOURS:
        writer.write(np.full((48, 64, 3), colour[::-1], np.uint8))
    writer.release()
    return path


def test_one_image(tiny: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", tiny.image(1))
    for given in (path, str(path)):
        with open_stream(given) as stream:
            (frame,) = stream
        np.testing.assert_array_equal(frame.image, tiny.image(1))
        assert (frame.index, frame.timestamp, frame.dropped, frame.path) == (0, 0.0, 0, path)
        assert 0 <= frame.age < 60
    assert frame.age <= frame.age + (time.sleep(0.01) or 0) < 60


def test_folder_in_sorted_order(tiny: Any, tmp_path: Path) -> None:
    for name, seed in (("b.png", 1), ("a.png", 0), ("sub/c.bmp", 2)):
        save(tmp_path / name, tiny.image(seed))
    (tmp_path / "notes.txt").write_text("no picture")
    with open_stream(tmp_path) as stream:
        assert stream.length == 3
        assert repr(stream) == f"<Stream {tmp_path}, 3 frames>"
        frames = list(stream)
    for seed, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, tiny.image(seed))
        assert frame.index == seed
    assert [frame.path.name for frame in frames if frame.path] == ["a.png", "b.png", "c.bmp"]
    assert "closed" in repr(stream)


def test_video_frames_in_order_with_the_colours_the_right_way_round(video: Path) -> None:
    with open_stream(video) as stream:
        assert stream.length == len(COLOURS)
        frames = list(stream)
    assert [frame.index for frame in frames] == list(range(len(COLOURS)))
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8
        assert np.abs(frame.image.reshape(-1, 3).mean(0) - colour).max() < 8
        assert frame.path is None
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.arange(8) / 10, atol=1e-6)


def test_rate_by_the_media_s_own_clock(video: Path) -> None:
    with open_stream(video, "rate=4") as stream:
        frames = list(stream)
    # Ten a second, four wanted: the first at or after 0, 0.25, 0.5 and 0.75 s.
    assert [(frame.index, frame.dropped) for frame in frames] == [(0, 0), (3, 2), (5, 1)]
    with open_stream(video, "rate=100") as stream:
        assert [frame.dropped for frame in stream] == [0] * 8


def test_a_video_with_latest_runs_by_its_own_clock(video: Path) -> None:
    with open_stream(video, "latest") as stream:
        assert stream.live
        frames = list(stream)
    assert frames[-1].index == 7 and sum(frame.dropped for frame in frames) + len(frames) == 8
    assert frames[-1].captured - frames[0].captured >= 0.099 * (frames[-1].index - frames[0].index)
    assert frames[0].image.shape == (48, 64, 3)


def test_a_glob(tiny: Any, tmp_path: Path) -> None:
    for name, seed in (("b1.png", 1), ("a1.png", 0), ("sub/b2.png", 2)):
        save(tmp_path / name, tiny.image(seed))
    with open_stream(str(tmp_path / "b*.png")) as stream:
        assert [frame.path for frame in stream] == [tmp_path / "b1.png"]
    with open_stream(f"file://{tmp_path}/**/*.png") as stream:
        assert stream.length == 3
    with pytest.raises(MissingFileError, match=r"no image matches \S+c\*.png"):
        open_stream(tmp_path / "c*.png")


def test_frames_are_the_caller_s_own(video: Path) -> None:
    with open_stream(video) as stream:
        first = next(iter(stream))
        copy = first.image.copy()
        list(stream)
    np.testing.assert_array_equal(first.image, copy)


def test_a_closed_video_gives_nothing_more(video: Path) -> None:
    for read in (0, 2, 100):
        with open_stream(video) as stream:
            for _, _ in zip(range(read), stream, strict=False):
                pass
        stream.close()
        with pytest.raises(InputError, match=f"this stream of {video} is closed"):
            next(iter(stream))


def test_a_model_on_a_stream(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / f"{seed}.png", tiny.image(seed))
    with ert.load(bundle) as model, ert.open_stream(tmp_path) as frames:
        best = [int(model(frame.image).indices[0]) for frame in frames]
    assert best == [int(tiny.reference.scores(tiny.image(seed)).argmax()) for seed in range(3)]


# -- refused -------------------------------------------------------------------------------------------------------


def test_latest_of_pictures_is_refused(tiny: Any, tmp_path: Path) -> None:
    save(tmp_path / "a.png", tiny.image(0))
    with pytest.raises(UnsupportedError, match="pictures have no clock: they are read with policy 'every'"):
        open_stream(tmp_path, policy="latest")


@pytest.mark.parametrize("policy", ["newest", "rate=0", "rate=-1", "rate=fast", "rate=inf", ""])
def test_unknown_policy(video: Path, policy: str) -> None:
    with pytest.raises(InputError, match="policy must be 'latest', 'every' or 'rate=N'"):
        open_stream(video, policy=policy or "rate")


def test_what_is_neither_image_nor_video(tmp_path: Path, one_line: Any) -> None:
    with pytest.raises(MissingFileError, match="no image, folder or video at"):
        open_stream(tmp_path / "none.mp4")
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        open_stream(tmp_path / "model.onnx")
    assert one_line(caught).startswith("model.onnx must be an image (.bmp, ") and "or a video (.avi, " in one_line(
        caught
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        open_stream(tmp_path / "empty")


@pytest.mark.parametrize("content", [b"", b"this is not a video\n" * 50, b"\0\0\0\x18ftypmp42" + bytes(100)])
def test_bad_video_file(tmp_path: Path, one_line: Any, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_stream(tmp_path / "a.mp4")
    assert one_line(caught) == f"{tmp_path / 'a.mp4'} is not a video that can be decoded"


def test_video_without_a_decoder(video: Path, block_import: Any) -> None:
    block_import("av")
    block_import("cv2")
    with pytest.raises(MissingPackageError, match=r"reading a video file .*edgecv-runtime\[cv\]"):
        open_stream(video)


@pytest.mark.data
def test_real_clip(data_dir: Path) -> None:
    paths = sorted(path for path in (data_dir / "video").rglob("*") if path.suffix in (".mp4", ".avi", ".mkv", ".webm"))
    if not paths:
        pytest.skip(f"no clip in {data_dir / 'video'}")
    with open_stream(paths[0]) as stream:
        frames = [frame for frame, _ in zip(stream, range(30), strict=False)]
    assert [frame.index for frame in frames] == list(range(len(frames))) and len(frames) > 5
    stamps = np.array([frame.timestamp for frame in frames])
    assert (np.diff(stamps) > 0).all()
    capture = cv2.VideoCapture(str(paths[0]))
    for frame in frames[:5]:
        there, bgr = capture.read()
        assert there
        np.testing.assert_array_equal(frame.image, bgr[..., ::-1])
    capture.release()


def test_a_folder_goes_on_past_a_file_that_is_no_image(tmp_path: Path) -> None:
    for name, level in (("a.png", 10), ("c.png", 30)):
        cv2.imwrite(str(tmp_path / name), np.full((4, 6, 3), level, np.uint8))
    (tmp_path / "b.png").write_text("this is text")
    with (
        open_stream(tmp_path) as frames,
        pytest.warns(RuntimeWarning, match=r"^skipped: \S+b\.png is not an image"),
    ):
        seen = [(frame.index, frame.dropped, int(frame.image[0, 0, 0])) for frame in frames]
    assert seen == [(0, 0, 10), (2, 1, 30)]
