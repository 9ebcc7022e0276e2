"""Whole Keras models from files, as Keras 3 and Keras 2 write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.sources.keras_file import load_keras_file
from edgecv_runtime.errors import InputError, MissingFileError


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, name="depth")(layers.Conv2D(4, 3, name="conv")(image))
    return keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(x)), name="saved")


@pytest.fixture
def old_file(model: Any, tmp_path: Path) -> Callable[[int], Path]:
    """``old_file(groups)``: an .h5 whose depthwise layer has the arguments that Keras 2 wrote, with so many groups."""

    def write(groups: int) -> Path:
        path = tmp_path / "old.h5"
        model.save(path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            (layer,) = [one for one in config["config"]["layers"] if one["class_name"] == "DepthwiseConv2D"]
            layer["config"]["groups"] = groups
            file.attrs["model_config"] = json.dumps(config)
        return path

    return write


PICTURES = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)


def answers(model: Any) -> np.ndarray:
    return np.asarray(model(PICTURES))


def test_keras_itself_does_not_take_the_groups(old_file: Callable[[int], Path]) -> None:
    """Once it does, the detour can go."""
    with pytest.raises(Exception, match="groups"):
        keras.saving.load_model(old_file(1), compile=False)


def test_an_old_file(old_file: Callable[[int], Path], model: Any) -> None:
    path = old_file(1)
    path.chmod(0o400)
    before = path.read_bytes()
    loaded = load_keras_file(path)
    np.testing.assert_array_equal(answers(loaded), answers(model))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["old.h5"]


def test_groups_that_mean_something_are_not_dropped(old_file: Callable[[int], Path]) -> None:
    with pytest.raises(InputError, match="^old.h5 must hold a whole model that Keras 3 can read .*DepthwiseConv2D"):
        load_keras_file(old_file(2))


def test_groups_of_an_ordinary_convolution_stay(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 4))
    grouped = keras.Model(image, layers.Conv2D(4, 3, groups=2, name="grouped")(image))
    grouped.save(tmp_path / "grouped.h5")
    loaded = load_keras_file(tmp_path / "grouped.h5")
    assert loaded.get_layer("grouped").groups == 2
    values = PICTURES[..., [0, 1, 2, 0]]
    np.testing.assert_array_equal(np.asarray(loaded(values)), np.asarray(grouped(values)))


@pytest.mark.parametrize("name", ["new.keras", "new.h5", "NEW.H5"])
def test_files_of_today(name: str, model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / name.lower())
    (tmp_path / name.lower()).rename(tmp_path / name)
    np.testing.assert_array_equal(answers(load_keras_file(tmp_path / name)), answers(model))


def test_what_it_was_trained_with_is_left_out(model: Any, tmp_path: Path) -> None:
    """A loss of one's own would otherwise have to be known."""

    def my_loss(truth: Any, answer: Any) -> Any:
        return keras.ops.mean(truth - answer)

    clone = keras.models.clone_model(model)
    clone.compile(loss=my_loss)
    clone.save(tmp_path / "trained.keras")
    assert load_keras_file(tmp_path / "trained.keras").count_params() == model.count_params()


def test_weights_alone(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    with pytest.raises(InputError) as caught:
        load_keras_file(path)
    assert str(caught.value) == (
        "model.weights.h5 must hold a whole model that Keras 3 can read (there is no model in it); for weights alone, "
        "build the model by name and pass --weights"
    )


@pytest.mark.parametrize("name", ["text.h5", "text.keras"])
def test_what_is_no_model(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("no model\n" * 40)
    with pytest.raises(InputError, match=f"^{name} must hold a whole model that Keras 3 can read") as caught:
        load_keras_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="^no file at .*none.h5$"):
        load_keras_file(tmp_path / "none.h5")


def test_an_unknown_layer_is_told(tmp_path: Path, model: Any) -> None:
    path = tmp_path / "own.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace("DepthwiseConv2D", "HomemadeConv2D")
    with pytest.raises(InputError, match="HomemadeConv2D"):
        load_keras_file(path)


# -- real ones ---------------------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
@pytest.mark.parametrize(
    ("file", "size", "agreement"),
    [("visual-wake-words/vww_96.h5", 96, 0.95), ("cifar10/pretrainedResnet.h5", 32, 0.95)],
    ids=["visual wake words", "ResNet-8"],
)
def test_mlperf_tiny(file: str, size: int, agreement: float, format: str, data_dir: Path, tmp_path: Path) -> None:
    """int8 agrees with its float source on photographs that it was not calibrated on."""
    import edgecv_runtime as ert
    from edgecv.models.registry import Preprocessing
    from edgecv_export.exporter import export
    from edgecv_export.sources import source_of
    from edgecv_runtime.images import list_images, read_image

    std = 255.0 if "vww" in file else 1.0
    preprocessing = Preprocessing(mean=(0.0,) * 3, std=(std,) * 3)
    source = load_keras_file(data_dir / "models" / "classification" / file)
    assert source.inputs[0].shape[1:] == (size, size, 3)
    pictures = [read_image(path) for path in list_images(data_dir / "coco128" / "images")]
    path = tmp_path / "tiny.edgecv"
    exported = export(
        source, path, format=format, precision="int8", calibration=pictures[:64], preprocessing=preprocessing
    )
    assert ert.verify(path).passed
    expected = source_of(source, preprocessing).predict(pictures[64:])
    with ert.load(path) as model:
        answers = np.concatenate([model.outputs(picture)[0] for picture in pictures[64:]])
    assert (answers.argmax(1) == expected.argmax(1)).mean() >= agreement
    assert {row["in_float"] for row in exported.report["layers"]} == {False}
    assert min(row["cosine"] for row in exported.report["layers"]) > 0.9
