from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import (
    BackendError,
    BundleError,
    InputError,
    MissingFileError,
    MissingPackageError,
    UnsupportedError,
)
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Quantization, TensorSpec
from edgecv_runtime.model import Model


def save(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


def check(tiny: Any, result: Any, image: np.ndarray) -> None:
    """The result is the ranking of the reference's scores."""
    scores = tiny.reference.scores(image)
    order = sorted(range(4), key=lambda index: -scores[index])
    assert result.indices.tolist() == order
    assert result.labels == tuple(tiny.labels[index] for index in order)
    np.testing.assert_array_equal(result.scores, scores[order])


# -- running -------------------------------------------------------------------------------------------------------


def test_every_bundle_gives_the_reference_s_answer(tiny: Any, any_bundle: Path) -> None:
    with ert.load(any_bundle) as model:
        for seed in range(4):
            image = tiny.image(seed)
            check(tiny, model(image), image)
            check(tiny, model(tiny.enlarge(image)), image)  # through the crop and the resize
            np.testing.assert_array_equal(model.outputs(image)[0], tiny.reference.scores(image)[None])


def test_a_path_or_an_array(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    image = tiny.image(1)
    path = save(tmp_path / "a.png", image)
    with ert.load(str(bundle)) as model:
        for given in (path, str(path), image, image.astype(np.uint16) * 256, np.dstack([image, image[..., 0]])):
            check(tiny, model(given), image)


def test_a_list_gives_a_list(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    images = [tiny.image(seed) for seed in range(3)]
    with ert.load(bundle) as model:
        for given in (images, tuple(images), [save(tmp_path / "a.png", images[0]), *images[1:]]):
            results = model(given)
            assert type(results) is list
            for result, image in zip(results, images, strict=True):
                check(tiny, result, image)
        assert model([]) == []
        with pytest.raises(InputError, match=r"Is it a batch\? Pass a list of images"):
            model(np.stack(images))


def test_softmax_on_the_device(tiny: Any, tmp_path: Path) -> None:
    decoder = DecoderSpec("classification", {"activation": "softmax"})
    image = np.zeros((6, 8, 3), np.uint8)
    with ert.load(tiny.write(tmp_path / "a.edgecv", decoder=decoder)) as model:
        np.testing.assert_allclose(model.outputs(image)[0][0], tiny.softmax(tiny.reference.scores(image)), rtol=1e-5)
        assert model(image).scores.sum() == pytest.approx(1)


def test_quantized_output_is_dequantized_by_the_manifest(tiny: Any, tmp_path: Path) -> None:
    """uint8, scale 64, zero point 128: clip(rint(score / 64) + 128, 0, 255), and back."""
    output = TensorSpec("scores", (1, 4), "uint8", Quantization(64.0, 128))
    artefact = Artefact("onnx", tiny.onnx(quantized=True))
    with Model(artefact, tiny.manifest("onnx", outputs=(output,))) as model:
        for seed in range(4):
            scores = tiny.reference.scores(tiny.image(seed))
            codes = np.clip(np.rint(scores / 64) + 128, 0, 255)
            np.testing.assert_array_equal(model.outputs(tiny.image(seed))[0][0], (codes - 128) * 64)


def test_outputs_are_found_by_name(tiny: Any) -> None:
    """The second of the artefact's two outputs, as if it were a classifier of one class."""
    manifest = tiny.manifest("onnx", outputs=(TensorSpec("total", (1, 1), "float32"),), labels=None)
    with Model(tiny.artefact("onnx"), manifest) as model:
        assert model(tiny.image(1)).scores.tolist() == tiny.reference.total(tiny.image(1)).tolist()


@pytest.mark.parametrize("batch", ["N", 3])
def test_batches(tiny: Any, batch: str | int) -> None:
    size = None if batch == "N" else batch
    manifest = tiny.manifest(
        "onnx",
        inputs=(InputSpec("image", (size, 6, 8, 3), "uint8"),),
        outputs=(TensorSpec("scores", (size, 4), "float32"),),
    )
    images = [tiny.image(seed) for seed in range(3)]
    with Model(Artefact("onnx", tiny.onnx(batch=batch)), manifest) as model:
        for result, image in zip(model(images), images, strict=True):
            check(tiny, result, image)
        if size is None:
            check(tiny, model(images[0]), images[0])
            check(tiny, model(images[:2])[1], images[1])
        else:
            with pytest.raises(InputError, match="takes exactly 3 images at a time; received 2"):
                model(images[:2])
            with pytest.raises(InputError, match="takes a list of 3 images at a time; received one image"):
                model(images[0])


def test_repr_close_and_context(tiny: Any, bundle: Path) -> None:
    model = ert.load(bundle, threads=1)
    assert repr(model).startswith("<Model tiny: classification, onnx fp32 on onnxruntime ")
    assert "(1 thread" in repr(model)
    model.close()
    model.close()
    assert repr(model)
    with pytest.raises(BackendError, match="this onnxruntime model is closed"):
        model(tiny.image(0))


def test_repr_says_that_the_kernels_are_precise(bundle: Path, x86_without_vnni: None) -> None:
    with ert.load(bundle) as model:
        assert "precise int8 kernels: this CPU has no VNNI" in repr(model)


def test_bad_images_leave_the_model_working(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with ert.load(bundle) as model:
        for bad, error in (
            (tmp_path / "text.jpg", InputError),
            (tmp_path / "none.jpg", MissingFileError),
            (np.zeros((4, 4, 3)), InputError),
            (None, InputError),
            ([tiny.image(0), None], InputError),
            ({"image": 1}, InputError),
        ):
            with pytest.raises(error):
                model(bad)
        check(tiny, model(tiny.image(0)), tiny.image(0))


# -- loading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "name"), [("tflite", "m.tflite"), ("onnx", "m.ONNX"), ("openvino", "m.xml")])
def test_a_bare_artefact_carries_its_manifest(tiny: Any, tmp_path: Path, format: str, name: str) -> None:
    artefact = tiny.artefact(format, tiny.manifest(format).to_json())
    (tmp_path / name).write_bytes(artefact.model)
    if artefact.weights is not None:
        (tmp_path / "m.bin").write_bytes(artefact.weights)
    with ert.load(tmp_path / name) as model:
        check(tiny, model(tiny.enlarge(tiny.image(1))), tiny.image(1))


def test_a_foreign_artefact_is_not_guessed_at(tiny: Any, tmp_path: Path, one_line: Any) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny.onnx())
    with pytest.raises(BundleError) as caught:
        ert.load(tmp_path / "m.onnx")
    assert one_line(caught) == (
        f"{tmp_path / 'm.onnx'} carries no edgecv metadata, so how to feed it is unknown: "
        "edgecv wrap m.onnx --task classification -o m.edgecv"
    )


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no bundle at"):
        ert.load(tmp_path / "a.edgecv")
    with pytest.raises(MissingFileError, match="no model file at"):
        ert.load(tmp_path / "a.tflite")
    with pytest.raises(MissingFileError, match="it is a folder"):
        ert.load(tmp_path)


def test_a_picture_is_no_bundle(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a bundle at all"):
        ert.load(save(tmp_path / "a.png", tiny.image(0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"outputs": (TensorSpec("logits", (1, 4), "float32"),)},
            "the manifest's output 'logits' is not in the model, which has scores, total",
        ),
        (
            {"outputs": (TensorSpec("scores", (1, 4), "uint8"),)},
            r"output 'scores' is uint8 \[1, 4\] in the manifest but float32 \[1, 4\] in the model",
        ),
        ({"inputs": (InputSpec("image", (1, 8, 6, 3), "uint8"),)}, "they do not belong together"),
        (
            {"inputs": (InputSpec("picture", (1, 6, 8, 3), "uint8"),)},
            "input 'picture' is not in the model, which has image",
        ),
    ],
)
def test_a_manifest_of_another_model(tiny: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Model(tiny.artefact("onnx"), tiny.manifest("onnx", **changes))


def test_two_inputs_are_refused(tiny: Any) -> None:
    manifest = tiny.manifest("onnx")
    with pytest.raises(UnsupportedError, match="must have one input; this one has 2"):
        Model(tiny.artefact("onnx"), tiny.manifest("onnx", inputs=manifest.inputs * 2))


def test_a_refused_model_is_released(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_runtime.backends.onnxruntime import ONNXRuntimeBackend

    closed = []
    monkeypatch.setattr(ONNXRuntimeBackend, "close", lambda self: closed.append(self))
    with pytest.raises(BundleError):
        Model(tiny.artefact("onnx"), tiny.manifest("onnx", outputs=(TensorSpec("no", (1, 4), "float32"),)))
    assert len(closed) == 1


def test_back_end_not_installed(bundle: Path, block_import: Any, one_line: Any) -> None:
    for package in ("onnxruntime", "openvino"):
        block_import(package)
    with pytest.raises(MissingPackageError) as caught:
        ert.load(bundle)
    assert "pip install 'edgecv-runtime[onnx]'" in one_line(caught)


def test_mock_runs_every_bundle_in_its_shapes(tiny: Any, any_bundle: Path) -> None:
    with ert.load(any_bundle, backend="mock") as model:
        result = model(tiny.image(0))
        assert sorted(result.indices.tolist()) == [0, 1, 2, 3]
        assert model(tiny.image(0)).to_dict() == result.to_dict()
        assert model(tiny.image(1)).to_dict() != result.to_dict()
        json.dumps(result.to_dict())
