"""``edgecv export``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgecv_runtime as ert
from edgecv_export.reference import Fidelity, Reference
from edgecv_runtime.evaluate import ClassificationAccuracy

LENET = ("export", "lenet5", "--weights", "digits")


def test_int8_with_everything(edgecv_command: Callable[..., Any], pictures: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n")
    out = tmp_path / "l.edgecv"
    numbered = tmp_path / "data"
    numbered.mkdir()
    (numbered / "images").symlink_to(pictures)
    files = sorted(pictures.rglob("*.png"))
    rows = [f"{path.relative_to(pictures)},{path.parent.name}" for path in files]
    (numbered / "labels.csv").write_text("\n".join(["file,class_index", *rows]))
    ran = edgecv_command(
        *LENET, "--format", "onnx", "--precision", "int8", "--calibrate", pictures, "--eval", numbered, "--max-drop", 5,
        "--labels", names, "-o", out,
    )  # fmt: skip
    assert ran.status == 0, ran.err
    # One of 20 pictures is 5 points, all of which the first candidate has left.
    assert re.fullmatch(
        r"✓ minmax ranges: top-1 100\.00 % \(\+0\.00\), 100\.0 % as in float, \d+ kB, \d+\.\d\d ms\n", ran.err
    ), ran.err
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "size", "parity", "latency", "images", "accuracy", "chosen", "advice", "advice", "wrote",
    ]  # fmt: skip
    assert "61,706 parameters, 416,520 MACs" in lines[0]
    assert "against the float source on 4 calibration images" in lines[1]
    assert "onnxruntime" in lines[2]
    assert lines[3] == "images    20 for calibration"
    assert lines[4] == "accuracy  top-1 100.00 % → 100.00 % on 20 images, 100.0 % answered as in float"
    assert lines[5] == "chosen    minmax ranges (int8), of 1 tried"
    assert lines[6] == "advice    Convolutions with fewer than 8 output channels: c1"
    assert lines[8] == f"wrote {out}"
    bundle = ert.Bundle(out)
    assert bundle.manifest.labels[7] == "seven"
    assert bundle.manifest.name == "l"


def test_json(edgecv_command: Callable[..., Any], tmp_path: Path) -> None:
    ran = edgecv_command(*LENET, "-o", tmp_path / "l.edgecv", "--json")
    assert ran.status == 0
    bundle = ert.Bundle(tmp_path / "l.edgecv")
    assert ran.json == {
        "bundle": str(tmp_path / "l.edgecv"),
        "manifest": bundle.manifest.to_dict(),
        "report": bundle.report(),
    }


def test_random_weights_are_warned_of(edgecv_command: Callable[..., Any], tmp_path: Path) -> None:
    ran = edgecv_command("export", "lenet5", "--input-size", "28", "--classes", "3", "-o", tmp_path / "l.edgecv")
    assert ran.status == 0
    assert ran.err == "warning: no --weights: lenet5 is exported with random weights\n"
    manifest = ert.Bundle(tmp_path / "l.edgecv").manifest
    assert (manifest.inputs[0].shape, manifest.outputs[0].shape) == ((1, 28, 28, 1), (1, 3))


@pytest.mark.filterwarnings("default:calibration image skipped")
def test_an_unreadable_picture_is_one_line(edgecv_command: Callable[..., Any], pictures: Path, tmp_path: Path) -> None:
    (pictures / "text.jpg").write_text("text")
    ran = edgecv_command(*LENET, "--precision", "int8", "--calibrate", pictures, "-o", tmp_path / "l.edgecv")
    assert ran.status == 0
    assert ran.err == (
        f"warning: calibration image skipped: {pictures}/text.jpg is not an image that can be decoded (4 bytes)\n"
    )
    assert "images    20 for calibration, 1 skipped\n" in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("export", "lenet6"), r"edgecv export: there is no model 'lenet6': did you mean lenet5 .*"),
        ((*LENET, "--precision", "int4"), r"edgecv export: precision must be one of fp32, .*; received 'int4'"),
        ((*LENET, "--format", "coreml"), r"edgecv export: format must be one of tflite, .*; received 'coreml'"),
        (
            (*LENET, "--format", "onnx", "--precision", "int16x8"),
            r"edgecv export: int16x8 \(.*\) is a TFLite scheme that ONNX has no kernels for: .*",
        ),
        (
            (*LENET, "--precision", "mixed", "--calibrate", "{tmp}"),
            r"edgecv export: mixed needs to know what stays in float: name layers \(--float-layers A,B\), or .*",
        ),
        (
            (*LENET, "--float-layers", "c1"),
            r"edgecv export: layers stay in float in precision mixed only; received precision fp32",
        ),
        (
            (*LENET, "--precision", "int8", "--calibrate", "{tmp}", "--train", "{tmp}"),
            r"edgecv export: training pictures serve the search for int8 or mixed within a budget: .*",
        ),
        (
            (
                *LENET,
                "--precision",
                "mixed",
                "--calibrate",
                "{tmp}",
                "--eval",
                "{tmp}",
                "--max-drop",
                "1",
                "--float-layers",
                "c1",
            ),
            r"edgecv export: with max_drop the search chooses: leave out float_layers and recipe .*",
        ),
        ((*LENET, "--report", "page.txt"), r"edgecv export: a report's page must end in \.html; received 'page.txt'"),
        (("export", "none.keras", "--mean", "0", "--std", "1"), r"edgecv export: no file at none\.keras"),
        (("export", "none.h5"), r"edgecv export: what none\.h5 expects of a pixel must be given: --mean and --std .*"),
        (
            ("export", "none.h5", "--weights", "digits", "--mean", "0", "--std", "1"),
            r"edgecv export: none\.h5 holds its own weights; received --weights digits",
        ),
        (("export", "none.keras", "--alpha", "0.5"), r"edgecv export: .*alpha.*none\.keras.*|.*none\.keras.*alpha.*"),
        ((*LENET, "--target", "rpi5"), r"edgecv export: target must be one of alif-e7, .*pi-4, .*; received 'rpi5'"),
        (
            (*LENET, "--precision", "int8"),
            r"edgecv export: int8 needs calibration images: pass a folder of typical pictures \(--calibrate DIR\)",
        ),
        ((*LENET, "--task", "embedding"), r"edgecv export: lenet5 is for classification; received --task embedding"),
        ((*LENET, "--max-drop", "1"), r"edgecv export: max_drop needs labelled pictures .*: pass --eval DIR too"),
        ((*LENET, "--calibrate", "{tmp}/none"), r"edgecv export: no folder at \S+/none"),
        ((*LENET, "--calibrate", "{tmp}"), r"edgecv export: \S+ holds no image \(.*\)"),
        ((*LENET, "--eval", "{tmp}/none"), r"edgecv export: no folder at \S+/none"),
        ((*LENET, "--alpha", "0.5"), r"edgecv export: .*alpha.*"),
        (("export", "lenet5", "--weights", "imagenet"), r"edgecv export: lenet5 has no official weights: .*"),
        (("export", "model.tflite"), r"edgecv export: no model file at model\.tflite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.filterwarnings("default")
def test_bad_input_is_one_line_and_status_2(
    words: tuple[str, ...], message: str, edgecv_command: Callable[..., Any], tmp_path: Path
) -> None:
    ran = edgecv_command(*(word.replace("{tmp}", str(tmp_path)) for word in words), "-o", tmp_path / "out.edgecv")
    assert ran.status == 2
    assert ran.out == ""
    lines = [line for line in ran.err.splitlines() if not line.startswith("warning: no --weights")]
    assert len(lines) == 1, ran.err
    assert re.fullmatch(message, lines[0]), lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no label file at"),
        (b"", "is empty: one class name a line is required"),
        (b"\n\n\n", "is empty"),
        (b"\xff\xfe\x00\x01\x80", "must be UTF-8 text, one class name a line"),
        (b"a\nb\nc\n", "there must be one label per class: 10 classes, 3 labels"),
    ],
    ids=["missing", "empty", "blank", "binary", "three"],
)
def test_label_files(content: bytes | None, message: str, edgecv_command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    if content is not None:
        path.write_bytes(content)
    ran = edgecv_command(*LENET, "--labels", path, "-o", tmp_path / "out.edgecv")
    assert ran.status == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out.edgecv").exists()


def test_labels_with_a_byte_order_mark_and_blank_lines_at_the_end(
    edgecv_command: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffnull\r\n".encode() + b"one \r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\r\nneun\r\n\r\n\r\n")
    assert edgecv_command(*LENET, "--labels", path, "-o", tmp_path / "l.edgecv").status == 0
    labels = ert.Bundle(tmp_path / "l.edgecv").manifest.labels
    assert labels == ("null", "one", "2", "3", "4", "5", "6", "7", "8", "neun")


def test_where_the_bundle_cannot_go(edgecv_command: Callable[..., Any], tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "l.tflite", "a bundle's name must end in .edgecv; received 'l.tflite'"),
        (tmp_path / "no" / "l.edgecv", f"cannot write {tmp_path}/no/l.edgecv: there is no folder {tmp_path}/no"),
    ):
        ran = edgecv_command(*LENET, "-o", path)
        assert (ran.status, ran.err) == (2, f"edgecv export: {message}\n")
    (tmp_path / "folder.edgecv").mkdir()
    ran = edgecv_command(*LENET, "-o", tmp_path / "folder.edgecv")
    assert "a folder of that name is there" in ran.err


def test_too_large_a_drop_is_status_1(
    edgecv_command: Callable[..., Any], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = Fidelity(ClassificationAccuracy(top1=0.9, top5=1.0, n=20, skipped=0), 0.9, 0, 2, ())
    monkeypatch.setattr(Reference, "compare", lambda *_: worse)
    ran = edgecv_command(*LENET, "--eval", pictures, "--max-drop", 5, "-o", tmp_path / "l.edgecv")
    assert ran.status == 1
    assert ran.err == (
        "edgecv export: top-1 falls from 100.00 % to 90.00 %: 10.00 points, 5 were allowed; nothing was written\n"
    )
    assert not (tmp_path / "l.edgecv").exists()


# -- a search, and models from files -----------------------------------------------------------------------------


@pytest.fixture
def lamp_words(
    lamps: Any, lamp_reader: Callable[[int], Any], tmp_path: Path
) -> Callable[[int], tuple[str | Path, ...]]:
    """``lamp_words(wild)``: the command for a whole model.keras, which a search within no drop is asked of."""

    def build(wild: int) -> tuple[str | Path, ...]:
        file = tmp_path / "lamps.keras"
        lamp_reader(wild).save(file)
        return (
            "export", file, "--mean", "0", "--std", "255", "--precision", "int8", "--calibrate", lamps.folder,
            "--eval", lamps.folder, "--max-drop", "0", "-o", tmp_path / "l.edgecv", "--report", tmp_path / "page.html",
        )  # fmt: skip

    return build


def test_a_search_that_ends_with_a_layer_in_float(
    edgecv_command: Callable[..., Any], lamp_words: Callable[[int], Any], lamps: Any, tmp_path: Path
) -> None:
    ran = edgecv_command(*lamp_words(1))
    assert ran.status == 0, ran.err
    told = ran.err.splitlines()
    assert [line.partition(":")[0] for line in told] == [
        "  minmax ranges", "  channels equalized", "  mse ranges", "  percentile ranges", "  entropy ranges",
        "  minmax ranges, 10 images", "✓ wild_0 in float",
    ]  # fmt: skip
    assert "top-1 25.00 % (-75.00), 25.0 % as in float" in told[0]
    assert "chosen    wild_0 in float (mixed), of 7 tried" in ran.out.splitlines()
    manifest = ert.Bundle(tmp_path / "l.edgecv").manifest
    assert (manifest.precision, manifest.architecture["name"]) == ("mixed", "custom")
    with ert.load(tmp_path / "l.edgecv") as model:
        assert [model(image).indices[0] for image in lamps.images[:8]] == lamps.classes[:8]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for part in ("wild_0 in float", "percentile ranges", "75", "<svg"):
        assert part in page, part


def test_a_search_that_fails_writes_a_page_and_no_bundle(
    edgecv_command: Callable[..., Any], lamp_words: Callable[[int], Any], tmp_path: Path
) -> None:
    ran = edgecv_command(*lamp_words(3))
    assert (ran.status, ran.out) == (1, "")
    *told, where, error = ran.err.splitlines()
    assert len(told) == 9
    assert where == f"what was tried: {tmp_path / 'page.html'}"
    assert re.fullmatch(
        r"edgecv export: none of 9 candidates is within 0 points: the best \(minmax ranges\) takes top-1 from "
        r"100\.00 % to 25\.00 %, 75\.00 points; most sensitive: (wild_\d, ){2}wild_\d; what may help: training "
        r"pictures \(--train DIR\), more calibration pictures, fp16; nothing was written",
        error,
    ), error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lamps.keras", "page.html"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for part in ("16-bit activations", "2 layers in float", "wild_2"):
        assert part in page, part


def test_layers_by_name(edgecv_command: Callable[..., Any], pictures: Path, tmp_path: Path) -> None:
    words = ("--precision", "mixed", "--calibrate", pictures, "--float-layers", " c1, output ,")
    ran = edgecv_command(*LENET, *words, "-o", tmp_path / "l.edgecv", "--json")
    assert ran.status == 0, ran.err
    assert ran.json["report"]["recipe"] == {"float_layers": ["c1", "output"]}
    assert ran.json["manifest"]["outputs"][0]["dtype"] == "float32"
    ran = edgecv_command(*LENET, *words[:-1], "c9", "-o", tmp_path / "m.edgecv")
    assert (ran.status, ran.err) == (
        2,
        "edgecv export: float_layers must name layers of 'lenet5'; 'c9' is none: see "
        "[layer.name for layer in model.layers]\n",
    )


def test_a_whole_model_of_keras_2(edgecv_command: Callable[..., Any], tmp_path: Path, chain: Any) -> None:
    """Its depthwise layers carry an argument that Keras 3 does not take."""
    import h5py

    file = tmp_path / "old.h5"
    chain.save(file)
    with h5py.File(file, "r+") as opened:
        config = json.loads(opened.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        opened.attrs["model_config"] = json.dumps(config)
    words = ("--mean", "127.5", "--std", "127.5", "--resize", "crop", "--crop-fraction", "0.875")
    ran = edgecv_command("export", file, *words, "-o", tmp_path / "o.edgecv", "--json")
    assert ran.status == 0, ran.err
    assert ran.json["report"]["parameters"] == chain.count_params()
    assert ran.json["manifest"]["architecture"] == {"name": "custom", "keras_name": "chain"}
    resize = ran.json["manifest"]["inputs"][0]["resize"]
    assert (resize["mode"], resize["crop_fraction"]) == ("crop", 0.875)
    assert ert.verify(tmp_path / "o.edgecv").passed


def test_a_device_decides_format_and_precision(edgecv_command: Callable[..., Any], tmp_path: Path) -> None:
    ran = edgecv_command(*LENET, "--target", "intel-n100", "-o", tmp_path / "l.edgecv", "--json")
    assert ran.status == 0, ran.err
    manifest = ran.json["manifest"]
    assert (manifest["format"], manifest["precision"], manifest["target"]) == ("openvino", "fp32", "intel-n100")
    assert ran.json["report"]["target"]["backend"] == "openvino"
    assert "int8 would need calibration pictures" in ran.err
    ran = edgecv_command(*LENET, "--format", "openvino", "--target", "pi-4", "-o", tmp_path / "p.edgecv")
    assert ran.status == 2 and "formats worth using on Raspberry Pi 4 Model B are tflite, onnx" in ran.err


def test_a_microcontroller_gets_a_c_array(edgecv_command: Callable[..., Any], pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.edgecv"
    ran = edgecv_command(*LENET, "--target", "stm32h7", "--calibrate", pictures, "-o", out, "--json")
    assert ran.status == 0, ran.err
    assert ran.json["manifest"]["precision"] == "int8" and ran.json["report"]["device"]["target"] == "stm32h7"
    assert "micro/model_data.c" in ran.json["manifest"]["members"]
    assert ert.verify(out).passed


# -- in a process of its own -------------------------------------------------------------------------------------

HEAVY = ("tensorflow", "keras", "onnx", "onnxruntime", "openvino", "tf2onnx")
PROBE = f"""
import sys
from edgecv_runtime.evaluate import ClassificationAccuracy
from edgecv_runtime.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as left:
    status = left.code
print("IMPORTED", *[name for name in {HEAVY} if name in sys.modules])
raise SystemExit(status)
"""


def probe(*words: str) -> tuple[int, str, list[str]]:
    ran = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stderr, ran.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("export", "--help"), 0),
        (("wrap", "--help"), 0),
        (("quickstart", "--help"), 0),
        (("export", "lenet5"), 2),
        (("export", "lenet6", "-o", "l.edgecv"), 2),
        (("export", "lenet5", "--precision", "int4", "-o", "l.edgecv"), 2),
        (("export", "lenet5", "--precision", "int8", "-o", "l.edgecv"), 2),
        (("export", "lenet5", "--max-drop", "1", "-o", "l.edgecv"), 2),
        (("export", "lenet5", "--alpha", "1", "-o", "l.edgecv"), 2),
        (("export", "lenet5", "-o", "l.zip"), 2),
        (("wrap", "absent.onnx", "--task", "classification", "-o", "w.edgecv"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_help_and_bad_arguments_import_nothing_heavy(words: tuple[str, ...], status: int) -> None:
    left, err, imported = probe(*words)
    assert left == status, err
    assert imported == []
    assert "Traceback" not in err


def test_a_terminal_sees_no_remarks_of_the_converters(tmp_path: Path) -> None:
    """TensorFlow and its converters write past Python; of it all nothing reaches the user."""
    code = """
import sys
from edgecv_runtime.cli.main import main
for format in ("tflite", "onnx", "openvino"):
    words = ["--precision", "int8", "--calibrate", sys.argv[1], "--format", format, "-o", f"{sys.argv[2]}/l.edgecv"]
    assert main(["export", "lenet5", "--weights", "digits", *words]) == 0
"""
    import cv2

    from edgecv.data.digits import draw_digits

    for index, image in enumerate(draw_digits(10, seed=0)[0]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    words = [sys.executable, "-c", code, str(tmp_path), str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.returncode == 0
