"""Signals and volumes with known classes: what files hold, and how many of them a model gets right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.evaluate import count_correct
from edgecv_runtime.labelled_arrays import LabelledArray, read_labelled_arrays
from edgecv_runtime.manifest import InputSpec

SPEC = InputSpec("input", (1, 4, 1), "float32", layout="NWC")


def values(items: list[LabelledArray]) -> list[tuple[int, list[float]]]:
    return [(item.class_index, item.read()[:, 0].tolist()) for item in items]


def test_files_of_one_and_of_several(tmp_path: Path) -> None:
    for name in ("high", "low"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "high" / "stack.npy", np.arange(8.0).reshape(2, 4))
    np.savez(tmp_path / "high" / "z.npz", one=np.full(4, 9), more=np.full((1, 4, 1), 8))
    np.save(tmp_path / "low" / "below.npy", np.full((4, 1), -1))
    (tmp_path / "low" / "notes.txt").write_text("not an array")
    items = read_labelled_arrays(tmp_path, ("high", "low"), 2, SPEC)
    assert values(items) == [
        (0, [0, 1, 2, 3]), (0, [4, 5, 6, 7]), (0, [9, 9, 9, 9]), (0, [8, 8, 8, 8]), (1, [-1, -1, -1, -1]),
    ]  # fmt: skip
    assert values(items[::-1]) == values(items)[::-1]  # in any order
    with pytest.raises(InputError, match=r"holds no labelled signal: DIR/<class>/\*\.npy or DIR/labels\.csv"):
        read_labelled_arrays(tmp_path / "low", None, 0, SPEC)


def test_a_list(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    (tmp_path / "labels.csv").write_text("file,class_index\na.npy,1\n")
    assert [item.class_index for item in read_labelled_arrays(tmp_path, None, 2, SPEC)] == [1, 1, 1]
    (tmp_path / "labels.csv").write_text("file,class_index\na.npy,2\n")
    with pytest.raises(InputError, match=r"class_index of a\.npy must be in 0\.\.1 for this model; received 2"):
        read_labelled_arrays(tmp_path, None, 2, SPEC)


def test_what_cannot_be_read_is_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "0" / "a.npy", np.full((3, 4), 1.0))
    (tmp_path / "0" / "b.npy").write_bytes(b"damaged")
    np.save(tmp_path / "1" / "c.npy", np.zeros((7, 7)))
    np.save(tmp_path / "1" / "d.npy", np.full(4, 2.0))
    items = read_labelled_arrays(tmp_path, None, 2, SPEC)
    assert len(items) == 6
    with pytest.warns(RuntimeWarning) as told:
        found = count_correct(lambda array: [int(array.mean()) - 1, 1], items, "counting")
    assert [str(warning.message).split(":")[0] for warning in told] == ["skipped"] * 2
    assert (found.top1, found.n, found.skipped) == (1.0, 4, 2)
    np.save(tmp_path / "0" / "a.npy", np.full(4, 1.0))  # a file that has changed since
    items[5].read()
    with pytest.raises(InputError, match=r"a\.npy holds 1 examples now; there were more"):
        items[2].read()
