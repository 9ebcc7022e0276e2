"""The search within a budget: what is tried in which order, when it ends, and what it says when it fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv.models.registry import Preprocessing
from edgecv_export.exporter import describe, export
from edgecv_export.plan import Plan
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.reference import Reference
from edgecv_export.search import Attempt, Search
from edgecv_export.sources import Source, source_of
from edgecv_export.training import TrainingPictures
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import CheckFailedError, UnsupportedError
from edgecv_runtime.evaluate import read_labelled_images
from edgecv_runtime.manifest import DecoderSpec, TensorSpec

SIZE = 4
CLASSES = 3


def brightest_channel(blind: tuple[int, ...] = ()) -> Artefact:
    """An ONNX file whose scores are the means of the three channels; those of the blind ones are put below zero."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    offset = np.array([-1000.0 if channel in blind else 0.0 for channel in range(CLASSES)], np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Add", ["mean", "offset"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightest",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(offset, "offset")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return Artefact("onnx", bytes(model.SerializeToString()))


Quality = Callable[[Plan, Recipe], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Stub(Source):
    """Answers with the brightest channel; its artefacts are blind to the channels that `quality` names."""

    quality: Quality = lambda plan, recipe: ()
    found: Mapping[str, float] = field(default_factory=dict)
    can_train: bool = False
    can_equalize: bool = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        return SIZE, SIZE

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("scores", (1, CLASSES), "float32"),)

    def answers(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        return (pixels.mean((1, 2), dtype=np.float32),)

    def convert(self, plan: Plan, pixels: np.ndarray, recipe: Recipe | None = None) -> Artefact:
        assert recipe is not None
        self.asked.append((plan.precision, recipe.to_dict()))
        return brightest_channel(self.quality(plan, recipe))

    def cost(self) -> dict[str, int | None]:
        return {"parameters": 3, "macs": None}

    @property
    def trainable(self) -> bool:
        return self.can_train

    @property
    def equalizable(self) -> bool:
        return self.can_equalize

    def sensitivities(self, pixels: np.ndarray, recipe: Recipe) -> dict[str, float]:
        return dict(self.found)

    def train(self, plan: Plan, training: TrainingPictures, pixels: np.ndarray, seed: int) -> tuple[Recipe, str]:
        return Recipe(network=f"trained with seed {seed}"), f"{len(training)} pictures"


def stub(**what: Any) -> Stub:
    plain = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
    return Stub(None, plain, "classification", {"name": "stub"}, DecoderSpec("classification"), **what)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures: five of red, four of green, one of blue."""
    folder = tmp_path_factory.mktemp("colours")
    for index, channel in enumerate([0] * 5 + [1] * 4 + [2]):
        image = np.full((SIZE, SIZE, 3), 40, np.uint8)
        image[..., channel] = 200
        (folder / str(channel)).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / str(channel) / f"{index}.png"), image[..., ::-1])
    return folder


@pytest.fixture
def search_of(pictures: Path) -> Callable[..., Search]:
    """``search_of(source, precision="int8", max_drop=0.0, images=20, ...)``."""

    def build(source: Stub, precision: str = "int8", max_drop: float = 0.0, images: int = 20, **more: Any) -> Search:
        reference = Reference.of(source, read_labelled_images(pictures, None, CLASSES))
        pixels = np.zeros((images, SIZE, SIZE, 3), np.uint8)
        named = partial(describe, source, labels=None, name="stub")
        return Search(source, Plan("onnx", precision), pixels, reference, max_drop, named, **more)

    return build


def tried(search: Search) -> list[str]:
    return [attempt.candidate.name for attempt in search.attempts]


def by_estimator(name: str) -> Quality:
    """Good with that estimator; else blind to green (four pictures of ten)."""
    return lambda plan, recipe: () if recipe.estimator == name and not recipe.float_layers else (1,)


# -- order and end ----------------------------------------------------------------------------------------------------


def test_the_first_within_the_budget_ends_it(search_of: Callable[..., Search]) -> None:
    source = stub()
    search = search_of(source)
    attempt = search.run()
    assert (attempt.met, attempt.drop) == (True, 0.0)
    assert tried(search) == ["minmax ranges"]
    assert source.asked == [("int8", {})]
    assert search.known_sensitivities is None  # nothing was measured that was not needed


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        ("mse", ["minmax ranges", "mse ranges"]),
        ("percentile", ["minmax ranges", "mse ranges", "percentile ranges"]),
        ("entropy", ["minmax ranges", "mse ranges", "percentile ranges", "entropy ranges"]),
    ],
)
def test_estimators_come_first(estimator: str, names: list[str], search_of: Callable[..., Search]) -> None:
    search = search_of(stub(quality=by_estimator(estimator)))
    assert search.run().candidate.recipe.to_dict() == {"estimator": estimator}
    assert tried(search) == names


def test_everything_in_order_of_what_it_costs_the_device(search_of: Callable[..., Search]) -> None:
    """Blue (one of ten) is lost by mse ranges only, green by all others: mse is what the later candidates build on."""

    def quality(plan: Plan, recipe: Recipe) -> tuple[int, ...]:
        return () if recipe.trained else (2,) if recipe.estimator == "mse" else (1,)

    found = {name: 1.0 / rank for rank, name in enumerate("abcdefghi", 1)}
    source = stub(quality=quality, found=found, can_train=True, can_equalize=True)
    lessons = TrainingPictures(np.zeros((30, SIZE, SIZE, 3), np.uint8), None)
    search = search_of(source, training=lessons, seed=5)
    assert search.run().candidate.name == "quantization-aware training"
    assert tried(search) == [
        "minmax ranges", "channels equalized", "mse ranges", "percentile ranges", "entropy ranges",
        "mse ranges, 5 images", "a in float", "2 layers in float", "4 layers in float", "quantization-aware training",
    ]  # fmt: skip
    assert source.asked[1] == ("int8", {"equalize": True})
    assert source.asked[4:] == [
        ("int8", {"estimator": "entropy"}),
        ("int8", {"estimator": "mse", "images": 5}),
        ("mixed", {"estimator": "mse", "float_layers": ["a"]}),
        ("mixed", {"estimator": "mse", "float_layers": ["a", "b"]}),
        ("mixed", {"estimator": "mse", "float_layers": ["a", "b", "c", "d"]}),
        ("int8", {"trained": True}),
    ]
    assert [attempt.drop for attempt in search.attempts] == pytest.approx([40, 40, 10, 40, 40, 10, 10, 10, 10, 0])
    assert search.attempts[-1].candidate.recipe.network == "trained with seed 5"
    assert search.attempts[-1].candidate.note == "30 pictures"
    assert search.known_sensitivities == found


def test_equalization_stays_where_it_helped(search_of: Callable[..., Search]) -> None:
    source = stub(quality=lambda plan, recipe: (2,) if recipe.equalize else (1,), can_equalize=True)
    with pytest.raises(CheckFailedError):
        search_of(source, images=8).run()
    assert source.asked == [("int8", {}), ("int8", {"equalize": True})] + [
        ("int8", {"estimator": name, "equalize": True}) for name in ("mse", "percentile", "entropy")
    ]


def test_mixed_begins_with_layers_in_float(search_of: Callable[..., Search]) -> None:
    source = stub(
        quality=lambda plan, recipe: () if len(recipe.float_layers) == 2 else (1,), found=dict.fromkeys("abcd", 1)
    )
    search = search_of(source, precision="mixed")
    assert search.run().candidate.recipe.float_layers == ("a", "b")
    assert tried(search) == ["a in float", "2 layers in float"]


def test_few_calibration_images_are_not_divided(search_of: Callable[..., Search]) -> None:
    search = search_of(stub(quality=lambda *_: (0,)), images=15)
    with pytest.raises(CheckFailedError):
        search.run()
    assert tried(search) == ["minmax ranges", "mse ranges", "percentile ranges", "entropy ranges"]


def test_a_refused_candidate_is_noted_and_passed_over(search_of: Callable[..., Search]) -> None:
    def quality(plan: Plan, recipe: Recipe) -> tuple[int, ...]:
        if recipe.float_layers == ("a",):
            raise UnsupportedError("no operation of its own for 'a'")
        return () if recipe.float_layers else (1,)

    search = search_of(stub(quality=quality, found=dict.fromkeys("abcd", 1)), precision="mixed")
    chosen = search.run()
    first, second = search.to_dict(chosen)
    assert (first["note"], first["top1"], first["size"]) == ("refused: no operation of its own for 'a'", None, None)
    assert (first["met"], first["chosen"], second["met"], second["chosen"]) == (False, False, True, True)


def test_the_budget_is_in_points_and_includes_its_end(search_of: Callable[..., Search]) -> None:
    """Blind to green: four of ten pictures, 40 points."""
    source = stub(quality=lambda *_: (1,))
    for max_drop in (40.0, 41.0):
        assert search_of(source, max_drop=max_drop).run().drop == pytest.approx(40)
    with pytest.raises(CheckFailedError):
        search_of(source, max_drop=39.9).run()


def test_every_attempt_is_told_at_once(search_of: Callable[..., Search]) -> None:
    told: list[Attempt] = []
    search = search_of(stub(quality=by_estimator("percentile")), notify=told.append)
    search.run()
    assert told == search.attempts
    assert [attempt.met for attempt in told] == [False, False, True]


# -- what it says -----------------------------------------------------------------------------------------------------


def test_a_budget_finer_than_the_pictures_is_warned_of(search_of: Callable[..., Search]) -> None:
    with pytest.warns(RuntimeWarning) as told:
        search_of(stub(), max_drop=0.5).run()
    assert [str(one.message) for one in told] == [
        "one of 10 evaluation pictures is 10.00 points: a budget of 0.5 allows no picture to be lost; "
        "give more pictures"
    ]


def test_no_drop_at_all_is_no_fine_budget(search_of: Callable[..., Search]) -> None:
    assert search_of(stub(), max_drop=0.0).run().met  # and no warning, which would be an error here


def test_one_that_never_meets_it(search_of: Callable[..., Search]) -> None:
    def quality(plan: Plan, recipe: Recipe) -> tuple[int, ...]:
        return (2,) if recipe.float_layers else (1, 2)

    found = {"gate": 0.5, "stem": 0.25, "head": 0.125, "tail": 0.0625}
    search = search_of(stub(quality=quality, found=found, can_train=True))
    with pytest.raises(CheckFailedError) as caught:
        search.run()
    assert str(caught.value) == (
        "none of 7 candidates is within 0 points: the best (gate in float) takes top-1 from 100.00 % to 90.00 %, "
        "10.00 points; most sensitive: gate, stem, head; what may help: training pictures (--train DIR), more "
        "calibration pictures, fp16; nothing was written"
    )
    report = caught.value.report
    assert report is not None
    assert [entry["name"] for entry in report["search"]] == tried(search)
    assert [entry["chosen"] for entry in report["search"]] == [False] * 7
    assert report["layers"] == [{"name": name, "sensitivity": value} for name, value in found.items()]
    assert json.loads(json.dumps(report)) == report


def test_without_layers_or_training_less_is_advised(search_of: Callable[..., Search]) -> None:
    with pytest.raises(CheckFailedError) as caught:
        search_of(stub(quality=lambda *_: (0,)), max_drop=20).run()
    assert str(caught.value) == (
        "none of 5 candidates is within 20 points: the best (minmax ranges) takes top-1 from 100.00 % to 50.00 %, "
        "50.00 points; what may help: more calibration pictures, fp16; nothing was written"
    )


def test_a_format_that_refuses_everything(search_of: Callable[..., Search]) -> None:
    def quality(plan: Plan, recipe: Recipe) -> tuple[int, ...]:
        raise UnsupportedError("ONNX has no such operation")

    with pytest.raises(CheckFailedError) as caught:
        search_of(stub(quality=quality)).run()
    assert str(caught.value) == ("no candidate could be made: refused: ONNX has no such operation; nothing was written")


def test_mixed_of_a_source_whose_layers_are_not_known(search_of: Callable[..., Search]) -> None:
    with pytest.raises(UnsupportedError, match=r"^mixed within a budget needs a Keras model.*--float-layers"):
        search_of(stub(), precision="mixed").run()


def test_attempts_as_in_the_report(search_of: Callable[..., Search]) -> None:
    search = search_of(stub(quality=by_estimator("mse")))
    first, second = search.to_dict(search.run())
    assert {name: first[name] for name in ("name", "precision", "recipe", "met", "chosen", "note")} == {
        "name": "minmax ranges", "precision": "int8", "recipe": {}, "met": False, "chosen": False, "note": "",
    }  # fmt: skip
    assert (first["top1"], first["agreement"]) == (pytest.approx(0.6), pytest.approx(0.6))
    assert (second["top1"], second["agreement"], second["chosen"]) == (1.0, 1.0, True)
    assert first["size"] == brightest_channel((1,)).size
    assert first["latency_ms"] > 0
    assert first["seconds"] > 0


def test_merit_is_accuracy_then_agreement() -> None:
    def attempt(drop: float, agreement: float) -> Any:
        return Attempt(SimpleNamespace(), fidelity=SimpleNamespace(agreement=agreement), drop=drop)

    ranked = [attempt(2.0, 0.99), attempt(1.0, 0.90), attempt(1.0, 0.95), Attempt(SimpleNamespace())]
    best = sorted(ranked, key=lambda one: one.merit, reverse=True)
    assert [(one.drop, one.merit[1]) for one in best] == [(1.0, 0.95), (1.0, 0.90), (2.0, 0.99), (float("inf"), 0.0)]


# -- on real converters -----------------------------------------------------------------------------------------------

FORMATS = ["tflite", "onnx", pytest.param("openvino", marks=pytest.mark.slow)]


def searched(model: Any, path: Path, lamps: Any, preprocessing: Preprocessing, **options: Any) -> Any:
    settings = {"format": "tflite", "precision": "int8", "max_drop": 0.0, **options}
    return export(
        model, path, calibration=lamps.images[:16], evaluation=lamps.folder, preprocessing=preprocessing, **settings
    )


@pytest.mark.parametrize("format", FORMATS)
def test_one_layer_that_int8_ruins_is_kept_in_float(
    format: str, tmp_path: Path, lamps: Any, lamp_reader: Callable[[int], Any], lamp_preprocessing: Preprocessing
) -> None:
    exported = searched(lamp_reader(1), tmp_path / "l.edgecv", lamps, lamp_preprocessing, format=format)
    report = exported.report
    assert exported.manifest.precision == "mixed"
    assert report["recipe"] == {"float_layers": ["wild_0"]}
    assert report["max_drop"] == 0.0
    assert [(entry["name"], entry["top1"]) for entry in report["search"]] == [
        ("minmax ranges", 0.25), ("channels equalized", 0.25), ("mse ranges", 0.25), ("percentile ranges", 0.25),
        ("entropy ranges", 0.25), ("minmax ranges, 4 images", 0.25), ("wild_0 in float", 1.0),
    ]  # fmt: skip
    assert [entry["chosen"] for entry in report["search"]] == [False] * 6 + [True]
    before, after = report["accuracy"]["float"], report["accuracy"]["artefact"]
    assert before == {"top1": 1.0, "top5": 1.0, "n": 40, "skipped": 0}
    assert after == {**before, "agreement": 1.0, "gained": 0, "lost": 0}
    rows = {row["name"]: row for row in report["layers"]}
    assert {name for name, row in rows.items() if row["in_float"]} - {"relu_0"} == {"wild_0"}
    assert rows["wild_0"]["sensitivity"] > 100 * rows["last"]["sensitivity"]
    assert len(report["worst_images"]) == 8
    assert max(entry["probability_drop"] for entry in report["worst_images"]) < 0.05
    with ert.load(exported.path) as model:
        assert [model(image).indices[0] for image in lamps.images] == lamps.classes
    assert ert.verify(exported.path).passed


def test_a_network_without_wild_layers_needs_one_attempt(
    tmp_path: Path, lamps: Any, lamp_reader: Callable[[int], Any], lamp_preprocessing: Preprocessing
) -> None:
    exported = searched(lamp_reader(0), tmp_path / "l.edgecv", lamps, lamp_preprocessing)
    assert [entry["name"] for entry in exported.report["search"]] == ["minmax ranges"]
    assert (exported.manifest.precision, exported.report["recipe"]) == ("int8", {})


def test_three_wild_layers_are_too_many(
    tmp_path: Path, lamps: Any, lamp_reader: Callable[[int], Any], lamp_preprocessing: Preprocessing
) -> None:
    """At most half of the layers stay in float: one wild one is always left, in int16x8 (8-bit weights) all three."""
    with pytest.raises(CheckFailedError) as caught:
        searched(lamp_reader(3), tmp_path / "l.edgecv", lamps, lamp_preprocessing)
    assert str(caught.value).startswith(
        "none of 9 candidates is within 0 points: the best (minmax ranges) takes top-1 from 100.00 % to 25.00 %, "
        "75.00 points; most sensitive: wild_"
    )
    report = caught.value.report
    assert report is not None
    assert [entry["precision"] for entry in report["search"]] == ["int8"] * 6 + ["mixed", "mixed", "int16x8"]
    assert {row["name"] for row in report["layers"][:3]} == {"wild_0", "wild_1", "wild_2"}
    assert list(tmp_path.iterdir()) == []


def test_a_trained_network_is_the_last_resort(
    tmp_path: Path,
    lamps: Any,
    lamp_reader: Callable[[int], Any],
    lamp_preprocessing: Preprocessing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In place of a training: the network without its wild weights, which computes the same, and a range for it."""
    from edgecv_export.quantize.affine import Range
    from edgecv_export.sources.keras import KerasSource

    tame = source_of(lamp_reader(0), lamp_preprocessing).integer.network
    given: list[tuple[int, int]] = []

    def train(self: Any, plan: Plan, training: TrainingPictures, pixels: np.ndarray, seed: int) -> tuple[Recipe, str]:
        given.append((len(training), seed))
        return Recipe(network=tame, ranges={"relu_0": Range(0, 2.0)}, adaround=False), "40 pictures"

    monkeypatch.setattr(KerasSource, "train", train)
    lessons = tmp_path / "lessons"
    for path in lamps.folder.rglob("*.png"):
        (lessons / path.parent.name).mkdir(parents=True, exist_ok=True)
        (lessons / path.parent.name / path.name).write_bytes(path.read_bytes())
    exported = searched(
        lamp_reader(3), tmp_path / "l.edgecv", lamps, lamp_preprocessing, format="onnx", training=lessons, seed=9
    )
    assert given == [(40, 9)]
    last = exported.report["search"][-1]
    assert (last["name"], last["note"], last["recipe"]) == (
        "quantization-aware training", "40 pictures", {"adaround": False, "trained": True},
    )  # fmt: skip
    assert exported.manifest.precision == "int8"
    assert exported.report["accuracy"]["artefact"]["top1"] == 1.0


@pytest.mark.slow
def test_a_real_training_is_measured_like_any_candidate(
    tmp_path: Path, lamps: Any, lamp_reader: Callable[[int], Any], lamp_preprocessing: Preprocessing
) -> None:
    """Red is off in training too, so nothing can be learned of its weights: as accurate as without, and told so."""
    lessons = tmp_path / "lessons"
    for number in range(80):
        image = np.array(lamps.images[number % 40])
        image[0, 0, 1] ^= 1 + number // 40  # another picture
        (lessons / str(number % 4)).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(lessons / str(number % 4) / f"{number}.png"), image[..., ::-1])
    with pytest.raises(CheckFailedError) as caught:
        searched(lamp_reader(3), tmp_path / "l.edgecv", lamps, lamp_preprocessing, training=lessons)
    assert "--train" not in str(caught.value)
    assert caught.value.report is not None
    last = caught.value.report["search"][-1]
    assert (last["name"], last["note"]) == ("quantization-aware training", "80 pictures")
    assert last["recipe"] == {"adaround": False, "trained": True}
    assert last["top1"] == 0.25


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_search_gives_the_same_bundle(
    format: str, tmp_path: Path, lamps: Any, lamp_reader: Callable[[int], Any], lamp_preprocessing: Preprocessing
) -> None:
    model = lamp_reader(1)
    for name in ("a", "b"):
        searched(model, tmp_path / f"{name}.edgecv", lamps, lamp_preprocessing, format=format, name="same", seed=4)
    first, second = (ert.Bundle(tmp_path / f"{name}.edgecv") for name in ("a", "b"))
    assert first.artefact() == second.artefact()
    assert first.manifest.to_dict() | {"members": None} == second.manifest.to_dict() | {"members": None}
    reports = [without_times(bundle.report()) for bundle in (first, second)]
    assert reports[0] == reports[1]


def without_times(report: Any) -> Any:
    if isinstance(report, dict):
        return {
            name: without_times(value)
            for name, value in report.items()
            if name not in ("latency_ms", "seconds", "p50_ms")
        }
    return [without_times(entry) for entry in report] if isinstance(report, list) else report
