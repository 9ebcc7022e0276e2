"""Models from elsewhere become bundles that answer as the files do."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_export.wrapping import read_precision, wrap
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import BackendError, InputError, MissingFileError, OutputError, UnsupportedError
from edgecv_runtime.evaluate import evaluate_classification, read_labelled_images
from edgecv_runtime.manifest import Normalization, Resize

ORDINARY = Normalization((127.5,) * 3, (127.5,) * 3)


@pytest.fixture
def stripped(made: Callable[..., Any], tmp_path: Path) -> Callable[[str, str], Path]:
    """A LeNet-5 artefact without our metadata, as a file from elsewhere."""

    def strip(format: str, precision: str) -> Path:
        artefact = made("lenet", format, precision).bundle.artefact()
        folder = tmp_path / f"{format}_{precision}"
        folder.mkdir()
        content = artefact.model
        if format == "onnx":
            import onnx

            model = onnx.load_from_string(content)
            del model.metadata_props[:]
            content = model.SerializeToString()
        elif format == "openvino":
            content = re.sub(rb'\s*<edgecv value="[^"]*"\s*/>', b"", content)
        else:
            from tensorflow.lite.tools import flatbuffer_utils

            graph = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
            graph.metadata = None
            content = bytes(flatbuffer_utils.convert_object_to_bytearray(graph))
        for name, data in {**artefact.members(), next(iter(artefact.members())): content}.items():
            (folder / name).write_bytes(data)
        return next(path for path in sorted(folder.iterdir()) if path.suffix != ".bin")

    return strip


def test_our_own_artefacts_without_their_metadata(
    combination: tuple[str, str],
    made: Callable[..., Any],
    stripped: Callable[..., Path],
    tmp_path: Path,
    digits: tuple[list[np.ndarray], np.ndarray],
) -> None:
    format, precision = combination
    source, one = stripped(format, precision), made("lenet", format, precision)
    before = source.read_bytes()
    activation = one.bundle.manifest.decoder.parameters["activation"]
    labels = [str(digit) for digit in range(10)]
    path = tmp_path / "wrapped.edgecv"
    wrapped = wrap(source, path, color="GRAY", activation=activation, labels=labels)
    assert wrapped.manifest.precision == precision  # read off the file
    assert wrapped.manifest.architecture == {"name": "foreign", "file": source.name}
    assert wrapped.manifest.name == "wrapped"
    with ert.load(path) as model, ert.load(one.path) as original:
        for image in digits[0][:5]:
            np.testing.assert_array_equal(model.outputs(image)[0], original.outputs(image)[0])
        assert model(digits[0][0]).top(1).labels == (str(digits[1][0]),)
    assert ert.verify(path).passed
    assert source.read_bytes() == before


def test_read_precision_of_the_mobilenets(combination: tuple[str, str], made: Callable[..., Any]) -> None:
    assert read_precision(made("mobilenet", *combination).bundle.artefact()) == combination[1]


def test_a_bundle_of_a_bundle(made: Callable[..., Any], tmp_path: Path) -> None:
    """A bare artefact of ours is wrapped anew: what is asked for counts, not what it carries."""
    wrapped = wrap(made("lenet", "onnx", "fp32").bare, tmp_path / "w.edgecv", color="GRAY", name="again")
    assert wrapped.manifest.name == "again"
    assert ert.Bundle(tmp_path / "w.edgecv").artefact().manifest().architecture["name"] == "foreign"


# -- models made by hand -----------------------------------------------------------------------------------------


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    """Mean colour per channel: ``onnx_file([1, 3, 8, 8])`` answers (1, 3), with one input and one output."""

    def build(
        shape: list[Any], *, inputs: int = 1, outputs: int = 1, kind: str = "FLOAT", name: str = "mean.onnx"
    ) -> Path:
        import onnx
        from onnx import TensorProto, helper

        dtype = getattr(TensorProto, kind)
        axes = [1, 2] if shape[-1] in (1, 3) and shape[1] not in (1, 3) else [2, 3]
        nodes = [helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT)]
        nodes += [
            helper.make_node("ReduceMean", ["real"], [f"scores{index}"], axes=axes, keepdims=0)
            for index in range(outputs)
        ]
        graph = helper.make_graph(
            nodes,
            "mean",
            [helper.make_tensor_value_info(("pixels", "more")[index], dtype, shape) for index in range(inputs)],
            [helper.make_tensor_value_info(f"scores{i}", TensorProto.FLOAT, [1, 3]) for i in range(outputs)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return build


def answer(path: Path, image: np.ndarray) -> list[float]:
    with ert.load(path) as model:
        return model.outputs(image)[0][0].tolist()


RED = np.full((20, 30, 3), (255, 128, 0), np.uint8)


@pytest.mark.parametrize(("shape", "layout"), [([1, 3, 8, 9], "NCHW"), ([1, 8, 9, 3], "NHWC")])
@pytest.mark.parametrize(
    ("color", "normalization", "expected"),
    [
        ("RGB", Normalization((0.0,) * 3, (1.0,) * 3), [255, 128, 0]),
        ("BGR", Normalization((0.0,) * 3, (1.0,) * 3), [0, 128, 255]),
        ("RGB", Normalization((55.0, 28.0, 0.0), (100.0, 50.0, 1.0)), [2, 2, 0]),
    ],
)
def test_a_hand_made_model(
    shape: list[int],
    layout: str,
    color: str,
    normalization: Normalization,
    expected: list[float],
    onnx_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    path = tmp_path / "w.edgecv"
    (spec,) = wrap(onnx_file(shape), path, color=color, normalization=normalization).manifest.inputs
    assert (spec.layout, spec.size, spec.color) == (layout, (8, 9), color)
    np.testing.assert_allclose(answer(path, RED), expected, atol=1e-4)


def test_integer_pixels_need_no_normalisation(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    manifest = wrap(onnx_file([1, 8, 8, 3], kind="UINT8"), tmp_path / "w.edgecv").manifest
    assert manifest.inputs[0].normalization is None
    assert answer(tmp_path / "w.edgecv", RED) == [255, 128, 0]


def test_resize_activation_and_pictures(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    rule = Resize(mode="crop", crop_fraction=0.5)
    wrapped = wrap(
        onnx_file([1, 8, 8, 3]),
        tmp_path / "w.edgecv",
        normalization=Normalization((0.0,) * 3, (255.0,) * 3),
        activation="softmax",
        resize=rule,
        labels=["red", "green", "blue"],
        images=[RED, RED[:, ::-1]],
        name="colours",
    )
    assert wrapped.manifest.inputs[0].resize == rule
    assert wrapped.report["parity"] == {"images": 2, "origin": "calibration"}
    exponentials = np.exp([1, 128 / 255, 0])
    np.testing.assert_allclose(answer(wrapped.path, RED), exponentials / exponentials.sum(), atol=1e-5)
    with ert.load(wrapped.path) as model:
        assert model(RED).top(1).labels == ("red",)


def test_a_given_layout_settles_the_doubt(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    source = onnx_file([1, 3, 8, 3])
    with pytest.raises(InputError) as caught:
        wrap(source, tmp_path / "w.edgecv", normalization=ORDINARY)
    assert str(caught.value) == (
        "input 'pixels' has shape [1, 3, 8, 3]: which dimension holds the 3 channel(s) is not clear; "
        "say --layout NHWC or NCHW"
    )
    assert wrap(source, tmp_path / "w.edgecv", normalization=ORDINARY, layout="NCHW").manifest.inputs[0].size == (8, 3)


# -- refused -----------------------------------------------------------------------------------------------------


def refused(tmp_path: Path, source: Path, **arguments: Any) -> Any:
    before = sorted(tmp_path.rglob("*"))
    path = arguments.pop("path", tmp_path / "w.edgecv")
    with pytest.raises(Exception) as caught:
        wrap(source, path, **arguments)
    assert sorted(tmp_path.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_float_input_without_normalisation(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    error = refused(tmp_path, onnx_file([1, 8, 8, 3]))
    assert isinstance(error, InputError)
    assert str(error) == (
        "input 'pixels' takes float32: what it expects of a pixel must be given: "
        "--mean 127.5 --std 127.5, say, or --mean 0 --std 1 for pixels 0..255"
    )


def test_two_outputs_and_two_inputs(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    error = refused(tmp_path, onnx_file([1, 8, 8, 3], outputs=2), normalization=ORDINARY)
    assert isinstance(error, UnsupportedError)
    assert str(error) == "a classification model has one input and one output; mean.onnx has 1 and 2"
    error = refused(tmp_path, onnx_file([1, 8, 8, 3], inputs=2), normalization=ORDINARY)
    assert str(error) == "a classification model has one input and one output; mean.onnx has 2 and 1"


@pytest.mark.parametrize(
    ("shape", "color", "message"),
    [
        ([1, 8, 8, 5], "RGB", "which dimension holds the 3 channel(s) is not clear"),
        ([1, 8, 8, 3], "GRAY", "which dimension holds the 1 channel(s) is not clear"),
        ([1, 8, 8, 3], "HSV", "color must be one of RGB, BGR, GRAY; received 'HSV'"),
        ([1, None, None, 3], "RGB", "an image input must have a fixed height and width; received shape (1, None, None"),
    ],
)
def test_inputs_that_are_not_clear(
    shape: list[Any], color: str, message: str, onnx_file: Callable[..., Path], tmp_path: Path
) -> None:
    error = refused(tmp_path, onnx_file(shape), color=color, normalization=ORDINARY)
    assert isinstance(error, InputError)
    assert message in str(error)


def test_arguments(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    source = onnx_file([1, 8, 8, 3])
    for arguments, kind, message in (
        (
            {"task": "tracking"},
            UnsupportedError,
            "this version wraps classification, detection, segmentation, pose, embedding models; received task 'tr",
        ),
        ({"task": "detection"}, InputError, "how the outputs are read must be said: --decoder, one of yolox, yolov5"),
        ({"decoder": "yolo"}, InputError, "decoder must be one of classification, yolox, "),
        (
            {"task": "pose", "decoder": "yolox"},
            InputError,
            "read by decoder heatmap-pose, regression-pose; received",
        ),
        ({"decoder": "yolox"}, InputError, "decoder 'yolox' with strides [8, 16, 32] reads (batch, 1, 5 + classes)"),
        ({"decoder": "ssd"}, InputError, "decoder 'ssd' needs anchors: a list of a list of 4"),
        ({"decoder": "embedding", "parameters": {"size": 3}}, InputError, "takes normalize, not 'size'"),
        ({"parameters": {"activation": "relu"}}, InputError, "decoder 'classification' takes activation = none"),
        ({"activation": "relu"}, InputError, "activation must be one of none, softmax, sigmoid; received 'relu'"),
        ({"precision": "int4"}, InputError, "precision must be one of fp32, fp16"),
        ({"path": tmp_path / "w.zip"}, InputError, "a bundle's name must end in .edgecv; received 'w.zip'"),
        ({"path": tmp_path / "no" / "w.edgecv"}, OutputError, "there is no folder"),
        ({"labels": ["a", "b"]}, ValueError, "there must be one label per class: 3 classes, 2 labels"),
        ({"images": tmp_path / "no"}, MissingFileError, "no folder at"),
        ({"normalization": Normalization((0.0,), (1.0,))}, InputError, "normalization must have 3 value(s)"),
    ):
        error = refused(tmp_path, source, **{"normalization": ORDINARY, **arguments})
        assert isinstance(error, kind), arguments
        assert message in str(error)


def test_files_that_are_none(tmp_path: Path) -> None:
    assert isinstance(refused(tmp_path, tmp_path / "absent.onnx"), MissingFileError)
    (tmp_path / "model.pb").write_bytes(b"x")
    error = refused(tmp_path, tmp_path / "model.pb")
    assert str(error) == "a model file must end in .tflite, .onnx or .xml; received 'model.pb'"
    for name in ("bad.onnx", "bad.tflite"):
        (tmp_path / name).write_text("this is text, and long enough to look at")
        error = refused(tmp_path, tmp_path / name, normalization=ORDINARY)
        assert isinstance(error, BackendError), name
        assert "refuses the model" in str(error)


def test_an_ir_without_its_weights(stripped: Callable[..., Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone.xml"
    shutil.copy(stripped("openvino", "fp32"), alone)
    error = refused(tmp_path, alone, color="GRAY")
    assert isinstance(error, MissingFileError)
    assert str(error) == f"{alone} needs its weights beside it; no file at {tmp_path}/alone.bin"


# -- real files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs(data_dir: Path) -> Path:
    return data_dir / "imagenet-samples"


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "accuracy"),
    [("mobilenet_v2_1.0_224_quant.tflite", 224, 0.877), ("mobilenet_v1_0.25_128_quant.tflite", 128, 0.438)],
)
def test_corals_files(name: str, size: int, accuracy: float, data_dir: Path, photographs: Path, tmp_path: Path) -> None:
    """1001 classes: the first is the background, and ImageNet's begin behind it."""
    names = (photographs / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "coral.edgecv"
    manifest = wrap(
        data_dir / "models" / "classification" / name,
        path,
        resize=Resize(mode="crop", crop_fraction=0.875),
        labels=["background", *names],
        images=photographs / "images",
    ).manifest
    assert (manifest.precision, manifest.inputs[0].dtype) == ("int8", "uint8")
    assert manifest.inputs[0].shape == (1, size, size, 3)
    assert ert.verify(path).passed
    shifted = tmp_path / "shifted"
    shifted.mkdir()
    (shifted / "images").symlink_to(photographs / "images")
    with (photographs / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [f"{row['file']},{int(row['class_index']) + 1}" for row in rows]
    (shifted / "labels.csv").write_text("\n".join(["file,class_index", *lines]))
    with ert.load(path) as model:
        found = evaluate_classification(model, read_labelled_images(shifted, manifest.labels, 1001))
    assert found.n == 300
    assert found.top1 == pytest.approx(accuracy, abs=0.04)


@pytest.mark.data
def test_visual_wake_words(data_dir: Path, photographs: Path, tmp_path: Path) -> None:
    """An int8 input of scale 1/255: pixels as they are, 128 lower. Its float sister agrees."""
    folder = data_dir / "models" / "classification" / "visual-wake-words"
    integer, real = tmp_path / "int8.edgecv", tmp_path / "float.edgecv"
    manifest = wrap(folder / "vww_96_int8.tflite", integer, labels=["no person", "person"]).manifest
    assert (manifest.precision, manifest.inputs[0].dtype, manifest.inputs[0].normalization) == ("int8", "int8", None)
    wrap(folder / "vww_96_float.tflite", real, normalization=Normalization((0.0,) * 3, (255.0,) * 3))

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "vww_96_int8.tflite"))
    interpreter.allocate_tensors()
    (there,), (back,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = back["quantization"]
    agree = []
    with ert.load(integer) as model, ert.load(real) as reference:
        for path in sorted((photographs / "images").iterdir())[:20]:
            image = ert.read_image(path)
            pixels = cv2.resize(image, (96, 96), interpolation=cv2.INTER_LINEAR)
            interpreter.set_tensor(there["index"], (pixels.astype(np.int16) - 128).astype(np.int8)[None])
            interpreter.invoke()
            by_hand = (interpreter.get_tensor(back["index"]).astype(np.float32) - zero_point) * scale
            np.testing.assert_allclose(model.outputs(image)[0], by_hand, atol=1e-6)
            agree.append(model(image).indices[0] == reference(image).indices[0])
    assert np.mean(agree) >= 0.9


def test_artefacts_are_not_changed_but_for_the_metadata(stripped: Callable[..., Path], tmp_path: Path) -> None:
    source = stripped("onnx", "fp32")
    wrap(source, tmp_path / "w.edgecv", color="GRAY")
    inside = ert.Bundle(tmp_path / "w.edgecv").artefact().model
    assert inside.startswith(Artefact.from_file(source).model)  # protobuf appends


# -- real detectors, segmenters and embedders --------------------------------------------------------------------


@pytest.fixture(scope="module")
def coco_names(data_dir: Path) -> list[str]:
    """The 80 class names of COCO, in order."""
    lines = (data_dir / "coco128" / "config.yaml").read_text(encoding="utf-8").splitlines()
    return [line.split(": ", 1)[1] for line in lines if re.match(r"  \d+: ", line)]


@pytest.fixture(scope="module")
def yolox(data_dir: Path, coco_names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("yolox") / "yolox.edgecv"
    wrap(data_dir / "models" / "detection" / "yolox_nano.onnx", path, decoder="yolox", labels=coco_names)
    return path


def yolox_by_hand(output: np.ndarray, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The published decode, written out cell by cell: boxes xyxy in the source, scores, classes; no suppression."""
    boxes, scores, classes = [], [], []
    row = 0
    for stride in (8, 16, 32):
        for y in range(416 // stride):
            for x in range(416 // stride):
                values = output[row].astype(np.float64)
                row += 1
                best = int(values[5:].argmax())
                if values[4] * values[5 + best] < 0.3:
                    continue
                cx, cy = (values[0] + x) * stride, (values[1] + y) * stride
                w, h = np.exp(values[2]) * stride, np.exp(values[3]) * stride
                boxes.append(np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]) * np.tile(ratio, 2))
                scores.append(values[4] * values[5 + best])
                classes.append(best)
    assert row == len(output)
    return np.array(boxes).reshape(-1, 4), np.array(scores), np.array(classes, int)


@pytest.mark.data
def test_yolox_boxes_equal_a_decode_by_hand(yolox: Path, data_dir: Path) -> None:
    import onnxruntime

    assert ert.verify(yolox).passed
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        str(data_dir / "models" / "detection" / "yolox_nano.onnx"), options, ["CPUExecutionProvider"]
    )
    compared = 0
    with ert.load(yolox) as model:
        model.configure(score_threshold=0.3)
        for path in sorted((data_dir / "coco128" / "images").glob("*.jpg"))[:12]:
            bgr = cv2.imread(str(path))
            height, width = bgr.shape[:2]
            scale = min(416 / height, 416 / width)
            size = round(width * scale), round(height * scale)
            canvas = np.full((416, 416, 3), 114, np.uint8)
            canvas[: size[1], : size[0]] = cv2.resize(bgr, size, interpolation=cv2.INTER_LINEAR)
            (output,) = session.run(None, {"images": canvas.transpose(2, 0, 1)[None].astype(np.float32)})
            boxes, scores, classes = yolox_by_hand(output[0], np.array([width / size[0], height / size[1]]))
            kept = ert.nms(boxes, scores, 0.5, classes=classes)
            found = model(path)
            assert found.classes.tolist() == classes[kept].tolist()
            np.testing.assert_allclose(found.scores, scores[kept], atol=1e-3)
            wanted = np.clip(boxes[kept], 0, [width, height, width, height])
            np.testing.assert_allclose(found.boxes, wanted, atol=0.5)
            compared += len(kept)
    assert compared > 20


@pytest.mark.data
@pytest.mark.slow
def test_yolox_on_coco128(yolox: Path, data_dir: Path) -> None:
    from edgecv_runtime.evaluate_objects import evaluate_detection

    with ert.load(yolox) as model:
        found = evaluate_detection(model, data_dir / "coco128")
    assert (found.n, found.skipped) == (128, 0)
    assert found.map50 >= 0.50
    assert 0.30 < found.map < found.map50


# COCO's 80 classes carry 90 numbers; these are not in use.
_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


@pytest.mark.data
@pytest.mark.slow
def test_ssd_mobilenet_on_coco128(data_dir: Path, coco_names: list[str], tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from edgecv_runtime.evaluate_objects import evaluate_detection

    names = iter(coco_names)
    labels = ["not in use" if number in _UNUSED else next(names) for number in range(1, 91)]
    path = tmp_path / "ssd.edgecv"
    source = data_dir / "models" / "detection" / "ssd_mobilenet_v1_coco_quant.tflite"
    wrap(source, path, decoder="ssd-postprocessed", labels=labels)
    assert ert.verify(path).passed
    image = ert.read_image(data_dir / "coco128" / "images" / "000000000009.jpg")
    with ert.load(path) as model:
        assert evaluate_detection(model, data_dir / "coco128").map50 >= 0.31
        model.configure(score_threshold=0.1)
        found = model(image)
    interpreter = Interpreter(model_path=str(source))
    interpreter.allocate_tensors()
    height, width = image.shape[:2]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], cv2.resize(image, (300, 300))[None])
    interpreter.invoke()
    boxes, classes, scores, _ = (interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details())
    sure = scores[0] >= 0.1
    wanted = np.clip(boxes[0][sure][:, [1, 0, 3, 2]], 0, 1) * [width, height, width, height]
    np.testing.assert_allclose(found.boxes, wanted, atol=0.5)
    assert found.classes.tolist() == classes[0][sure].tolist() and len(found) > 1


@pytest.mark.data
@pytest.mark.parametrize("name", ["ultraface_rfb_320.onnx", "ultraface_slim_320.onnx", "blazeface_back.tflite"])
def test_face_detectors(name: str, data_dir: Path, tmp_path: Path) -> None:
    """A picture of four people side by side: each detector finds the same four faces."""
    path = tmp_path / "faces.edgecv"
    decoder = name.partition("_")[0]
    assert wrap(data_dir / "models" / "face" / name, path, decoder=decoder).manifest.labels == ("face",)
    assert ert.verify(path).passed
    with ert.load(path) as model:
        found = model(data_dir / "faces" / "group-photos" / "bbt1.jpg").above(0.65)
    middles = np.sort((found.boxes[:, 0] + found.boxes[:, 2]) / 2)
    np.testing.assert_allclose(middles, [260, 522, 779, 1050], atol=25)
    assert (found.boxes[:, 3] < 300).all()
    if decoder == "blazeface":
        eyes, boxes = found.keypoints[:, :2], found.boxes[:, None]
        assert (eyes[:, :, 0] > boxes[:, :, 0]).all() and (eyes[:, :, 0] < boxes[:, :, 2]).all()
        assert (eyes[:, 0, 0] < eyes[:, 1, 0]).all()


@pytest.mark.data
def test_the_short_range_face_detector(data_dir: Path, tmp_path: Path) -> None:
    """Another input size, so other strides; on a picture that a face fills."""
    path = tmp_path / "faces.edgecv"
    manifest = wrap(data_dir / "models" / "face" / "blazeface_short_range.tflite", path, decoder="blazeface").manifest
    assert manifest.decoder.parameters["strides"] == [8, 16, 16, 16]
    assert ert.verify(path).passed
    people = sorted((data_dir / "faces" / "lfw-aligned-112").glob("*/*_0001.jpg"))[:20]
    seen = 0
    with ert.load(path) as model:
        for person in people:
            picture = cv2.copyMakeBorder(ert.read_image(person), 56, 56, 56, 56, cv2.BORDER_REPLICATE)
            found = model(picture)
            seen += len(found) == 1 and 60 < float(found.boxes[0, [0, 2]].mean()) < 164
    assert seen >= 15


@pytest.mark.data
@pytest.mark.parametrize("name", ["deeplabv3_257_float.tflite", "deeplabv3_mnv2_dm05_pascal_quant.tflite"])
def test_segmenters(name: str, data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "deeplab.edgecv"
    source = data_dir / "models" / "segmentation" / name
    manifest = wrap(source, path, task="segmentation", normalization=ORDINARY if "float" in name else None).manifest
    assert manifest.decoder.parameters == {"layout": "NHWC" if "float" in name else "indices"}
    assert ert.verify(path).passed
    with ert.load(path) as model:
        found = model(data_dir / "segmentation-pairs" / "bird_segmentation.bmp")
    truth = cv2.imread(str(data_dir / "segmentation-pairs" / "bird_segmentation_mask.bmp"), cv2.IMREAD_UNCHANGED) > 0
    bird = found.of(3)  # Pascal VOC
    assert found.mask.shape == truth.shape
    assert (bird & truth).sum() / (bird | truth).sum() > 0.75


@pytest.mark.data
def test_an_embedder(data_dir: Path, tmp_path: Path) -> None:
    """Two pictures of one person are nearer than pictures of two; normalisation is in the graph."""
    path = tmp_path / "faces.edgecv"
    plain = Normalization((0.0,) * 3, (1.0,) * 3)
    wrap(data_dir / "models" / "face" / "mobilefacenet_y1.onnx", path, task="embedding", normalization=plain)
    assert ert.verify(path).passed
    folder = data_dir / "faces" / "lfw-aligned-112"
    people = sorted(person for person in folder.iterdir() if person.is_dir())[:8]
    with ert.load(path) as model:
        vectors = [[model(picture) for picture in sorted(person.iterdir())[:2]] for person in people]
    assert len(vectors[0][0]) == 128
    assert np.linalg.norm(vectors[0][0].vector) == pytest.approx(1, abs=1e-5)
    same = [a.similarity(b) for a, b in vectors]
    others = [vectors[i][0].similarity(vectors[j][0]) for i in range(8) for j in range(i)]
    assert np.mean(same) > np.max(others) > np.mean(others)
