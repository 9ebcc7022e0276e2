"""A model behind a model: what is asked of it becomes several questions to the one behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from edgecv_runtime.images import Image, as_rgb, read_image
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.model import Model

Self = TypeVar("Self", bound="SeveralLooks")


class SeveralLooks(ABC):
    """Stands in for a `Model` where pictures are evaluated, and looks at each of them several times.

    Parameters
    ----------
    model : Model
        It stays the caller's to close.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def manifest(self) -> Manifest:
        return self.model.manifest

    @property
    def task(self) -> str:
        return self.model.task

    @contextmanager
    def configured(self: Self, **parameters: Any) -> Iterator[Self]:
        """As `Model.configured`."""
        with self.model.configured(**parameters):
            yield self

    def __call__(self, image: Any) -> Any:
        """As `Model`: one image, or a list of images."""
        if isinstance(image, (list, tuple)):
            return [self(one) for one in image]
        return self._look(as_rgb(read_image(image) if isinstance(image, (str, Path)) else image))

    @abstractmethod
    def _look(self, pixels: Image) -> Any:
        """The result for one picture."""
