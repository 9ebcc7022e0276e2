"""From a model to a proven bundle: plan, calibrate, convert (or search), embed, prove, measure, write."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgecv.models.registry import Preprocessing
from edgecv_export import contract
from edgecv_export.figure import figure
from edgecv_export.metadata import embed
from edgecv_export.plan import Plan, check_pictures, check_recipe
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.reference import Accuracy, Fidelity
from edgecv_export.report.size import size_report
from edgecv_export.search import Attempt, Search
from edgecv_export.sources import Source, source_of
from edgecv_export.target_plan import TargetPlan, choose_plan
from edgecv_export.tasks import float_manifest, task_of
from edgecv_export.tasks.base import Evaluation
from edgecv_export.tasks.reading import Decoder
from edgecv_export.training import load_training
from edgecv_runtime import cpu
from edgecv_runtime._version import __version__
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import open_backend
from edgecv_runtime.bench import measure_latency, noise_image
from edgecv_runtime.bundle import GOLDEN_MEMBER, REPORT_MEMBER, Bundle, check_output_path, write_bundle
from edgecv_runtime.errors import CheckFailedError, InputError, UnsupportedError
from edgecv_runtime.manifest import InputSpec, Manifest
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
    format: str | None = None,
    precision: str | None = None,
    calibration: Any = None,
    target: str | None = None,
    labels: Sequence[str] | None = None,
    evaluation: str | Path | None = None,
    max_drop: float | None = None,
    training: str | Path | None = None,
    float_layers: Sequence[str] = (),
    recipe: Recipe | None = None,
    preprocessing: Preprocessing | None = None,
    task: str | None = None,
    decoder: Decoder | None = None,
    cam: bool = False,
    name: str | None = None,
    seed: int = 0,
    notify: Callable[[Attempt], None] | None = None,
) -> Exported:
    """Export a model as a bundle, proven against its float source.

    Parameters
    ----------
    model : keras.Model, or path of an ``.onnx`` file
        From `edgecv.create_model`; or any functional model, or a float ONNX file, with `preprocessing` given.
    path : str or Path
        Ends in ``.edgecv``. It appears only when everything has succeeded.
    format : {"tflite", "onnx", "openvino"}, optional
        Default: what suits the target; without one, TFLite.
    precision : {"fp32", "fp16", "dynamic", "int8", "int16x8", "mixed"}, optional
        Default: what suits the target, int8 only where calibration pictures are given; without a target, fp32.
    calibration : folder, sequence of images or paths, or (N, H, W, C) uint8 array
        Real pictures; required for int8, int16x8 and mixed. They also serve as the parity contract's images. Of a model
        of signals or volumes: a folder of ``.npy`` and ``.npz`` files, such a file, arrays, or one array of all.
    target : str, optional
        A device of `edgecv targets`. Where it has a compiler that runs here, the compiled file is in the bundle, too.
    labels : sequence of str, optional
        Class names by class index.
    evaluation : folder, optional
        Labelled pictures (of an embedder a folder a person, of a segmenter ``images`` and ``masks``, of a detector
        COCO, VOC or YOLO annotations); accuracy before and after goes into the report.
    max_drop : float, optional
        Points (percentage) of the task's figure that may be lost: top-1, mIoU, mAP50, or an embedder's true-accept
        rate. int8 and mixed are searched for an artefact within it, and may end as mixed or int16x8, which the
        manifest then says. More is an error. Needs `evaluation`.
    training : folder, optional
        Pictures for quantization-aware training, the search's last resort; labelled or not. Needs `max_drop`.
    float_layers : sequence of str, optional
        For mixed without `max_drop`: the Keras layers (or ONNX nodes) that stay in float.
    recipe : Recipe, optional
        For an integer precision without `max_drop`: how it is made.
    preprocessing : Preprocessing, optional
        For a model that `create_model` did not build.
    task : str, optional
        Default: the model's own, else the decoder's, else ``"classification"``.
    decoder : DecoderSpec or (name, parameters), optional
        How the runtime reads the outputs; several are told apart by name: an output is called as the Keras layer that
        makes it. Default: the model's own, else the task's usual one; a detector's must be named.
    cam : bool
        Of a classifier that ends in global average pooling and one linear layer: let the artefact give its last feature
        map, too, so that ``result.cam(label)`` shows on the device where a picture speaks for a class. The linear
        layer's weights are then in the manifest (2.7 bytes each, twice).
    name : str, optional
        Default: the file's stem.
    seed : int
        For the training.
    notify : callable, optional
        Is given every `Attempt` of a search as soon as it is made.

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
        The artefact is not what its source is, or none is within `max_drop`; the error's `report` then holds what
        was tried.

    Examples
    --------
    >>> model = edgecv.create_model("lenet5", weights="digits")                     # doctest: +SKIP
    >>> export(model, "lenet5.edgecv", format="tflite", precision="int8", calibration="digits/")  # doctest: +SKIP
    """
    path = Path(path)
    onnx = isinstance(model, str | Path) and Path(model).suffix.lower() == ".onnx"
    plan, device = choose_plan(target, format, precision, calibrated=calibration is not None, onnx=onnx)
    check_output_path(path)
    check_pictures(plan, calibration, evaluation, max_drop, training)
    recipe = check_recipe(plan, recipe, float_layers, max_drop)
    source = source_of(model, preprocessing, task, decoder)
    source = source.with_feature_map() if cam else source
    kind, class_names = task_of(source.task), None if labels is None else tuple(labels)
    _check_source(source, class_names, training is not None)
    items = None if evaluation is None else kind.read_evaluation(source, evaluation, class_names)
    lessons = None if training is None else load_training(training, source, class_names, items or ())
    pictures = None if calibration is None else source.read_calibration(calibration)
    images = source.generated() if pictures is None else pictures.images
    reference = None if items is None else kind.evaluation(source, items, class_names)

    def describe_it(plan: Plan, artefact: Artefact) -> Manifest:
        return replace(describe(source, plan, artefact, class_names, name or path.stem), target=target)

    pixels = source.pixels(images)
    search = None
    if max_drop is not None and reference is not None and plan.searched:
        search = Search(source, plan, pixels, reference, max_drop, describe_it, lessons, seed, notify)
        made = _Made.of_attempt(search.run())
    else:
        artefact = source.convert(plan, pixels, recipe)
        made = _Made(plan, recipe, artefact, describe_it(plan, artefact))
    kept = source.float_layers(made.plan, made.recipe)
    made = replace(made, manifest=replace(made.manifest, float_layers=kept))
    artefact = embed(made.artefact, made.manifest)
    origin = "generated" if pictures is None else "calibration"
    proof, fidelity, latency = _proven(source, made, artefact, images, origin, reference)
    report = {
        "size": artefact.size,
        **source.cost(),
        "parity": proof.to_dict(),
        "calibration": None if pictures is None else {"images": len(pictures.images), "skipped": pictures.skipped},
        "latency": latency,
        **_quality(source, made, reference, fidelity, search, max_drop),
    }
    if fidelity is not None and reference is not None and max_drop is not None:
        _check_drop(reference.accuracy, fidelity.accuracy, max_drop)
    if device is not None:
        report["target"] = device.to_dict()
    report["advice"] = [entry.to_dict() for entry in source.advice(made.plan, made.recipe)]
    report["layers"] = source.layer_report(
        made.plan, artefact, pixels, made.recipe, None if search is None else search.known_sensitivities
    )
    report["size_parts"] = size_report(artefact, made.plan, report["parameters"], kept, searched=search is not None)
    members = {
        **artefact.members(),
        GOLDEN_MEMBER: proof.golden.to_bytes(),
        REPORT_MEMBER: json.dumps(report, indent=2).encode(),
    }
    if device is not None and device.compiles:
        return _compiled(path, made.manifest, members, device, calibration)
    return Exported(path, write_bundle(path, made.manifest, members), report)


def _check_source(source: Source, labels: tuple[str, ...] | None, train: bool) -> None:
    """Refuse labels that do not fit the outputs, and training where there is none."""
    kind = task_of(source.task)
    if labels is not None and not kind.labelled:
        raise InputError(f"labels name classes; {kind.title} has none; received {len(labels)} labels")
    float_manifest(source, labels=labels)
    if train and not source.trainable:
        raise UnsupportedError(
            f"quantization-aware training imitates class scores; leave out --train for task {source.task!r}"
        )


def _proven(
    source: Source, made: _Made, artefact: Artefact, images: Sequence[Any], origin: str, reference: Evaluation | None
) -> tuple[contract.Proof, Fidelity | None, dict[str, Any]]:
    """The parity contract of an artefact, its accuracy beside the source's where that is asked for, its latency."""
    with Model(artefact, made.manifest) as runnable:
        numbers = sum(math.prod(size or 1 for size in spec.shape) for spec in source.outputs)
        chosen = contract.choose_images(images, source.size if source.input_spec.is_image else None, numbers)
        proof = contract.prove(runnable, made.plan, chosen, source.expected(made.plan, chosen), origin)
        fidelity = made.fidelity
        if reference is not None and fidelity is None:
            fidelity = reference.compare(runnable)
        return proof, fidelity, _latency(runnable)


def _compiled(
    path: Path, manifest: Manifest, members: dict[str, bytes], device: TargetPlan, calibration: Any
) -> Exported:
    """The bundle with what a device's compiler makes of its artefact."""
    from edgecv_export.compilers.bundle import compile_bundle

    with tempfile.TemporaryDirectory() as folder:
        portable = Path(folder) / path.name
        write_bundle(portable, manifest, members)
        written = compile_bundle(portable, device.target, path, calibration=calibration)
    return Exported(path, written, Bundle(path).report())


@dataclass(frozen=True, eq=False)
class _Made:
    """An artefact, and how it came about."""

    plan: Plan
    recipe: Recipe
    artefact: Artefact
    manifest: Manifest
    fidelity: Fidelity | None = None

    @classmethod
    def of_attempt(cls, attempt: Attempt) -> _Made:
        artefact, manifest = attempt.artefact, attempt.manifest
        if artefact is None or manifest is None:
            raise CheckFailedError(f"{attempt.candidate.name} was not made: {attempt.note}")
        return cls(attempt.candidate.plan, attempt.candidate.recipe, artefact, manifest, attempt.fidelity)


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
        layout=wanted.layout,
        color=wanted.color,
        resize=wanted.resize,
        normalization=wanted.normalization,
    )
    return Manifest(
        name=name,
        task=source.task,
        architecture=source.architecture,
        format=plan.format,
        precision=plan.precision,
        inputs=(spec,),
        outputs=outputs,
        decoder=source.decoder_of(plan),
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


def _check_drop(before: Accuracy, after: Accuracy, max_drop: float) -> None:
    drop = 100 * (before.score - after.score)
    if drop > max_drop + 1e-9:
        raise CheckFailedError(
            f"{figure(before.to_dict()).name} falls from {100 * before.score:.2f} % to {100 * after.score:.2f} %: "
            f"{drop:.2f} points, "
            f"{max_drop:g} were allowed; nothing was written"
        )


def _latency(runnable: Model) -> dict[str, Any]:
    (latency,) = measure_latency([runnable], [noise_image(runnable)], _LATENCY_RUNS)
    return {"p50_ms": latency.p50_ms, "n": latency.n, "backend": runnable.backend.name, "cpu": cpu.describe()}


def _quality(
    source: Source,
    made: _Made,
    reference: Evaluation | None,
    fidelity: Fidelity | None,
    search: Search | None,
    max_drop: float | None,
) -> dict[str, Any]:
    """What the report says of accuracy, and of the way to it."""
    found: dict[str, Any] = {"accuracy": None}
    if reference is not None and fidelity is not None:
        found["accuracy"] = {"float": reference.accuracy.to_dict(), "artefact": fidelity.to_dict()}
        found["worst_images"] = list(fidelity.worst)
    if made.plan.integer:
        found["recipe"] = made.recipe.to_dict()
    if max_drop is not None:
        found["max_drop"] = max_drop
    if search is not None:
        found["search"] = search.to_dict(search.attempts[-1])
    return found
