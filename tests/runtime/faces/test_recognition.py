"""Names by a gallery: picture by picture, and by the vote of a video's frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.errors import InputError
from edgecv_runtime.faces import FacePipeline, Gate
from edgecv_runtime.faces.recognition import FaceRecognizer, NamedFaces
from edgecv_runtime.faces.voting import Voting
from edgecv_runtime.gallery import Gallery

MIDDLE = (1 / 3, 1 / 3, 2 / 3, 2 / 3, 0.9)
RED, GREEN, BLUE = (170, 60, 60), (60, 170, 60), (60, 60, 170)
Texture = Callable[..., np.ndarray]


@pytest.fixture
def pipeline(detector_bundle: Callable[..., Path], embedder_bundle: Path) -> FacePipeline:
    return FacePipeline(detector_bundle([MIDDLE]), embedder_bundle, Gate(sharpness=5), "box")


@pytest.fixture
def gallery(tmp_path: Path, pipeline: FacePipeline, texture: Texture) -> Gallery:
    made = Gallery(tmp_path / "faces.db", fingerprint=pipeline.fingerprint, threshold=0.9)
    for name, colour in (("Ruby", RED), ("Fern", GREEN)):
        made.enroll(name, pipeline.only_face(texture(colour)).vector)
    return made


def test_pictures(pipeline: FacePipeline, gallery: Gallery, texture: Texture) -> None:
    recognize = FaceRecognizer(pipeline, gallery)
    (known,) = recognize(texture(RED, seed=1))
    assert known.name == "Ruby" and known.track is None and known.similarity is not None and known.similarity > 0.99
    unknown = recognize(texture(BLUE))
    assert unknown.faces[0].name is None and unknown.faces[0].label == "not recognised"
    # cos between (60, 60, 170) and (170, 60, 60): (60·170 + 60·60 + 170·60) / (60² + 60² + 170²)
    assert unknown.faces[0].similarity == pytest.approx(24000 / 36100, abs=0.02)
    assert unknown.summary == f"not recognised {unknown.faces[0].similarity:.2f} [100 100 200 200]"
    answer = unknown.to_dict()["faces"][0]
    assert answer["name"] is None and answer["recognised"] is False and answer["quality"]["accepted"]
    (nearly,) = FaceRecognizer(pipeline, gallery, threshold=0.5)(texture(BLUE))
    assert nearly.name in ("Ruby", "Fern")


def test_a_refused_face_is_not_named(pipeline: FacePipeline, gallery: Gallery) -> None:
    flat = np.full((300, 300, 3), RED, np.uint8)
    (face,) = FaceRecognizer(pipeline, gallery)(flat)
    assert (face.name, face.similarity, face.votes, face.label) == (None, None, 0, "refused: sharpness")
    assert FaceRecognizer(pipeline, gallery)(flat).summary == "refused: sharpness [100 100 200 200]"


def test_an_empty_gallery(pipeline: FacePipeline, tmp_path: Path, texture: Texture) -> None:
    with Gallery(tmp_path / "empty.db", fingerprint=pipeline.fingerprint, threshold=0.9) as gallery:
        (face,) = FaceRecognizer(pipeline, gallery)(texture(RED))
    assert face.name is None and face.similarity == 0


def test_frames_vote(pipeline: FacePipeline, gallery: Gallery, texture: Texture) -> None:
    """A frame that shows another face, smaller and less sharp, does not change the name; more weight does."""
    recognize = FaceRecognizer(pipeline, gallery, voting=Voting(window=10))
    for seed in range(3):
        (face,) = recognize(texture(RED, seed=seed))
    assert (face.name, face.track, face.votes, face.share) == ("Ruby", 1, 3, 1.0)
    (face,) = recognize(texture(GREEN))
    assert (face.name, face.votes) == ("Ruby", 4) and face.share == pytest.approx(0.75, abs=0.1)
    (face,) = recognize(np.full((300, 300, 3), RED, np.uint8))  # refused: it has no vote
    assert (face.name, face.votes, face.label) == ("Ruby", 4, "Ruby")
    for seed in range(5):
        (face,) = recognize(texture(GREEN, seed=seed))
    assert (face.name, face.track) == ("Fern", 1)


def test_drawing(pipeline: FacePipeline, gallery: Gallery, texture: Texture) -> None:
    recognize = FaceRecognizer(pipeline, gallery)
    first = recognize(texture(RED)).detections.classes
    found = recognize(texture(GREEN)).detections
    assert found.labels == ("Fern",) and found.classes.tolist() == [first[0] + 1]
    refused = recognize(np.full((300, 300, 3), RED, np.uint8)).detections
    assert refused.labels == ("refused: sharpness",) and refused.classes[0] < first[0]
    assert recognize(texture(RED)).detections.classes.tolist() == first.tolist()  # a name keeps its colour
    np.testing.assert_allclose(found.boxes, [[100, 100, 200, 200]], atol=1e-3)
    picture = texture(GREEN)
    drawn = ert.draw(picture, found)
    assert drawn.shape == picture.shape and (drawn[100, 120:180] != picture[100, 120:180]).any()
    none = NamedFaces(())
    assert len(none.detections) == 0 and none.summary == "no face" and none.to_dict() == {"faces": []}
    with pytest.raises(InputError, match="k must be at least 1"):
        none.top(0)
