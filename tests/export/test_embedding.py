"""Embedders on the whole road: built, exported, proven, measured and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

import edgecv
import edgecv_runtime as ert
from edgecv.models.registry import Preprocessing
from edgecv_export.exporter import export
from edgecv_export.plan import Plan
from edgecv_export.tasks import Compared, task_of
from edgecv_runtime.errors import CheckFailedError, InputError, UnsupportedError
from edgecv_runtime.evaluate_faces import evaluate_embedding

PREPROCESSING = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people with four pictures each: a pattern of their own, under changing light."""
    folder, generator = tmp_path_factory.mktemp("people"), np.random.default_rng(7)
    for person in range(8):
        (folder / str(person)).mkdir()
        pattern = cv2.resize(generator.normal(0, 40, (5, 5, 3)), (40, 40))
        for index in range(4):
            image = generator.uniform(90, 160) + pattern + generator.normal(0, 8, (40, 40, 3))
            assert cv2.imwrite(str(folder / str(person) / f"{index}.png"), np.clip(image, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def embedder() -> Any:
    """Random projections of small features: enough to tell those people apart."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = layers.Input((32, 32, 3))
    x = layers.Conv2D(12, 4, strides=4, name="features")(image)
    x = layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25), shared_axes=(1, 2), name="slope")(x)
    x = layers.DepthwiseConv2D(8, name="weigh")(x)
    return keras.Model(image, layers.Dense(16, name="vector")(layers.Flatten(name="flat")(x)))


@pytest.mark.filterwarnings("ignore:a false-accept rate of 0.001 needs")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_every_format(format: str, precision: str, embedder: Any, people: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.edgecv"
    exported = export(
        embedder,
        path,
        format=format,
        precision=precision,
        preprocessing=PREPROCESSING,
        task="embedding",
        calibration=people,
        evaluation=people,
    )
    assert exported.manifest.task == "embedding" and exported.manifest.decoder.name == "embedding"
    picture = cv2.cvtColor(cv2.imread(str(people / "3" / "1.png")), cv2.COLOR_BGR2RGB)
    pixels = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    expected = np.asarray(embedder((pixels / 127.5 - 1)[None]))[0]
    with ert.load(path) as model:
        vector = model(picture).vector
        measured = evaluate_embedding(model, people)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert vector @ expected / np.linalg.norm(expected) > {"fp32": 1 - 1e-5, "int8": 0.995}[precision]
    assert ert.verify(path).passed
    report = exported.report
    assert report["parity"]["agreement"] is None
    assert report["parity"]["cosine"] > {"fp32": 1 - 1e-5, "int8": 0.99}[precision]
    accuracy = report["accuracy"]
    assert accuracy["artefact"]["tar_at_far"] == pytest.approx(measured.tar_at_far)
    assert accuracy["artefact"]["n"] == 32 and accuracy["artefact"]["genuine"] == 48
    if precision == "fp32":
        assert accuracy["artefact"]["agreement"] == 1.0
        assert accuracy["artefact"]["tar_at_far"] == accuracy["float"]["tar_at_far"]


@pytest.mark.filterwarnings("ignore:a false-accept rate of 0.001 needs")
def test_a_budget_is_of_true_accepts(embedder: Any, people: Path, tmp_path: Path) -> None:
    told = []
    exported = export(
        embedder,
        tmp_path / "e.edgecv",
        precision="int8",
        preprocessing=PREPROCESSING,
        task="embedding",
        calibration=people,
        evaluation=people,
        max_drop=15.0,
        notify=told.append,
    )
    before, after = (exported.report["accuracy"][key]["tar_at_far"] for key in ("float", "artefact"))
    assert told[-1].met and told[-1].drop == pytest.approx(100 * (before - after)) and told[-1].drop <= 15
    entry = next(entry for entry in exported.report["search"] if entry["chosen"])
    assert entry["tar_at_far"] == after and "top1" not in entry


def test_what_does_not_apply(embedder: Any, people: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"preprocessing": PREPROCESSING, "task": "embedding"}
    with pytest.raises(InputError, match="labels name classes; an embedder has none; received 2 labels"):
        export(embedder, tmp_path / "e.edgecv", labels=("a", "b"), **options)
    with pytest.raises(UnsupportedError, match="training imitates class scores; leave out --train"):
        more = {"precision": "int8", "max_drop": 1, "calibration": people, "evaluation": people, "training": people}
        export(embedder, tmp_path / "e.edgecv", **options, **more)
    image = keras.Input((8, 8, 3))
    maps = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    with pytest.raises(InputError, match=r"an embedder must give \(N, D\); received \['N', 8, 8, 2\]"):
        export(maps, tmp_path / "e.edgecv", **options)
    assert list(tmp_path.iterdir()) == []


def test_vectors_that_point_elsewhere() -> None:
    wanted, task = np.float32([[3, 4], [1, 0]]), task_of("embedding")

    def compared(precision: str, answers: np.ndarray) -> Compared:
        return Compared(Plan("onnx", precision), ("vector",), (answers,), (wanted,), list)

    same = compared("fp32", 2 * wanted)
    task.check(same)
    assert task.figures(same) == {"agreement": None, "cosine": pytest.approx(1)}
    other = np.float32([[4, 3], [1, 0]])
    with pytest.raises(
        CheckFailedError, match="has a cosine of 0.96 to its float source's .at least 0.999 is required"
    ):
        task.check(compared("fp32", other))
    task.check(compared("int8", other))
    assert task.figures(compared("int8", other))["cosine"] == pytest.approx(0.96)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_mobilefacenet(format: str, people: Path, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = edgecv.create_model("mobilefacenet", (64, 64, 3), alpha=0.5, dimension=32)
    # Fresh batch norms let the signal fade to 1e-7 by the end: give them the statistics of a few pictures.
    batch = np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)).astype(np.float32)
    for _ in range(30):
        model(batch, training=True)
    exported = export(model, tmp_path / "m.edgecv", format=format, precision="int8", calibration=people)
    assert exported.manifest.architecture["name"] == "mobilefacenet"
    assert exported.report["parity"]["cosine"] > 0.9
    assert ert.verify(tmp_path / "m.edgecv").passed


@pytest.mark.data
def test_mobilefacenet_from_onnx(data_dir: Path, tmp_path: Path) -> None:
    """As published: 0.99 million parameters; pairs of the aligned faces separate nearly all."""
    source, path = data_dir / "models" / "face" / "mobilefacenet_y1.onnx", tmp_path / "y1.edgecv"
    options: dict[str, Any] = {"preprocessing": Preprocessing((0.0,) * 3, (1.0,) * 3), "task": "embedding"}
    with pytest.raises(UnsupportedError, match="TFLite cannot be made from ONNX; use --format onnx or openvino"):
        export(source, path, **options)
    exported = export(source, path, format="openvino", **options)
    assert round(exported.report["parameters"] / 1e6, 2) == 0.99
    with ert.load(path) as model:
        found = evaluate_embedding(model, data_dir / "faces" / "lfw-aligned-112")
    assert (found.people, found.n) == (40, 320)
    assert (found.rates.genuine, found.rates.impostor) == (40 * 28, 320 * 319 // 2 - 40 * 28)
    assert found.tar_at_far > 0.96 and found.rates.eer < 0.01
    assert json.dumps(found.to_dict())
