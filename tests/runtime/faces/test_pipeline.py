"""The pipeline with parts whose answers are known, and with the real models on real photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.errors import BackendError, InputError, MissingFileError, UnsupportedError
from edgecv_runtime.faces import BoxCrop, FacePipeline, Gate
from edgecv_runtime.faces.alignment import REFERENCE_POINTS, apply, reference_points
from edgecv_runtime.model import Model
from edgecv_runtime.results import Detections, Embedding

MIDDLE = (1 / 3, 1 / 3, 2 / 3, 2 / 3, 0.9)
Texture = Callable[..., np.ndarray]


def _unit(*values: float) -> np.ndarray:
    return np.array(values) / np.linalg.norm(values)


def test_a_box_is_cut_out_and_embedded(
    detector_bundle: Callable[..., Path], embedder_bundle: Path, texture: Texture
) -> None:
    """Two halves of a picture, one reddish and one greenish; each face's vector is the mean colour of its crop."""
    picture = np.concatenate([texture((160, 80, 60)), texture((60, 150, 90))], axis=1)
    path = detector_bundle([(0.1, 0.25, 0.4, 0.75, 0.9), (0.65, 0.3, 0.85, 0.7, 0.8)])
    crop = BoxCrop(1.0, 0.0)
    with FacePipeline(path, embedder_bundle, "off", crop, second_look=False) as pipeline:
        assert pipeline.dimension == 3
        faces = pipeline.faces(picture)
    assert [face.alignment for face in faces] == ["box", "box"]
    np.testing.assert_allclose([face.box for face in faces], [[60, 75, 240, 225], [390, 90, 510, 210]], atol=1e-3)
    np.testing.assert_allclose([face.score for face in faces], [0.9, 0.8], atol=1e-6)
    assert [face.area for face in faces] == pytest.approx([180 * 150, 120 * 120], rel=1e-5)
    np.testing.assert_allclose(faces[0].vector, _unit(160, 80, 60), atol=0.02)
    np.testing.assert_allclose(faces[1].vector, _unit(60, 150, 90), atol=0.02)
    # The crop of the second: its box is a square, 120 pixels on 64.
    expected = cv2.resize(picture[90:210, 390:510], (64, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(faces[1].crop.astype(int) - expected.astype(int)).max() <= 2
    answer = faces[1].to_dict()
    assert answer["landmarks"] is None and answer["quality"]["accepted"] and answer["alignment"] == "box"


def test_the_largest_first_and_none_at_all(
    detector_bundle: Callable[..., Path], embedder_bundle: Path, texture: Texture
) -> None:
    boxes = [(0.0, 0.0, 0.2, 0.2, 0.99), (0.3, 0.3, 0.9, 0.9, 0.5), (0.5, 0.0, 0.9, 0.2, 0.05)]
    with FacePipeline(detector_bundle(boxes), embedder_bundle, "off", "box", second_look=False) as pipeline:
        assert [round(face.score, 2) for face in pipeline.faces(texture((90, 90, 90)))] == [0.5, 0.99]
    with FacePipeline(detector_bundle([(0, 0, 1, 1, 0.01)]), embedder_bundle, "off", "box") as pipeline:
        assert pipeline.faces(texture((90, 90, 90))) == []
        with pytest.raises(InputError, match="one face is required; none was found in the picture"):
            pipeline.only_face(texture((90, 90, 90)))


def test_grey_and_other_pictures(detector_bundle: Callable[..., Path], embedder_bundle: Path, texture: Texture) -> None:
    picture = texture((120, 120, 120))
    with FacePipeline(detector_bundle([MIDDLE]), embedder_bundle, "off", "box") as pipeline:
        plain = pipeline.only_face(picture).vector
        for other in (picture[..., 0], picture[..., :1], picture.astype(np.uint16) * 257):
            np.testing.assert_allclose(pipeline.only_face(other).vector, plain, atol=1e-6)
        tiny = pipeline.faces(picture[:3, :3])
        assert len(tiny) == 1 and tiny[0].quality.size == pytest.approx(1, abs=0.01)
        with pytest.raises(InputError, match="an image must be uint8"):
            pipeline.faces(picture / 255)
        with pytest.raises(InputError, match="must be a numpy array or a path"):
            pipeline.faces(None)
        with pytest.raises(MissingFileError):
            pipeline.faces("nowhere.png")


def test_a_refused_face_has_no_vector(
    detector_bundle: Callable[..., Path], embedder_bundle: Path, texture: Texture, tmp_path: Path, save: Any
) -> None:
    path = detector_bundle([MIDDLE])
    small = texture((120, 120, 120), (60, 60))
    with FacePipeline(path, embedder_bundle, Gate(size=32), "box") as pipeline:
        (face,) = pipeline.faces(small)
        assert face.vector is None and [str(reason) for reason in face.quality.rejections] == [
            "size 20, required at least 32"
        ]
        file = save(tmp_path / "small.png", small)
        with pytest.raises(InputError) as caught:
            pipeline.only_face(file)
        assert str(caught.value) == (
            f"a face of better quality is required; in {file} it has size 20, required at least 32"
        )
        assert pipeline.only_face(texture((120, 120, 120))).vector is not None


def test_bystanders(detector_bundle: Callable[..., Path], embedder_bundle: Path, texture: Texture) -> None:
    path = detector_bundle([(0.0, 0.0, 0.6, 0.6, 0.9), (0.75, 0.75, 0.95, 0.95, 0.9)])  # a third of the side
    picture = texture((120, 110, 100))
    for bystander, several in ((0.5, False), (0.3, True), (0.0, True)):
        with FacePipeline(path, embedder_bundle, Gate(bystander=bystander), "box", second_look=False) as pipeline:
            if several:
                with pytest.raises(InputError, match="one face is required; 2 were found in the picture"):
                    pipeline.only_face(picture)
            else:
                assert pipeline.only_face(picture).box[0] == 0


def test_pictures_that_are_aligned_already(embedder_bundle: Path, texture: Texture) -> None:
    with FacePipeline(None, embedder_bundle) as pipeline:
        picture = texture((150, 100, 50), (112, 112))
        face = pipeline.only_face(picture)
        assert (face.alignment, face.score, face.landmarks) == ("given", 1.0, None)
        assert face.box.tolist() == [0, 0, 112, 112] and face.quality.size == pytest.approx(112 / 1.3)
        mean = picture.mean(axis=(0, 1))
        np.testing.assert_allclose(face.vector, mean / np.linalg.norm(mean), atol=0.01)
        with pytest.raises(InputError, match="sharpness 0, required at least 15"):
            pipeline.only_face(np.full((112, 112, 3), 120, np.uint8))
        assert repr(pipeline) == "<FacePipeline aligned crops → colour, 3-d>"
        assert len(pipeline.fingerprint) == 64
        assert pipeline.fingerprint == ert.Bundle(embedder_bundle).fingerprint


def test_wrong_bundles(
    detector_bundle: Callable[..., Path], embedder_bundle: Path, one_line: Callable[[Any], str]
) -> None:
    faces = detector_bundle([MIDDLE])
    for arguments, message in (
        ((embedder_bundle, embedder_bundle), "the detector must be a bundle of task detection; 'colour' is one of"),
        ((faces, faces), "the embedder must be a bundle of task embedding; 'boxes' is one of task detection"),
        ((faces, embedder_bundle), "detectors with decoder 'ultraface' give none: choose alignment 'box'"),
        ((faces, embedder_bundle, "strict", "box"), "checks the pose, which needs a detector with landmarks"),
        ((None, embedder_bundle, "strict"), "checks the pose, which needs a detector with landmarks"),
        ((faces, embedder_bundle, Gate(yaw=20), "box"), "choose quality 'standard' or a Gate without yaw"),
    ):
        with pytest.raises(UnsupportedError) as caught:
            FacePipeline(*arguments)
        assert message in one_line(caught)
    for arguments, message in (
        ((faces, embedder_bundle, "good"), "quality must be one of off, standard, strict"),
        ((faces, embedder_bundle, "off", "boxes"), "alignment must be auto, box or a BoxCrop; received 'boxes'"),
        ((None, embedder_bundle, "off", "box"), "without a detector pictures are aligned already"),
    ):
        with pytest.raises(InputError, match=message):
            FacePipeline(*arguments)
    cats = detector_bundle([MIDDLE], labels=("cat",))
    with pytest.raises(UnsupportedError, match="the detector must find faces; 'boxes' finds cat"):
        FacePipeline(cats, embedder_bundle, "off", "box")


def test_a_bundle_that_was_given_open_stays_open(
    detector_bundle: Callable[..., Path], embedder_bundle: Path, texture: Texture
) -> None:
    with ert.load(embedder_bundle) as embedder:
        pipeline = FacePipeline(detector_bundle([MIDDLE]), embedder, "off", "box")
        pipeline.close()
        pipeline.close()
        assert len(embedder(texture((1, 2, 3)))) == 3


def test_an_embedder_that_fails(embedder_bundle: Path) -> None:
    """A black picture has the mean colour 0, which has no direction."""
    with (
        FacePipeline(None, embedder_bundle, "off") as pipeline,
        pytest.raises(BackendError, match="must give a vector with a direction; its length is 0"),
    ):
        pipeline.faces(np.zeros((64, 64, 3), np.uint8))


class _Landmarks(Model):
    """A detector that answers with the landmarks it was told, in pixels of the picture."""

    def __init__(self, like: Model, points: np.ndarray, box: tuple[float, ...]) -> None:
        self.__dict__.update(like.__dict__)
        self.points, self.box = points, box
        self.manifest = like.manifest.__class__(
            **{
                **vars(like.manifest),
                "decoder": like.manifest.decoder.__class__("heatmap-pose" if len(points) != 6 else "blazeface"),
            }
        )

    def __call__(self, image: Any) -> Any:
        points = np.c_[self.points, np.ones(len(self.points))].astype(np.float32)
        box = np.array([self.box], np.float32)
        return Detections(box, np.array([0.9], np.float32), np.zeros(1, np.int64), ("face",), None, points[None])


def _face_picture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dot of its own colour at each of five turned landmarks, on grey; the landmarks; the colours."""
    places = np.array([[1.8, -0.6, 60.0], [0.6, 1.8, 40.0]])
    points = apply(places, REFERENCE_POINTS)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], np.uint8)
    picture = np.full((400, 400, 3), 128, np.uint8)
    for (x, y), colour in zip(points, colours, strict=True):
        picture[round(y) - 4 : round(y) + 4, round(x) - 4 : round(x) + 4] = colour
    return picture, points, colours


def test_five_landmarks_come_to_their_places(detector_bundle: Callable[..., Path], embedder_bundle: Path) -> None:
    picture, points, colours = _face_picture()
    with ert.load(detector_bundle([MIDDLE])) as model:
        detector = _Landmarks(model, points, (50, 50, 350, 350))
        with FacePipeline(detector, embedder_bundle, "off", second_look=False) as pipeline:
            (face,) = pipeline.faces(picture)
            assert face.alignment == "five-point"
            for (x, y), colour in zip(REFERENCE_POINTS * 64 / 112, colours, strict=True):
                assert np.abs(face.crop[int(y), int(x)].astype(int) - colour).max() < 80
            assert face.quality.pose is not None and face.quality.pose.roll == pytest.approx(18.43, abs=0.5)
        detector = _Landmarks(model, np.zeros((5, 2)), (50, 50, 350, 350))
        with FacePipeline(detector, embedder_bundle, "off", second_look=False) as pipeline:
            (face,) = pipeline.faces(picture)
            assert face.vector is None and face.quality.rejections[0].reason == "landmarks that form a face"
        detector = _Landmarks(model, np.zeros((17, 2)), (50, 50, 350, 350))
        with (
            FacePipeline(detector, embedder_bundle, "off", second_look=False) as pipeline,
            pytest.raises(UnsupportedError, match="alignment needs the 5 landmarks .* this detector gives 17"),
        ):
            pipeline.faces(picture)


# -- real models ---------------------------------------------------------------------------------------------------


def _identities(data: Path, people: int, pictures: int) -> tuple[list[Path], np.ndarray]:
    folder = data / "faces" / "lfw-aligned-112"
    chosen = [sorted(person.iterdir())[:pictures] for person in sorted(folder.iterdir()) if person.is_dir()][:people]
    return [path for paths in chosen for path in paths], np.repeat(np.arange(people), pictures)


def _leave_one_out(vectors: np.ndarray, labels: np.ndarray) -> float:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    return float((labels[similarity.argmax(axis=1)] == labels).mean())


@pytest.mark.data
def test_aligned_faces(data_dir: Path, mobilefacenet: Model) -> None:
    paths, labels = _identities(data_dir, 10, 3)
    with FacePipeline(None, mobilefacenet, "off") as pipeline:
        vectors = np.stack([pipeline.only_face(path).vector for path in paths])
    assert _leave_one_out(vectors, labels) == 1.0


@pytest.mark.data
def test_small_faces_in_a_large_frame(data_dir: Path, mobilefacenet: Model, blazeface: Model) -> None:
    """Faces of about 130 pixels, turned, in a frame of 1920 × 1080: a second look finds their eyes more exactly.

    Where the eyes are is known from how the faces were put there: these pictures are aligned to SphereFace's template.
    """
    paths, _ = _identities(data_dir, 8, 1)  # at 130 pixels the first look misses some of them
    generator = np.random.default_rng(0)
    frame = np.full((1080, 1920, 3), 110, np.uint8)
    eyes = []
    for place, path in enumerate(paths):
        face = cv2.copyMakeBorder(ert.read_image(path), 60, 60, 60, 60, cv2.BORDER_REPLICATE)
        matrix = cv2.getRotationMatrix2D((116, 116), generator.uniform(-12, 12), 1.5)
        matrix[:, 2] += np.array([240 + 480 * (place % 4), 270 + 540 * (place // 4)]) - 116
        cv2.warpAffine(face, matrix, (1920, 1080), dst=frame, borderMode=cv2.BORDER_TRANSPARENT)
        eyes.append(apply(matrix, reference_points((112, 96))[:2] + 60))
    errors = {}
    for second_look in (False, True):
        with FacePipeline(blazeface, mobilefacenet, "off", second_look=second_look) as pipeline:
            seen = [face.landmarks[:2] for face in pipeline.faces(frame)]
        assert len(seen) >= 5
        nearest = [min(np.abs(points - truth).mean() for truth in eyes) for points in seen]
        errors[second_look] = float(np.mean(nearest))
    assert errors[True] < 0.6 * errors[False]
    assert errors[True] < 5  # pixels of the frame


@pytest.mark.data
def test_portraits_that_fill_the_picture(data_dir: Path, mobilefacenet: Model, blazeface: Model) -> None:
    """Stills of 150 pixels, of which the face takes 120: who is who, with the second look and without."""
    people = sorted((data_dir / "faces" / "tv-stills-8x5").iterdir())[:5]
    paths = [path for person in people for path in sorted(person.iterdir())]
    labels = np.repeat(np.arange(5), 5)
    vectors = {}
    for second_look in (False, True):
        with FacePipeline(blazeface, mobilefacenet, "off", second_look=second_look) as pipeline:
            found = [pipeline.faces(path) for path in paths]
        # Half a face beside the whole one is seen without the second look, and no longer with it.
        assert all(len(faces) == 1 for faces in found) == second_look
        vectors[second_look] = np.stack([faces[0].vector for faces in found])
    assert _leave_one_out(vectors[True], labels) == 1.0
    same = np.triu(labels[:, None] == labels[None], 1)
    similarity = {looked: (rows @ rows.T)[same].mean() for looked, rows in vectors.items()}
    assert similarity[True] > similarity[False] + 0.05


@pytest.mark.data
def test_group_photographs(data_dir: Path, mobilefacenet: Model, blazeface: Model) -> None:
    """Four photographs of one group: everyone in one is nearer to themselves in another than to anyone else."""
    folder = data_dir / "faces" / "group-photos"
    with FacePipeline(blazeface, mobilefacenet, "standard") as pipeline:
        first = [face for face in pipeline.faces(folder / "bbt1.jpg") if face.vector is not None]
        third = [face for face in pipeline.faces(folder / "bbt3.jpg") if face.vector is not None]
    assert len(first) == 4 and len(third) == 5
    similarity = np.stack([face.vector for face in first]) @ np.stack([face.vector for face in third]).T
    best = similarity.argmax(axis=1)
    clear = similarity.max(axis=1) > 0.4
    assert clear.sum() >= 2 and len(set(best[clear].tolist())) == clear.sum()
    for face in first:
        assert face.alignment == "blazeface" and face.landmarks is not None and len(face.landmarks) == 6
        assert face.crop.shape == (112, 112, 3)


@pytest.mark.data
def test_by_the_box_alone(data_dir: Path, mobilefacenet: Model, ultraface: Model, blazeface: Model) -> None:
    """UltraFace's crop shows the same face as BlazeFace's landmarks do."""
    photograph = data_dir / "faces" / "group-photos" / "bbt4.jpg"
    with FacePipeline(blazeface, mobilefacenet) as pipeline:
        aligned = pipeline.faces(photograph)
    with FacePipeline(ultraface, mobilefacenet, alignment="box") as pipeline:
        boxed = pipeline.faces(photograph)
    assert len(aligned) == len(boxed) == 6
    middles = [np.stack([(face.box[:2] + face.box[2:]) / 2 for face in faces]) for faces in (aligned, boxed)]
    same = np.linalg.norm(middles[0][:, None] - middles[1][None], axis=2).argmin(axis=1)
    assert sorted(same.tolist()) == list(range(6))
    similarity = np.stack([face.vector for face in aligned]) @ np.stack([face.vector for face in boxed]).T
    np.testing.assert_array_equal(similarity.argmax(axis=1), same)


@pytest.mark.data
@pytest.mark.parametrize("picture", ["no face", "many faces", "tiny", "grey"])
def test_bad_pictures(picture: str, data_dir: Path, mobilefacenet: Model, blazeface: Model) -> None:
    photograph = ert.read_image(data_dir / "faces" / "group-photos" / "bbt5.jpg")
    with FacePipeline(blazeface, mobilefacenet) as pipeline:
        if picture == "no face":
            bird = data_dir / "segmentation-pairs" / "bird_segmentation.bmp"
            assert pipeline.faces(bird) == []
            with pytest.raises(InputError, match="none was found"):
                pipeline.only_face(bird)
        elif picture == "many faces":
            with pytest.raises(InputError, match="one face is required; 5 were found in the picture: cut out the one"):
                pipeline.only_face(photograph)
        elif picture == "tiny":
            assert all(face.vector is None for face in pipeline.faces(photograph[150:170, 440:460]))
            assert pipeline.faces(np.zeros((1, 1, 3), np.uint8)) == []
        else:
            one = photograph[120:320, 400:580]
            grey = cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)
            similarity = Embedding(pipeline.only_face(one).vector).similarity(pipeline.only_face(grey).vector)
            assert similarity > 0.6
