"""What edgecv adds to a loop written by hand: one 1920x1080 frame, the same artefact, in turn.

    python benchmarks/runtime_overhead.py [--backends B ...] [--precisions P ...] [--runs N] [--threads N] [--json FILE]

By hand: cut out the manifest's region, cv2.resize, the library's plain call, argmax. edgecv: model(frame), which
also turns the output into probabilities (the result ranks them when it is asked). OpenVINO Model API gets the same
region as a view, and everything it can be told about it: a frame of fixed size, the same threads, precision and
latency hint, one request, the best class only.

Both loops drive the one session that edgecv opened. Two sessions would each keep threads that go on spinning while
the other one is timed. Every round runs all loops, from another starting point each time, and each of them twice, of
which the second call counts: it finds the caches as its own last call left them. A ratio is the median over the
rounds of the ratio within a round. "itself" is the hand-written loop against itself: how far from
1.000 this machine's noise goes today. "adds" is the median difference per call; "no resize" is the same for a picture
of which the manifest cuts out exactly the input.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import _common
import cv2
import numpy as np
import numpy.typing as npt

import edgecv_runtime as ert
from edgecv_runtime import cpu
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.cli.output import table

Image = npt.NDArray[np.uint8]
Loop = Callable[[], Any]


def by_hand(model: Any) -> Callable[[Image], int]:
    """The loop that one would write for this artefact, on the session of `model`: frame in, class index out."""
    manifest, backend = model.manifest, model.backend
    spec = manifest.inputs[0]
    height, width = spec.size
    interpolation = getattr(cv2, f"INTER_{spec.resize.interpolation.upper()}")
    signed = spec.dtype == "int8"

    def tensor(frame: Image) -> npt.NDArray[Any]:
        top, left, rows, columns = region(frame, spec)
        cut = frame[top : top + rows, left : left + columns]
        if (rows, columns) == (height, width):
            cut = np.ascontiguousarray(cut)
        else:
            cut = cv2.resize(cut, (width, height), interpolation=interpolation)
        return (cut ^ np.uint8(0x80)).view(np.int8)[None] if signed else cut[None]

    if backend.name == "litert":
        interpreter = backend._interpreter
        source, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def loop(frame: Image) -> int:
            interpreter.set_tensor(source, tensor(frame))
            interpreter.invoke()
            return int(interpreter.get_tensor(answer)[0].argmax())

    elif backend.name == "onnxruntime":
        session = backend._session
        name = session.get_inputs()[0].name

        def loop(frame: Image) -> int:
            return int(session.run(None, {name: tensor(frame)})[0][0].argmax())

    else:
        request = backend._request

        def loop(frame: Image) -> int:
            return int(request.infer(tensor(frame), share_inputs=True, share_outputs=True)[0][0].argmax())

    return loop


def region(frame: Image, spec: Any) -> tuple[int, int, int, int]:
    """Top, left, height, width of what the manifest's resize rule takes out of the frame."""
    (height, width), (rows, columns) = frame.shape[:2], spec.size
    if spec.resize.mode == "stretch":
        return 0, 0, height, width
    if spec.resize.mode != "crop":
        raise _common.BenchmarkError(f"no hand-written loop for resize mode {spec.resize.mode!r}")
    unit = min(height / rows, width / columns) * spec.resize.crop_fraction
    rows, columns = round(rows * unit), round(columns * unit)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def model_api(path: Path, spec: Any, frame: Image, threads: int, folder: Path) -> Loop:
    """OpenVINO Model API on the same IR and the same pixels, at its fastest."""
    import openvino
    from model_api.adapters import OpenvinoAdapter
    from model_api.models import ClassificationModel

    bundle = Bundle(path)
    for member in ("model.xml", "model.bin"):
        (folder / member).write_bytes(bundle.member(member) or b"")
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    adapter = OpenvinoAdapter(
        openvino.Core(),
        str(folder / "model.xml"),
        device="CPU",
        plugin_config=config,
        max_num_requests=1,
        model_parameters={"input_layouts": "NHWC"},
    )
    top, left, rows, columns = region(frame, spec)
    view = frame[top : top + rows, left : left + columns]
    options = {"topk": 1, "resize_type": "standard", "input_frame_height": rows, "input_frame_width": columns}
    model = ClassificationModel(adapter, configuration=options, preload=True)
    return lambda: model(view)


def measure(path: Path, backend: str, frame: Image, threads: int, rounds: int) -> dict[str, Any]:
    """All loops of one bundle."""
    with tempfile.TemporaryDirectory() as folder, ert.load(path, backend=backend, threads=threads) as model:
        hand = by_hand(model)
        spec = model.manifest.inputs[0]
        # A picture of which the resize rule cuts out exactly the input: nothing is left to resize.
        rows, columns = (round(size / spec.resize.crop_fraction) for size in spec.size)
        small = cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_AREA)
        if region(small, spec)[2:] != spec.size:
            raise _common.BenchmarkError(f"{path.name}: its crop leaves something to resize in every picture")
        if hand(frame) not in _best(model, frame):
            raise _common.BenchmarkError(f"{path.name}: the hand-written loop answers {hand(frame)}, edgecv does not")
        loops: dict[str, Loop] = {
            "hand": lambda: hand(frame),
            "edgecv": lambda: model(frame),
            "itself": lambda: hand(frame),
            "hand, no resize": lambda: hand(small),
            "edgecv, no resize": lambda: model(small),
        }
        seconds = _common.time_in_turn(loops, rounds)
        compared = None
        if backend == "openvino" and find_spec("model_api") is not None:
            # In a pass of its own: it brings a second compiled model, whose threads disturb whatever follows it.
            other = model_api(path, spec, frame, threads, Path(folder))
            compared = _common.time_in_turn({"edgecv": lambda: model(frame), "model_api": other}, rounds)
        version = model.backend.version()
    ours, theirs = seconds["edgecv"], seconds["hand"]
    row = {
        "backend": backend,
        "version": version,
        "hand_ms": 1e3 * float(np.median(theirs)),
        "edgecv_ms": 1e3 * float(np.median(ours)),
        "ratio": float(np.median(ours / theirs)),
        "itself": float(np.median(seconds["itself"] / theirs)),
        "adds_us": 1e6 * float(np.median(ours - theirs)),
        "adds_no_resize_us": 1e6 * float(np.median(seconds["edgecv, no resize"] - seconds["hand, no resize"])),
        "model_api_ms": None,
        "model_api_ratio": None,
    }
    if compared is not None:
        row["model_api_ms"] = 1e3 * float(np.median(compared["model_api"]))
        row["model_api_ratio"] = float(np.median(compared["model_api"] / compared["edgecv"]))
    return row


def _best(model: Any, frame: Image) -> list[int]:
    """The best class, and those that tie with it (an int8 output has only 256 values)."""
    result = model(frame)
    return [int(index) for index in result.indices[result.scores == result.scores[0]]]


def main() -> int:
    parser = _common.parser(__doc__ or "")
    parser.add_argument("--backends", nargs="+", choices=_common.FORMATS, default=list(_common.FORMATS))
    parser.add_argument("--precisions", nargs="+", default=["int8", "fp32"], metavar="P")
    parser.add_argument("--runs", type=_common.positive, default=300, metavar="N", help="rounds (default: 300)")
    parser.add_argument("--threads", type=_common.positive, default=cpu.available_cores(), metavar="N")
    options = parser.parse_args()
    try:
        rows, imports, origin = _measure_all(options)
    except (_common.BenchmarkError, ert.EdgecvError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"1920x1080 ({origin}) → MobileNetV2, {options.threads} threads, {options.runs} rounds")
    print(_common.machine_line())
    print(table(_HEADER, [_row(row) for row in rows]))
    if "openvino" in options.backends and find_spec("model_api") is None:
        print("OpenVINO Model API is not installed (pip install openvino-model-api): not compared")
    added = ", ".join(f"import {name} {imports[name]:+.1f} ms" for name in imports if name != "bare")
    print(f"bare interpreter {imports['bare']:.1f} ms; {added}")
    _common.write_json(
        options.json,
        {"frame": origin, "threads": options.threads, "runs": options.runs, "rows": rows, "import_ms": imports},
    )
    return 0


def _measure_all(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, float], str]:
    frame, origin = _common.video_frame()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.bundles or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for precision in options.precisions:
            for backend in options.backends:
                path = _common.bundle(_common.FORMATS[backend], precision, folder)
                rows.append({"precision": precision, **measure(path, backend, frame, options.threads, options.runs)})
    modules = [name for name in ("edgecv_runtime", "edgecv") if find_spec(name) is not None]
    return rows, _common.import_times(sys.executable, modules, 15), origin


_HEADER = (
    "back end", "precision", "by hand ms", "edgecv ms", "ratio", "itself", "adds µs", "no resize µs",
    "Model API ms", "its ratio to edgecv",
)  # fmt: skip


def _row(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['backend']} {row['version']}",
        row["precision"],
        f"{row['hand_ms']:.2f}",
        f"{row['edgecv_ms']:.2f}",
        f"{row['ratio']:.3f}",
        f"{row['itself']:.3f}",
        f"{row['adds_us']:+.0f}",
        f"{row['adds_no_resize_us']:+.0f}",
        "" if row["model_api_ms"] is None else f"{row['model_api_ms']:.2f}",
        "" if row["model_api_ratio"] is None else f"{row['model_api_ratio']:.2f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
