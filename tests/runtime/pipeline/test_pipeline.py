"""Pipelines on sources and models whose time is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.errors import BackendError, InputError, MissingFileError, OutputError
from edgecv_runtime.pipeline import Answering, Governor, Level, Outcome, Pipeline, ladder
from edgecv_runtime.pipeline.governor import Strain
from edgecv_runtime.pipeline.outcome import BUCKETS, Histogram
from edgecv_runtime.results import Detections
from edgecv_runtime.streams.sources import pattern_number
from edgecv_runtime.tracking import MotionGate

BARS = "test://bars?size=64x48&fps=0&frames=30"


class Slow:
    """A model that takes its time; it answers with the number in the frame."""

    manifest = SimpleNamespace(name="slow")

    def __init__(self, seconds: float = 0.0, fail_at: int | None = None) -> None:
        self.seconds, self.fail_at = seconds, fail_at
        self.made: list[Slow] = []
        self.parameters: dict[str, Any] = {}
        self.closed = False

    def timed(self, image: np.ndarray) -> tuple[Any, dict[str, float]]:
        number = pattern_number(image)
        if number == self.fail_at:
            raise BackendError("out of memory")
        time.sleep(self.seconds * (1 + number % 3) / 2)  # later ones may be done sooner
        box = np.float32([[number, 0, number + 20, 40]])
        return Detections(box, np.float32([0.9]), np.array([0])), {
            "preprocess": 0.0,
            "infer": self.seconds,
            "decode": 0,
        }

    def replicas(self, count: int) -> list[Slow]:
        self.made = [Slow(self.seconds, self.fail_at) for _ in range(count)]
        return self.made

    def configure(self, **parameters: Any) -> None:
        self.parameters = parameters

    def close(self) -> None:
        self.closed = True


def number(outcome: Outcome) -> int:
    return int(outcome.result.boxes[0, 0])


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_everything_in_order(workers: int) -> None:
    model = Slow(0.002)
    with Pipeline(model, "test://bars?size=64x48&fps=0&frames=60", policy="every", workers=workers) as outcomes:
        found = [number(outcome) for outcome in outcomes]
        (report,) = outcomes.reports()
    assert found == list(range(60))
    assert len(model.made) == workers - 1 and all(one.closed for one in model.made) and not model.closed
    assert (report.frames_in, report.frames_out, report.dropped) == (60, 60, 0)
    assert report.age.total == report.stages["infer"].total == 60


def test_results_of_a_live_source_are_fresh() -> None:
    """A model slower than the camera: no result is older than its own time and one frame interval."""
    ages = []
    with Pipeline(Slow(0.05), "test://bars?size=64x48&fps=50&frames=60") as outcomes:
        for outcome in outcomes:
            took = sum(outcome.seconds[stage] for stage in ("preprocess", "infer", "decode"))
            ages.append((outcome.age, outcome.seconds["wait"], took))
            assert outcome.seconds["wait"] + took <= outcome.age + 0.06
    waits = np.array([wait for _, wait, _ in ages[1:]])
    assert len(ages) < 50 and np.median(waits) <= 0.04


def test_a_frame_that_is_about_to_be_replaced_is_not_taken() -> None:
    """Ten frames a second and a model of 0.15 s: it is free when the last frame is 50 ms old, or more."""
    with Pipeline(Slow(0.16), "test://bars?size=64x48&fps=10&frames=40") as outcomes:
        waits = [outcome.seconds["wait"] for outcome in outcomes]
    assert len(waits) >= 8 and np.median(waits[3:]) < 0.06


def test_cameras_take_turns() -> None:
    sources = dict.fromkeys(("door", "yard", "hall"), "test://bars?size=64x48&fps=0&frames=20")
    with Pipeline(Slow(), sources, policy="every", workers=1) as outcomes:
        order = [outcome.camera for outcome in outcomes]
    assert sorted(order) == sorted([*sources] * 20)
    # Once all are running nobody is served twice before the others.
    assert max(order[9:40].count(name) for name in sources) <= 13


def test_a_slow_viewer_holds_a_file_and_drops_of_a_camera() -> None:
    with Pipeline(Slow(), "test://bars?size=64x48&fps=200&frames=100") as outcomes:
        seen = []
        for outcome in outcomes:
            time.sleep(0.03)
            seen.append((number(outcome), outcome.frame.dropped))
    assert len(seen) < 60
    assert sum(dropped for _, dropped in seen) + len(seen) == 100


class Keeper:
    def __init__(self) -> None:
        self.seen: list[int] = []
        self.closed = 0

    def write(self, outcome: Outcome) -> None:
        self.seen.append(number(outcome))

    def close(self) -> None:
        self.closed += 1


def test_sinks_get_everything_and_are_closed() -> None:
    keeper = Keeper()
    with Pipeline(Slow(), "test://bars?size=64x48&fps=0&frames=30", policy="every", sinks=[keeper]) as outcomes:
        assert outcomes.run() == 30
    outcomes.close()
    assert keeper.seen == list(range(30)) and keeper.closed == 1


def test_every_sink_is_closed_though_one_fails() -> None:
    class Full(Keeper):
        def close(self) -> None:
            raise OutputError("the disk is full")

    keeper = Keeper()
    pipeline = Pipeline(Slow(), "test://bars?size=64x48&fps=0&frames=3", sinks=[keeper, Full()])
    with pytest.raises(OutputError, match="the disk is full"):
        pipeline.close()
    assert keeper.closed == 1


def test_tracking_numbers_each_camera_s_own_objects() -> None:
    sources = ["test://bars?size=64x48&fps=0&frames=10"] * 2
    with Pipeline(Slow(), sources, policy="every", track=True, workers=1) as outcomes:
        numbers = {outcome.camera: outcome.result.ids.tolist() for outcome in outcomes}
    assert numbers == {"0": [1], "1": [1]}


def test_still_scenes_are_passed_over(tmp_path: Path) -> None:
    for index in range(12):
        level = 50 if index < 6 else 200
        cv2.imwrite(str(tmp_path / f"{index:02d}.png"), np.full((48, 64, 3), level, np.uint8))
    with Pipeline(Slow(), tmp_path, motion=lambda: MotionGate(at_least_every=None)) as outcomes:
        assert [outcome.frame.index for outcome in outcomes] == [0, 6]


def test_a_governor_takes_a_lighter_model() -> None:
    heavy, light = Slow(0.04), Slow(0.0)
    governor = Governor(0.03, [Level(0, 0), Level(0, 1)], trouble=0.2, strain=Strain)
    source = "test://bars?size=64x48&fps=50&frames=80"
    with Pipeline(heavy, source, governor=governor, lighter=[light]) as outcomes:
        took = [outcome.seconds["infer"] for outcome in outcomes]
    assert took[0] == 0.04 and took[-1] == 0.0 and len(governor.steps) == 1
    with pytest.raises(InputError, match="levels name model 1; there are 1 models"):
        Pipeline(heavy, source, governor=governor)


def test_a_governor_takes_a_smaller_input_before_a_lighter_model() -> None:
    source = "test://bars?size=64x48&fps=50&frames=150"
    heavy, small, light = (Slow(seconds) for seconds in (0.04, 0.04, 0.0))
    governor = Governor(0.03, ladder((40,), models=2, sizes=2), trouble=0.2, strain=Strain)
    with Pipeline(heavy, source, governor=governor, smaller=[small], lighter=[light]) as outcomes:
        outcomes.configure(score_threshold=0.5)
        assert outcomes.run() > 20
    assert [one.parameters for one in (heavy, small, light)] == [{"score_threshold": 0.5}] * 3
    assert [(step.after.model, step.after.size) for step in governor.steps] == [(0, 0), (0, 1), (0, 1), (1, 0)]
    with pytest.raises(InputError, match="input size 1 of model 0, which has 1: pass smaller ones"):
        Pipeline(heavy, source, governor=governor, lighter=[light])


def test_results_are_finished_in_order_by_what_each_camera_has() -> None:
    """Each camera's own count of what it has seen, while three workers are busy at a time."""
    kept: dict[str, list[int]] = {}

    def finish(camera: str) -> Callable[[Any], Any]:
        kept[camera] = []

        def note(result: Detections) -> Detections:
            kept[camera].append(int(result.boxes[0, 0]))
            return Detections(result.boxes + np.float32(1000), result.scores, result.classes)

        return note

    sources = dict.fromkeys(("door", "yard"), "test://bars?size=64x48&fps=0&frames=20")
    with Pipeline(Slow(0.002), sources, policy="every", workers=3, finish=finish) as outcomes:
        found = [number(outcome) for outcome in outcomes]
    assert kept == {"door": list(range(20)), "yard": list(range(20))}
    assert sorted(found) == sorted(2 * [1000 + k for k in range(20)])


def test_what_stands_in_for_a_model() -> None:
    """Its replicas ask the model's replicas; parameters reach them, and so does the end."""
    model, made = Slow(), []

    def make(one: Any) -> Callable[[np.ndarray], Any]:
        made.append(one)
        return lambda image: one.timed(image)[0]

    with Pipeline(Answering(model, make), BARS, policy="every", workers=3) as outcomes:  # type: ignore[arg-type]
        outcomes.configure(score_threshold=0.3)
        found = list(outcomes)
    assert [number(outcome) for outcome in found] == list(range(30))
    assert all(outcome.seconds["infer"] > 0 for outcome in found)
    assert made == [model, *model.made] and len(made) == 3
    assert all(one.parameters == {"score_threshold": 0.3} for one in made)
    assert all(one.closed for one in model.made) and not model.closed


def test_a_governor_s_rate_is_that_of_each_camera() -> None:
    """Two cameras give their frames at the same moments; a rate kept for both together would shut one of them out."""
    source = "test://bars?size=64x48&fps=50&frames=60"
    governor = Governor(10.0, [Level(0.1)], strain=Strain)
    with Pipeline(Slow(), [source, source], governor=governor) as outcomes:
        times: dict[str, list[float]] = {"0": [], "1": []}
        for outcome in outcomes:
            times[outcome.camera].append(outcome.frame.captured)
    for captured in times.values():
        assert len(captured) > 5 and np.diff(captured).min() >= 0.1


def test_an_error_of_the_model_is_told() -> None:
    with (
        Pipeline(Slow(fail_at=5), "test://bars?size=64x48&fps=0&frames=30", policy="every", workers=1) as outcomes,
        pytest.raises(BackendError, match="out of memory"),
    ):
        seen = [number(outcome) for outcome in outcomes]
        assert seen == list(range(5))


def test_a_lost_camera_is_told_after_the_others_have_ended() -> None:
    lost = "test://bars?size=64x48&fps=0&lose=3"
    options = {"backoff": ert.streams.Backoff(first=0.001, attempts=0)}
    with Pipeline(Slow(), [lost, "test://bars?size=64x48&fps=0&frames=9"], policy="every", stream_options=options) as p:
        seen = []
        with pytest.raises(ert.EdgecvError, match="was lost"):
            seen.extend(outcome.camera for outcome in iter(p.__next__, None))
    assert p.reports()[0].state in ("failed", "closed")


def test_closing_at_any_moment() -> None:
    for wait in (0.0, 0.01, 0.05):
        pipeline = Pipeline(Slow(0.01), ["test://bars?size=64x48&fps=30", "test://bars?size=64x48&fps=0&hang=2"])
        time.sleep(wait)
        begun = time.monotonic()
        pipeline.close()
        assert time.monotonic() - begun < 10
        with pytest.raises(StopIteration):
            next(pipeline)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgecv worker")]


def test_configure_reaches_every_worker() -> None:
    model = Slow()
    with Pipeline(model, "test://bars?size=64x48&fps=0&frames=5", policy="every", workers=3) as outcomes:
        outcomes.configure(score_threshold=0.7)
        outcomes.run()
    assert [one.parameters for one in (model, *model.made)] == [{"score_threshold": 0.7}] * 3


def test_a_real_model(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    for seed in range(20):
        assert cv2.imwrite(str(tmp_path / f"{seed:02d}.png"), tiny.image(seed)[..., ::-1])
    with ert.load(bundle) as model, ert.Pipeline(model, tmp_path) as outcomes:
        best = [int(outcome.result.indices[0]) for outcome in outcomes]
    assert best == [int(tiny.reference.scores(tiny.image(seed)).argmax()) for seed in range(20)]


def test_an_outcome_as_json() -> None:
    with Pipeline(Slow(), "test://bars?size=64x48&fps=0&frames=1") as outcomes:
        (outcome,) = outcomes
    document = outcome.to_dict()
    assert document["index"] == 0 and document["camera"] == "0" and document["result"]["boxes"] == [[0, 0, 20, 40]]
    assert set(document["ms"]) == {"wait", "preprocess", "infer", "decode"}


def test_histogram_by_hand() -> None:
    histogram = Histogram()
    for seconds in (0.001, 0.005, 0.006, 99.0):
        histogram.add(seconds)
    assert histogram.counts[:2].tolist() == [2, 1] and histogram.counts[-1] == 1
    assert histogram.total == 4 and histogram.sum == pytest.approx(99.012) and BUCKETS[0] == 0.005


@pytest.mark.parametrize(
    ("sources", "options", "error", "message"),
    [
        ([], {}, InputError, "at least one source is required"),
        (["test://bars"], {"workers": 0}, InputError, "workers must be at least 1; received 0"),
        (["test://bars", "nowhere.mp4"], {}, MissingFileError, "no image, folder or video at nowhere.mp4"),
    ],
)
def test_refused(
    sources: list[str], options: dict[str, Any], error: type[Exception], message: str, no_threads: Callable[[], None]
) -> None:
    with pytest.raises(error, match=message):
        Pipeline(Slow(), sources, **options)
    no_threads()


@pytest.fixture
def no_threads() -> Callable[[], None]:
    def check() -> None:
        end = time.monotonic() + 10
        while [thread for thread in threading.enumerate() if "edgecv watcher" in thread.name]:
            assert time.monotonic() < end
            time.sleep(0.01)

    return check
