"""Two models whose every answer is known: the tiny one, and the tiny one with its bias shifted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.comparison import PairedAccuracy, compare, read_pictures
from edgecv_runtime.errors import InputError, MissingFileError, UnsupportedError
from edgecv_runtime.manifest import TensorSpec
from edgecv_runtime.paired import difference_interval, mcnemar_exact

COUNT = 12
SHIFT = np.array([0, 3000, 0, 0])  # what the other model adds to its scores


@pytest.fixture(scope="module")
def pair(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two ONNX bundles; the second's bias is shifted."""
    folder = tmp_path_factory.mktemp("pair")
    bias = tiny.reference.bias.astype(np.float32)
    content = tiny.onnx(tiny.manifest("onnx").to_json())
    assert content.count(bias.tobytes()) == 1
    shifted = Artefact("onnx", content.replace(bias.tobytes(), (bias + SHIFT.astype(np.float32)).tobytes()))
    return tiny.write(folder / "a.edgecv"), tiny.write(folder / "b.edgecv", artefact=shifted)


@pytest.fixture(scope="module")
def scores(tiny: Any) -> np.ndarray:
    """(COUNT, 4) int64: the first model's."""
    return np.stack([tiny.reference.scores(tiny.image(seed)) for seed in range(COUNT)]).astype(np.int64)


@pytest.fixture(scope="module")
def truth(scores: np.ndarray) -> np.ndarray:
    """The first third: as the first model says; the second: as the other one says; the rest: class 2."""
    first, second = scores.argmax(-1), (scores + SHIFT).argmax(-1)
    return np.where(np.arange(COUNT) < 4, first, np.where(np.arange(COUNT) < 8, second, 2))


@pytest.fixture(scope="module")
def labelled(tiny: Any, truth: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "images").mkdir()
    lines = ["file,class_index"]
    for seed, index in enumerate(truth.tolist()):
        name = f"{seed:02}.png"
        assert cv2.imwrite(str(folder / "images" / name), tiny.enlarge(tiny.image(seed))[..., ::-1])
        lines.append(f"{name},{index}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def test_every_figure(pair: Any, labelled: Path, scores: np.ndarray, truth: np.ndarray) -> None:
    found = compare(*pair, labelled, runs=3, threads=1)
    first, second = scores.argmax(-1), (scores + SHIFT).argmax(-1)
    differ = np.flatnonzero(first != second)
    assert 2 < len(differ) < COUNT  # both kinds of pictures are there
    assert found.n == COUNT and found.skipped == 0
    assert found.agreement == pytest.approx(1 - len(differ) / COUNT)
    assert found.max_difference == 3000 and found.mean_difference == pytest.approx(3000 / 4)
    right_a, right_b = first == truth, second == truth
    gained, lost = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    assert gained > 0 and lost > 0
    assert found.accuracy == PairedAccuracy(
        a=right_a.mean(),
        b=right_b.mean(),
        gained=gained,
        lost=lost,
        difference=pytest.approx(right_b.mean() - right_a.mean()),
        interval=difference_interval(gained, lost, COUNT),
        p_value=mcnemar_exact(gained, lost),
    )
    names = ("ant", "bee", "cat", "dog")
    assert [item.path.name for item in found.disagreements] == [f"{index:02}.png" for index in differ]
    for index, item in zip(differ.tolist(), found.disagreements, strict=True):
        assert (item.a.index, item.a.label, item.a.score) == (
            first[index],
            names[first[index]],
            scores[index, first[index]],
        )
        assert (item.b.index, item.b.score) == (1, scores[index, 1] + 3000)
        assert (item.truth, item.truth_label) == (truth[index], names[truth[index]])
        assert item.right == ("A" if right_a[index] else "B" if right_b[index] else "neither")
    assert {item.right for item in found.disagreements} >= {"A", "B"}
    assert found.a.latency.n == found.b.latency.n == 3
    assert found.latency_ratio == found.b.latency.p50_ms / found.a.latency.p50_ms
    assert found.a.size == found.b.size and found.size_ratio == 1
    assert found.a.path == str(pair[0]) and "1 thread" in found.a.model
    answer = found.to_dict()
    assert json.loads(json.dumps(answer)) == json.loads(json.dumps(answer, default=list))
    assert answer["accuracy"]["gained"] == gained and len(answer["disagreements"]) == len(differ)


def test_a_bundle_agrees_with_itself_in_another_format(tiny: Any, pair: Any, labelled: Path, tmp_path: Path) -> None:
    other = tiny.write(tmp_path / "c.edgecv", "openvino")
    found = ert.compare(pair[0], other, labelled, runs=1, backend="onnxruntime")
    assert "on openvino " in found.b.model  # onnxruntime does not run its format
    assert found.agreement == 1 and found.max_difference == 0 and found.disagreements == ()
    assert found.accuracy is not None and found.accuracy.p_value == 1 and found.accuracy.difference == 0


def test_pictures_without_labels_give_agreement_only(pair: Any, labelled: Path, scores: np.ndarray) -> None:
    found = compare(*pair, labelled / "images", runs=1)
    differ = (scores.argmax(-1) != (scores + SHIFT).argmax(-1)).sum()
    assert found.agreement == pytest.approx(1 - differ / COUNT) and found.accuracy is None
    assert all(item.truth is None and item.right is None for item in found.disagreements)
    assert found.to_dict()["accuracy"] is None


def test_pictures_that_cannot_be_read_are_skipped(pair: Any, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "00.png").write_bytes((labelled / "images" / "00.png").read_bytes())
    (tmp_path / "01.png").write_text("no picture")
    with pytest.warns(RuntimeWarning, match="skipped: .*01.png"):
        found = compare(*pair, tmp_path, runs=1)
    assert (found.n, found.skipped) == (1, 1)
    (tmp_path / "00.png").write_text("no picture")
    with pytest.warns(RuntimeWarning), pytest.raises(InputError, match="none of the 2 images could be read"):
        compare(*pair, tmp_path, runs=1)


# -- which pictures ------------------------------------------------------------------------------------------------


def test_folders_that_are_labelled(tiny: Any, tmp_path: Path) -> None:
    for name in ("ant", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_text("")
    assert [(p.path.parent.name, p.truth) for p in read_pictures(tmp_path, tiny.labels, 4)] == [("ant", 0), ("dog", 3)]
    (tmp_path / "dog").rename(tmp_path / "zebra")
    with pytest.warns(RuntimeWarning, match="only agreement can be told: the 2 class folders"):
        pictures = read_pictures(tmp_path, tiny.labels, 4)
    assert [(p.path.parent.name, p.truth) for p in pictures] == [("ant", None), ("zebra", None)]
    (tmp_path / "beside.png").write_text("")
    assert [p.truth for p in read_pictures(tmp_path, tiny.labels, 4)] == [None] * 3


def test_folders_that_are_nothing(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder at"):
        read_pictures(tmp_path / "none", tiny.labels, 4)
    with pytest.raises(InputError, match="holds no image"):
        read_pictures(tmp_path, tiny.labels, 4)
    (tmp_path / "labels.csv").write_text("file,class_index\nx.png,4\n")
    with pytest.raises(InputError, match=r"class_index of x.png must be in 0\.\.3"):  # a wrong list is not passed over
        read_pictures(tmp_path, tiny.labels, 4)


# -- refused -------------------------------------------------------------------------------------------------------


def test_other_classes_are_refused(tiny: Any, pair: Any, labelled: Path, tmp_path: Path, one_line: Any) -> None:
    changes: dict[str, Any] = {"outputs": (TensorSpec("total", (1, 1), "float32"),), "labels": ("all",)}
    other = tiny.write(tmp_path / "c.edgecv", golden=tiny.golden(tiny.manifest("onnx")), **changes)
    with pytest.raises(UnsupportedError) as caught:
        compare(pair[0], other, labelled)
    assert one_line(caught) == "two bundles must have the same classes to be compared; received 4 and 1 of them"


def test_other_labels_are_a_warning(tiny: Any, pair: Any, labelled: Path, tmp_path: Path) -> None:
    other = tiny.write(tmp_path / "c.edgecv", labels=("ant", "wasp", "cat", "dog"))
    with pytest.warns(RuntimeWarning, match=r"first in class 1 \('bee' and 'wasp'\): answers are compared by class"):
        found = compare(pair[0], other, labelled, runs=1)
    assert found.agreement == 1


def test_bad_requests(pair: Any, labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs must be at least 1; received 0"):
        compare(*pair, labelled, runs=0)
    with pytest.raises(MissingFileError, match="no bundle at"):
        compare(pair[0], tmp_path / "none.edgecv", labelled)
    with pytest.raises(InputError, match="kernels must be one of"):
        compare(*pair, labelled, kernels="slow")
