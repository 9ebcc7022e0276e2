"""``/metrics``: Prometheus's text format, version 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgecv_runtime._version import __version__
from edgecv_runtime.health import Machine
from edgecv_runtime.pipeline.outcome import BUCKETS, CameraReport, Histogram
from edgecv_runtime.streams.states import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = dict[str, str]
Sample = tuple[str, Labels, float]  # suffix of the name, labels, value


def exposition(reports: Sequence[CameraReport], machine: Machine, viewers: int) -> str:
    """All metrics as text.

    Parameters
    ----------
    reports : sequence of CameraReport
    machine : Machine
    viewers : int
        Open streams of pictures and of results.
    """
    lines: list[str] = []

    def add(name: str, kind: str, text: str, samples: Sequence[Sample] | Iterator[Sample]) -> None:
        lines.append(f"# HELP edgecv_{name} {text}")
        lines.append(f"# TYPE edgecv_{name} {kind}")
        lines.extend(f"edgecv_{name}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in samples)

    def each(field: str) -> list[Sample]:
        return [("", {"camera": one.name}, float(getattr(one, field))) for one in reports]

    add("info", "gauge", "The version that runs.", [("", {"version": __version__}, 1)])
    add("frames_in_total", "counter", "Frames that the source gave.", each("frames_in"))
    add("frames_out_total", "counter", "Frames with a result.", each("frames_out"))
    add("frames_dropped_total", "counter", "Frames that a newer one replaced.", each("dropped"))
    add("frames_stale_total", "counter", "Frames that were handed out late.", each("stale"))
    add("connections_total", "counter", "Times that a source gave its first frame.", each("connections"))
    reconnects = [("", {"camera": one.name}, float(max(0, one.connections - 1))) for one in reports]
    add("reconnects_total", "counter", "Connections after the first.", reconnects)
    add("seconds_since_frame", "gauge", "Seconds since the source gave its last frame.", each("frame_age"))
    add("camera_state", "gauge", "1 for the state that a camera is in.", _states(reports))
    ages = (sample for one in reports for sample in histogram({"camera": one.name}, one.age))
    add("frame_age_seconds", "histogram", "From the capture of a frame to its result.", ages)
    stages = (
        sample
        for one in reports
        for stage, times in one.stages.items()
        for sample in histogram({"camera": one.name, "stage": stage}, times)
    )
    add("stage_seconds", "histogram", "What each stage took of a frame's way.", stages)
    zones = [("", {"zone": zone}, degrees) for zone, degrees in machine.temperatures.items()]
    add("temperature_celsius", "gauge", "Temperatures of the device.", zones)
    add("resident_memory_bytes", "gauge", "Memory that this process holds.", [("", {}, machine.memory)])
    add("open_fds", "gauge", "File descriptors that are open.", [("", {}, machine.descriptors)])
    add("threads", "gauge", "Threads of this process.", [("", {}, machine.threads)])
    add("viewers", "gauge", "Open streams of pictures and of results.", [("", {}, viewers)])
    return "\n".join(lines) + "\n"


def histogram(labels: Labels, times: Histogram) -> Iterator[Sample]:
    """Cumulative buckets, the sum and the count.

    The counts are taken once: the pipeline adds to them while they are read, and the total must fit the buckets.
    """
    counts, total = times.counts.tolist(), 0
    for bound, count in zip(BUCKETS, counts, strict=True):
        total += count
        yield "_bucket", labels | {"le": _number(bound)}, total
    yield "_sum", labels, times.sum
    yield "_count", labels, total


def _states(reports: Sequence[CameraReport]) -> Iterator[Sample]:
    for one in reports:
        for state in State:
            yield "", {"camera": one.name, "state": state.value}, float(one.state == state.value)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
