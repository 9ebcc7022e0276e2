"""From a picture to unit vectors: detector bundle, alignment, quality gate, embedder bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import BackendError, InputError, UnsupportedError
from edgecv_runtime.faces.alignment import (
    BOX_CROPS,
    CROP_PER_FACE,
    FIVE_POINT,
    SCHEMES,
    BoxCrop,
    Matrix,
    Scheme,
    similarity_transform,
    warp,
)
from edgecv_runtime.faces.pose import HeadPose, head_pose
from edgecv_runtime.faces.quality import Gate, Quality, Rejection, gate_of, measure
from edgecv_runtime.faces.refinement import refined
from edgecv_runtime.images import Image, as_rgb, cv2, read_image
from edgecv_runtime.model import Model, load
from edgecv_runtime.results import Detections

# Decoders whose detectors give a box and nothing else.
_WITHOUT_LANDMARKS = frozenset({
    "ultraface", "ssd", "ssd-postprocessed", "yolo-v1", "yolo-anchor", "yolov5", "yolov8", "yolox", "centernet-like",
})  # fmt: skip

_NO_FACE = Rejection("landmarks that form a face", 0, 1)


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a picture.

    Attributes
    ----------
    box : (4,) float32
        xyxy, pixels of the picture.
    landmarks : (K, 2) float32, or None
        x, y in pixels of the picture, as the detector gives them.
    score : float
        The detector's; 1 where there was none.
    quality : Quality
    vector : (D,) float32 of length one, or None
        None exactly where the quality gate refused the face.
    crop : (H, W, 3) uint8 RGB
        The aligned face, as the embedder sees it.
    alignment : str
        How it was aligned: ``"five-point"``, ``"blazeface"``, ``"box"``, or ``"given"`` for a picture that came so.
    """

    box: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32] | None
    score: float
    quality: Quality
    vector: npt.NDArray[np.float32] | None
    crop: Image
    alignment: str

    @property
    def area(self) -> float:
        """Of the box, in pixels."""
        left, top, right, bottom = self.box.tolist()
        return float(max(0.0, right - left) * max(0.0, bottom - top))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without vector and crop."""
        return {
            "box": self.box.tolist(),
            "score": self.score,
            "landmarks": None if self.landmarks is None else self.landmarks.tolist(),
            "alignment": self.alignment,
            "quality": self.quality.to_dict(),
        }


class FacePipeline:
    """Finds the faces of a picture and turns each into a unit vector.

    Parameters
    ----------
    detector : Model, path of a bundle, or None
        Task detection. None: every picture is one aligned face already, and only the embedder runs.
    embedder : Model or path of a bundle
        Task embedding. It is given crops of its own input size, aligned to ArcFace's reference points.
    quality : {"off", "standard", "strict"} or Gate
    alignment : {"auto", "box"} or BoxCrop
        ``"auto"``: by the detector's landmarks; a detector without is refused. ``"box"``: the square around the box
        that is known for this decoder (see `alignment.BOX_CROPS`); a `BoxCrop` says which for another.
    second_look : bool
        Run the detector once more on the surroundings of each face that is too small or too large for it (see
        `refinement`): landmarks are then far more exact.
    backend, device, threads, kernels, delegate, options, fallback
        As in `load`, for the bundles given as paths.

    Raises
    ------
    UnsupportedError
        A bundle of another task; a detector without landmarks where they are needed.
    InputError, MissingFileError, BundleError, MissingPackageError, BackendError, AcceleratorError

    Examples
    --------
    >>> with FacePipeline("blazeface.edgecv", "mobilefacenet.edgecv") as pipeline:      # doctest: +SKIP
    ...     vectors = [face.vector for face in pipeline.faces("group.jpg") if face.quality.accepted]
    """

    def __init__(
        self,
        detector: Model | str | Path | None,
        embedder: Model | str | Path,
        quality: str | Gate = "standard",
        alignment: str | BoxCrop = "auto",
        *,
        second_look: bool = True,
        backend: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        kernels: str = "auto",
        delegate: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        fallback: str | None = None,
    ) -> None:
        self.gate = gate_of(quality)
        self._second_look = second_look
        how: dict[str, Any] = {"backend": backend, "device": device, "threads": threads, "kernels": kernels}
        how |= {"delegate": delegate, "options": options, "fallback": fallback}
        with ExitStack() as opened:  # where the second bundle is refused, the first must not stay open
            self.embedder = _open(embedder, "embedding", "embedder", opened, how)
            self.detector = None if detector is None else _open(detector, "detection", "detector", opened, how)
            self._crop = self._box_crop(alignment)
            self._check_gate(quality)
            self._opened = opened.pop_all()
        self._size = self.embedder.manifest.inputs[0].size

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        shape = self.embedder.manifest.outputs[0].shape
        return int(math.prod(side for side in shape[1:] if side is not None))

    @property
    def fingerprint(self) -> str:
        """Of the embedder: what a gallery of its vectors is tied to."""
        return self.embedder.fingerprint

    def faces(self, image: Any) -> list[Face]:
        """Every face that the detector finds, the largest first.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB array, or a path
            Grey, RGBA and 16-bit arrays are converted (see `as_rgb`).

        Returns
        -------
        list of Face
            Empty where there is none. A face that the gate refused is there, with its reasons and without a vector.

        Raises
        ------
        InputError, MissingFileError
            It is not an image.
        UnsupportedError
            The detector gives landmarks that are not known.
        """
        picture = read_image(image) if isinstance(image, str | Path) else as_rgb(image)
        found = [self._whole(picture)] if self.detector is None else self._detect(self.detector, picture)
        accepted = [row for row, face in enumerate(found) if face.quality.accepted]
        for row, embedding in zip(accepted, self._embed([found[row].crop for row in accepted]), strict=True):
            found[row] = replace(found[row], vector=embedding)
        return found

    def only_face(self, image: Any) -> Face:
        """The face of a picture that shows one person: what an enrolment needs.

        Raises
        ------
        InputError
            There is no face, the gate refuses it, or there are several. Faces much smaller than the largest are
            bystanders and do not count, unless the gate's `bystander` is 0.
        """
        found = self.faces(image)
        where = f"in {image}" if isinstance(image, str | Path) else "in the picture"
        if not found:
            raise InputError(f"one face is required; none was found {where}")
        side = found[0].quality.size
        counted = [face for face in found if face.quality.size >= self.gate.bystander * side]
        if len(counted) > 1:
            raise InputError(f"one face is required; {len(counted)} were found {where}: cut out the one that is meant")
        if not found[0].quality.accepted:
            reasons = "; ".join(map(str, found[0].quality.rejections))
            raise InputError(f"a face of better quality is required; {where} it has {reasons}")
        return found[0]

    def close(self) -> None:
        """Release the bundles that were given as paths. Calling it again does nothing."""
        self._opened.close()

    def __enter__(self) -> FacePipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        detector = "aligned crops" if self.detector is None else self.detector.manifest.name
        return f"<FacePipeline {detector} → {self.embedder.manifest.name}, {self.dimension}-d>"

    # -- set up --------------------------------------------------------------------------------------------------------

    def _box_crop(self, alignment: str | BoxCrop) -> BoxCrop | None:
        """The crop by the box, or None where landmarks are used."""
        if isinstance(alignment, str) and alignment not in ("auto", "box"):
            raise InputError(f"alignment must be auto, box or a BoxCrop; received {alignment!r}")
        if self.detector is None:
            if alignment != "auto":
                raise InputError("alignment is for a detector's faces; without a detector pictures are aligned already")
            return None
        if isinstance(alignment, BoxCrop):
            return alignment
        decoder = self.detector.manifest.decoder.name
        if alignment == "box":
            if decoder not in BOX_CROPS:
                raise UnsupportedError(
                    f"how faces lie in the boxes is known for {', '.join(BOX_CROPS)}; this detector has decoder "
                    f"{decoder!r}: give alignment=BoxCrop(scale, rise)"
                )
            return BOX_CROPS[decoder]
        if decoder in _WITHOUT_LANDMARKS:
            raise UnsupportedError(
                f"alignment needs landmarks, and detectors with decoder {decoder!r} give none: "
                "choose alignment 'box' for a crop by the box alone, or another detector"
            )
        return None

    def _check_gate(self, quality: str | Gate) -> None:
        """A pose that is asked for must be measurable; ``"standard"`` asks for it where there are landmarks."""
        landmarks = self.detector is not None and self._crop is None
        if self.gate.needs_landmarks and not landmarks and quality != "standard":
            raise UnsupportedError(
                "this quality gate checks the pose, which needs a detector with landmarks; without them choose "
                "quality 'standard' or a Gate without yaw, pitch and roll"
            )

    # -- one picture ---------------------------------------------------------------------------------------------------

    def _detect(self, detector: Model, picture: Image) -> list[Face]:
        result = detector(picture)
        if result.names is not None and len(result.names) > 1:
            result = result.of("face")
        if self._second_look:
            result = refined(detector, picture, result)
        sides = np.maximum(result.boxes[:, 2:] - result.boxes[:, :2], 0)
        areas = sides[:, 0] * sides[:, 1]
        order = [int(row) for row in (-areas).argsort(kind="stable") if areas[row] > 0]
        return [self._face(picture, result, row) for row in order]

    def _face(self, picture: Image, result: Detections, row: int) -> Face:
        """One detection, aligned and judged, without its vector."""
        box, score = result.boxes[row], float(result.scores[row])
        landmarks = None if result.keypoints is None else result.keypoints[row, :, :2]
        pose: HeadPose | None = None
        matrix: Matrix | None = None
        if self._crop is not None:
            name, matrix = "box", self._crop.transform(box, self._size)
        else:
            scheme, points = self._known(landmarks)
            name, pose = scheme.name, head_pose(points, scheme)
            if pose is not None:
                matrix = similarity_transform(points[: len(scheme.template)], scheme.places(self._size))
        side = math.sqrt(float((box[2] - box[0]) * (box[3] - box[1])))
        if matrix is None:  # there is nothing to look at: refused whatever the gate
            crop = np.zeros((*self._size, 3), np.uint8)
            quality = replace(measure(crop, size=side, score=score), rejections=(_NO_FACE,))
        else:
            crop = warp(picture, matrix, self._size)
            quality = measure(crop, size=side, score=score, pose=pose).judged(self.gate)
        return Face(box, landmarks, score, quality, None, crop, name)

    def _known(self, landmarks: npt.NDArray[np.float32] | None) -> tuple[Scheme, npt.NDArray[np.float32]]:
        """What this detector's landmarks are.

        Raises
        ------
        UnsupportedError
            That is not known.
        """
        decoder = "" if self.detector is None else self.detector.manifest.decoder.name
        scheme = SCHEMES.get(decoder, FIVE_POINT)
        if landmarks is None or len(landmarks) != scheme.count:
            raise UnsupportedError(
                f"alignment needs the {scheme.count} landmarks that are known for decoder {decoder!r}; this detector "
                f"gives {0 if landmarks is None else len(landmarks)}: choose alignment 'box' or a BoxCrop"
            )
        return scheme, landmarks

    def _whole(self, picture: Image) -> Face:
        """A picture that is an aligned face."""
        height, width = picture.shape[:2]
        quality = measure(_fitted(picture, self._size), size=min(height, width) / CROP_PER_FACE)
        box = np.array([0, 0, width, height], np.float32)
        return Face(box, None, 1.0, quality.judged(self.gate), None, picture, "given")

    def _embed(self, crops: list[Image]) -> list[npt.NDArray[np.float32]]:
        """Unit vectors.

        Raises
        ------
        BackendError
            The embedder answered with zeros, or with what is no number.
        """
        vectors = []
        for crop in crops:  # one by one: a batch is no quicker on a CPU, and takes the memory of its largest
            result = self.embedder(crop)
            length = float(np.linalg.norm(result.vector))
            if not (math.isfinite(length) and length > 0):
                raise BackendError(f"the embedder must give a vector with a direction; its length is {length}")
            vectors.append((result.vector / np.float32(length)).astype(np.float32))
        return vectors


def _open(bundle: Model | str | Path, task: str, role: str, opened: ExitStack, how: dict[str, Any]) -> Model:
    """The model, loaded where it is a path, if it is of the task.

    Raises
    ------
    UnsupportedError
    """
    model = bundle if isinstance(bundle, Model) else opened.enter_context(load(bundle, **how))
    name = model.manifest.name
    if model.task != task:
        raise UnsupportedError(f"the {role} must be a bundle of task {task}; {name!r} is one of task {model.task}")
    if model.manifest.inputs[0].batch not in (1, None):
        raise UnsupportedError(
            f"the {role} must take one picture at a time; {name!r} takes {model.manifest.inputs[0].batch}"
        )
    labels = model.manifest.labels
    if role == "detector" and labels is not None and "face" not in labels:
        raise UnsupportedError(f"the detector must find faces; {name!r} finds {', '.join(labels[:3])}")
    return model


def _fitted(picture: Image, size: tuple[int, int]) -> Image:
    """A picture in the embedder's size, to measure it as others are measured."""
    if picture.shape[:2] == size:
        return picture
    opencv = cv2("resizing an image")
    fitted: Image = opencv.resize(picture, (size[1], size[0]), interpolation=opencv.INTER_AREA)
    return fitted
