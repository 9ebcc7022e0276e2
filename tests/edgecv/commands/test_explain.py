"""``edgecv explain``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from edgecv.commands.explain import EXPLAIN
from edgecv.data.digits import draw_digits
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2, read_image

LENET = ("lenet5", "--weights", "digits")


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    EXPLAIN.configure(parser)
    return EXPLAIN.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    images, labels = draw_digits(8, seed=5)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        cv2("a test").imwrite(str(folder / f"{index}_{label}.png"), image)
    return folder


@pytest.mark.parametrize("method", ["gradcam", "augmented-gradcam", "occlusion"])
def test_heat_maps(method: str, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, output = sorted(digits.iterdir())[0], tmp_path / "out.png"
    more = ("--count", "4") if method.startswith("augmented") else ()
    assert run(*LENET, "--image", picture, "--method", method, "--box", "--json", *more, "-o", output) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["class"] == int(picture.stem[-1])
    # 5×5 maps; 4 times as fine; squares of 32 / 7 pixels, half of that apart.
    assert facts["map"] == {"gradcam": [5, 5], "augmented-gradcam": [20, 20], "occlusion": [15, 15]}[method]
    source, drawn = read_image(picture), read_image(output)
    assert drawn.shape == source.shape
    left, top, right, bottom = facts["box"]
    assert 0 <= left < right <= source.shape[1] and 0 <= top < bottom <= source.shape[0]
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 10


def test_cam_of_a_bundle_is_the_networks(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = pytest.importorskip("edgecv_export").export
    import edgecv

    # 48 pixels, as the pictures are, and places of the map that cover as much of the picture as those of the network.
    words = ("mobilenet_v1", "--alpha", "0.1", "--input-size", "64", "--weights", tmp_path / "w.weights.h5")
    model = edgecv.create_model("mobilenet_v1", (64, 64, 3), alpha=0.1)
    model.save_weights(tmp_path / "w.weights.h5")
    export(model, tmp_path / "c.edgecv", format="onnx", cam=True)
    picture = sorted(digits.iterdir())[0]
    image = cv2("a test").resize(read_image(picture), (64, 64))
    cv2("a test").imwrite(str(tmp_path / "p.png"), image)
    found = []
    for first in (words, (tmp_path / "c.edgecv",)):
        more = ("--image", tmp_path / "p.png", "--method", "cam", "--class", "3", "--box", "--json")
        assert run(*first, *more, "-o", tmp_path / f"{len(found)}.png") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["map"] == found[1]["map"] == [2, 2] and found[0]["class"] == found[1]["class"] == 3
    assert found[1]["score"] == pytest.approx(0.001, abs=0.0005)  # of 1,000 classes
    for wrong, message in (
        (("--method", "gradcam"), "--method gradcam needs the network; of a bundle --method cam is drawn"),
        (("--method", "cam", "--layer", "x"), "--layer needs the network"),
        (("--method", "cam", "--alpha", "0.5"), r"is built already: --alpha cannot change it"),
        (("--method", "cam", "--class", "1000"), "class must be 0 to 999; received 1000"),
    ):
        with pytest.raises(InputError, match=message):
            run(tmp_path / "c.edgecv", "--image", tmp_path / "p.png", *wrong, "-o", tmp_path / "x.png")


def test_cam(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.png"
    words = ("mobilenet_v1", "--alpha", "0.1", "--input-size", "64", "--image", digits / "0_0.png", "--method", "cam")
    picture = sorted(digits.iterdir())[0]
    words = (*words[:6], picture, *words[7:])
    assert run(*words, "--class", "3", "-o", output) == 0
    assert "method cam  class 3" in capsys.readouterr().out
    assert read_image(output).shape == read_image(picture).shape


@pytest.mark.parametrize(
    ("method", "words", "facts"),
    [
        ("filters", (), {"filters": [6, 5, 5, 1]}),
        ("activations", ("--layer", "c3"), {"layer": "c3", "maps": [10, 10, 16]}),
        ("patches", ("--layer", "c3", "--unit", "2", "--count", "4"), {"unit": 2}),
        ("neighbours", ("--count", "2"), {"pictures": 8, "dimension": 16}),
        ("tsne", (), {"pictures": 8, "dimension": 16}),
    ],
)
def test_the_others(
    method: str, words: tuple[str, ...], facts: dict, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if method == "tsne":
        pytest.importorskip("sklearn")
    source = sorted(digits.iterdir())[0] if method == "activations" else digits
    image = () if method == "filters" else ("--image", source)
    assert run(*LENET, *image, "--method", method, *words, "--json", "-o", tmp_path / "out.png") == 0
    found = json.loads(capsys.readouterr().out)
    assert {key: found[key] for key in facts} == facts
    assert read_image(tmp_path / "out.png").std() > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "gradcam", "-o", "out.jpg"), "--output must end in .png; received out.jpg"),
        (("--method", "gradcam", "-o", "out.png"), "--method gradcam needs --image"),
        (("--method", "filters", "--box", "-o", "out.png"), "--box applies to cam, gradcam"),
        (("--method", "patches", "--image", "x", "-o", "out.png"), "--method patches needs --layer"),
        (
            ("--method", "tsne", "--image", "x", "--count", "0", "-o", "out.png"),
            "--count must be at least 1; received 0",
        ),
    ],
)
def test_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*LENET, *words)


def test_a_head_without_pooling_has_no_cam(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CAM needs global average pooling .* use grad-cam"):
        run(*LENET, "--image", sorted(digits.iterdir())[0], "--method", "cam", "-o", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_configuring_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import argparse, sys; from edgecv.commands.explain import EXPLAIN; "
        "EXPLAIN.configure(argparse.ArgumentParser()); sys.exit(bool({'numpy', 'keras', 'cv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
