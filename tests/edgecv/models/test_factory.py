"""create_model: every registered model builds as its record says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.complexity import complexity
from edgecv.layers.graph import without_weights
from edgecv.models import registry
from edgecv.models.factory import architecture_of
from edgecv.models.registry import get_record, list_models
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import BundleError, InputError, MissingFileError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec

# Graphs of so many layers that building them takes seconds, even without weights.
BIG = (
    "amoebanet_a",
    "amoebanet_c",
    "cifar_plain110",
    "cifar_resnet110",
    "densenet201",
    "densenet264",
    "efficientnet_b6",
    "efficientnet_b7",
    "inception_resnet_v2",
    "nasnet_large",
    "nasnet_mobile",
    "pnasnet5",
    "polynet",
    "se_resnet101",
    "se_resnet152",
    "senet154",
)


def manifest_of(model: Any, decoder: DecoderSpec, labels: tuple[str, ...]) -> Manifest:
    """As a bundle of this detector would have it."""
    outputs = zip(model.output_names, model.outputs, strict=True)
    return Manifest(
        name=model.name,
        task="detection",
        architecture={"name": model.name},
        format="onnx",
        precision="fp32",
        inputs=(InputSpec("image", (1, *model.input_shape[1:]), "uint8"),),
        outputs=tuple(TensorSpec(name, (1, *output.shape[1:]), "float32") for name, output in outputs),
        decoder=decoder,
        labels=labels,
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in BIG else name for name in list_models()]
)
def test_every_model_builds_as_its_record_says(name: str) -> None:
    record = get_record(name)
    with without_weights():
        model = edgecv.create_model(name)
    assert model.count_params() == record.parameters
    if record.macs is not None:
        assert complexity(model).macs == record.macs
    assert model.input_shape == (None, *record.input_shape)
    if record.task == "segmentation":  # a class for every place
        assert len(model.output_shape) == 4 and model.output_shape[-1] == record.classes
    elif record.task in ("anomaly", "image"):
        assert model.output_shape == model.input_shape
    elif record.task == "pose":  # a map for every joint, or x and y of it
        assert model.output_shape[-1] == record.classes * (1 if len(model.output_shape) == 4 else 2)
    elif record.task == "detection":  # the device's decoder takes the outputs as they are
        assert record.decoder is not None
        spec = DecoderSpec(*record.decoder(record.input_shape, record.classes, record.check_options({})))
        labels = tuple(f"class {index}" for index in range(record.classes))
        assert make_decoder(manifest_of(model, spec, labels)).task == "detection"
        if spec.name != "mask":  # whose outputs hold indices of classes, not a column for each
            with pytest.raises(BundleError, match="one label per class"):
                make_decoder(manifest_of(model, spec, labels[1:]))
    else:
        outputs = record.classes or next(option.default for option in record.options if option.name == "dimension")
        assert model.output_shape == (None, outputs)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "efficientnet", "efficientnet_lite0", "lenet5"])
def test_output_is_a_distribution_over_other_classes(name: str) -> None:
    record = get_record(name)
    shape = (record.minimum_size, record.minimum_size, record.input_shape[2])
    model = edgecv.create_model(name, input_shape=shape, classes=7)
    scores = np.asarray(model(np.random.default_rng(0).uniform(-1, 1, (2, *shape)).astype(np.float32), training=False))
    assert scores.shape == (2, 7)
    assert scores.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (scores >= 0).all()


def test_logits_are_one_step_before_the_softmax() -> None:
    import keras

    for name in ("mobilenet_v1", "mobilenet_v2", "efficientnet", "efficientnet_lite0"):
        model = edgecv.create_model(name, input_shape=(32, 32, 3), classes=4)
        last = model.layers[-1]
        assert isinstance(last, keras.layers.Activation)
        assert last.activation is keras.activations.softmax
        logits = edgecv.create_model(name, input_shape=(32, 32, 3), classes=4, classifier_activation=None)
        assert len(logits.layers) == len(model.layers) - 1
        assert logits.output_shape == (None, 4)


def test_headless() -> None:
    assert edgecv.create_model("mobilenet_v2", (64, 64, 3), include_top=False).output_shape == (None, 2, 2, 1280)
    assert edgecv.create_model("mobilenet_v1", (64, 64, 3), include_top=False).output_shape == (None, 2, 2, 1024)
    assert edgecv.create_model("efficientnet_b0", (64, 64, 3), include_top=False).output_shape == (None, 2, 2, 1280)
    assert edgecv.create_model("efficientnet_lite0", (64, 64, 3), include_top=False).output_shape == (None, 2, 2, 1280)


def test_architecture_is_remembered() -> None:
    model = edgecv.create_model("mobilenet_v2", (32, 32, 3), alpha=0.35)
    architecture = architecture_of(model)
    assert architecture is not None
    assert architecture.to_dict() == {"name": "mobilenet_v2", "options": {"alpha": 0.35}}
    assert architecture.record is get_record("mobilenet_v2")
    import keras

    assert architecture_of(keras.models.clone_model(model)) is None


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("mobilenet", {}, "there is no model 'mobilenet'"),
        ("mobilenet_v1", {"alpha": 0}, r"mobilenet_v1: alpha must be a number in \[0.1, 4\]; received 0"),
        ("mobilenet_v1", {"phi": 1}, "mobilenet_v1 has no option 'phi'"),
        ("efficientnet", {"phi": -1}, "efficientnet: phi must be a number in"),
        ("mobilenet_v2", {"input_shape": (31, 224, 3)}, "at least 32x32 pixels; received 31x224"),
        ("mobilenet_v2", {"input_shape": (224, 224)}, "input_shape must be"),
        ("mobilenet_v2", {"classes": 0}, "classes must be a whole number of at least 1; received 0"),
        ("mobilenet_v2", {"classifier_activation": "tanh"}, "classifier_activation must be 'softmax' or None"),
        ("mobilenet_v2", {"weights": "imagenet", "classes": 10}, "classify 1000 classes; received classes=10"),
        ("mobilenet_v2", {"weights": "coco"}, "weights must be 'imagenet' or a weight file; received 'coco'"),
        ("lenet5", {"weights": "imagenet"}, "lenet5 has no official weights"),
        ("lenet5", {"weights": "coco"}, "weights must be 'digits' or a weight file"),
        ("efficientnet_lite0", {"weights": "imagenet"}, "efficientnet_lite0 has no official weights: .*checkpoints"),
        ("efficientnet", {"weights": "imagenet"}, "official weights belong to the named"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        edgecv.create_model(name, **arguments)
    assert "\n" not in str(caught.value)


def test_missing_weight_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no weights at .*none\.h5"):
        edgecv.create_model("mobilenet_v2", (32, 32, 3), weights=tmp_path / "none.h5")


def test_an_argument_the_builder_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_RECORDS", dict(registry._RECORDS))
    record = replace(get_record("mobilenet_v1"), name="headed", options=())
    registry.register(record)(lambda input_shape, classes: None)
    with pytest.raises(InputError, match="headed has no argument 'include_top'"):
        edgecv.create_model("headed", include_top=False)
