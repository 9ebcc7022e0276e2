"""``edgecv train``: learns, survives interruptions, says in a line what it cannot take, and leads on to an export."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv.commands.train import TRAIN
from edgecv.data.digits import draw_digits
from edgecv_runtime.errors import CheckFailedError, InputError, OutputError, UnsupportedError


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    TRAIN.configure(parser)
    return TRAIN.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 drawn digits in folders named after them."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = draw_digits(200, seed=11)
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (folder / f"digit {label}").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"digit {label}" / f"{index:03d}.png"), image)
    return folder


def small(digits: Path, folder: Path, classes: int = 3, each: int = 8) -> Path:
    for label in range(classes):
        (folder / f"digit {label}").mkdir(parents=True)
        for path in sorted((digits / f"digit {label}").iterdir())[:each]:
            shutil.copy(path, folder / f"digit {label}")
    return folder


@pytest.mark.filterwarnings(r"ignore:skipped. \S+ 3/broken\.jpg is not an image that can be decoded:RuntimeWarning")
def test_from_a_folder_to_a_bundle(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import edgecv_runtime as ert
    from edgecv_runtime.cli.main import main

    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    shutil.copytree(digits, data)
    (data / "digit 3" / "broken.jpg").write_text("text")
    words = ("lenet5", "--data", data, "--weights", "digits", "--learning-rate", 0.01, "--epochs", 3, "--batch", 16)
    assert run(*words, "-o", "my.weights.h5") == 0
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert "lenet5: 180 pictures to learn, 20 held out, 10 classes, 1 skipped" in lines
    assert sum(line.startswith("epoch ") for line in lines) == 3
    found = said.out.splitlines()
    assert found[0].startswith("held out  top-1 ") and "(n = 20), epoch " in found[0]
    assert float(found[0].split()[3]) >= 80
    assert found[1] == "wrote my.weights.h5 and my.labels.txt"
    assert (tmp_path / "my.labels.txt").read_text().splitlines() == [f"digit {label}" for label in range(10)]
    assert not (tmp_path / "my.checkpoint").exists()

    # The hint, as it stands.
    hint = shlex.split(found[2].removeprefix("next: "))
    assert hint == [
        "edgecv", "export", "lenet5", "--weights", "my.weights.h5", "--labels", "my.labels.txt", "-o", "my.edgecv",
    ]  # fmt: skip
    pytest.importorskip("edgecv_export")
    assert main(hint[1:]) == 0
    model = ert.load(tmp_path / "my.edgecv")
    pictures = sorted(digits.rglob("*.png"))[::4]
    right = [model(path).top(1).labels[0] == path.parent.name for path in pictures]
    assert np.mean(right) > 0.85


@pytest.mark.slow
def test_the_same_seed_and_whole_models(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import keras

    data = small(digits, tmp_path / "data")
    words = ("lenet5", "--data", data, "--epochs", 2, "--batch", 8, "--augment", "digits", "--json", "--seed", 5)
    documents = []
    for name in ("a", "b"):
        assert run(*words, "-o", tmp_path / f"{name}.keras", "--eval", data) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0]["history"] == documents[1]["history"]
    assert documents[0]["pictures"] == {"learned": 24, "held_out": 24, "skipped": 0}
    assert documents[0]["classes"] == 3 and documents[0]["held_out"]["n"] == 24
    models = [keras.saving.load_model(tmp_path / f"{name}.keras") for name in ("a", "b")]
    assert all(np.array_equal(a, b) for a, b in zip(*(model.get_weights() for model in models), strict=True))
    hint = shlex.split(documents[0]["export"])
    assert hint == [
        "edgecv", "export", str(tmp_path / "a.keras"), "--color", "GRAY", "--resize", "stretch", "--interpolation",
        "linear", "--mean", "0", "--std", "255", "--labels", str(tmp_path / "a.labels.txt"), "--eval", str(data), "-o",
        str(tmp_path / "a.edgecv"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.keras", "a.weights.h5"])
def test_hints_of_other_networks_can_be_run(
    name: str, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import edgecv_runtime as ert
    from edgecv_runtime.cli.main import main

    pytest.importorskip("edgecv_export")
    data = small(digits, tmp_path / "data")
    words = ("mobilenet_v2", "--alpha", 0.1, "--input-size", 64, "--data", data, "--eval", data, "--epochs", 1)
    assert run(*words, "--json", "-o", tmp_path / name) == 0
    hint = shlex.split(json.loads(capsys.readouterr().out)["export"])
    assert main(hint[1:]) == 0
    manifest = ert.Bundle(tmp_path / "a.edgecv").manifest
    assert manifest.labels == ("digit 0", "digit 1", "digit 2")
    assert manifest.inputs[0].shape == (1, 64, 64, 3) and manifest.inputs[0].resize.crop_fraction == 0.875


def test_weights_of_other_classes_frozen_in_part(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import edgecv

    data = small(digits, tmp_path / "data")
    shipped = edgecv.create_model("lenet5", weights="digits")
    words = ("lenet5", "--data", data, "--weights", "digits", "--freeze-to", "s4", "--class-weights", "balanced")
    more = ("--epochs", 6, "--batch", 8, "--learning-rate", 0.01, "--fine-tune-rate", 0.0001, "--json")
    assert run(*words, *more, "-o", tmp_path / "t.weights.h5") == 0
    said = capsys.readouterr()
    assert "new head: output; frozen: 2 layers up to c3" in said.err
    assert json.loads(said.out)["held_out"]["top1"] == 1.0
    trained = edgecv.create_model("lenet5", classes=3, weights=tmp_path / "t.weights.h5")
    assert np.array_equal(trained.get_layer("c3").get_weights()[0], shipped.get_layer("c3").get_weights()[0])
    moved = np.abs(trained.get_layer("f6").get_weights()[0] - shipped.get_layer("f6").get_weights()[0]).max()
    assert 0 < moved <= 0.0001 * 6 * 2 * 1.01  # six epochs of two steps (21 pictures), the rate at most


class _StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("lenet5", (32, 32, 1), {}),
        pytest.param("mobilenet_v1", (32, 32, 3), {"alpha": 0.1, "dropout": 0.3}, marks=pytest.mark.slow),
    ],
)
def test_what_was_interrupted_ends_as_if_it_had_not_been(
    name: str,
    shape: tuple[int, int, int],
    options: dict[str, float],
    digits: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Adam's moments, a falling rate, augmentation; with dropout and batch norms. All of them have a state."""
    import edgecv
    from edgecv.commands import train as command

    data = small(digits, tmp_path / "data")
    given = [word for key, value in options.items() for word in (f"--{key}", value)]
    words = (
        name,
        "--data",
        data,
        "--input-size",
        32,
        *given,
        "--augment",
        "light",
        "--epochs",
        4,
        "--batch",
        8,
        "--json",
    )
    assert run(*words, "-o", tmp_path / "whole.weights.h5") == 0
    whole = json.loads(capsys.readouterr().out)

    line = command._line

    def stop(figures: dict[str, float], epochs: int) -> str:
        if figures["epoch"] == 2:
            raise _StoppedError
        return line(figures, epochs)

    monkeypatch.setattr(command, "_line", stop)
    with pytest.raises(_StoppedError):
        run(*words, "-o", tmp_path / "parts.weights.h5")
    monkeypatch.undo()
    assert not (tmp_path / "parts.weights.h5").exists()
    capsys.readouterr()
    with pytest.raises(InputError, match=r"belongs to a training with another seed \(0; this one has 1\)"):
        run(*words, "--seed", 1, "-o", tmp_path / "parts.weights.h5")
    assert run(*words, "-o", tmp_path / "parts.weights.h5") == 0
    said = capsys.readouterr()
    assert "going on after epoch 2 of 4" in said.err
    parts = json.loads(said.out)
    assert parts["resumed_at"] == 2 and parts["epochs"] == 4
    assert parts["history"] == whole["history"]
    models = [
        edgecv.create_model(name, shape, 3, tmp_path / f"{which}.weights.h5", **options) for which in ("whole", "parts")
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*(model.get_weights() for model in models), strict=True))


@pytest.mark.slow
def test_patience_ends_early_and_a_finished_training_is_not_repeated(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = small(digits, tmp_path / "data")
    # A rate of next to nothing brings no better epoch than the first few.
    words = ("lenet5", "--data", data, "--weights", "digits", "--learning-rate", "1e-12", "--epochs", 40)
    more = ("--patience", 2, "--checkpoint", tmp_path / "c", "--json", "-o", tmp_path / "p.weights.h5")
    assert run(*words, *more) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["epochs"] == first["best_epoch"] + 2 < 40
    (tmp_path / "p.weights.h5").unlink()
    assert run(*words, *more) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["history"] == first["history"] and again["held_out"] == first["held_out"]
    assert (tmp_path / "p.weights.h5").is_file() and (tmp_path / "c" / "state.json").is_file()


@pytest.mark.slow
def test_killed_at_any_time(digits: Path, tmp_path: Path) -> None:
    """kill -9, three times, in the midst of epochs and of writing; then the same command goes on to the same end."""
    data = small(digits, tmp_path / "data", classes=4, each=20)
    code = "import sys; from edgecv_runtime.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "train", "lenet5", "--data", str(data), "--epochs", "30", "--batch", "8"]
    words += ["--augment", "digits", "--json", "-o"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    whole = subprocess.run(
        [*words, str(tmp_path / "whole.weights.h5")], capture_output=True, text=True, check=True, env=environment
    )
    kills = 0
    for epochs in (1, 2, 5):
        process = subprocess.Popen(
            [*words, str(tmp_path / "parts.weights.h5")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        with process:
            seen = 0
            for line in process.stderr or ():
                seen += line.startswith("epoch ")
                if seen == epochs:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    break
    assert kills == 3 and not (tmp_path / "parts.weights.h5").exists()
    last = subprocess.run(
        [*words, str(tmp_path / "parts.weights.h5")], capture_output=True, text=True, check=True, env=environment
    )
    found, expected = json.loads(last.stdout), json.loads(whole.stdout)
    assert found["resumed_at"] >= 8
    assert found["history"] == expected["history"] and found["held_out"] == expected["held_out"]


def segmentation(folder: Path, count: int = 6) -> Path:
    """Bright discs on dark noise, and where they are."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        mask = np.zeros((48, 48), np.uint8)
        x, y = generator.integers(12, 36, 2).tolist()
        cv2.circle(mask, (x, y), 9, 1, -1)
        image = (40 + 150 * mask + generator.integers(0, 40, mask.shape)).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{index}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), mask)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("patches", [(), ("--patches", 24)])
def test_segmentation_whole_and_in_patches(
    patches: tuple[Any, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = segmentation(tmp_path / "data")
    size = 32 if patches else 48
    words = (
        "unet_same",
        "--filters",
        4,
        "--input-size",
        size,
        "--data",
        data,
        "--epochs",
        12,
        "--batch",
        4 if patches else 1,
    )
    more = ("--learning-rate", 0.01, "--class-weights", "balanced", "--augment", "microscopy", "--holdout", 0.34)
    assert run(*words, *more, *patches, "--json", "-o", tmp_path / "s.weights.h5") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["held_out"]["n"] == (8 if patches else 2)  # two pictures of 48 are four tiles of 32 each
    assert document["held_out"]["miou"] > 0.6
    assert document["pictures"] == {"learned": 4, "held_out": 2, "skipped": 0}
    assert shlex.split(document["export"])[:9] == [
        "edgecv", "export", "unet_same", "--filters", "4", "--input-size", f"{size}x{size}", "--weights",
        str(tmp_path / "s.weights.h5"),
    ]  # fmt: skip


def waves(folder: Path, each: int = 12) -> Path:
    """Slow and quick sines of two channels, 32 values long: of each class a stack in one file, and one alone."""
    generator = np.random.default_rng(0)
    for name, turns in (("quick", 6), ("slow", 1)):
        (folder / name).mkdir(parents=True)
        phases = generator.uniform(0, 2 * np.pi, (each, 1, 1))
        stack = np.sqrt(2) * np.sin(2 * np.pi * turns * np.arange(32)[None, :, None] / 32 + phases + [0, 1])
        np.save(folder / name / "stack.npy", stack[1:])
        np.savez(folder / name / "one.npz", stack[0])
    return folder


def test_signals_to_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import edgecv_runtime as ert
    from edgecv_runtime.cli.main import main

    pytest.importorskip("edgecv_export")
    data = waves(tmp_path / "data")
    words = ("signal_fcn", "--alpha", 0.1, "--input-size", 32, "--input-channels", 2, "--data", data, "--eval", data)
    more = ("--epochs", 8, "--batch", 4, "--learning-rate", 0.01, "--json", "-o", tmp_path / "s.weights.h5")
    assert run(*words, *more) == 0
    said = capsys.readouterr()
    assert "signal_fcn: 24 signals to learn, 24 held out, 2 classes" in said.err
    document = json.loads(said.out)
    assert document["held_out"]["top1"] == 1.0 and document["held_out"]["n"] == 24
    hint = shlex.split(document["export"])
    assert hint == [
        "edgecv", "export", "signal_fcn", "--alpha", "0.1", "--input-size", "32", "--input-channels", "2", "--classes",
        "2", "--weights", str(tmp_path / "s.weights.h5"), "--labels", str(tmp_path / "s.labels.txt"), "--eval",
        str(data), "-o", str(tmp_path / "s.edgecv"),
    ]  # fmt: skip
    assert main(hint[1:]) == 0
    with ert.load(tmp_path / "s.edgecv") as model:
        assert model(data / "slow" / "one.npz").labels[0] == "slow"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v.keras", "v.weights.h5"])
def test_volumes_to_a_bundle(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgecv_runtime.bundle import Bundle
    from edgecv_runtime.cli.main import main

    pytest.importorskip("edgecv_export")
    generator = np.random.default_rng(1)
    for label, half in enumerate((slice(0, 6), slice(6, 12))):  # which half of the depth is full
        (tmp_path / "data" / str(label)).mkdir(parents=True)
        volumes = generator.normal(-1, 0.2, (12, 12, 16, 16))
        volumes[:, half] += 2
        np.save(tmp_path / "data" / str(label) / "stack.npy", volumes)
    words = (
        "voxnet",
        "--input-size",
        16,
        "--input-depth",
        12,
        "--data",
        tmp_path / "data",
        "--eval",
        tmp_path / "data",
    )
    more = ("--epochs", 6, "--batch", 4, "--learning-rate", 0.002, "--json", "-o", tmp_path / name)
    assert run(*words, *more) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["held_out"]["top1"] == 1.0
    assert main(shlex.split(document["export"])[1:]) == 0
    report = Bundle(tmp_path / "v.edgecv").report()
    assert report["accuracy"]["artefact"]["top1"] == 1.0 and report["accuracy"]["artefact"]["n"] == 24


def test_what_signals_cannot_have(tmp_path: Path, digits: Path) -> None:
    words = ("signal_fcn", "--data", waves(tmp_path / "data"), "-o", tmp_path / "s.weights.h5")
    with pytest.raises(InputError, match="--augment is for pictures; signal_fcn takes signals"):
        run(*words, "--augment", "light")
    with pytest.raises(
        InputError, match=r"must have shape \(128, 1\); received \(32, 2\): give --input-size, --input-"
    ):
        run(*words)
    with pytest.raises(InputError, match="holds no labelled signal"):
        run("signal_fcn", "--data", digits, "-o", tmp_path / "s.weights.h5")


def test_a_data_set_of_keras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    images, labels = draw_digits(60, seed=12)
    sets = (images[:40, 2:30, 2:30], labels[:40]), (images[40:, 2:30, 2:30], labels[40:])
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: sets)
    words = ("lenet5", "--data", "keras:mnist", "--weights", "digits", "--epochs", 1, "--json")
    assert run(*words, "-o", tmp_path / "m.weights.h5") == 0
    said = capsys.readouterr()
    assert "lenet5: 40 pictures to learn, 20 held out, 10 classes" in said.err
    assert json.loads(said.out)["held_out"]["n"] == 20
    assert (tmp_path / "m.labels.txt").read_text().split() == list("0123456789")
    assert run(*words, "--holdout", 0.25, "-o", tmp_path / "h.weights.h5") == 0
    assert json.loads(capsys.readouterr().out)["pictures"]["learned"] < 40
    for more, message in (
        (("--eval", tmp_path), "--data keras:mnist is for classifiers of pictures, without --eval"),
        (("--classes", 7), "keras:mnist holds 10 classes; received --classes 7"),
    ):
        with pytest.raises(InputError, match=message):
            run(*words, *more, "-o", tmp_path / "x.weights.h5")


@pytest.mark.slow
def test_tensorboard(digits: Path, tmp_path: Path) -> None:
    data = small(digits, tmp_path / "data")
    words = ("lenet5", "--data", data, "--epochs", 1, "--tensorboard", tmp_path / "t", "--json")
    assert run(*words, "-o", tmp_path / "b.weights.h5") == 0
    files = [path for path in (tmp_path / "t").rglob("events.out.tfevents*") if path.stat().st_size > 100]
    assert {path.parent.name for path in files} == {"train", "validation"}


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            ("mobilefacenet",),
            UnsupportedError,
            "edgecv train is for classification, segmentation, .*; mobilefacenet is",
        ),
        (("lenet",), InputError, "there is no model 'lenet': did you mean lenet5"),
        (("lenet5", "-o", "x.h5"), InputError, r"--output must end in .weights.h5 or .keras; received x.h5"),
        (("lenet5", "-o", "none/x.keras"), OutputError, "there is no folder none that can be written to"),
        (("unet_same", "-o", "x.keras"), InputError, "a segmenter is written as .weights.h5; received x.keras"),
        (("lenet5", "--freeze-to", "c3"), InputError, "--freeze-to is for a network that is trained already: it needs"),
        (("lenet5", "--fine-tune-rate", "1"), InputError, "--fine-tune-rate is for a network that is trained already"),
        (("lenet5", "--epochs", "0"), InputError, "epochs must be at least 1; received 0"),
        (("lenet5", "--patience", "0"), InputError, "patience must be at least 1; received 0"),
        (("lenet5", "--learning-rate", "0"), InputError, "learning_rate must be above 0; received 0.0"),
        (("lenet5", "--augment", "foto"), InputError, "there is no augmentation 'foto': did you mean photos"),
        (("lenet5", "--class-weights", "odd"), InputError, "class_weights must be balanced, or not given"),
        (("lenet5", "--holdout", "1"), InputError, "--holdout must be a share between 0 and 1; received 1.0"),
        (("lenet5", "--classes", "4"), InputError, "holds 3 classes; received --classes 4"),
        (("lenet5", "--patches", "4"), InputError, "--patches is for segmentation; a classifier learns whole pictures"),
        (("lenet5", "--augment", "photos"), InputError, "augmentation 'photos' is for RGB pictures"),
        (("lenet5", "--weights", "digits", "--freeze-to", "c4"), InputError, "lenet5 has no layer 'c4': did you mean"),
        (("unet_same",), InputError, "DIR/images and DIR/masks are required"),
    ],
)
def test_refused(
    words: tuple[str, ...],
    error: type[Exception],
    message: str,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = small(digits, tmp_path / "data", each=3)
    output = () if "-o" in words else ("-o", "x.weights.h5")
    with pytest.raises(error, match=message):
        run(*words, "--data", data, *output)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.filterwarnings(r"ignore:skipped. \S+ 4/a\.png is not an image that can be decoded:RuntimeWarning")
def test_data_that_cannot_be_learned_from(digits: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "x.weights.h5")
    with pytest.raises(InputError, match="at least two classes; all 2 pictures are of digit 0"):
        run("lenet5", "--data", small(digits, tmp_path / "one", 1, 2), *output)
    single = small(digits, tmp_path / "single", 3, 1)
    with pytest.raises(InputError, match="to hold pictures out, a class must have two; the 3 pictures are of one each"):
        run("lenet5", "--data", single, *output)
    (single / "digit 4").mkdir()
    (single / "digit 4" / "a.png").write_text("text")
    with pytest.raises(InputError, match="every class needs pictures that can be read; digit 4 has none"):
        run("lenet5", "--data", single, *output)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "labels.csv").write_text("file,class_index\na.png,0\nb.png,4\n")
    with pytest.raises(InputError, match="every class needs pictures; .* has none for index 1 and 2 more"):
        run("lenet5", "--data", tmp_path / "list", *output)
    with pytest.raises(InputError, match="at least a picture of each of the 5 classes; received 2 pictures"):
        run("lenet5", "--data", tmp_path / "list", "--classes", 5, *output)
    binary = segmentation(tmp_path / "binary", 2)
    for path in (binary / "masks").iterdir():
        cv2.imwrite(str(path), 255 * cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    with pytest.raises(InputError, match=r"masks of at least two classes; they hold \[0\] \(255 means unlabelled"):
        run("unet_same", "--filters", 4, "--input-size", 48, "--data", binary, *output)


@pytest.mark.slow
def test_a_loss_that_explodes(digits: Path, tmp_path: Path) -> None:
    words = ("lenet5", "--activation", "relu", "--data", small(digits, tmp_path / "data"), "--learning-rate", "1e30")
    with pytest.raises(CheckFailedError, match=r"the loss is no longer finite in epoch \d: lower --learning-rate"):
        run(*words, "--epochs", 5, "--batch", 4, "-o", tmp_path / "x.weights.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_help_names_the_recipes_there_are() -> None:
    from edgecv.augment import RECIPES
    from edgecv.commands.train import _recipes

    assert _recipes().replace(" or ", ", ").split(", ") == list(RECIPES)


def test_configuring_loads_nothing_heavy() -> None:
    code = (
        "import argparse, sys; from edgecv.commands.train import TRAIN; "
        "TRAIN.configure(argparse.ArgumentParser()); sys.exit(bool({'numpy', 'keras', 'cv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_is_a_command() -> None:
    from importlib.metadata import entry_points

    points: Callable[..., Any] = entry_points
    assert [point.value for point in points(group="edgecv.commands", name="train")] == ["edgecv.commands.train:TRAIN"]
