"""int8 against float, network by network and format by format, beside what the plain converters make of them.

    python benchmarks/fidelity.py [--models M ...] [--formats F ...] [--json FILE] [--bundles DIR] [--markdown FILE]
    python benchmarks/fidelity.py --rows FILE ... --markdown FILE      the page of what --json kept, nothing measured

Pictures that calibrate are never evaluated on. For every network and format the table gives: the default int8 export
(post-training); its size over the float file's; its latency over that of the same format's plain converter, both in
one run; and, for networks that the default does not bring within the budget, what `--max-drop` finds. Plain converters:
TensorFlow's for TFLite, ONNX Runtime's quantize_static for ONNX, NNCF (where it is installed) for OpenVINO.

The data folder (EDGECV_DATA) gives weights and pictures. The EfficientNet-B0 on CIFAR-10 is trained before by
`benchmarks/train_cifar10.py --output DIR --model efficientnet`, and taken from --cifar10 DIR.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
import _plain
from _results import write_markdown

import edgecv
import edgecv_runtime as ert
from edgecv.models.registry import Preprocessing
from edgecv_export.search import Attempt
from edgecv_export.sources import Source, source_of
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import CheckFailedError
from edgecv_runtime.manifest import FORMATS, Resize

_PERSON, _PERSON_AREA = 0, 0.005  # Visual Wake Words: a person of at least half a per cent of the picture
_CIFAR_CALIBRATION, _CIFAR_EVALUATION = 20, 100  # pictures of each class


@dataclass(frozen=True)
class Case:
    """A network, its pictures, and what is asked of it.

    Attributes
    ----------
    build : callable
        From the data folder and the folder of trained weights to a model and its preprocessing (None: its own).
    pictures : callable
        From the data folder and an empty one to two labelled folders, made there: to calibrate, and to evaluate.
    budget : float
        Points of top-1.
    searched : bool
        Whether the budget is also searched for, with selective precision allowed.
    """

    build: Callable[[Path, Path | None], tuple[Any, Preprocessing | None]]
    pictures: Callable[[Path, Path], tuple[Path, Path]]
    budget: float
    searched: bool = False


def _mobilenet(name: str, weights: str, **options: Any) -> Callable[[Path, Path | None], tuple[Any, None]]:
    def build(data: Path, _: Path | None) -> tuple[Any, None]:
        return edgecv.create_model(name, weights=data / "models" / "classification" / weights, **options), None

    return build


def _saved(file: str, std: float) -> Callable[[Path, Path | None], tuple[Any, Preprocessing]]:
    def build(data: Path, _: Path | None) -> tuple[Any, Preprocessing]:
        from edgecv_export.sources.keras_file import load_keras_file

        model = load_keras_file(data / "models" / "classification" / file)
        return model, Preprocessing((0.0, 0.0, 0.0), (std, std, std), "RGB", Resize("stretch"))

    return build


def _cifar10_network(_: Path, trained: Path | None) -> tuple[Any, Preprocessing]:
    import train_cifar10

    if trained is None or not (trained / "efficientnet.json").is_file():
        raise _common.BenchmarkError("needs --cifar10 DIR with the weights that train_cifar10.py --output DIR wrote")
    record = json.loads((trained / "efficientnet.json").read_text(encoding="utf-8"))
    model = train_cifar10.build(train_cifar10.Settings(**record["settings"]))
    model.load_weights(trained / "efficientnet.weights.h5")
    return model, Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "RGB", Resize("stretch"))


# -- pictures ------------------------------------------------------------------------------------------------------


def _imagenet(data: Path, folder: Path) -> tuple[Path, Path]:
    source = data / "imagenet-samples"
    with (source / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [(source / "images" / row["file"], int(row["class_index"])) for row in csv.DictReader(file)]
    return _split(rows, folder)


def _people(data: Path, folder: Path) -> tuple[Path, Path]:
    """COCO pictures, with a person or without: the question of Visual Wake Words (Chowdhery et al. 2019)."""
    rows = []
    for path in sorted((data / "coco128").rglob("*.jpg")):
        label = data / "coco128" / "labels" / f"{path.stem}.txt"
        boxes = [line.split() for line in label.read_text().splitlines()] if label.is_file() else []
        areas = [float(box[3]) * float(box[4]) for box in boxes if int(box[0]) == _PERSON]
        rows.append((path, int(any(area >= _PERSON_AREA for area in areas))))
    return _split(rows, folder)


def _cifar10(data: Path, folder: Path) -> tuple[Path, Path]:
    """Of each class, pictures that `train_cifar10.py` held out; the first of them calibrate."""
    import train_cifar10

    pictures: list[list[Path]] = [[] for _ in train_cifar10.CLASSES]
    archive = next((data / "cifar10").glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "all", filter="data")
    for path in sorted((folder / "all").rglob("*.jpg")):
        pictures[train_cifar10.CLASSES.index(path.parent.name)].append(path)
    parts = folder / "calibration", folder / "evaluation"
    for index, files in enumerate(pictures):
        held_out = sorted(files, key=lambda path: path.name)[:: train_cifar10.HELD_OUT_EVERY]
        chosen = held_out[:_CIFAR_CALIBRATION], held_out[_CIFAR_CALIBRATION:][:_CIFAR_EVALUATION]
        for part, paths in zip(parts, chosen, strict=True):
            for path in paths:
                _place(path, part / str(index) / path.name)
    return parts


def _split(rows: list[tuple[Path, int]], folder: Path) -> tuple[Path, Path]:
    """Every third picture calibrates, the others are evaluated."""
    parts = folder / "calibration", folder / "evaluation"
    for number, (path, index) in enumerate(rows):
        _place(path, parts[number % 3 != 0] / str(index) / path.name)
    return parts


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())


CASES: dict[str, Case] = {
    "mobilenet_v2 1.0": Case(
        _mobilenet("mobilenet_v2", "mobilenet_v2_1.0_224_dequant.weights.h5"), _imagenet, budget=0.5
    ),
    "mobilenet_v1 1.0": Case(
        _mobilenet("mobilenet_v1", "mobilenet_v1_1.0_224_dequant.weights.h5"), _imagenet, budget=0.5
    ),
    "mobilenet_v1 0.25": Case(
        _mobilenet("mobilenet_v1", "mobilenet_v1_0.25_224.h5", alpha=0.25), _imagenet, budget=0.5, searched=True
    ),
    "visual wake words": Case(_saved("visual-wake-words/vww_96.h5", 255.0), _people, budget=0.5),
    "resnet-8": Case(_saved("cifar10/pretrainedResnet.h5", 1.0), _cifar10, budget=0.5),
    "efficientnet-b0 cifar-10": Case(_cifar10_network, _cifar10, budget=0.5, searched=True),
}


# -- measuring -----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Bench:
    """One network with its pictures, and the exports that were made of it."""

    title: str
    case: Case
    data: Path
    trained: Path | None
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def run(self, formats: list[str]) -> list[dict[str, Any]]:
        model, preprocessing = self.case.build(self.data, self.trained)
        pictures = self.folder / "pictures"
        pictures.mkdir(parents=True)
        calibration, evaluation = self.case.pictures(self.data, pictures)
        source = source_of(model, preprocessing)
        for format in formats:

            def export(precision: str, name: str, format: str = format, **options: Any) -> edgecv.Exported:
                path = self.folder / f"{self.title.replace(' ', '_')}_{format}_{name}.edgecv"
                return edgecv.export(
                    model, path, format=format, precision=precision, preprocessing=preprocessing, **options
                )

            pictured = {"calibration": calibration, "evaluation": evaluation}
            float_size = export("fp32", "fp32").report["size"]
            ways = {"int8": {}, **({"budget": {"max_drop": self.case.budget}} if self.case.searched else {})}
            for way, options in ways.items():
                try:
                    exported = export("int8", way, notify=_tell, **options, **pictured)
                except CheckFailedError as failure:
                    print(f"{self.title} {format} {way}: {failure}", file=sys.stderr)
                    self.rows.append({"model": self.title, "format": format, "way": way, "failed": str(failure)})
                    continue
                chosen = next((entry["name"] for entry in exported.report.get("search", ()) if entry["chosen"]), None)
                self._row(source, exported, float_size, calibration, way if chosen is None else f"{way}: {chosen}")
        return self.rows

    def _row(self, source: Source, exported: Any, float_size: int, calibration: Path, way: str) -> None:
        manifest, report = exported.manifest, exported.report
        before, after = report["accuracy"]["float"], report["accuracy"]["artefact"]
        artefact = Bundle(exported.path).artefact()
        plain = _plain.convert(source, manifest.format, calibration)
        row = {
            "model": self.title,
            "format": manifest.format,
            "way": way,
            "precision": manifest.precision,
            "recipe": report.get("recipe"),
            "n": after["n"],
            "float": before["top1"],
            "top1": after["top1"],
            "agreement": after["agreement"],
            "gained": after["gained"],
            "lost": after["lost"],
            "size": report["size"],
            "size_ratio": report["size"] / float_size,
            "why_larger": report["size_parts"]["why"],
            "verified": ert.verify(exported.path).passed,
            **_plain.compare(plain, artefact, source, calibration, self._evaluation),
        }
        self.rows.append(row)
        print(f"{self.title} {manifest.format} {way}: {100 * row['top1']:.2f}", file=sys.stderr, flush=True)

    @property
    def _evaluation(self) -> Path:
        return self.folder / "pictures" / "evaluation"


def _tell(attempt: Attempt) -> None:
    if attempt.fidelity is not None:
        top1, agreement = attempt.fidelity.accuracy.top1, attempt.fidelity.agreement
        print(f"  {attempt.candidate.name}: {100 * top1:.2f}, agrees {100 * agreement:.1f} %", file=sys.stderr)


def main() -> int:
    options = _arguments()
    data = _common.data_folder()
    if options.rows:
        rows = [row for path in options.rows for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    elif data is None:
        print("real images and weights are needed: set EDGECV_DATA", file=sys.stderr)
        return 2
    else:
        rows = _measured(options, data)
        _common.write_json(options.json, {"rows": rows})
    print(_common.machine_line())
    print(table(_HEADER, [_cells(row) for row in rows]))
    if options.markdown is not None:
        packages = ("keras", "tensorflow-cpu", "ai-edge-litert", "onnxruntime", "openvino", "nncf")
        title = "int8 against float, beside the plain converters"
        write_markdown(options.markdown, title, _paragraphs(rows), _HEADER, [_cells(row) for row in rows], packages)
    return 0


def _arguments() -> argparse.Namespace:
    parser = _common.parser(__doc__ or "")
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--cifar10", type=Path, metavar="DIR", help="weights that train_cifar10.py wrote")
    parser.add_argument("--rows", type=Path, nargs="+", metavar="FILE", help="what --json wrote, in place of measuring")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page, too")
    return parser.parse_args()


def _measured(options: argparse.Namespace, data: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    kept = options.bundles
    root = Path(tempfile.mkdtemp()) if kept is None else kept
    root.mkdir(parents=True, exist_ok=True)
    try:
        for title in options.models:
            folder = root / title.replace(" ", "_")
            shutil.rmtree(folder, ignore_errors=True)
            try:
                rows += Bench(title, CASES[title], data, options.cifar10, folder).run(options.formats)
            except _common.BenchmarkError as error:
                print(f"{title} is left out: {error}", file=sys.stderr)
    finally:
        if kept is None:
            shutil.rmtree(root)
    return rows


_SIZE_LIMIT = 0.30

_TEXT = (
    "`python benchmarks/fidelity.py --cifar10 DIR --json FILE` for all networks, `--rows FILE --markdown FILE` for the "
    "page. Pictures that calibrate are not evaluated on: 200 of ImageNet's classes, 85 COCO pictures with a person or "
    "without, 1,000 of CIFAR-10 that no training saw.",
    "*Float* and *top-1* in per cent, *points* the difference, *agrees* the pictures with the float network's answer. "
    "*Plain* is what the format's own converter makes of the same network and the same calibration pictures "
    "(TensorFlow's, ONNX Runtime's, NNCF); *ms/plain* is the median latency over its, both in one run. *Size/fp32* is "
    "over our own float file. *Budget* is what `--max-drop 0.5` takes.",
)


def _paragraphs(rows: list[dict[str, Any]]) -> list[str]:
    """What the page says before the table: how it was measured, and why files are larger than they should be."""
    larger = [
        f"{row['model']} in {row['format']} ({row['size_ratio']:.3f}×): {row['why_larger']}"
        for row in rows
        if row.get("size_ratio", 0.0) > _SIZE_LIMIT and row["way"] == "int8"
    ]
    return [*_TEXT, *larger]


_HEADER = (
    "model", "format", "way", "float", "top-1", "points", "agrees", "plain", "plain agrees", "size/fp32", "ms/plain",
    "verify",
)  # fmt: skip


def _cells(row: dict[str, Any]) -> list[str]:
    if "failed" in row:
        return [row["model"], row["format"], row["way"], *[""] * 8, "not met"]
    return [
        row["model"],
        row["format"],
        row["way"] if row["precision"] == "int8" else f"{row['way']} ({row['precision']})",
        f"{100 * row['float']:.2f}",
        f"{100 * row['top1']:.2f}",
        f"{100 * (row['top1'] - row['float']):+.2f}",
        f"{100 * row['agreement']:.1f} %",
        _optional(row["plain_top1"], "{:.2f}", 100),
        _optional(row["plain_agreement"], "{:.1f} %", 100),
        f"{row['size_ratio']:.3f}",
        _optional(row["latency_ratio"], "{:.2f}", 1),
        "passed" if row["verified"] else "FAILED",
    ]


def _optional(value: float | None, shape: str, factor: float) -> str:
    return "–" if value is None else shape.format(factor * value)


if __name__ == "__main__":
    raise SystemExit(main())
