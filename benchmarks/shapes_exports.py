"""The detectors that were trained on drawn shapes, exported and measured as the device runs them, beside Keras.

    python benchmarks/shapes_exports.py --weights DIR [DIR ...] [--family NAME ...] [--format F ...] [--precision P ...]
        [--held-out N] [--json FILE] [--markdown FILE]

Weights are those that ``train_shapes.py`` and ``train_shapes_two_stage.py`` kept. Every bundle is calibrated on drawn
pictures of its own, read by the runtime and measured as ``edgecv eval`` measures; a combination that is refused stands
in the table with its reason. Accepted: fp32 and fp16 lose a fifth of a point of mAP50 at most, int8 one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
import train_shapes
import train_shapes_two_stage as two_stage
from _common import machine_line, parser, positive, write_json
from _results import write_markdown
from _shapes import SEEDS, SIZE, create_network, decoder_of, kept_weights

import edgecv_runtime as ert
from edgecv.data.shapes import SHAPE_CLASSES, ShapesSample, generate_shapes
from edgecv_export.exporter import export
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.evaluate_objects import SCORE_THRESHOLD
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

FAMILIES = (*train_shapes.FAMILIES, *two_stage.FAMILIES)
FORMATS = ("tflite", "onnx", "openvino")
PRECISIONS = ("fp32", "fp16", "int8")
MOST_LOST = {"fp32": 0.2, "fp16": 0.2, "int8": 1.0}  # points of mAP50
CALIBRATION = 100  # pictures, with a seed of their own
REGIONS = 2  # of R-CNN's, in each of them
HELD_OUT = 200

Samples = Sequence[ShapesSample]


# -- models and what they are calibrated with --------------------------------------------------------------------------


def trained(name: str, weights: Path) -> Any:
    """The model with its last activations. Fast R-CNN looks at the windows in its graph: a bundle takes one picture."""
    if name in train_shapes.FAMILIES:
        return train_shapes.create(train_shapes.FAMILIES[name], weights=weights)
    family = two_stage.FAMILIES[name]
    options = {key: value for key, value in family.options.items() if key != "regions"}
    return create_network(family.model, family.size, options, weights)


def calibration_of(name: str) -> npt.NDArray[np.uint8]:
    """Pictures as the network sees them: R-CNN warped regions, OverFeat enlarged ones."""
    samples = generate_shapes(CALIBRATION, SIZE, max(SEEDS.values()) + 1)
    if name in train_shapes.FAMILIES:
        samples = train_shapes.FAMILIES[name].pictures_of(samples)
    if name != "rcnn":
        return np.stack([sample.image for sample in samples])
    from edgecv.two_stage.rcnn import warp

    side = two_stage.FAMILIES[name].size
    # An object each, and a region that is none.
    picked = [(sample.image, [sample.boxes[0], [0, 0, SIZE / 2, SIZE / 2]][:REGIONS]) for sample in samples]
    return np.concatenate([warp(image, regions, (side, side)) for image, regions in picked])


# -- answers -----------------------------------------------------------------------------------------------------------


def found_by_keras(name: str, model: Any, samples: Samples) -> list[Detections]:
    if name in train_shapes.FAMILIES:
        return train_shapes.detect(model, samples)
    if name == "rcnn":
        return _found_in_regions(model, model, samples)
    from edgecv.two_stage.fit import normalise

    decoder, geometry = decoder_of(model), Geometry((SIZE, SIZE), (1.0, 1.0), (0.0, 0.0))
    found: list[Detections] = []
    for sample in samples:
        outputs = model(normalise(sample.image[None]), training=False)
        found.append(decoder.decode([np.asarray(output)[0] for output in outputs], geometry))
    return found


def found_by_bundle(name: str, model: Any, path: Path, samples: Samples) -> list[Detections]:
    with ert.load(path) as bundle, bundle.configured(score_threshold=SCORE_THRESHOLD):
        if name == "rcnn":
            return _found_in_regions(model, _LikeKeras(bundle, model), samples)
        if name in train_shapes.FAMILIES:
            family = train_shapes.FAMILIES[name]
            enlarged = family.pictures_of(samples)
            return [_reduced(bundle(sample.image), family.zoom) for sample in enlarged]
        return [bundle(sample.image) for sample in samples]


class _LikeKeras:
    """A bundle of R-CNN's network in the place of the network: regions in a batch, one after the other."""

    def __init__(self, bundle: Any, model: Any) -> None:
        self._bundle, self.input_shape = bundle, model.input_shape

    def __call__(self, crops: npt.NDArray[np.float32], training: bool = False) -> list[npt.NDArray[np.float32]]:
        pixels = np.rint(crops * 127.5 + 127.5).astype(np.uint8)
        rows = [self._bundle.outputs(crop) for crop in pixels]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _found_in_regions(model: Any, network: Any, samples: Samples) -> list[Detections]:
    from edgecv.two_stage.rcnn import detect_objects

    decoder = decoder_of(model)
    return [detect_objects(network, sample.image, decoder) for sample in samples]


def _reduced(found: Detections, times: int) -> Detections:
    return Detections(found.boxes / np.float32(times), found.scores, found.classes, found.names)


# -- figures -----------------------------------------------------------------------------------------------------------


def measure(name: str, weights: Path, samples: Samples, options: Any) -> list[dict[str, Any]]:
    """A row for each format and precision."""
    model, pixels = trained(name, weights), calibration_of(name)
    wanted = two_stage.figures_of(found_by_keras(name, model, samples), samples)
    rows = []
    for format in options.format:
        for precision in options.precision:
            print(f"{name}: {format} {precision} …", file=sys.stderr, flush=True)
            row: dict[str, Any] = {"family": name, "format": format, "precision": precision, "keras": wanted}
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "shapes.edgecv")
                try:
                    made = export(
                        model, path, format=format, precision=precision, calibration=pixels, labels=SHAPE_CLASSES
                    )
                except EdgecvError as error:
                    row |= {"refused": str(error), "passed": not path.exists()}
                else:
                    found = two_stage.figures_of(found_by_bundle(name, model, path, samples), samples)
                    lost = 100 * (wanted["map50"] - found["map50"])
                    row |= {
                        "bundle": found,
                        "lost": lost,
                        "size": made.report["size"],
                        "agreement": made.report["parity"]["agreement"],
                        "in_float": len(made.manifest.float_layers),
                        "passed": lost <= MOST_LOST[precision],
                    }
            rows.append(row)
    return rows


# -- command -----------------------------------------------------------------------------------------------------------

_HEADER = (
    "family", "format", "precision", "mAP50 Keras", "bundle", "lost", "mAP Keras", "bundle",
    "mask AP50 Keras", "bundle", "kB", "layers in float", "accepted",
)  # fmt: skip


def _cells(row: Mapping[str, Any]) -> list[str]:
    def percent(part: str, figure: str) -> str:
        return f"{100 * row[part][figure]:.2f}" if figure in row.get(part, {}) else ""

    figures = [percent(part, figure) for figure in ("map50", "map", "mask_ap50") for part in ("keras", "bundle")]
    first = [row["family"], row["format"], row["precision"]]
    if "refused" in row:
        return [*first, *figures[:2], "–", *figures[2:], "–", "–", "refused"]
    passed = "yes" if row["passed"] else "NO"
    kept = str(row["in_float"] or "")
    return [*first, *figures[:2], f"{row['lost']:.2f}", *figures[2:], f"{row['size'] / 1e3:.0f}", kept, passed]


def main() -> int:
    command = parser(__doc__)
    command.add_argument(
        "--weights", type=Path, nargs="+", required=True, metavar="DIR", help="where the trainings are"
    )
    command.add_argument("--family", choices=FAMILIES, nargs="+", default=list(FAMILIES))
    command.add_argument("--format", choices=FORMATS, nargs="+", default=FORMATS)
    command.add_argument("--precision", choices=PRECISIONS, nargs="+", default=PRECISIONS)
    command.add_argument("--held-out", type=positive, default=HELD_OUT, help="pictures (default: %(default)s)")
    command.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page, too")
    options = command.parse_args()
    samples = generate_shapes(options.held_out, SIZE, SEEDS["held out"])
    rows: list[dict[str, Any]] = []
    for name in options.family:
        kept = next((found for folder in options.weights if (found := kept_weights(folder, name)) is not None), None)
        if kept is None:
            print(f"{name}: no weights there; the training keeps them with --weights", file=sys.stderr)
            continue
        rows += measure(name, kept[0], samples, options)
        write_json(options.json, {"rows": rows})
    print(f"{options.held_out} held-out pictures of {SIZE}x{SIZE}; {machine_line()}")
    print(table(_HEADER, [_cells(row) for row in rows]))
    refused = [
        f"{row['family']} {row['format']} {row['precision']}: {row['refused']}" for row in rows if "refused" in row
    ]
    print("\n".join(refused))
    if options.markdown is not None:
        text = (
            f"`python benchmarks/shapes_exports.py`: detectors trained on drawn shapes, exported, and measured on "
            f"{options.held_out} held-out pictures of {SIZE}x{SIZE} by the runtime, in percent; int8 is calibrated on "
            f"{CALIBRATION} drawn pictures of its own. Fast R-CNN looks at the windows in its graph, R-CNN at the "
            "regions that our selective search proposes, and its bundle is asked about each.",
            *refused,
        )
        write_markdown(
            options.markdown, "Exported detectors of drawn shapes", text, _HEADER, [_cells(row) for row in rows],
            ("keras", "tensorflow-cpu", "ai-edge-litert", "onnxruntime", "openvino"),
        )  # fmt: skip
    return 0 if rows and all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
