"""Calibration images, whatever they come as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_export.calibration import contract_pictures, generated_images, load_calibration
from edgecv_runtime.errors import InputError, MissingFileError


def grey(level: int, size: tuple[int, int] = (6, 5)) -> np.ndarray:
    return np.full((*size, 3), level, np.uint8)


def levels(images: Any) -> list[int]:
    return [int(image[0, 0, 0]) for image in images]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures, 0.png of grey 0 to 9.png of grey 9, the last two in a folder below."""
    (tmp_path / "more").mkdir()
    for level in range(10):
        cv2.imwrite(str((tmp_path / "more" if level > 7 else tmp_path) / f"{level}.png"), grey(level))
    return tmp_path


def test_a_folder_and_all_below_it(folder: Path) -> None:
    (folder / "notes.md").write_text("not a picture")
    loaded = load_calibration(folder)
    assert levels(loaded.images) == list(range(10))
    assert loaded.skipped == 0
    assert {image.shape for image in loaded.images} == {(6, 5, 3)}
    assert levels(load_calibration(str(folder)).images) == list(range(10))


def test_a_list_of_paths_and_arrays(folder: Path) -> None:
    mixed = [folder / "3.png", str(folder / "5.png"), grey(77), np.full((4, 4), 88, np.uint8)]
    loaded = load_calibration(mixed)
    assert levels(loaded.images) == [3, 5, 77, 88]
    assert loaded.images[3].shape == (4, 4, 3)


def test_a_batch() -> None:
    batch = np.stack([grey(level) for level in (1, 2, 3)])
    assert levels(load_calibration(batch).images) == [1, 2, 3]
    assert levels(load_calibration(batch[..., :1]).images) == [1, 2, 3]


@pytest.mark.parametrize(("limit", "expected"), [(3, [0, 4, 9]), (2, [0, 9]), (1, [0]), (10, list(range(10)))])
def test_from_too_many_evenly_spaced_ones_are_taken(folder: Path, limit: int, expected: list[int]) -> None:
    assert levels(load_calibration(folder, limit=limit).images) == expected


def test_at_most_two_hundred() -> None:
    batch = np.arange(250, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    chosen = levels(load_calibration(batch).images)
    assert len(chosen) == 200 == len(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, 249)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=f"^no folder at {tmp_path / 'absent'}$"):
        load_calibration(tmp_path / "absent")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^\S+ holds no image \(\.bmp, \.jpeg, \.jpg, "):
        load_calibration(tmp_path)


def test_a_file_instead_of_a_folder(folder: Path) -> None:
    with pytest.raises(MissingFileError, match=r"^no folder at \S+3\.png$"):
        load_calibration(folder / "3.png")


@pytest.mark.parametrize("nothing", [[], (), np.empty((0, 4, 4, 3), np.uint8)], ids=["list", "tuple", "batch"])
def test_an_empty_sequence(nothing: Any) -> None:
    with pytest.raises(InputError, match="^calibration needs at least one image; received none$"):
        load_calibration(nothing)


def test_a_text_file_named_jpg_is_skipped_and_counted(folder: Path) -> None:
    (folder / "99.jpg").write_text("this is text")
    with pytest.warns(
        RuntimeWarning,
        match=r"^calibration image skipped: \S+99\.jpg is not an image that can be decoded \(12 bytes\)$",
    ):
        loaded = load_calibration(folder)
    assert levels(loaded.images) == list(range(10))
    assert loaded.skipped == 1


def test_a_path_that_leads_nowhere_is_skipped_and_counted(folder: Path) -> None:
    with pytest.warns(RuntimeWarning, match=r"^calibration image skipped: no image at \S+absent\.png$"):
        assert load_calibration([folder / "1.png", folder / "absent.png"]).skipped == 1


@pytest.mark.filterwarnings("ignore:calibration image skipped")
def test_not_one_readable(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="^not one of the 2 calibration images could be read$"):
        load_calibration(tmp_path)


def test_a_broken_array_is_an_error_not_a_skip() -> None:
    with pytest.raises(InputError, match="an image must be uint8"):
        load_calibration([grey(1), grey(1).astype(np.float32)])


@pytest.mark.parametrize("array", [grey(1), grey(1)[:, :, 0]], ids=["one colour picture", "one grey picture"])
def test_one_picture_is_not_a_batch(array: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"^a calibration array must be \(N, H, W, C\); received shape \(6, 5"):
        load_calibration(array)


def test_anything_else() -> None:
    with pytest.raises(InputError, match="a numpy array or a path; received int"):
        load_calibration([1, 2, 3])


# -- generated pictures ------------------------------------------------------------------------------------------


def test_generated_pictures_are_the_same_every_time() -> None:
    first, second = generated_images(3, (20, 30)), generated_images(3, (20, 30))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], generated_images(1, (20, 30), seed=1)[0])


def test_generated_pictures_use_the_whole_range() -> None:
    images = generated_images(16, (40, 50))
    assert {image.shape for image in images} == {(40, 50, 3)}
    assert all(image.dtype == np.uint8 for image in images)
    stack = np.stack(images)
    assert stack.min() <= 10
    assert stack.max() >= 245
    assert min(float(stack[..., channel].std()) for channel in range(3)) > 40


def test_contract_pictures_must_be_resized() -> None:
    pictures = contract_pictures((224, 160))
    assert len(pictures) == 16
    assert {image.shape for image in pictures} == {(256, 228, 3)}
