from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


def test_image(edgecv: Any, tiny: Any, any_bundle: Path, picture: Path) -> None:
    outcome = edgecv("run", any_bundle, "--source", picture, "--top", 2)
    assert outcome.status == 0
    assert outcome.err.startswith("<Model tiny: classification, ") and outcome.err.count("\n") == 1
    scores = tiny.reference.scores(tiny.image(1))
    first, second = np.argsort(-scores)[:2].tolist()
    assert outcome.out == (
        f"{picture}: {tiny.labels[first]} {scores[first]:.3f}, {tiny.labels[second]} {scores[second]:.3f}\n"
    )


def test_json_is_one_object_a_line(edgecv: Any, tiny: Any, bundle: Path, pictures: Path) -> None:
    outcome = edgecv("run", bundle, "--source", pictures, "--json")
    assert outcome.status == 0 and outcome.err == ""
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert [line["source"] for line in lines] == sorted(line["source"] for line in lines)
    for line in lines:
        seed = int(Path(line["source"]).stem)
        scores = tiny.reference.scores(tiny.image(seed))
        assert line["indices"] == np.argsort(-scores).tolist()
        assert line["scores"] == sorted(scores.tolist(), reverse=True)
        assert line["labels"] == [tiny.labels[index] for index in line["indices"]]


def test_video_and_max_frames(edgecv: Any, tiny: Any, bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 4, (64, 48))
    for _ in range(5):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    black = tiny.labels[int(tiny.reference.bias.argmax())]
    outcome = edgecv("run", bundle, "--source", path, "--max-frames", 3, "--top", 1)
    assert outcome.status == 0
    assert [line[: len(f"frame 0 (0.00 s): {black}")] for line in outcome.out.splitlines()] == [
        f"frame {index} ({index / 4:.2f} s): {black}" for index in range(3)
    ]
    assert len(edgecv("run", bundle, "--source", path, "--json").out.splitlines()) == 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.jpg", b"a shopping list", "text.jpg is not an image that can be decoded (15 bytes)"),
        ("empty.png", b"", "empty.png is empty (0 bytes)"),
        ("a.mp4", b"nothing", "a.mp4 is not a video that can be decoded"),
        ("a.doc", b"letter", "a.doc must be an image"),
    ],
)
def test_bad_sources(edgecv: Any, bundle: Path, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    outcome = edgecv("run", bundle, "--source", tmp_path / name, "--json")
    assert outcome.status == 2 and outcome.error.startswith("edgecv run: ") and message in outcome.error


def test_more_bad_requests(edgecv: Any, bundle: Path, picture: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["--source", tmp_path / "none.jpg"], "no image, folder or video at"),
        (["--source", "77"], "no camera at /dev/video77"),
        (["--source", "ftp://host/a"], "a source must be a file, a folder, a camera or one of rtsp://"),
        (["--source", picture, "--top", "0"], "--top and --max-frames must be at least 1"),
        (["--source", picture, "--max-frames", "0"], "--top and --max-frames must be at least 1"),
        (["--source", picture, "--backend", "litert"], "back end 'litert' runs tflite"),
    ):
        outcome = edgecv("run", bundle, *arguments)
        assert outcome.status == 2 and message in outcome.error


def test_scores_that_are_no_numbers_are_valid_json(
    edgecv: Any, bundle: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv_runtime.backends.onnxruntime import ONNXRuntimeBackend

    broken = [np.array([[np.nan, 1, np.inf, 0]], np.float32), np.zeros((1, 1), np.float32)]
    monkeypatch.setattr(ONNXRuntimeBackend, "infer", lambda self, inputs: broken)
    answer = json.loads(edgecv("run", bundle, "--source", picture, "--json").out, parse_constant=pytest.fail)
    assert answer["indices"] == [2, 1, 3, 0] and answer["scores"] == [None, 1, 0, None]


def test_back_end_is_missing(edgecv: Any, bundle: Path, picture: Path, block_import: Any) -> None:
    block_import("onnxruntime")
    outcome = edgecv("run", bundle, "--source", picture, "--backend", "onnxruntime")
    assert outcome.status == 2
    assert outcome.error == (
        "edgecv run: back end 'onnxruntime' needs the package onnxruntime, which is not installed: "
        "pip install 'edgecv-runtime[onnx]'"
    )
