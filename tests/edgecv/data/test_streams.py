"""Folders, lists, masks, annotations: what is read, what is kept in memory, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from edgecv.augment import Sample
from edgecv.data.cache import StreamedSamples
from edgecv.data.keras_datasets import dataset_samples, load_dataset
from edgecv.data.labelled import hold_out, labelled_samples, read_labelled
from edgecv.data.masks import class_pixels, mask_samples
from edgecv.data.objects import object_samples
from edgecv.data.patches import PatchSamples, patch, tiles
from edgecv.models.registry import Preprocessing, get_record
from edgecv_runtime.errors import InputError, MissingFileError

COLOR = Preprocessing((0.0,) * 3, (1.0,) * 3)


def write(path: Path, value: int, size: tuple[int, int] = (8, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def test_what_fits_is_kept() -> None:
    asked: list[int] = []

    def read(number: int) -> Sample:
        asked.append(number)
        return Sample(np.full((2, 3, 3), number, np.uint8))  # 18 bytes

    samples = StreamedSamples(5, read, cache_bytes=40)
    for _ in range(3):
        assert [int(sample.image[0, 0, 0]) for sample in samples] == [0, 1, 2, 3, 4]
    assert samples.cached_bytes == 36 and asked == [0, 1, 2, 3, 4] + [2, 3, 4] * 2
    assert [int(sample.image[0, 0, 0]) for sample in samples[1:3]] == [1, 2]
    asked.clear()
    assert all(StreamedSamples(2, read, None)[number] for number in (0, 1)) and asked == [0, 1]
    with pytest.raises(InputError, match="cache_bytes must be at least 0"):
        StreamedSamples(1, read, -1)
    with pytest.raises(IndexError):
        samples[5]


def test_class_folders(tmp_path: Path) -> None:
    for name, count in (("cat", 2), ("dog", 3), ("10", 1)):
        for index in range(count):
            write(tmp_path / name / "below" / f"{index}.png", 50)
    found = read_labelled(tmp_path)
    assert found.names == ("10", "cat", "dog") and found.classes == 3
    assert found.labels.tolist() == [0, 1, 1, 2, 2, 2]
    # Others must have the same classes, of which they may lack some.
    write(tmp_path / "other" / "dog" / "1.png", 60)
    assert read_labelled(tmp_path / "other", found.names).labels.tolist() == [2]


def test_numbered_folders_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("2", "10", "1"):
        write(tmp_path / name / "a.png", 50)
    found = read_labelled(tmp_path)
    assert found.names == ("1", "2", "10")
    assert {item.path.parent.name: item.class_index for item in found.items} == {"1": 0, "2": 1, "10": 2}


def test_a_list(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "images" / f"{name}.png", 50)
    (tmp_path / "labels.csv").write_text("file,class_index\na.png,1\nb.png,0\nc.png,1\n")
    for source in (tmp_path, tmp_path / "labels.csv"):
        found = read_labelled(source)
        assert found.names is None and found.classes == 2 and found.labels.tolist() == [1, 0, 1]
    (tmp_path / "labels.csv").write_text("file,class_index\na.png,3\nb.png,0\n")
    with pytest.raises(InputError, match="every class needs pictures; .* has none for index 1 and 1 more"):
        read_labelled(tmp_path)
    assert read_labelled(tmp_path, classes=5).classes == 5  # said by the caller


def test_refused_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder at"):
        read_labelled(tmp_path / "none")
    with pytest.raises(InputError, match="holds no labelled image: DIR/<class>"):
        read_labelled(tmp_path)
    write(tmp_path / "cat" / "1.png", 1)
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match="every class needs pictures; .* has none for dog"):
        read_labelled(tmp_path)


def test_samples_are_resized_as_on_the_device(tmp_path: Path) -> None:
    from edgecv_runtime.images import read_image
    from edgecv_runtime.preprocess import resize

    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "1.png"), image)
    record = get_record("mobilenet_v2")
    found = labelled_samples(read_labelled(tmp_path), record.preprocessing, (32, 32, 3))[0]
    expected = resize(read_image(tmp_path / "a" / "1.png"), (32, 32), record.preprocessing.resize)[0]
    assert np.array_equal(found.image, expected)
    grey = labelled_samples(read_labelled(tmp_path), get_record("lenet5").preprocessing, (32, 32, 1))[0]
    assert grey.image.shape == (32, 32, 1)


def test_hold_out() -> None:
    labels = np.array([0] * 40 + [1] * 10 + [2] * 2 + [3])
    aside = hold_out(labels, 0.1, seed=3)
    assert [int(aside[labels == label].sum()) for label in range(4)] == [4, 1, 1, 0]
    assert np.array_equal(aside, hold_out(labels, 0.1, seed=3))
    assert not np.array_equal(aside, hold_out(labels, 0.1, seed=4))
    with pytest.raises(InputError, match="must be between 0 and 1; received 1"):
        hold_out(labels, 1.0)
    with pytest.raises(InputError, match="a class must have two"):
        hold_out(np.arange(3), 0.5)


def masked(folder: Path, count: int = 2) -> None:
    for index in range(count):
        write(folder / "images" / f"{index}.jpg", 90, (40, 60))
        mask = np.zeros((40, 60), np.uint8)
        mask[10:20, 20:40] = 1
        mask[0, 0] = 255
        (folder / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), mask)


def test_masks(tmp_path: Path) -> None:
    masked(tmp_path)
    whole = mask_samples(tmp_path, COLOR, (20, 30, 3))
    assert whole[0].image.shape == (20, 30, 3) and whole[0].masks.shape == (20, 30)
    assert (whole[0].masks[5:10, 10:20] == 1).all() and (whole[0].masks == 1).sum() == 50  # half of each side
    own = mask_samples(tmp_path, COLOR, (20, 30, 3), whole=False)
    assert own[1].image.shape == (40, 60, 3)
    assert class_pixels(own, 2).tolist() == [[2400 - 200 - 1, 200]] * 2
    cv2.imwrite(str(tmp_path / "masks" / "1.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match=r"must have the size of 1.jpg, \(40, 60\); received \(4, 4\)"):
        whole[1]


def test_patches_show_rare_classes_as_often() -> None:
    # 4 of 6,400 pixels are of class 1, in one of two pictures; every pixel carries its own place in red and green.
    places = np.stack(np.meshgrid(np.arange(80), np.arange(80)), -1).astype(np.uint8)
    masks = [np.zeros((80, 80), np.uint8) for _ in range(2)]
    masks[1][40:42, 50:52] = 1
    samples = [Sample(places, masks=mask) for mask in masks]
    patches = PatchSamples(samples, (9, 9), 400, seed=5)
    middles = [int(patches[number].masks[4, 4]) for number in range(400)]
    assert 0.4 < np.mean(middles) < 0.6
    plain = PatchSamples(samples, (9, 9), 400, balanced=False, seed=5)
    assert sum(int(part.masks[4, 4]) for part in plain) <= 2  # 400 · 4 / 12,800 are expected
    part = patches[next(number for number, middle in enumerate(middles) if middle)]
    assert part.image[4, 4, 0] in (50, 51) and part.image[4, 4, 1] in (40, 41)
    assert (np.diff(part.image[:, :, 0].astype(int), axis=1) == 1).all()  # a patch is a patch
    assert np.array_equal(patches[7].image, PatchSamples(samples, (9, 9), 9, seed=5)[7].image)
    later = patches.at_epoch(1)
    assert any(not np.array_equal(patches[number].image, later[number].image) for number in range(5))
    with pytest.raises(InputError, match="drawn around labelled pixels; there is none"):
        PatchSamples([Sample(places, masks=np.full((80, 80), 255, np.uint8))], (9, 9), 5)


def test_a_patch_at_the_border_and_of_a_small_picture() -> None:
    places = np.stack(np.meshgrid(np.arange(10), np.arange(6)), -1).astype(np.uint8)
    sample = Sample(places, masks=np.zeros((6, 10), np.uint8))
    assert patch(sample, 0, 9, (4, 4)).image[0].tolist() == [[6, 0], [7, 0], [8, 0], [9, 0]]
    larger = patch(sample, 3, 5, (10, 10))
    assert larger.size == (10, 10) and np.array_equal(larger.image[2:8], places)
    assert np.array_equal(larger.image[1], places[1])  # mirrored about the first row


def test_tiles_cover_everything() -> None:
    places = np.stack(np.meshgrid(np.arange(25), np.arange(18)), -1).astype(np.uint8)
    parts = tiles(Sample(places), (8, 10))
    assert len(parts) == 3 * 3 and all(part.size == (8, 10) for part in parts)
    seen = {tuple(pixel) for part in parts for pixel in part.image.reshape(-1, 2).tolist()}
    assert len(seen) == 18 * 25


def test_objects_of_a_coco_file(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", 60, (20, 30))
    document = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [2, 3, 10, 5]},
            {"image_id": 7, "category_id": 1, "bbox": [25, 3, 10, 5]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 30, 20], "iscrowd": 1},
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    found = object_samples(tmp_path)
    assert found.names == ("cat", "dog") and len(found.samples) == 1
    sample = found.samples[0]
    assert sample.boxes.tolist() == [[2, 3, 12, 8], [25, 3, 30, 8]]  # cut at the border; no crowd
    assert sample.classes.tolist() == [1, 0]


def test_objects_of_yolo_files(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", 60, (20, 40))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("2 0.5 0.5 0.25 0.5\n")
    sample = object_samples(tmp_path).samples[0]
    assert sample.boxes.tolist() == [[15, 5, 25, 15]] and sample.classes.tolist() == [2]


def test_keras_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", lambda: ((images, [3, 0]), (images[:1], [9])))
    learned, test = load_dataset("fashion_mnist")
    assert learned.images.shape == (2, 28, 28, 1) and learned.labels.tolist() == [3, 0]
    assert (len(test), test.names[9], test.labels.dtype) == (1, "ankle boot", np.int64)

    samples = dataset_samples(learned, get_record("lenet5").preprocessing, (28, 28, 1))
    assert len(samples) == 2 and np.array_equal(samples[1].image, images[1][..., None])
    assert dataset_samples(learned, COLOR, (32, 32, 3))[0].image.shape == (32, 32, 3)

    def unreachable() -> None:
        raise Exception("URL fetch failure on https://somewhere: None -- no route")  # noqa: TRY002 - as Keras does

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", unreachable)
    with pytest.raises(MissingFileError, match="cifar10 cannot be fetched: URL fetch failure"):
        load_dataset("cifar10")
    with pytest.raises(InputError, match="there is no data set 'svhn': there are mnist, fashion_mnist"):
        load_dataset("svhn")
