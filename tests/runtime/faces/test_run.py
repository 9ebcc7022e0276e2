"""``edgecv run --gallery``: names for the people in pictures and videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.cli import main
from edgecv_runtime.faces import FacePipeline
from edgecv_runtime.gallery import Gallery

MIDDLE = (1 / 3, 1 / 3, 2 / 3, 2 / 3, 0.9)
RED, GREEN, BLUE = (170, 60, 60), (60, 170, 60), (60, 60, 170)


@pytest.fixture
def detector(detector_bundle: Callable[..., Path]) -> Path:
    return detector_bundle([MIDDLE])


@pytest.fixture
def people(tmp_path: Path, detector: Path, embedder_bundle: Path, texture: Any) -> Path:
    path = tmp_path / "faces.db"
    with (
        FacePipeline(detector, embedder_bundle, "standard", "box") as pipeline,
        Gallery(path, fingerprint=pipeline.fingerprint) as gallery,
    ):
        gallery.enroll("Ruby", pipeline.only_face(texture(RED)).vector)
        gallery.enroll("Fern", pipeline.only_face(texture(GREEN)).vector)
    return path


@pytest.fixture
def run(detector: Path, people: Path, embedder_bundle: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(source: Path, *more: object, usual: bool = True) -> tuple[int, str, str]:
        options = ["--gallery", people, "--embedder", embedder_bundle, "--alignment", "box", "--threshold", 0.9]
        status = main([str(part) for part in ("run", detector, "--source", source, *(options if usual else ()), *more)])
        return status, *capsys.readouterr()

    return call


def test_a_folder(run: Any, texture: Any, tmp_path: Path, save: Any) -> None:
    """Each picture for itself: no tracks, no votes."""
    folder, drawn = tmp_path / "pictures", tmp_path / "drawn"
    folder.mkdir()
    for index, colour in enumerate((RED, GREEN, BLUE)):
        save(folder / f"{index}.png", texture(colour, seed=index))
    status, out, err = run(folder, "--json", "--save", drawn)
    assert status == 0 and err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["faces"][0]["name"] for line in lines] == ["Ruby", "Fern", None]
    face = lines[0]["faces"][0]
    np.testing.assert_allclose(face["box"], [100, 100, 200, 200], atol=1e-3)
    assert face["recognised"] and face["track"] is None and face["alignment"] == "box"
    assert face["quality"]["accepted"] and face["quality"]["size"] == pytest.approx(100)
    assert sorted(path.name for path in drawn.iterdir()) == ["0.png", "1.png", "2.png"]
    assert (cv2.imread(str(drawn / "0.png")) != cv2.imread(str(folder / "0.png"))).any()
    status, out, err = run(folder)
    assert status == 0 and [line.split(": ")[1].split(" ")[0] for line in out.splitlines()] == ["Ruby", "Fern", "not"]


def test_a_video(run: Any, texture: Any, tmp_path: Path) -> None:
    """Two frames of one face against one of another: the vote names the first throughout."""
    path = tmp_path / "door.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 4, (300, 300))
    for seed, colour in enumerate((RED, RED, GREEN)):
        writer.write(np.ascontiguousarray(texture(colour, seed=seed)[..., ::-1]))
    writer.release()
    status, out, _ = run(path, "--json", "--window", 5)
    faces = [json.loads(line)["faces"][0] for line in out.splitlines()]
    assert status == 0 and [face["name"] for face in faces] == ["Ruby"] * 3
    assert [face["track"] for face in faces] == [1, 1, 1] and [face["votes"] for face in faces] == [1, 2, 3]
    faces = [json.loads(line)["faces"][0] for line in run(path, "--json", "--window", 1)[1].splitlines()]
    assert [face["name"] for face in faces] == ["Ruby", "Ruby", "Fern"]


def test_cameras_each_with_votes_of_their_own(run: Any, texture: Any, tmp_path: Path) -> None:
    """Two doors in one pipeline: two frames of one face against one of another, and the other way round."""
    for name, colours in (("front", (RED, RED, GREEN)), ("back", (GREEN, GREEN, RED))):
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 4, (300, 300))
        for seed, colour in enumerate(colours):
            writer.write(np.ascontiguousarray(texture(colour, seed=seed)[..., ::-1]))
        writer.release()
    sources = [f"front={tmp_path / 'front.avi'}", "--source", f"back={tmp_path / 'back.avi'}"]
    status, out, err = run(*sources, "--json", "--window", 5, "--sink", f"{tmp_path}/drawn/")
    assert status == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    for camera, name in (("front", "Ruby"), ("back", "Fern")):
        faces = [line["result"]["faces"][0] for line in lines if line["camera"] == camera]
        assert [face["name"] for face in faces] == [name] * 3
        assert [face["votes"] for face in faces] == [1, 2, 3] and {face["track"] for face in faces} == {1}
    assert len(list((tmp_path / "drawn").glob("*.jpg"))) == 6
    status, _, err = run(*sources, "--track")
    assert status == 2 and "--track is for detections" in err and err.count("\n") == 1


def test_bad_requests(run: Any, embedder_bundle: Path, people: Path, texture: Any, tmp_path: Path, save: Any) -> None:
    picture = save(tmp_path / "a.png", texture(RED))
    for more, usual, message in (
        (["--embedder", embedder_bundle], False, "--embedder goes with --gallery, which names the people"),
        (["--threshold", 0.5], False, "--threshold goes with --gallery"),
        (["--key-file", people], False, "--key-file goes with --gallery"),
        (["--gallery", people], False, "--gallery needs --embedder E.edgecv"),
        (["--gallery", people, "--embedder", embedder_bundle], False, "choose alignment 'box'"),
        (["--alignment", "sideways"], True, "alignment must be auto, box or a BoxCrop"),
        (["--quality", "good"], True, "quality must be one of off, standard, strict"),
        (["--window", 3], True, "--window is for the frames of a video"),
        (["--gallery", tmp_path / "none.db"], True, "none.db"),
    ):
        status, out, err = run(picture, "--json", *more, usual=usual)
        assert status == 2 and out == "", more
        assert message in err and err.count("\n") == 1, err
    assert not (tmp_path / "none.db").exists()


def test_a_gallery_of_another_embedder(
    run: Any, embedder_bundle: Path, texture: Any, tmp_path: Path, save: Any
) -> None:
    with Gallery(tmp_path / "other.db", fingerprint="0" * 64) as gallery:
        gallery.enroll("Ruby", np.array([1.0, 0, 0], np.float32))
    picture = save(tmp_path / "a.png", texture(RED))
    status, _, err = run(picture, "--json", "--gallery", tmp_path / "other.db")
    assert status == 2 and "embedder" in err and err.count("\n") == 1
