from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.evaluate import count_correct, evaluate_classification, read_labelled_images

LABELS = ("ant", "bee", "cat", "dog")


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


def folders(root: Path, *names: str, images: int = 1) -> Path:
    for name in names:
        for index in range(images):
            save(root / name / f"{index}.png", np.zeros((2, 2, 3), np.uint8))
    return root


def indices(root: Path, labels: tuple[str, ...] | None = LABELS, classes: int = 4) -> dict[str, int]:
    return {item.path.parent.name: item.class_index for item in read_labelled_images(root, labels, classes)}


# -- class folders -------------------------------------------------------------------------------------------------


def test_folders_by_label(tmp_path: Path) -> None:
    folders(tmp_path, "dog", "ant", "cat", ".cache")
    assert indices(tmp_path) == {"ant": 0, "cat": 2, "dog": 3}


def test_folders_by_number(tmp_path: Path) -> None:
    folders(tmp_path, "0", "3", "02")
    assert indices(tmp_path) == {"0": 0, "3": 3, "02": 2}
    assert indices(tmp_path, labels=None) == {"0": 0, "3": 3, "02": 2}


def test_labels_that_are_numbers_go_before_numbers(tmp_path: Path) -> None:
    """A digit classifier whose classes are stored in another order."""
    folders(tmp_path, "0", "1")
    assert indices(tmp_path, labels=("1", "0"), classes=2) == {"0": 1, "1": 0}


def test_folders_in_sorted_order(tmp_path: Path) -> None:
    folders(tmp_path, "n03", "n01", "n10", "n02")
    assert indices(tmp_path, labels=None) == {"n01": 0, "n02": 1, "n03": 2, "n10": 3}


def test_sorted_order_against_the_labels_warns(tmp_path: Path, one_line: Any) -> None:
    folders(tmp_path, "cats", "dogs")
    with pytest.warns(RuntimeWarning, match="matched in sorted order: 'cats' is taken for 'dog'"):
        assert indices(tmp_path, labels=("dog", "cat"), classes=2) == {"cats": 0, "dogs": 1}


def test_folders_that_cannot_be_matched(tmp_path: Path, one_line: Any) -> None:
    folders(tmp_path, "ant", "bee", "wasp")
    with pytest.raises(InputError) as caught:
        indices(tmp_path)
    assert one_line(caught) == (
        f"the 3 class folders of {tmp_path} cannot be matched to the model's 4 classes: name them after its labels "
        "or by class index, or write labels.csv (file,class_index)"
    )


def test_a_label_that_two_classes_share(tmp_path: Path, one_line: Any) -> None:
    folders(tmp_path, "crane", "dog")
    labels = ("crane", "dog", "crane")  # the bird and the machine, as in ImageNet
    with pytest.raises(InputError) as caught:
        indices(tmp_path, labels=labels, classes=3)
    assert "'crane'" in one_line(caught) and "is the label of 2 classes of this model" in one_line(caught)
    (tmp_path / "crane").rename(tmp_path / "0")
    (tmp_path / "dog").rename(tmp_path / "1")
    assert indices(tmp_path, labels=labels, classes=3) == {"0": 0, "1": 1}


@pytest.mark.parametrize("name", ["4", "1000"])
def test_numbers_out_of_range(tmp_path: Path, name: str) -> None:
    folders(tmp_path, "0", name)
    with pytest.raises(InputError, match=rf"class_index of 0.png must be in 0..3 for this model; received {name}"):
        indices(tmp_path)


def test_images_below_a_class_folder_in_sorted_order(tmp_path: Path) -> None:
    folders(tmp_path, "ant", images=2)
    save(tmp_path / "ant" / "more" / "x.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "ant" / "notes.txt").write_text("not a picture")
    items = read_labelled_images(tmp_path, LABELS, 4)
    assert [item.path.relative_to(tmp_path).as_posix() for item in items] == [
        "ant/0.png",
        "ant/1.png",
        "ant/more/x.png",
    ]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder at"):
        indices(tmp_path / "none")
    with pytest.raises(InputError, match="holds no labelled image"):
        indices(tmp_path)
    (tmp_path / "ant").mkdir()
    with pytest.raises(InputError, match=r"holds no labelled image: DIR/<class>/\*.jpg or DIR/labels.csv is required"):
        indices(tmp_path)


# -- labels.csv ----------------------------------------------------------------------------------------------------


def listed(root: Path, text: str | bytes) -> list[tuple[str, int]]:
    (root / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    items = read_labelled_images(root, LABELS, 4)
    return [(item.path.relative_to(root).as_posix(), item.class_index) for item in items]


def test_labels_file(tmp_path: Path) -> None:
    assert listed(tmp_path, "file,class_index\na.jpg,3\nsub/b.jpg,0\n") == [("a.jpg", 3), ("sub/b.jpg", 0)]
    (tmp_path / "images").mkdir()
    assert listed(tmp_path, "file,class_index\na.jpg,3\n") == [("images/a.jpg", 3)]
    # As a spreadsheet writes it: byte order mark, CRLF, another order of columns, one more, quotes, an empty line.
    text = '\ufeffclass_index,name,file\r\n 1 ,"bee, small","b, 1.jpg"\r\n\r\n'
    assert listed(tmp_path, text) == [("images/b, 1.jpg", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels.csv must have the columns file,class_index; received none$"),
        ("name,label\na.jpg,1\n", "must have the columns file,class_index; received name,label"),
        ("file,class_index\n", "holds no labelled image"),
        ("file,class_index\na.jpg,cat\n", "labels.csv, line 2: class_index must be an integer .*'cat'"),
        ("file,class_index\na.jpg,1\nb.jpg\n", "labels.csv, line 3: class_index must be an integer"),
        ("file,class_index\na.jpg,1.0\n", "line 2: class_index must be an integer"),
        ("file,class_index\na.jpg,4\n", r"class_index of a.jpg must be in 0..3 for this model; received 4"),
        ("file,class_index\na.jpg,-1\n", "received -1"),
        (b"file,class_index\n\xff\xfe.jpg,1\n", "labels.csv must be UTF-8 text"),
        (b"\xff\xfef\0i\0l\0e\0", "labels.csv must be UTF-8 text"),
        ('file,class_index\n"' + "x" * 200_000 + '",1\n', "labels.csv, line .: field larger than field limit"),
    ],
)
def test_labels_files_that_are_refused(tmp_path: Path, one_line: Any, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        listed(tmp_path, text)
    assert len(one_line(caught)) < 400


# -- accuracy ------------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(tiny: Any, tmp_path: Path) -> tuple[Path, list[int]]:
    """12 pictures with alternating true and false labels, and where the true class stands in the ranking."""
    rows, ranks = [], []
    for seed in range(12):
        image = tiny.image(seed)
        scores = tiny.reference.scores(image)
        truth = seed % 4
        ranks.append(int((scores > scores[truth]).sum()))
        save(tmp_path / "images" / f"{seed}.png", tiny.enlarge(image))
        rows.append(f"{seed}.png,{truth}")
    (tmp_path / "labels.csv").write_text("file,class_index\n" + "\n".join(rows))
    return tmp_path, ranks


def test_top1_by_hand(labelled: tuple[Path, list[int]], any_bundle: Path) -> None:
    folder, ranks = labelled
    with ert.load(any_bundle) as model:
        accuracy = evaluate_classification(model, read_labelled_images(folder, LABELS, 4))
    assert 0 < ranks.count(0) < 12
    assert accuracy.top1 == ranks.count(0) / 12
    assert accuracy.to_dict() == {"top1": ranks.count(0) / 12, "top5": 1.0, "n": 12, "skipped": 0}


def test_top1_and_top5_of_known_answers(tmp_path: Path) -> None:
    """Ten classes; the true one is 0 and stands at place 0, 4, 5 and 9 of the answers."""
    for name in "abcd":
        save(tmp_path / "0" / f"{name}.png", np.zeros((2, 2, 3), np.uint8))
    items = read_labelled_images(tmp_path, None, 10)
    answers: Iterator[list[int]] = iter([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0], [1, 2, 3, 4, 5], [9, 8, 7, 6, 5]])
    accuracy = count_correct(lambda image: next(answers), items, "counting")
    assert (accuracy.top1, accuracy.top5, accuracy.n) == (0.25, 0.5, 4)


def test_unreadable_images_are_skipped_with_a_warning_and_counted(tiny: Any, tmp_path: Path, bundle: Path) -> None:
    save(tmp_path / "ant" / "good.png", tiny.image(0))
    (tmp_path / "ant" / "empty.jpg").touch()
    (tmp_path / "ant" / "text.jpg").write_text("no picture")
    items = read_labelled_images(tmp_path, LABELS, 4)
    with ert.load(bundle) as model, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        accuracy = evaluate_classification(model, items)
    assert (accuracy.n, accuracy.skipped) == (1, 2)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert messages[0].startswith("skipped: ") and "empty.jpg is empty" in messages[0]
    assert "text.jpg is not an image" in messages[1]


def test_listed_files_that_are_missing_are_skipped(tmp_path: Path, bundle: Path, tiny: Any) -> None:
    save(tmp_path / "a.png", tiny.image(0))
    (tmp_path / "labels.csv").write_text("file,class_index\na.png,0\nb.png,1\n")
    with ert.load(bundle) as model, pytest.warns(RuntimeWarning, match=r"skipped: no image at .*b.png"):
        accuracy = evaluate_classification(model, read_labelled_images(tmp_path, LABELS, 4))
    assert (accuracy.n, accuracy.skipped) == (1, 1)


def test_no_readable_image_at_all(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "a.jpg").touch()
    with (
        ert.load(bundle) as model,
        pytest.warns(RuntimeWarning, match="skipped"),
        pytest.raises(InputError, match="none of the 1 labelled images could be read"),
    ):
        evaluate_classification(model, read_labelled_images(tmp_path, LABELS, 4))
