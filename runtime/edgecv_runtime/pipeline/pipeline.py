"""Cameras, one model, results in order: reading, preparing, running and decoding overlap.

Workers take frames in turn, and each carries its frame through to the result: with two of them one prepares while the
other computes. Of live sources a worker takes the newest frame at the moment when it is free: no queue stands between
the camera and the model, so a result is never older than the time to compute it and one frame interval. Where the next
frame is nearer than the age of the one that waits, it is the next that is taken.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from edgecv_runtime import cpu
from edgecv_runtime.errors import EdgecvError, InputError
from edgecv_runtime.model import Model
from edgecv_runtime.pipeline.answering import Answering
from edgecv_runtime.pipeline.governor import Governor
from edgecv_runtime.pipeline.outcome import CameraReport, Outcome, Sink
from edgecv_runtime.pipeline.scheduler import Scheduler, Turn
from edgecv_runtime.results import Detections
from edgecv_runtime.streams import LiveStream, Stream, open_stream
from edgecv_runtime.tracking import MotionGate, Tracker

_ON_DEMAND = 2  # workers for sources that wait: one prepares while the other computes


class Pipeline:
    """An iterator of `Outcome`, in the order in which frames were taken; use it with ``with``.

    Parameters
    ----------
    model : Model or Answering
        It stays the caller's to close; what it is configured to counts from the next frame on.
    sources : str, sequence of str, or mapping of name to source
        As `open_stream` takes them, or open streams.
    policy : str, optional
        As in `open_stream`.
    workers : int, optional
        Frames that are worked on at a time. Default: 1 for sources whose frames grow old, 2 for sources that wait.
        On OpenVINO each is an infer request of the one model. Elsewhere every further worker loads the model once
        more, with as many threads: load it with ``threads=1`` for several.
    sinks : sequence of Sink
        Each is given every outcome, in order, before the iterator gives it out; they are closed with the pipeline.
    track : bool
        Number detections (`Tracker`).
    finish : callable, optional
        Makes for each camera, given its name, what is done with its results, one after the other in the order of its
        frames: what needs to know what came before.
    motion : callable, optional
        Makes a `MotionGate` for each camera: frames in which nothing moves are not looked at.
    governor : Governor, optional
        Lowers the rate, then the input size, then takes a lighter model, when results come late or the device is hot.
        One worker then.
    smaller : sequence of Model
        For the governor: the model at smaller input sizes, the largest first (`edgecv_runtime.model.load_smaller`).
    lighter : sequence of Model
        For the governor: other models, the heaviest first. Both stay the caller's to close.
    stream_options : mapping, optional
        For `open_stream`: backoff, stall_after and so on.

    Raises
    ------
    InputError
        No source, no worker, or a level of the governor without its model or size.
    EdgecvError
        A source cannot be opened.

    Examples
    --------
    >>> with ert.load("yolox.edgecv") as model, ert.Pipeline(model, ["rtsp://door", "0"]) as outcomes:  # doctest: +SKIP
    ...     for outcome in outcomes:
    ...         print(outcome.camera, outcome.result, f"{outcome.age:.3f} s old")
    """

    def __init__(
        self,
        model: Model | Answering,
        sources: str | Path | Sequence[Any] | Mapping[str, Any],
        *,
        policy: str | None = None,
        workers: int | None = None,
        sinks: Sequence[Sink] = (),
        track: bool = False,
        finish: Callable[[str], Callable[[Any], Any]] | None = None,
        motion: Callable[[], MotionGate] | None = None,
        governor: Governor | None = None,
        smaller: Sequence[Model | Answering] = (),
        lighter: Sequence[Model | Answering] = (),
        stream_options: Mapping[str, Any] | None = None,
    ) -> None:
        named = _named(sources)
        if workers is not None and workers < 1:
            raise InputError(f"workers must be at least 1; received {workers}")
        self.model = model
        self._governor = governor
        self._ladder: tuple[tuple[Model | Answering, ...], ...] = ((model, *smaller), *((one,) for one in lighter))
        _check_levels(governor, self._ladder)
        self._streams = _opened(named, policy, dict(stream_options or {}))
        waits = not any(isinstance(stream, LiveStream) and stream.drops for stream in self._streams.values())
        alone = motion is not None or governor is not None  # one frame after the other, or they could not compare
        self._count = 1 if alone else workers or (_ON_DEMAND if waits and cpu.available_cores() > 1 else 1)
        self._reports = {name: CameraReport(name, stream.name) for name, stream in self._streams.items()}
        self._trackers = {name: Tracker() for name in self._streams} if track else {}
        self._finishers = {name: finish(name) for name in self._streams} if finish is not None else {}
        self._gates = {name: motion() for name in self._streams} if motion is not None else {}
        self._last_begun = dict.fromkeys(self._streams, -math.inf)
        self._sinks = tuple(sinks)
        self._change = threading.Condition()
        self._done: dict[int, Outcome | None] = {}  # by number; None where a frame was passed over
        self._next = 0
        self._error: Exception | None = None
        self._closed, self._busy = False, self._count
        self._replicas = _replicas(model, self._count)
        self._scheduler = Scheduler(self._streams)
        self._workers = [
            threading.Thread(target=self._work, args=(replica,), name=f"edgecv worker {number}", daemon=True)
            for number, replica in enumerate(self._replicas)
        ]
        for worker in self._workers:
            worker.start()

    # -- for whoever takes the results -----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Outcome]:
        return self

    def __next__(self) -> Outcome:
        while True:
            outcome = self._take()
            if outcome is not None:
                return self._finished(outcome)

    def _take(self) -> Outcome | None:
        with self._change:
            self._change.wait_for(lambda: self._next in self._done or not self._busy or self._closed)
            if self._closed or self._next not in self._done:
                if self._error is not None and not self._closed:
                    raise self._error
                raise StopIteration
            outcome = self._done.pop(self._next)
            self._next += 1
            self._change.notify_all()
        return outcome

    def _finished(self, outcome: Outcome) -> Outcome:
        finisher = self._finishers.get(outcome.camera)
        if finisher is not None:
            outcome = replace(outcome, result=finisher(outcome.result))
        tracker = self._trackers.get(outcome.camera)
        if tracker is not None and isinstance(outcome.result, Detections):
            outcome = replace(outcome, result=tracker.update(outcome.result, outcome.frame.timestamp))
        report = self._reports[outcome.camera]
        report.frames_out += 1
        report.age.add(outcome.age)
        for stage, seconds in outcome.seconds.items():
            report.stages[stage].add(seconds)
        for sink in self._sinks:
            sink.write(outcome)
        return outcome

    def run(self) -> int:
        """Everything there is, for the sinks; how many outcomes there were."""
        return sum(1 for _ in self)

    def reports(self) -> list[CameraReport]:
        """What is known of each camera at this moment."""
        for name, stream in self._streams.items():
            report = self._reports[name]
            if isinstance(stream, LiveStream):
                counts = stream.counts
                report.state, report.reason = stream.state.value, stream.reason
                report.frames_in, report.connections = counts.received, counts.connections
                report.dropped, report.stale = counts.received - report.frames_out, counts.stale
                report.frame_age = stream.frame_age
            else:
                report.state = "running" if self._busy else "ended"
        return list(self._reports.values())

    def configure(self, **parameters: Any) -> None:
        """Change the decoder's parameters from the next frame on, as `Model.configure`."""
        for replica in {*self._replicas, *(one for models in self._ladder for one in models)}:
            replica.configure(**parameters)

    def close(self) -> None:
        """Stop, within about a second. Calling it again does nothing."""
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._change.notify_all()
        self._scheduler.close()
        until = time.monotonic() + 1.0
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))
        for replica, worker in zip(self._replicas[1:], self._workers[1:], strict=True):
            if not worker.is_alive():
                replica.close()
        with ExitStack() as sinks:  # each of them, though one may fail
            for sink in self._sinks:
                sinks.callback(sink.close)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Pipeline {self.model.manifest.name}: {', '.join(self._streams)}, {self._count} workers>"

    # -- the workers -----------------------------------------------------------------------------------------------

    def _work(self, model: Model | Answering) -> None:
        try:
            while (turn := self._scheduler.take()) is not None:
                if not self._hand_in(turn.number, self._answer(model, turn)):
                    return
        except EdgecvError as error:
            with self._change:
                self._error = self._error or error
        except Exception as error:  # noqa: BLE001  # told to whoever iterates, instead of a thread that is just gone
            with self._change:
                self._error = self._error or error
        finally:
            with self._change:
                self._busy -= 1
                self._change.notify_all()

    def _answer(self, model: Model | Answering, turn: Turn) -> Outcome | None:
        frame, report = turn.frame, self._reports[turn.camera]
        if self._governor is not None:
            level = self._governor.level
            if frame.captured - self._last_begun[turn.camera] < level.interval:
                return None
            self._last_begun[turn.camera], model = frame.captured, self._ladder[level.model][level.size]
        if not isinstance(self._streams[turn.camera], LiveStream):
            report.frames_in += 1
        gate = self._gates.get(turn.camera)
        if gate is not None and not gate.moving(frame.image, frame.timestamp):
            return None
        begun = time.monotonic()
        # A model converts what it looks at; what stands in for one takes pictures.
        result, seconds = model.timed(frame.pixels) if isinstance(model, Model) else model.timed(frame.image)
        seconds = {"wait": begun - frame.captured, **seconds}
        now = time.monotonic()
        if self._governor is not None:
            self._governor.observe(now - frame.captured, now)
        return Outcome(turn.camera, frame, result, seconds, now - frame.captured)

    def _hand_in(self, number: int, outcome: Outcome | None) -> bool:
        """Put a result where it is taken in order; wait where too many have not been taken."""
        with self._change:
            self._change.wait_for(lambda: number < self._next + 2 * self._count or self._closed)
            self._done[number] = outcome
            self._change.notify_all()
            return not self._closed


def _named(sources: Any) -> dict[str, Any]:
    if isinstance(sources, (str, Path, Stream)):
        sources = [sources]
    named = dict(sources) if isinstance(sources, Mapping) else {str(n): one for n, one in enumerate(sources)}
    if not named:
        raise InputError("at least one source is required; received none")
    return named


def _check_levels(governor: Governor | None, ladder: Sequence[Sequence[Any]]) -> None:
    """Every level must have its model, and that its size."""
    for level in () if governor is None else governor.levels:
        if level.model >= len(ladder):
            raise InputError(
                f"the governor's levels name model {level.model}; there are {len(ladder)} models: pass lighter ones"
            )
        if level.size >= len(ladder[level.model]):
            raise InputError(
                f"the governor's levels name input size {level.size} of model {level.model}, which has "
                f"{len(ladder[level.model])}: pass smaller ones"
            )


def _opened(named: Mapping[str, Any], policy: str | None, options: dict[str, Any]) -> dict[str, Stream]:
    streams: dict[str, Stream] = {}
    try:
        for name, source in named.items():
            streams[name] = source if isinstance(source, Stream) else open_stream(source, policy, **options)
    except EdgecvError:
        for stream in streams.values():
            stream.close()
        raise
    return streams


def _replicas(model: Model | Answering, count: int) -> list[Any]:
    """The model itself, and further instances of it that share the threads."""
    return [model] if count == 1 else [model, *model.replicas(count - 1)]
