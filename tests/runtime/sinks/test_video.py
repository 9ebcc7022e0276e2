"""Videos: counted and looked at with OpenCV's reader."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.errors import InputError, OutputError
from edgecv_runtime.results import Detections
from edgecv_runtime.sinks import VideoSink
from edgecv_runtime.sinks.video import source_rate


def read(path: Path) -> tuple[float, list[int], tuple[int, int]]:
    """Rate, the grey in the middle of each picture divided by 20, and (height, width)."""
    capture = cv2.VideoCapture(str(path))
    rate, pictures = capture.get(cv2.CAP_PROP_FPS), []
    size = (0, 0)
    while (there := capture.read())[0]:
        size = there[1].shape[:2]
        pictures.append(round(there[1][size[0] // 2, size[1] // 2].mean() / 20))
    capture.release()
    return rate, pictures, size


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.mov"])
def test_a_steady_source(make_outcome: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    sink = VideoSink(path)
    for index in range(10):
        sink.write(make_outcome(index, timestamp=index / 10))
    assert not path.exists()  # it has its name when it is whole
    sink.close()
    sink.close()
    rate, pictures, size = read(path)
    assert rate == pytest.approx(10) and pictures == list(range(10)) and size == (48, 64)
    assert [file.name for file in path.parent.iterdir()] == [name]
    with pytest.raises(OutputError, match="is closed"):
        sink.write(make_outcome(11))


def test_results_slower_than_the_source(make_outcome: Any, tmp_path: Path) -> None:
    """Each second or third frame of a camera of 10 a second: a picture stands until the next one is due."""
    sink = VideoSink(tmp_path / "a.avi")
    for index in (0, 2, 4, 7, 9):
        sink.write(make_outcome(index, timestamp=index / 10))
    sink.close()
    rate, pictures, _ = read(tmp_path / "a.avi")
    assert rate == pytest.approx(10) and pictures == [0, 0, 2, 2, 4, 4, 4, 7, 7, 9]


def test_a_rate_of_ones_own(make_outcome: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", fps=5)
    for index in range(10):
        sink.write(make_outcome(index, timestamp=index / 10))
    sink.close()
    rate, pictures, _ = read(tmp_path / "a.avi")
    # Slots 0, 0, 1, 2, 2, 2, 3, 4, 4, 4 (halves round to even): of several in one slot the last is shown.
    assert rate == pytest.approx(5) and pictures == [1, 2, 5, 6, 9]


def test_a_camera_that_was_away_and_a_clock_that_was_set_back(make_outcome: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", fps=10)
    for index, timestamp in enumerate((0.0, 0.1, 3600.1, 3600.2, 5.0, 5.1)):
        sink.write(make_outcome(index, timestamp=timestamp))
    sink.close()
    _, pictures, _ = read(tmp_path / "a.avi")
    assert pictures == [0] + [1] * 20 + [2, 3, 4, 5]  # an hour becomes two seconds


def test_another_size_is_fitted_in(make_outcome: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", fps=10)
    sink.write(make_outcome(5, timestamp=0.0))
    sink.write(make_outcome(6, timestamp=0.1, size=(96, 64)))
    sink.close()
    capture = cv2.VideoCapture(str(tmp_path / "a.avi"))
    capture.read()
    second = capture.read()[1]
    capture.release()
    assert second.shape == (48, 64, 3)
    # 96×64 becomes 48×32 in the middle, black beside it.
    assert second[24, :12].max() < 20 and second[24, 52:].max() < 20 and abs(int(second[24, 32].mean()) - 120) < 6


def test_single_pictures_and_nothing_at_all(make_outcome: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "one.mp4")
    sink.write(make_outcome(3))
    sink.close()
    assert read(tmp_path / "one.mp4")[1] == [3]
    VideoSink(tmp_path / "none.mp4").close()
    assert not (tmp_path / "none.mp4").exists()


def test_results_are_drawn(make_outcome: Any, tmp_path: Path) -> None:
    found = Detections(np.float32([[16, 20, 48, 40]]), np.float32([0.9]), np.array([0]), ("cat",))
    sink = VideoSink(tmp_path / "a.avi", fps=10)
    sink.write(make_outcome(0, result=found))
    sink.close()
    capture = cv2.VideoCapture(str(tmp_path / "a.avi"))
    picture = capture.read()[1]
    capture.release()
    assert picture[20:40, 16].max(axis=1).min() > 60 and picture[30, 30].max() < 30  # the box's edge, and within it


def test_several_cameras(make_outcome: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "{camera}.avi", fps=10)
    for index in range(3):
        sink.write(make_outcome(index, camera="a"))
        sink.write(make_outcome(index + 4, camera="b/c"))
    sink.close()
    assert read(tmp_path / "a.avi")[1] == [0, 1, 2] and read(tmp_path / "b_c.avi")[1] == [4, 5, 6]
    one = VideoSink(tmp_path / "one.avi", fps=10)
    one.write(make_outcome(0, camera="a"))
    with pytest.raises(InputError, match="holds one camera, and there are 'a' and 'b': put {camera} in its name"):
        one.write(make_outcome(0, camera="b"))
    one.close()
    both = VideoSink(tmp_path / "{camera}.avi")
    both.write(make_outcome(0, camera="a/b"))
    with pytest.raises(InputError, match="two cameras would both be written"):
        both.write(make_outcome(0, camera="a_b"))
    both.close()


def test_it_is_closed_whole_before_the_disk_is_full(
    make_outcome: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: Any
) -> None:
    free = iter([100 << 20, 100 << 20, 1 << 20])
    monkeypatch.setattr("edgecv_runtime.sinks.video.shutil.disk_usage", lambda path: SimpleNamespace(free=next(free)))
    sink = VideoSink(tmp_path / "a.mp4", fps=10)
    with pytest.raises(OutputError) as caught:
        for index in range(100):
            sink.write(make_outcome(index))
    assert "was closed after 10 pictures, whole: less than 32 MiB are free" in one_line(caught)
    assert read(tmp_path / "a.mp4")[1] == list(range(10))
    sink.close()


def test_a_file_that_is_not_whole_is_not_kept(
    make_outcome: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: Any
) -> None:
    sink = VideoSink(tmp_path / "a.avi", fps=10)
    for index in range(10):
        sink.write(make_outcome(index))
    monkeypatch.setattr("edgecv_runtime.sinks.video._frames_in", lambda path: 4)
    with pytest.raises(OutputError) as caught:
        sink.close()
    assert "is not whole: 4 of 10 pictures reached the disk" in one_line(caught)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("seen", "rate"),
    [
        ([(0.0, 0), (0.033, 1), (0.067, 2), (0.1, 3)], 30.0),
        ([(0.0, 0), (0.04, 1), (0.08, 2), (0.12, 3)], 25.0),
        ([(0.0, 0), (0.5, 15), (1.001, 30)], 30000 / 1001),
        ([(0.0, 0), (1.0, 1), (2.0, 2)], 1.0),
        ([(0.0, 0), (0.01, 1)], 30.0),  # 100 a second: more than anybody sees
        ([(0.0, 0), (0.3, 2)], 6.67),
        ([(1.0, 5)], 1.0),
        ([(1.0, 5), (1.0, 6)], 1.0),
    ],
)
def test_the_rate_of_a_source(seen: list[tuple[float, int]], rate: float) -> None:
    assert source_rate(seen) == pytest.approx(rate)


def test_what_videos_refuse(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must end in .mp4, .mov, .mkv, .avi; received 'a.gif'"):
        VideoSink(tmp_path / "a.gif")
    with pytest.raises(InputError, match="fps must be above 0"):
        VideoSink(tmp_path / "a.mp4", fps=0)
