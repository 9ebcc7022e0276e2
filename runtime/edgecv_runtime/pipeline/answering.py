"""What stands in for a model where pictures become results: test-time augmentation, faces and whose they are."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from edgecv_runtime.images import Image
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.model import Model

Answer = Callable[[Image], Any]


class Answering:
    """A function of pictures with what a `Pipeline` asks of a model.

    Parameters
    ----------
    model : Model
        What the function asks. It stays the caller's to close.
    make : callable
        From a model (this one, or a replica of it) to the function: (H, W, 3) uint8 RGB to a result.

    Examples
    --------
    >>> Pipeline(Answering(model, lambda one: AugmentedModel(one, ["hflip"])), "door.mp4")      # doctest: +SKIP
    """

    def __init__(self, model: Model, make: Callable[[Model], Answer]) -> None:
        self.model, self._make = model, make
        self._answer = make(model)

    @property
    def manifest(self) -> Manifest:
        return self.model.manifest

    def timed(self, image: Image) -> tuple[Any, dict[str, float]]:
        """The answer, and the seconds that it took: all of them under ``infer``."""
        begun = perf_counter()
        answer = self._answer(image)
        return answer, {"preprocess": 0.0, "infer": perf_counter() - begun, "decode": 0.0}

    def replicas(self, count: int) -> list[Answering]:
        """As `Model.replicas`."""
        return [Answering(one, self._make) for one in self.model.replicas(count)]

    def configure(self, **parameters: Any) -> None:
        """As `Model.configure`."""
        self.model.configure(**parameters)

    def close(self) -> None:
        """Release the model. Calling it again does nothing."""
        self.model.close()
