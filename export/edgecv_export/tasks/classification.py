"""One vector of class scores per picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import Compared, Task
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.evaluate import Labelled, read_labelled_images
from edgecv_runtime.manifest import DecoderSpec, TensorSpec

if TYPE_CHECKING:
    from edgecv_export.reference import Reference
    from edgecv_export.sources.base import Source


class ClassificationTask(Task):
    """Agreement is an equal best class; accuracy is top-1."""

    name: ClassVar[str] = "classification"
    title: ClassVar[str] = "a classification model"
    output_names: ClassVar[tuple[str, str] | None] = ("scores", "logits")
    trainable: ClassVar[bool] = True

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        shape = only(outputs, self.title).shape
        if len(shape) < 2 or any(size not in (1, None) for size in shape[1:-1]):
            raise InputError(f"{self.title} must give (N, classes); received {['N', *shape[1:]]}")
        return DecoderSpec("classification", {"activation": "none"})

    def figures(self, compared: Compared) -> dict[str, float | None]:
        # Scores come before the feature map that some models give, too.
        answers, wanted = compared.answers[0], compared.wanted[0]
        return {"agreement": float((answers.argmax(-1) == wanted.argmax(-1)).mean())}

    def read_evaluation(self, source: Source, folder: str | Path, labels: tuple[str, ...] | None) -> Sequence[Labelled]:
        return read_labelled_images(folder, labels, source.classes)

    def evaluation(self, source: Source, items: Any, labels: tuple[str, ...] | None) -> Reference:
        from edgecv_export.reference import Reference

        return Reference.of(source, items, labels)


def only(outputs: Sequence[TensorSpec], kind: str) -> TensorSpec:
    """The one output.

    Raises
    ------
    UnsupportedError
        There are several.
    """
    if len(outputs) != 1:
        names = ", ".join(spec.name for spec in outputs)
        raise UnsupportedError(
            f"{kind} has one output; received {len(outputs)} ({names}): say how they are read (decoder=)"
        )
    return outputs[0]
