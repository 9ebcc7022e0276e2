"""Prometheus's format: figures by hand, and a reader of our own for its grammar."""

from __future__ import annotations

import re
from pathlib import Path

from edgecv_runtime.health import Machine, look
from edgecv_runtime.pipeline.outcome import CameraReport, Histogram
from edgecv_runtime.serve.metrics import exposition, histogram

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\+Inf|-?[0-9.e+-]+|NaN)')


def read(text: str) -> dict[tuple[str, str], float]:
    values: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            assert re.fullmatch(r"# (HELP [a-z_]+ \S.*|TYPE [a-z_]+ (counter|gauge|histogram))", line)
            continue
        match = LINE.fullmatch(line)
        assert match, line
        key = match[1], match[2] or ""
        assert key not in values
        values[key] = float(match[3])
    return values


def test_counters_and_histograms() -> None:
    report = CameraReport("door", "rtsp://***@camera", "running", frames_in=10, frames_out=7, dropped=3, connections=4)
    for seconds in (0.004, 0.005, 0.006, 7.0):  # bounds are inclusive
        report.age.add(seconds)
    values = read(exposition([report], Machine({"cpu-thermal": 54.5}, 12345678, 9, 4), 2))
    camera = 'camera="door"'
    assert values["edgecv_frames_in_total", camera] == 10
    assert values["edgecv_frames_out_total", camera] == 7
    assert values["edgecv_frames_dropped_total", camera] == 3
    assert values["edgecv_reconnects_total", camera] == 3
    assert values["edgecv_camera_state", camera + ',state="running"'] == 1
    assert values["edgecv_camera_state", camera + ',state="stalled"'] == 0
    assert values["edgecv_frame_age_seconds_bucket", camera + ',le="0.005"'] == 2
    assert values["edgecv_frame_age_seconds_bucket", camera + ',le="0.01"'] == 3
    assert values["edgecv_frame_age_seconds_bucket", camera + ',le="5"'] == 3
    assert values["edgecv_frame_age_seconds_bucket", camera + ',le="+Inf"'] == 4
    assert values["edgecv_frame_age_seconds_count", camera] == 4
    assert abs(values["edgecv_frame_age_seconds_sum", camera] - 7.015) < 1e-12
    assert values["edgecv_stage_seconds_count", camera + ',stage="infer"'] == 0
    assert values["edgecv_temperature_celsius", 'zone="cpu-thermal"'] == 54.5
    assert values["edgecv_resident_memory_bytes", ""] == 12345678
    assert (values["edgecv_open_fds", ""], values["edgecv_threads", ""], values["edgecv_viewers", ""]) == (9, 4, 2)
    assert "***" not in exposition([report], Machine({}, 0, 0, 0), 0)


def test_names_are_escaped() -> None:
    values = read(exposition([CameraReport('a"b\\c\nd', "x")], Machine({}, 0, 0, 0), 0))
    assert values["edgecv_frames_in_total", r'camera="a\"b\\c\nd"'] == 0


def test_buckets_never_sink() -> None:
    times = Histogram()
    for place in range(40):
        times.add(0.001 * 1.3**place)
    counts = [value for suffix, _, value in histogram({}, times) if suffix == "_bucket"]
    assert counts == sorted(counts) and counts[-1] == 40


def test_the_device(tmp_path: Path) -> None:
    thermal, process = tmp_path / "thermal", tmp_path / "self"
    for number, (kind, value) in enumerate([("cpu", "48312\n"), ("cpu", "51000"), ("off", "-274000"), ("bad", "n/a")]):
        (thermal / f"thermal_zone{number}").mkdir(parents=True)
        (thermal / f"thermal_zone{number}" / "temp").write_text(value)
        (thermal / f"thermal_zone{number}" / "type").write_text(f"{kind}\n")
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "0").touch()
    (process / "status").write_text("Name:\tpython\nVmRSS:\t   20480 kB\nThreads:\t7\n")
    seen = look(thermal, process)
    assert seen == Machine({"cpu": 48.312, "cpu 1": 51.0}, 20480 * 1024, 1, 7)
    assert seen.hottest == 51.0
    nothing = look(tmp_path / "none", tmp_path / "none")
    assert nothing == Machine({}, 0, 0, 0) and nothing.hottest != nothing.hottest
    here = look()
    assert here.memory > 1 << 20 and here.descriptors > 2 and here.threads >= 1
