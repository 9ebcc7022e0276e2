"""What the decoders of keypoints share: their names, and which of them a drawing joins."""

from __future__ import annotations

from collections.abc import Sequence

from edgecv_runtime.decoders.parameters import Parameter
from edgecv_runtime.errors import BundleError

SKELETON = Parameter(
    None, "pairs of keypoints to join in a drawing", 0, 1000, shape=(None, 2), optional=True, whole=True
)


def read_skeleton(pairs: Sequence[Sequence[int]] | None, points: int | None) -> tuple[tuple[int, int], ...]:
    """The manifest's pairs.

    Parameters
    ----------
    pairs : sequence of (int, int), or None
    points : int or None
        Keypoints there are; None where that is not known.

    Raises
    ------
    BundleError
        A pair that joins a keypoint that there is not.
    """
    skeleton = tuple((a, b) for a, b in pairs or ())
    if points is not None and any(max(pair) >= points for pair in skeleton):
        raise BundleError(f"skeleton must join keypoints 0..{points - 1}; the manifest says {skeleton!r:.80}")
    return skeleton


def check_names(labels: Sequence[str] | None, points: int | None) -> None:
    """Labels of a pose are the names of its keypoints.

    Raises
    ------
    BundleError
        There are more or fewer of them.
    """
    if labels is not None and points not in (None, len(labels)):
        raise BundleError(f"there must be one label per keypoint: {points} keypoints, {len(labels)} labels")
