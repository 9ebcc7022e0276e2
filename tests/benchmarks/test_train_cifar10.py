"""The pure parts of the training benchmark: the split, the archive, the networks."""

from __future__ import annotations

import importlib
import io
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for known in ("_common", "train_cifar10"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("train_cifar10")


def archive(folder: Path, colours: dict[str, tuple[int, int, int]], count: int) -> None:
    """Pictures of one colour per class, given as RGB."""
    import cv2

    (folder / "cifar10").mkdir()
    with tarfile.open(folder / "cifar10" / "pictures.tar.gz", "w:gz") as made:
        for name, colour in colours.items():
            content = cv2.imencode(".jpg", np.full((32, 32, 3), colour[::-1], np.uint8))[1].tobytes()
            for index in range(count):
                member = tarfile.TarInfo(f"cifar10/train/{name}/{index:04}.jpg")
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))


def test_every_fifth_is_held_out(benchmark_module: ModuleType) -> None:
    names = [f"{index:02}.jpg" for index in range(12)]
    learned, held_out = benchmark_module.split(names[::-1])
    assert held_out == ["04.jpg", "09.jpg"]
    assert learned == [name for name in names if name not in held_out]


def test_an_archive_is_read_and_kept(benchmark_module: ModuleType, tmp_path: Path) -> None:
    colours = {name: (20 * index, 250 - 20 * index, 128) for index, name in enumerate(benchmark_module.CLASSES)}
    archive(tmp_path, colours, 5)
    pictures = benchmark_module.cached_cifar10(tmp_path, 48, tmp_path / "cache")
    assert pictures.learned.shape == (40, 48, 48, 3)
    assert pictures.held_out_labels.tolist() == list(range(10))
    assert pictures.held_out_files[3] == "cifar10/train/cat/0004.jpg"
    for label, image in zip(pictures.learned_labels, pictures.learned, strict=True):
        wanted = np.array(colours[benchmark_module.CLASSES[label]])
        assert np.abs(image.reshape(-1, 3).astype(int) - wanted).max() <= 3  # JPEG
    again = benchmark_module.cached_cifar10(None, 48, tmp_path / "cache")
    np.testing.assert_array_equal(again.held_out, pictures.held_out)
    assert again.held_out_files == pictures.held_out_files


def test_a_folder_without_an_archive_is_named(benchmark_module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"cifar10/\*.tar.gz; received"):
        benchmark_module.read_cifar10(tmp_path, 32)


def test_the_residual_network(benchmark_module: ModuleType) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    settings = benchmark_module.Settings(model="resnet", size=32)
    model = benchmark_module.build(settings, pixels)
    # He et al. 2016 with one block per stage. Convolutions: 432 + 2·2304 + 4608 + 9216 + 512 + 18432 + 36864 + 2048;
    # gains and shifts of their batch norms: 2 (3·16 + 3·32 + 3·64); classifier: 650.
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained == 76720 + 672 + 650
    # Begun as an identity with a silent classifier.
    np.testing.assert_array_equal(np.asarray(model(pixels.astype(np.float32))), np.zeros((6, 10)))
    normalised = np.asarray(model.get_layer("normalization")(pixels.astype(np.float32) / 255))
    np.testing.assert_allclose(normalised.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=(0, 1, 2)), 1, atol=1e-4)


def test_a_short_training_leaves_weights_and_record(benchmark_module: ModuleType, tmp_path: Path) -> None:
    colours = {name: (20 * index, 250 - 20 * index, 128) for index, name in enumerate(benchmark_module.CLASSES)}
    archive(tmp_path, colours, 5)
    pictures = benchmark_module.read_cifar10(tmp_path, 32)
    settings = benchmark_module.Settings(model="resnet", size=32, epochs=1, batch=10)
    record = benchmark_module.train(settings, pictures, tmp_path)
    model = benchmark_module.build(settings)
    model.load_weights(tmp_path / "resnet.weights.h5")
    found = benchmark_module.accuracy(model, pictures.held_out, pictures.held_out_labels)
    assert found == record["accuracy"]
    assert (record["learned"], record["held_out"], len(record["history"])) == (40, 10, 1)
    assert sorted(path.name for path in tmp_path.glob("resnet*")) == ["resnet.json", "resnet.weights.h5"]
    longer = benchmark_module.Settings(model="resnet", size=32, epochs=2, batch=10)
    resumed = benchmark_module.train(longer, pictures, tmp_path, resume=True)["history"]
    assert resumed[0] == record["history"][0]
    assert len(resumed) == 2


def test_the_learning_rate_by_hand(benchmark_module: ModuleType) -> None:
    settings = benchmark_module.Settings(epochs=11, learning_rate=1.0, warm_up_epochs=1.0)
    found = [benchmark_module.learning_rate(settings, epochs) for epochs in (0, 0.5, 1, 6, 11)]
    assert found == pytest.approx([0.1, 0.55, 1, 0.5, 0])
