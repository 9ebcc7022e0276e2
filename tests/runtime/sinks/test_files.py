"""JSON Lines and folders of pictures: whole, bounded, and nothing of anybody else's touched."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.errors import InputError, OutputError
from edgecv_runtime.results import Detections, Embedding
from edgecv_runtime.sinks import JsonLinesSink, PictureSink


def test_each_line_is_there_at_once(make_outcome: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLinesSink(path)
    found = Detections(np.float32([[1, 2, 3, 4]]), np.float32([0.5]), np.array([0]), ("cat",))
    sink.write(make_outcome(3, result=found))
    line = json.loads(path.read_text())
    assert line["camera"] == "door" and line["index"] == 3 and line["timestamp"] == 0.3
    assert line["age_ms"] == 10.5 and line["ms"] == {"wait": 1.0, "preprocess": 2.0, "infer": 3.0, "decode": 4.0}
    assert line["result"] == {"boxes": [[1, 2, 3, 4]], "scores": [0.5], "classes": [0], "labels": ["cat"]}
    sink.write(make_outcome(4, result=Embedding(np.float32([np.nan, 1]))))
    assert json.loads(path.read_text().splitlines()[1])["result"] == {"vector": [None, 1.0]}
    sink.close()
    sink.close()
    with pytest.raises(OutputError, match="is closed"):
        sink.write(make_outcome(5))


def test_a_file_is_continued_and_a_cut_line_stays_alone(make_outcome: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"index": 0}\n{"index": 1, "cut')
    sink = JsonLinesSink(path)
    sink.write(make_outcome(2))
    sink.close()
    first, cut, last = path.read_text().splitlines()
    assert (first, cut) == ('{"index": 0}', '{"index": 1, "cut') and json.loads(last)["index"] == 2


def test_stdout(make_outcome: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sink = JsonLinesSink("-")
    sink.write(make_outcome(1))
    sink.close()
    assert json.loads(capsys.readouterr().out)["index"] == 1


def test_a_pipe(make_outcome: Any, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # there before the sink, or what it writes would be lost
    sink = JsonLinesSink(path)
    sink.write(make_outcome(1))
    sink.close()
    assert json.loads(os.read(reader, 10_000))["index"] == 1
    os.close(reader)


def test_a_full_disk_is_one_line_and_damages_nothing(make_outcome: Any, tmp_path: Path, one_line: Any) -> None:
    """A limit on the size of files stands for the full disk: the last line fits in half."""
    path = tmp_path / "out.jsonl"
    sink = JsonLinesSink(path)
    sink.write(make_outcome(0))
    length = path.stat().st_size
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length * 5 // 2, limits[1]))
    try:
        sink.write(make_outcome(1))
        with pytest.raises(OutputError) as caught:
            sink.write(make_outcome(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert one_line(caught).startswith(f"cannot write to {path}: ") and "so far are whole" in str(caught.value)
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1]
    sink.write(make_outcome(3))  # there is room again
    sink.close()
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1, 3]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_dev_full(make_outcome: Any) -> None:
    sink = JsonLinesSink("/dev/full")
    with pytest.raises(OutputError, match="cannot write to /dev/full: No space left on device"):
        sink.write(make_outcome(0))
    sink.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write .*: Is a directory"):
        JsonLinesSink(tmp_path)
    with pytest.raises(OutputError, match="No such file or directory"):
        JsonLinesSink(tmp_path / "none" / "out.jsonl")


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    program = (
        "import os, signal, sys, types\n"
        "from edgecv_runtime.sinks.jsonlines import JsonLinesSink\n"
        f"sink = JsonLinesSink({str(path)!r})\n"
        "for index in range(100):\n"
        "    sink.write(types.SimpleNamespace(to_dict=lambda: {'index': index}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == list(range(100))


# -- pictures ------------------------------------------------------------------------------------------------------


def test_a_folder_holds_the_newest(make_outcome: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"mine")
    (folder / "door_20200101T000000.000Z_00000001.png").write_bytes(b"mine too")
    seconds = iter(1.7e9 + 0.25 * step for step in range(100))
    sink = PictureSink(folder, keep=3, clock=lambda: next(seconds))
    for index in range(6):
        sink.write(make_outcome(index, camera="front door"))
    sink.close()
    ours = sorted(path.name for path in folder.glob("front*"))
    # 1.7e9 s are 2023-11-14 22:13:20 UTC.
    assert ours == [
        "front_door_20231114T221320.750Z_00000003.jpg",
        "front_door_20231114T221321.000Z_00000004.jpg",
        "front_door_20231114T221321.250Z_00000005.jpg",
    ]
    assert (folder / "holiday.jpg").read_bytes() == b"mine" and len(list(folder.iterdir())) == 5
    picture = cv2.imread(str(folder / ours[-1]))
    assert picture.shape == (48, 64, 3) and abs(int(picture[20, 20, 0]) - 100) <= 2
    # A restart counts what is there.
    again = PictureSink(folder, keep=2, clock=lambda: 1.7e9 + 60)
    assert sorted(path.name for path in folder.glob("front*")) == ours[1:]
    again.write(make_outcome(0, camera="a"))
    assert sorted(path.name for path in folder.glob("*.jpg")) == [
        "a_20231114T221420.000Z_00000000.jpg",
        ours[2],
        "holiday.jpg",
    ]


def test_one_that_somebody_took_away(make_outcome: Any, tmp_path: Path) -> None:
    sink = PictureSink(tmp_path, keep=1)
    sink.write(make_outcome(0))
    next(tmp_path.glob("*.jpg")).unlink()
    sink.write(make_outcome(1))
    assert len(list(tmp_path.glob("*.jpg"))) == 1


def test_pictures_refuse(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keep must be at least 1"):
        PictureSink(tmp_path, keep=0)
    with pytest.raises(InputError, match="quality from 1 to 100"):
        PictureSink(tmp_path, quality=101)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be used as a folder"):
        PictureSink(tmp_path / "file")
