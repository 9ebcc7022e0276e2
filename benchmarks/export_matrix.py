"""Every registered architecture in every format and precision: proven against Keras, or refused with the reason.

    python benchmarks/export_matrix.py [--models M ...] [--formats F ...] [--precisions P ...] [--full-size]
                                       [--json FILE] [--markdown FILE] [--keep]

Each network is built with fresh weights at a reduced size (a small input, and a small width where the architecture has
one to choose); its batch statistics are those of the pictures, so that activations keep their scale however deep it
is. The export proves the artefact: it runs in the format's own runtime on pictures and is compared with the Keras
model. At the reduced size the weights of int8 artefacts are rounded to nearest, not learned: the question is whether
the network converts. What the export refuses, or what fails, is a row with the reason. The table is written to JSON
and Markdown after every network; --keep takes the rows that a former run has written and makes only the others.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
import numpy as np
import numpy.typing as npt

import edgecv
from edgecv.models.registry import ModelRecord, get_record
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.manifest import FORMATS

PRECISIONS = ("fp32", "int8")
CLASSES = 10
PICTURES = 8
_LOGIT_SPREAD = 2.0

# Pixels: most networks' last map is then 2 x 2.
_SMALLEST = 64

# Where an architecture has a width or depth to choose, and where its smallest input needs more than `_SMALLEST`.
# fmt: off
_REDUCED: dict[str, dict[str, Any]] = {
    "alexnet": {"dense_width": 64},
    "vgg16": {"dense_width": 64},
    "vgg19": {"dense_width": 64},
    "resnext50": {"cardinality": 8},
    "resnext101": {"cardinality": 8},
    "amoebanet_a": {"cells": 1, "filters": 16},
    "amoebanet_c": {"cells": 1, "filters": 16},
    "pnasnet5": {"cells": 1, "filters": 16},
    "polynet": {"units": 4},
    "mobilenet_v1": {"alpha": 0.25},
    "mobilenet_v2": {"alpha": 0.35},
    "unet": {"filters": 8},
    "unet_same": {"filters": 8},
    "segnet": {"alpha": 0.25},
    "fcn32s": {"alpha": 0.1},
    "fcn16s": {"alpha": 0.1},
    "fcn8s": {"alpha": 0.1},
    "deeplab_mobilenet_v2": {"alpha": 0.35},
    "ssd300": {"alpha": 0.1},
    "ssdlite_mobilenet_v1": {"alpha": 0.25},
    "ssdlite_mobilenet_v2": {"alpha": 0.35},
    "anchor_free_mobilenet_v2": {"alpha": 0.35, "channels": 32},
    "yolo_v1": {"alpha": 0.1},
    "yolo_v1_tiny": {"alpha": 0.25},
    "yolo_v2_tiny": {"alpha": 0.25},
    "yolo_v3_tiny": {"alpha": 0.25},
    "overfeat": {"alpha": 0.1},
    "rcnn": {"alpha": 0.25, "dense_width": 64},
    "fast_rcnn": {"alpha": 0.25, "dense_width": 64},
    "faster_rcnn": {"alpha": 0.25, "dense_width": 64, "proposals": 16, "candidates": 64},
    "mask_rcnn": {
        "alpha": 0.25, "dense_width": 64, "proposals": 16, "candidates": 64, "detections": 8, "mask_width": 16,
    },
    "deeppose": {"dense_width": 64},
    "simple_baseline": {"filters": 32},
}
# fmt: on

# Deep dense networks without a way around: with fresh weights each layer adds to the noise of rounding and none takes
# any away, so that their int8 answers are noise as they never are of trained ones. They learn for a moment.
_TAUGHT = ("segnet", "deeplab_mobilenet_v2")
_LESSONS = 40

# A very deep plain network: with fresh weights what float32 rounds grows from layer to layer until it shows in the
# answers. Its kernels begin near the identity, as a trained one's must be for anything to come through.
_CARRIED = ("cifar_plain110",)


_FULL = "its own size"
_SMALL = f"a reduced size (inputs of {_SMALLEST} pixels where that is enough, narrow where it has a width to choose)"


@dataclass(frozen=True)
class Row:
    """One combination.

    Attributes
    ----------
    model, format, precision : str
    status : {"proven", "refused", "failed"}
        Refused: an error of ours says why. Failed: anything else went wrong.
    reason : str
        Of a refusal or failure.
    max_abs : float or None
        Largest difference of an output from Keras.
    agreement : float or None
        Share of the pictures whose best class is Keras's; of the pixels, of the objects found. None where the task has
        another figure.
    bytes : int or None
        Size of the artefact.
    parameters : int or None
    seconds : float
    input_shape : tuple of int
    """

    model: str
    format: str
    precision: str
    status: str
    reason: str
    max_abs: float | None
    agreement: float | None
    bytes: int | None
    parameters: int | None
    seconds: float
    input_shape: tuple[int, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is a row of."""
        return self.model, self.format, self.precision


def reduced_arguments(record: ModelRecord) -> dict[str, Any]:
    """Arguments of `edgecv.create_model` for a network small enough to convert in seconds."""
    lengths = [min(size, max(_SMALLEST, record.minimum_size)) for size in record.input_shape[:-1]]
    classes = {"classes": CLASSES} if record.classes else {}
    return {"input_shape": (*lengths, record.input_shape[-1]), **classes, **_REDUCED.get(record.name, {})}


def pictures(shape: Sequence[int], count: int = PICTURES, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(count, H, W, C) uint8: smooth blobs of colour, as pictures are, and unlike noise."""
    height, width, channels = shape
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 255, (count, 4, 4, channels))
    rows, columns = (np.linspace(0, 3, size) for size in (height, width))
    return np.clip(_bilinear(_bilinear(coarse, rows, 1), columns, 2), 0, 255).astype(np.uint8)


def arrays(shape: Sequence[int], count: int = PICTURES, seed: int = 0) -> npt.NDArray[np.float32]:
    """(count, ...) float32 for networks of signals and volumes: standardised noise."""
    return np.random.default_rng(seed).standard_normal((count, *shape), np.float32)


def _bilinear(values: npt.NDArray[np.float64], places: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Sample along one axis between the given values."""
    low = np.minimum(places.astype(int), values.shape[axis] - 2)
    share = (places - low).reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    sampled: npt.NDArray[np.float64] = np.take(values, low, axis) * (1 - share) + np.take(values, low + 1, axis) * share
    return sampled


def settle(model: Any, values: npt.NDArray[np.float32]) -> None:
    """Make fresh weights answer as trained ones do: neither run away nor fade.

    Every batch normalisation takes the statistics of these values, and a classifier's last layer is scaled to logits of
    a standard deviation of `_LOGIT_SPREAD`.
    """
    import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(values, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Activation):
        return
    # Without normalisation the signal of fresh weights fades with depth, and every answer would be the uniform one.
    spread = float(np.std(np.asarray(keras.Model(model.input, last.input)(values, training=False))))
    kernel = next(layer.kernel for layer in reversed(model.layers) if hasattr(layer, "kernel"))
    if spread > 0:
        kernel.assign(kernel * (_LOGIT_SPREAD / spread))


def carry(model: Any) -> None:
    """Let every 3x3 convolution pass its input on, beside half of what its fresh kernel makes of it."""
    import keras

    for layer in model.layers:
        if type(layer) is keras.layers.Conv2D and layer.kernel_size == (3, 3):
            kernel = 0.5 * keras.ops.convert_to_numpy(layer.kernel)
            channels = np.arange(min(kernel.shape[2:]))
            kernel[1, 1, channels, channels] += 1
            layer.kernel.assign(kernel)


def teach(model: Any, values: npt.NDArray[np.float32], images: npt.NDArray[np.uint8]) -> None:
    """Let a segmenter tell ten levels of brightness apart."""
    brightness = images.mean(axis=-1)
    limits = np.quantile(brightness, np.linspace(0, 1, CLASSES + 1)[1:-1])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(values, np.digitize(brightness, limits), batch_size=len(values), epochs=_LESSONS, verbose=0)


def rows_of(name: str, combinations: Sequence[tuple[str, str]], full_size: bool = False) -> list[Row]:
    """Build one network and export it in each of the (format, precision) combinations."""
    import keras

    record = get_record(name)
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    arguments = {} if full_size else reduced_arguments(record)
    model = edgecv.create_model(name, **arguments)
    shape = tuple(model.input_shape[1:])
    images = pictures(shape) if len(shape) == 3 else arrays(shape)
    preprocessing = record.preprocessing
    values = ((images - np.array(preprocessing.mean)) / np.array(preprocessing.std)).astype(np.float32)
    if name in _TAUGHT and not full_size:
        teach(model, values, images)
    if name in _CARRIED:
        carry(model)
    settle(model, values)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (format, precision) in enumerate(combinations):
            path = Path(folder) / f"{number}.edgecv"
            rows.append(_row(model, name, format, precision, images, path, shape, not full_size))
    return rows


def _row(
    model: Any,
    name: str,
    format: str,
    precision: str,
    images: npt.NDArray[Any],
    path: Path,
    shape: tuple[int, ...],
    quick: bool,
) -> Row:
    from edgecv_export.quantize.recipe import Recipe

    started = time.perf_counter()
    facts: dict[str, Any] = {}
    status, reason = "proven", ""
    try:
        recipe = Recipe(adaround=False) if quick and precision == "int8" else None
        exported = edgecv.export(
            model, path, format=format, precision=precision, calibration=images, recipe=recipe, name=name
        )
        facts = exported.report
    except EdgecvError as error:
        status, reason = "refused", str(error)
    except Exception as error:  # noqa: BLE001  a converter's own trouble is a row, and the others go on
        status, reason = "failed", _first_line(error)
    parity = facts.get("parity", {})
    return Row(
        name,
        format,
        precision,
        status,
        reason,
        parity.get("max_abs"),
        parity.get("agreement"),
        facts.get("size"),
        facts.get("parameters"),
        round(time.perf_counter() - started, 1),
        shape,
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


def markdown(rows: Sequence[Row], versions: dict[str, str], full_size: bool = False) -> str:
    """The table, a line for each network and a column for each combination, and the reasons below it."""
    combinations = sorted({(row.format, row.precision) for row in rows}, key=_order)
    cells = {row.key: row for row in rows}
    names = sorted({row.model for row in rows})
    lines = [
        "# Export matrix",
        "",
        f"{datetime.date.today().isoformat()}; {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        f"Each network at {_FULL if full_size else _SMALL}, with fresh weights. Largest difference of an output from "
        "Keras where the artefact is proven; behind the stroke the share of results that are Keras's, if any.",
        "",
        "| model | input | " + " | ".join(f"{format} {precision}" for format, precision in combinations) + " |",
        "|---" * (2 + len(combinations)) + "|",
    ]
    for name in names:
        found = [cells.get((name, *combination)) for combination in combinations]
        shape = next(row.input_shape for row in found if row is not None)
        lines.append(f"| {name} | {'×'.join(map(str, shape))} | " + " | ".join(map(_cell, found)) + " |")
    troubled = [row for row in rows if row.status != "proven"]
    if troubled:
        lines += ["", "## Not exported", ""]
        lines += [f"- {row.model}, {row.format} {row.precision}: {row.status}, {row.reason}" for row in troubled]
    return "\n".join(lines) + "\n"


def _order(combination: tuple[str, str]) -> tuple[int, int]:
    return FORMATS.index(combination[0]), PRECISIONS.index(combination[1])


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.status != "proven" or row.max_abs is None:
        return row.status
    return f"{row.max_abs:.1e}" + ("" if row.agreement is None else f" / {100 * row.agreement:.0f} %")


def _read(path: Path | None) -> list[Row]:
    if path is None or not path.is_file():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [Row(**{**row, "input_shape": tuple(row["input_shape"])}) for row in rows]


def _write(options: argparse.Namespace, rows: Sequence[Row]) -> None:
    from edgecv_export.exporter import made_with

    versions = made_with()
    _common.write_json(options.json, {"made_with": versions, "rows": [asdict(row) for row in rows]})
    if options.markdown is not None:
        options.markdown.write_text(markdown(rows, versions, options.full_size), encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="M", choices=edgecv.list_models(), help="default: all of them")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--full-size", action="store_true", help="at each network's own input size and width")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--keep", action="store_true", help="keep the rows that --json FILE holds already")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    rows = _read(options.json) if options.keep else []
    for name in options.models or edgecv.list_models():
        known = {row.key for row in rows}
        wanted = [(format, precision) for format in options.formats for precision in options.precisions]
        wanted = [pair for pair in wanted if (name, *pair) not in known]
        if not wanted:
            continue
        made = rows_of(name, wanted, options.full_size)
        for row in made:
            print(f"{name} {row.format} {row.precision}: {row.status} {row.reason}".rstrip(), file=sys.stderr)
        rows = sorted([*rows, *made], key=lambda row: (row.model, _order((row.format, row.precision))))
        _write(options, rows)
    header = ("model", "format", "precision", "status", "max abs", "agrees", "kB", "s")
    print(_common.machine_line())
    print(table(header, [_line(row) for row in rows]))
    print(f"{sum(row.status == 'proven' for row in rows)} of {len(rows)} combinations proven")
    return 1 if any(row.status == "failed" for row in rows) else 0


def _line(row: Row) -> tuple[str, ...]:
    if row.status != "proven":
        return row.model, row.format, row.precision, row.status, "", "", "", f"{row.seconds:.1f}"
    agreement = "" if row.agreement is None else f"{100 * row.agreement:.0f} %"
    return (
        row.model,
        row.format,
        row.precision,
        row.status,
        "" if row.max_abs is None else f"{row.max_abs:.1e}",
        agreement,
        "" if row.bytes is None else f"{row.bytes / 1e3:,.0f}",
        f"{row.seconds:.1f}",
    )


if __name__ == "__main__":
    raise SystemExit(main())
