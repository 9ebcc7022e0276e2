"""From a Keras model to a proven bundle: plan, calibrate, convert, embed, prove, measure, write."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgecv.models.registry import Preprocessing
from edgecv_export import contract
from edgecv_export.calibration import CalibrationImages, contract_pictures, load_calibration
from edgecv_export.metadata import embed
from edgecv_export.plan import Plan, check_pictures, check_target
from edgecv_export.sources import Source, source_of
from edgecv_runtime import cpu
from edgecv_runtime._version import __version__
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import open_backend
from edgecv_runtime.bench import measure_latency, noise_image
from edgecv_runtime.bundle import GOLDEN_MEMBER, REPORT_MEMBER, check_output_path, write_bundle
from edgecv_runtime.errors import CheckFailedError, InputError
from edgecv_runtime.evaluate import (
    ClassificationAccuracy,
    count_correct,
    evaluate_classification,
    read_labelled_images,
)
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest
from edgecv_runtime.model import Model

_LATENCY_RUNS = 20
_PACKAGES = ("keras", "tensorflow-cpu", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "openvino", "ai-edge-litert")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path : Path
    manifest : Manifest
    report : dict
        As in the bundle's ``report.json``.
    """

    path: Path
    manifest: Manifest
    report: dict[str, Any]


def export(
    model: Any,
    path: str | Path,
    *,
    format: str = "tflite",
    precision: str = "fp32",
    calibration: Any = None,
    target: str | None = None,
    labels: Sequence[str] | None = None,
    evaluation: str | Path | None = None,
    max_drop: float | None = None,
    preprocessing: Preprocessing | None = None,
    task: str | None = None,
    name: str | None = None,
) -> Exported:
    """Export a model as a bundle, proven against its float source.

    Parameters
    ----------
    model : keras.Model, or path of an ``.onnx`` file
        From `edgecv.create_model`; or any functional model, or a float ONNX file, with `preprocessing` given.
    path : str or Path
        Ends in ``.edgecv``. It appears only when everything has succeeded.
    format : {"tflite", "onnx", "openvino"}
    precision : {"fp32", "fp16", "dynamic", "int8", "int16x8"}
    calibration : folder, sequence of images or paths, or (N, H, W, C) uint8 array
        Real pictures; required for int8 and int16x8. They also serve as the parity contract's images.
    target : str, optional
    labels : sequence of str, optional
        Class names by class index.
    evaluation : folder, optional
        Labelled pictures; accuracy before and after goes into the report.
    max_drop : float, optional
        Points of top-1 (percentage) that may be lost; more is an error. Needs `evaluation`.
    preprocessing : Preprocessing, optional
        For a model that `create_model` did not build.
    task : str, optional
        Default: the model's own, else ``"classification"``.
    name : str, optional
        Default: the file's stem.

    Returns
    -------
    Exported

    Raises
    ------
    InputError, MissingFileError
        An argument is not what is required.
    UnsupportedError
        This combination is refused, with the reason.
    OutputError
        The bundle cannot be written.
    CheckFailedError
        The artefact is not what its source is, or loses more than `max_drop`.

    Examples
    --------
    >>> model = edgecv.create_model("lenet5", weights="digits")                     # doctest: +SKIP
    >>> export(model, "lenet5.edgecv", format="tflite", precision="int8", calibration="digits/")  # doctest: +SKIP
    """
    path = Path(path)
    plan = Plan(format, precision)
    check_target(target)
    check_output_path(path)
    check_pictures(plan, calibration, evaluation, max_drop)
    source = source_of(model, preprocessing, task)
    if labels is not None and len(labels) != source.classes:
        raise InputError(f"there must be one label per class: {source.classes} classes; received {len(labels)} labels")
    class_names = None if labels is None else tuple(labels)
    items = None if evaluation is None else read_labelled_images(evaluation, class_names, source.classes)
    pictures = None if calibration is None else load_calibration(calibration)

    images = contract_pictures(source.size) if pictures is None else pictures.images
    pixels = source.pixels(images)
    artefact = source.convert(plan, pixels)
    manifest = describe(source, plan, artefact, class_names, name or path.stem)
    artefact = embed(artefact, manifest)
    with Model(artefact, manifest) as runnable:
        chosen = contract.choose_images(images, source.size)
        origin = "generated" if pictures is None else "calibration"
        proof = contract.prove(runnable, plan, chosen, source.expected(plan, chosen), origin)
        accuracy = None if items is None else _accuracy(source, runnable, items)
        report = _report(source, artefact, proof, pictures, accuracy, runnable)
    if accuracy is not None and max_drop is not None:
        _check_drop(accuracy, max_drop)
    members = {
        **artefact.members(),
        GOLDEN_MEMBER: proof.golden.to_bytes(),
        REPORT_MEMBER: json.dumps(report, indent=2).encode(),
    }
    return Exported(path, write_bundle(path, manifest, members), report)


def describe(source: Source, plan: Plan, artefact: Artefact, labels: tuple[str, ...] | None, name: str) -> Manifest:
    """The manifest of an artefact, with its tensors as the back end reports them."""
    with open_backend(artefact) as backend:
        (found,), outputs = backend.inputs, backend.outputs
    wanted = source.input_spec
    spec = InputSpec(
        name=found.name,
        shape=found.shape,
        dtype=found.dtype,
        quantization=found.quantization,
        color=wanted.color,
        resize=wanted.resize,
    )
    return Manifest(
        name=name,
        task=source.task,
        architecture=source.architecture,
        format=plan.format,
        precision=plan.precision,
        inputs=(spec,),
        outputs=outputs,
        decoder=DecoderSpec("classification", {"activation": source.final_activation(plan)}),
        labels=labels,
        made_with=made_with(),
    )


def made_with() -> dict[str, str]:
    """Versions of what makes an artefact, and the CPU it was proven on."""
    found = {"edgecv": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "cpu": cpu.describe()}


def _accuracy(source: Source, runnable: Model, items: Any) -> dict[str, ClassificationAccuracy]:
    with warnings.catch_warnings():
        # Unreadable pictures have been reported once, for the artefact.
        after = evaluate_classification(runnable, items)
        warnings.simplefilter("ignore", RuntimeWarning)
        before = count_correct(source.rank, items, "evaluating the float source")
    return {"float": before, "artefact": after}


def _check_drop(accuracy: dict[str, ClassificationAccuracy], max_drop: float) -> None:
    before, after = accuracy["float"].top1, accuracy["artefact"].top1
    drop = 100 * (before - after)
    if drop > max_drop + 1e-9:
        raise CheckFailedError(
            f"top-1 falls from {100 * before:.2f} % to {100 * after:.2f} %: {drop:.2f} points, "
            f"{max_drop:g} were allowed; nothing was written"
        )


def _report(
    source: Source,
    artefact: Artefact,
    proof: contract.Proof,
    pictures: CalibrationImages | None,
    accuracy: dict[str, ClassificationAccuracy] | None,
    runnable: Model,
) -> dict[str, Any]:
    (latency,) = measure_latency([runnable], [noise_image(runnable)], _LATENCY_RUNS)
    return {
        "size": artefact.size,
        **source.cost(),
        "parity": {
            "images": len(proof.golden.images),
            "origin": proof.golden.origin,
            "max_abs": proof.max_abs,
            "agreement": proof.agreement,
        },
        "calibration": None if pictures is None else {"images": len(pictures.images), "skipped": pictures.skipped},
        "accuracy": None if accuracy is None else {key: value.to_dict() for key, value in accuracy.items()},
        "latency": {"p50_ms": latency.p50_ms, "n": latency.n, "backend": runnable.backend.name, "cpu": cpu.describe()},
    }
