"""What the sinks share: the picture with its result, results without what is large, names that are safe in a path."""

from __future__ import annotations

import re
from typing import Any

from edgecv_runtime.drawing import draw
from edgecv_runtime.images import Image, as_rgb
from edgecv_runtime.pipeline.outcome import Outcome
from edgecv_runtime.results import Embedding


def picture_of(outcome: Outcome) -> Image:
    """(H, W, 3) uint8 RGB: the frame with its result drawn in; of an embedding, the frame alone."""
    result = getattr(outcome.result, "detections", outcome.result)
    return as_rgb(outcome.frame.image) if isinstance(result, Embedding) else draw(outcome.frame.image, result)


def safe_name(name: str) -> str:
    """A camera's name as a part of a file name or of a topic: letters, digits, ``-`` and ``_``.

    >>> safe_name("front door/1")
    'front_door_1'
    """
    return re.sub(r"[^\w-]+", "_", name, flags=re.ASCII)[:64] or "_"


def light(result: dict[str, Any]) -> dict[str, Any]:
    """A result's `to_dict` without what is as large as a picture: masks and vectors."""
    return {key: value for key, value in result.items() if key not in ("masks", "runs", "vector")}
