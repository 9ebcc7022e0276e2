"""LeNet-5: the course table layer by layer, and the weights that come with the package."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.data import draw_digits
from edgecv.models.factory import create_model
from edgecv.models.lenet import lenet5
from edgecv.models.registry import get_record
from edgecv_runtime.errors import InputError

WEIGHTS = Path(sys.modules[lenet5.__module__].__file__ or "").parent / "weights"


@pytest.fixture(scope="module")
def notes() -> dict[str, Any]:
    return json.loads((WEIGHTS / "lenet5_digits.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trained() -> Any:
    return create_model("lenet5", weights="digits")


def accuracy(model: Any, images: np.ndarray, labels: np.ndarray) -> float:
    scores = model.predict(images[..., None].astype(np.float32) / 255, batch_size=256, verbose=0)
    return float((scores.argmax(axis=1) == labels).mean())


def test_parameters_and_shapes_are_those_of_the_course_table() -> None:
    model = lenet5()
    table = [(layer.name, layer.count_params(), tuple(layer.output.shape[1:])) for layer in model.layers[1:]]
    assert table == [
        ("c1", 156, (28, 28, 6)),
        ("s2", 0, (14, 14, 6)),
        ("c3", 2_416, (10, 10, 16)),
        ("s4", 0, (5, 5, 16)),
        ("flatten", 0, (400,)),
        ("c5", 48_120, (120,)),
        ("f6", 10_164, (84,)),
        ("output", 850, (10,)),
        ("predictions", 0, (10,)),
    ]
    assert model.count_params() == 61_706 == get_record("lenet5").parameters


def test_parameters_by_hand() -> None:
    # (kernel height × width × maps in + one bias) × maps out
    assert (5 * 5 * 1 + 1) * 6 == 156
    assert (5 * 5 * 6 + 1) * 16 == 2_416
    assert (5 * 5 * 16 + 1) * 120 == 48_120
    assert (120 + 1) * 84 == 10_164
    assert (84 + 1) * 10 == 850
    colour = lenet5((32, 32, 3))
    assert colour.count_params() == 61_706 + 5 * 5 * 2 * 6
    # 28×28: 24, 12, 8, 4, so 256 inputs to the first dense layer
    assert lenet5((28, 28, 1)).count_params() == 156 + 2_416 + (256 + 1) * 120 + 10_164 + 850
    assert lenet5(classes=26).count_params() == 61_706 + 85 * 16


def test_one_forward_pass_by_hand() -> None:
    """Constant kernels on a constant image: every value of every layer follows by arithmetic."""
    model = lenet5()
    model.set_weights([np.full(weight.shape, 0.01, np.float32) for weight in model.get_weights()])
    last = model.get_layer("output")
    last.set_weights([np.zeros((84, 10), np.float32), np.log(np.arange(1, 11, dtype=np.float32))])
    c1 = np.tanh(25 * 0.01 + 0.01)
    c3 = np.tanh(150 * 0.01 * c1 + 0.01)
    c5 = np.tanh(400 * 0.01 * c3 + 0.01)
    f6 = np.tanh(120 * 0.01 * c5 + 0.01)
    import keras

    inner = keras.Model(model.inputs[0], [model.get_layer(name).output for name in ("s2", "s4", "c5", "f6")])
    values = inner(np.ones((1, 32, 32, 1), np.float32))
    for value, expected in zip(values, (c1, c3, c5, f6), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(value), expected, rtol=1e-5)
    scores = model.predict(np.ones((1, 32, 32, 1), np.float32), verbose=0)
    np.testing.assert_allclose(scores[0], np.arange(1, 11) / 55, rtol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_activation_is_an_option(activation: str) -> None:
    model = lenet5(activation=activation)
    used = [layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")]
    assert used == [activation] * 4 + ["linear", "softmax"]
    assert model.count_params() == 61_706


def test_ends_with_logits_or_features_on_request() -> None:
    logits = lenet5(classifier_activation=None)
    assert logits.layers[-1].name == "output"
    assert logits.count_params() == 61_706
    features = lenet5(include_top=False, name="features")
    assert features.name == "features"
    assert features.output_shape == (None, 5, 5, 16)
    assert features.count_params() == 156 + 2_416


def test_the_smallest_input_is_sixteen() -> None:
    assert lenet5((16, 16, 1)).get_layer("s4").output.shape[1:] == (1, 1, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (15, 32, 1)}, "at least 16x16 pixels; received 15x32"),
        ({"input_shape": (32, 32)}, r"\(height, width, channels\)"),
        ({"input_shape": (32, 32, 0)}, r"received \(32, 32, 0\)"),
        ({"classes": 0}, "classes must be a whole number of at least 1; received 0"),
        ({"activation": "gelu"}, "one of tanh, relu, sigmoid; received 'gelu'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lenet5(**arguments)


def test_record() -> None:
    record = get_record("lenet5")
    assert record.task == "classification"
    assert record.input_shape == (32, 32, 1)
    assert record.classes == 10
    assert record.color == "GRAY"
    assert record.preprocessing.mean == (0.0,)
    assert record.preprocessing.std == (255.0,)
    assert record.preprocessing.resize.mode == "stretch"
    assert record.weights == ()


def test_the_file_imports_no_keras() -> None:
    code = "import sys, edgecv.models.lenet; print(sorted({'keras', 'tensorflow', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_shipped_file_is_the_one_that_was_measured(notes: dict[str, Any]) -> None:
    file = WEIGHTS / notes["file"]
    assert file.name == get_record("lenet5").shipped_weights["digits"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == notes["sha256"]
    assert file.stat().st_size < 300_000
    assert notes["parameters"] == 61_706
    assert notes["accuracy"]["real_held_out"] >= 0.975


def test_shipped_weights_read_newly_drawn_digits(trained: Any, notes: dict[str, Any]) -> None:
    seed = 20_240
    assert seed not in {part["seed"] for part in notes["settings"]["generated"].values()}
    assert accuracy(trained, *draw_digits(1_000, seed)) >= 0.97


def test_probabilities_sum_to_one(trained: Any) -> None:
    images, _ = draw_digits(20, seed=11)
    scores = trained.predict(images[..., None].astype(np.float32) / 255, verbose=0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert scores.min() >= 0


@pytest.mark.data
def test_shipped_weights_reach_the_stated_accuracy_on_held_out_digits(
    trained: Any, notes: dict[str, Any], data_dir: Path
) -> None:
    split = notes["settings"]["split"]
    with np.load(data_dir / "mnist" / "mnist_8000.npz") as archive:
        images, labels = archive["images"], archive["labels"]
    held_out = np.random.default_rng(split["seed"]).permutation(len(labels))[-split["held_out"] :]
    assert len(held_out) == 1_600
    padded = np.pad(images[held_out], ((0, 0), (2, 2), (2, 2)))
    # One image of tolerance: another CPU may round a tie the other way.
    assert accuracy(trained, padded, labels[held_out]) == pytest.approx(
        notes["accuracy"]["real_held_out"], abs=1.01 / len(held_out)
    )
