"""Names for the faces of a picture or a stream: pipeline, gallery and, over a video, the vote of its frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgecv_runtime.errors import InputError
from edgecv_runtime.faces.pipeline import Face, FacePipeline
from edgecv_runtime.faces.quality import REASONS
from edgecv_runtime.faces.voting import Verdict, Vote, Voting, weight_of
from edgecv_runtime.results import Detections

NOT_RECOGNISED = "not recognised"

# What a drawing may say of a face without a name; these come first, so that a person keeps the same colour.
_NAMELESS = (NOT_RECOGNISED, "refused", *(f"refused: {reason}" for reason in REASONS))


class Identifier(Protocol):
    """What is needed of a gallery."""

    def identify(self, vector: Any, k: int = ..., threshold: float | None = ...) -> Any: ...


@dataclass(frozen=True, eq=False)
class NamedFace:
    """A face and who it is.

    Attributes
    ----------
    face : Face
    name : str or None
        By the vote of the frames so far, or by this picture alone where there is no vote. None: not recognised.
    similarity : float or None
        Of the best match, the mean over the votes; None where the quality gate refused the face and no frame voted.
    track : int or None
        The same number from frame to frame for the same face; None without a vote.
    votes : int
        Frames that the name rests on.
    share : float
        Of their weight in that of all frames.
    """

    face: Face
    name: str | None
    similarity: float | None
    track: int | None = None
    votes: int = 1
    share: float = 1.0

    @property
    def label(self) -> str:
        """The name, or why there is none."""
        if self.name is not None:
            return self.name
        if self.similarity is None:
            return f"refused: {self.face.quality.rejections[0].reason}" if self.face.quality.rejections else "refused"
        return NOT_RECOGNISED

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "recognised": self.name is not None,
            "similarity": self.similarity,
            "track": self.track,
            "votes": self.votes,
            "share": self.share,
            **self.face.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class NamedFaces:
    """The faces of one picture, the largest first.

    Attributes
    ----------
    faces : tuple of NamedFace
    names : tuple of str
        What drawings may say of a face; their order gives each its colour.
    """

    faces: tuple[NamedFace, ...]
    names: tuple[str, ...] = _NAMELESS

    def __len__(self) -> int:
        return len(self.faces)

    def __iter__(self) -> Iterator[NamedFace]:
        return iter(self.faces)

    def top(self, k: int = 1) -> NamedFaces:
        """The largest `k`."""
        if k < 1:
            raise InputError(f"k must be at least 1; received {k}")
        return NamedFaces(self.faces[:k], self.names)

    @property
    def summary(self) -> str:
        """One line for people."""
        return ", ".join(f"{face.label}{_score(face)} {_place(face.face)}" for face in self.faces) or "no face"

    @property
    def detections(self) -> Detections:
        """As boxes whose labels are the names, to be drawn; scores are similarities, or the detector's for those
        that were refused."""
        labels = [face.label for face in self.faces]
        count = len(self.faces)
        points = [face.face.landmarks for face in self.faces]
        keypoints = None
        if count and all(point is not None for point in points):
            stacked = np.stack([point for point in points if point is not None])
            keypoints = np.concatenate([stacked, np.ones((*stacked.shape[:2], 1))], axis=2).astype(np.float32)
        return Detections(
            np.array([face.face.box for face in self.faces], np.float32).reshape(count, 4),
            np.array([_shown(face) for face in self.faces], np.float32),
            np.array([self.names.index(label) for label in labels], np.int64),
            self.names,
            keypoints=keypoints,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"faces": [face.to_dict() for face in self.faces]}


@dataclass(frozen=True, eq=False)
class Looked:
    """The faces of one picture and what each of them says of a name; None where the quality gate refused it."""

    faces: tuple[Face, ...]
    votes: tuple[Vote | None, ...]


class FaceRecognizer:
    """Who is in the picture.

    Parameters
    ----------
    pipeline : FacePipeline
    gallery : Gallery
        Made with the pipeline's embedder.
    threshold : float or None
        Least similarity of a recognised face. None: the gallery's own.
    voting : Voting or None
        For the frames of a video, in order. None: every picture for itself.

    Examples
    --------
    >>> with ert.open_stream("door.mp4") as frames:                                     # doctest: +SKIP
    ...     recognizer = FaceRecognizer(pipeline, gallery, voting=Voting())
    ...     for frame in frames:
    ...         print(recognizer(frame.image).summary)
    """

    def __init__(
        self,
        pipeline: FacePipeline,
        gallery: Identifier,
        threshold: float | None = None,
        voting: Voting | None = None,
    ) -> None:
        self.pipeline, self.gallery, self.threshold, self.voting = pipeline, gallery, threshold, voting
        self._names = list(_NAMELESS)

    def __call__(self, image: Any) -> NamedFaces:
        """Find, align, embed, identify, vote.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB array, or a path
        """
        return self.name(self.look(image))

    def look(self, image: Any) -> Looked:
        """Find, align, embed and identify: what one picture says, whatever came before it.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB array, or a path
        """
        faces = self.pipeline.faces(image)
        return Looked(tuple(faces), tuple(self._vote(face) for face in faces))

    def name(self, looked: Looked) -> NamedFaces:
        """The vote over what was seen; of a video, picture after picture."""
        faces, votes = looked.faces, looked.votes
        if self.voting is None:
            named = [
                NamedFace(face, None, None, votes=0, share=0.0)
                if vote is None
                else NamedFace(face, vote.name, vote.similarity)
                for face, vote in zip(faces, votes, strict=True)
            ]
        else:
            boxes = np.array([face.box for face in faces], np.float64).reshape(-1, 4)
            named = [
                _by_verdict(face, track, verdict)
                for face, (track, verdict) in zip(faces, self.voting.update(boxes, votes), strict=True)
            ]
        self._names += [name for name in dict.fromkeys(face.name for face in named) if name and name not in self._names]
        return NamedFaces(tuple(named), tuple(self._names))

    def _vote(self, face: Face) -> Vote | None:
        """What this picture says; None where the quality gate refused the face."""
        if face.vector is None:
            return None
        found = self.gallery.identify(face.vector, k=1, threshold=self.threshold)
        best = next(iter(found), None)
        weight = weight_of(face.area, face.quality.sharpness)
        if best is None:  # an empty gallery
            return Vote(None, 0.0, weight)
        return Vote(best.name if found.recognised else None, float(best.score), weight)


def _by_verdict(face: Face, track: int, verdict: Verdict) -> NamedFace:
    similarity = verdict.similarity if verdict.votes else None
    return NamedFace(face, verdict.name, similarity, track, verdict.votes, verdict.share)


def _score(face: NamedFace) -> str:
    return "" if face.similarity is None else f" {face.similarity:.2f}"


def _shown(face: NamedFace) -> float:
    return face.face.score if face.similarity is None else face.similarity


def _place(face: Face) -> str:
    coordinates: Sequence[float] = face.box.tolist()
    return f"[{' '.join(f'{round(value)}' for value in coordinates)}]"
