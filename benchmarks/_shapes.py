"""What the trainings on drawn shapes share: a family's network, its decoder, and weights that are kept."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecv.data.shapes import SHAPE_CLASSES
from edgecv_runtime.decoders import Decoder, make_decoder
from edgecv_runtime.evaluate_objects import SCORE_THRESHOLD
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec

SIZE = 96
SEEDS = {"learned": 1, "held out": 2}


def create_network(
    name: str, size: int, options: Mapping[str, Any], weights: Path | None = None, *, training: bool = False
) -> Any:
    """A detector of shapes; where it is to be trained, without its last activation (if it can be built so)."""
    import edgecv
    from edgecv.models.registry import get_record

    builder = get_record(name).builder
    ends = builder is not None and "classifier_activation" in inspect.signature(builder).parameters
    structure = {"classifier_activation": None} if training and ends else {}
    return edgecv.create_model(name, (size, size, 3), len(SHAPE_CLASSES), weights, **options, **structure)


def decoder_of(model: Any, **parameters: Any) -> Decoder:
    """The device's, as a bundle of this model would name it."""
    from edgecv.models.factory import architecture_of

    built = architecture_of(model)
    if built is None or built.record.decoder is None:
        raise SystemExit("the model is no detector of the list")
    shape = tuple(model.inputs[0].shape[1:])
    name, usual = built.record.decoder(shape, built.classes, built.options)
    outputs = zip(model.output_names, model.outputs, strict=True)
    return make_decoder(
        Manifest(
            name=built.record.name,
            task="detection",
            architecture=built.to_dict(),
            format="onnx",
            precision="fp32",
            inputs=(InputSpec("image", (1, *shape), "uint8"),),
            outputs=tuple(TensorSpec(title, (1, *output.shape[1:]), "float32") for title, output in outputs),
            decoder=DecoderSpec(name, {**usual, "score_threshold": SCORE_THRESHOLD, **parameters}),
            labels=SHAPE_CLASSES,
        )
    )


def kept_weights(folder: Path | None, family: str) -> tuple[Path, dict[str, Any]] | None:
    """Weights that an earlier training kept, and what it said of itself; None where there are none."""
    path = None if folder is None else _path(folder, family)
    if path is None or not path.is_file():
        return None
    return path, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def keep_weights(folder: Path | None, family: str, model: Any, said: Mapping[str, Any]) -> None:
    """Keep what a training cost so much time to find."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, family)
    model.save_weights(path)
    path.with_suffix(".json").write_text(json.dumps(dict(said)), encoding="utf-8")


def _path(folder: Path, family: str) -> Path:
    return folder / f"{family}.weights.h5"
