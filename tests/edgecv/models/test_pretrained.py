"""Choosing the official file, and loading any file or refusing it in one line."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import edgecv
from edgecv.models import pretrained
from edgecv.models.pretrained import choose_official
from edgecv.models.registry import get_record
from edgecv_runtime.errors import InputError, MissingFileError

SHAPE = (32, 32, 3)


@pytest.mark.parametrize(
    ("name", "options", "size", "top", "file"),
    [
        ("mobilenet_v1", {"alpha": 1.0}, 224, True, "mobilenet_1_0_224_tf.h5"),
        ("mobilenet_v1", {"alpha": 0.25}, 160, True, "mobilenet_2_5_160_tf.h5"),
        ("mobilenet_v1", {"alpha": 0.75}, 128, False, "mobilenet_7_5_128_tf_no_top.h5"),
        ("mobilenet_v2", {"alpha": 0.35}, 96, True, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5"),
        (
            "mobilenet_v2",
            {"alpha": 1.4},
            224,
            False,
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224_no_top.h5",
        ),
        ("efficientnet_b3", {}, 300, True, "efficientnetb3.h5"),
        ("efficientnet_b3", {}, 300, False, "efficientnetb3_notop.h5"),
    ],
)
def test_official_file_names(name: str, options: dict, size: int, top: bool, file: str) -> None:
    record = get_record(name)
    assert choose_official(record, record.check_options(options), (size, size, 3), top).file == file


def test_other_input_sizes_take_the_default_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    record = get_record("mobilenet_v2")
    with caplog.at_level(logging.WARNING, "edgecv"):
        assert choose_official(record, {"alpha": 1.0}, (256, 192, 3)).input_size == 224
    assert "no official weights were trained at 256x192; taking those of 224x224" in caplog.text


@pytest.mark.parametrize(
    ("name", "options", "channels", "message"),
    [
        ("mobilenet_v1", {"alpha": 0.3}, 3, r"exist for alpha \[0.25, 0.5, 0.75, 1.0\]; received alpha 0.3"),
        ("mobilenet_v1", {}, 1, "take 3 channels; received 1"),
        ("efficientnet_lite2", {}, 3, "has no official weights: .*checkpoints.*Pass weights=FILE"),
    ],
)
def test_nothing_published(name: str, options: dict, channels: int, message: str) -> None:
    record = get_record(name)
    with pytest.raises(InputError, match=message):
        choose_official(record, record.check_options(options), (224, 224, channels))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, randomise: Callable[..., None]) -> dict[str, Path]:
    """One set of weights in every layout."""
    folder = tmp_path_factory.mktemp("weights")
    model = keras.applications.MobileNet(SHAPE, alpha=0.25, classes=1000, weights=None)
    randomise(model)
    paths = {kind: folder / f"model.{kind}" for kind in ("h5", "weights.h5", "keras")}
    with warnings.catch_warnings():
        # Keras 3.15 saving with numpy 2; nothing of ours.
        warnings.filterwarnings("ignore", message="__array__ implementation doesn't accept a copy keyword")
        model.save(paths["h5"])
        model.save(paths["keras"])
        model.save_weights(paths["weights.h5"])
    paths["reference"] = folder / "values.npy"
    np.save(paths["reference"], np.concatenate([np.ravel(value) for value in model.get_weights()]))
    return paths


@pytest.mark.parametrize("kind", ["h5", "weights.h5", "keras"])
def test_every_layout_loads(kind: str, files: dict[str, Path]) -> None:
    model = edgecv.create_model("mobilenet_v1", SHAPE, alpha=0.25, weights=files[kind])
    loaded = np.concatenate([np.ravel(value) for value in model.get_weights()])
    assert np.array_equal(loaded, np.load(files["reference"]))


@pytest.mark.parametrize("kind", ["h5", "weights.h5", "keras"])
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_weights_of_another_architecture_are_refused_in_one_line(name: str, kind: str, files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=f"does not hold the weights of this {name}: .+") as caught:
        edgecv.create_model(name, SHAPE, alpha=0.5, weights=files[kind])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("kind", "renamed", "message"),
    [
        ("h5", "a.weights.h5", r"has the layout of Keras 1 and 2: rename it to a\.h5"),
        ("weights.h5", "a.h5", r"has the layout of Keras 3: rename it to a\.weights\.h5"),
        ("weights.h5", "a.npz", r"weights must be a \.weights\.h5, \.h5 or \.keras file; received a\.npz"),
        ("weights.h5", "a.keras", "is not a Keras file"),
        ("keras", "a.h5", "is not an HDF5 file"),
    ],
)
def test_a_wrong_name_says_which_is_right(
    kind: str, renamed: str, message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copy(files[kind], tmp_path / renamed)
    with pytest.raises(InputError, match=message):
        edgecv.create_model("mobilenet_v1", SHAPE, alpha=0.25, weights=tmp_path / renamed)


@pytest.mark.parametrize("size", [0, 4, 5_000, 100_000])
def test_damaged_files(size: int, files: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("h5", "weights.h5", "keras"):
        path = tmp_path / f"cut.{kind}"
        path.write_bytes(files[kind].read_bytes()[:size])
        with pytest.raises(InputError, match=r"cut\.") as caught:
            edgecv.create_model("mobilenet_v1", SHAPE, alpha=0.25, weights=path)
        assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.h5").mkdir()
    with pytest.raises(MissingFileError, match=r"no weights at .*a\.h5 \(it is a folder\)"):
        edgecv.create_model("mobilenet_v1", SHAPE, weights=tmp_path / "a.h5")


def test_imagenet_comes_from_the_cache_folder(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path))
    shutil.copy(files["h5"], tmp_path / "mobilenet_2_5_128_tf.h5")
    model = edgecv.create_model("mobilenet_v1", (128, 128, 3), alpha=0.25, weights="imagenet")
    assert np.array_equal(np.concatenate([np.ravel(v) for v in model.get_weights()]), np.load(files["reference"]))


def test_imagenet_asks_for_the_official_address_and_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path))
    asked = {}

    def fetch(address: str, path: Path, **hashes: str | None) -> Path:
        asked.update(address=address, path=path, **hashes)
        return path

    monkeypatch.setattr(pretrained, "fetch", fetch)
    record = get_record("efficientnet_b0")
    pretrained.official_file(record, {}, (224, 224, 3))
    assert asked == {
        "address": "https://storage.googleapis.com/keras-applications/efficientnetb0.h5",
        "path": tmp_path / "efficientnetb0.h5",
        "sha256": None,
        "md5": "902e53a9f72be733fc0bcb005b3ebbac",
    }


def test_a_missing_hash_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pretrained, "fetch", lambda address, path, **_: path)
    with caplog.at_level(logging.INFO, "edgecv"):
        pretrained.official_file(get_record("mobilenet_v1"), {"alpha": 1.0, "dropout": 0.0}, (224, 224, 3))
    assert "mobilenet_1_0_224_tf.h5: its publisher states no hash" in caplog.text


def test_shipped_weights_load_by_name() -> None:
    record = get_record("lenet5")
    if not pretrained.shipped_file(record, "digits").is_file():
        pytest.skip("the trained LeNet-5 is not in this tree")
    assert edgecv.create_model("lenet5", weights="digits").count_params() == 61_706
