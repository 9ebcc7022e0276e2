"""Non-maximum suppression beside OpenCV's and others', in one run.

    python benchmarks/nms.py [--counts N ...] [--classes C] [--runs R] [--json FILE]

Clustered boxes (about twenty around each object), random scores, IoU threshold 0.5, nothing left out beforehand. Each
peer is timed in turn on the same arrays, with the conversion it needs done beforehand; medians. Ratios are to
OpenCV's function for the same question: below 1 is quicker. A peer that is not installed is named with the reason.
The second table holds the worst cases: nothing overlapping, everything overlapping, a chain, thin bars across one
another.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common
import numpy as np
import numpy.typing as npt

from edgecv_runtime import nms
from edgecv_runtime.cli.output import table

COUNTS = (300, 1000, 8400, 25200)
THRESHOLD = 0.5
_SUCCESSION = 3
_LONG = 0.5  # seconds: caches do not matter then
WORST = ("apart", "the same", "chain", "crossing")

Boxes = npt.NDArray[np.float32]
Peer = Callable[[], int]  # runs once, and says how many boxes it keeps


def clustered(count: int, classes: int, seed: int = 0) -> tuple[Boxes, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Boxes around count / 20 objects in a 640×640 picture, their scores and classes."""
    generator = np.random.default_rng(seed)
    objects = max(1, count // 20)
    centres, sides = generator.uniform(0, 640, (objects, 2)), generator.uniform(20, 160, (objects, 2))
    of = generator.integers(0, objects, count)
    centre = centres[of] + generator.normal(0, 0.08, (count, 2)) * sides[of]
    side = sides[of] * np.exp(generator.normal(0, 0.12, (count, 2)))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], axis=1).astype(np.float32)
    return boxes, generator.random(count).astype(np.float32), generator.integers(0, classes, count)


def worst_case(name: str, count: int) -> Boxes:
    """Boxes that are hard on one algorithm or another."""
    index, zero = np.arange(count), np.zeros(count)
    if name == "apart":
        x, y = index % 160 * 4.0, index // 160 * 4.0
        boxes = np.stack([x, y, x + 3, y + 3], axis=1)
    elif name == "the same":
        boxes = np.tile([[10.0, 10.0, 50.0, 50.0]], (count, 1))
    elif name == "chain":
        boxes = np.stack([index, zero, index + 3, zero + 2], axis=1)
    else:
        across = np.stack([zero, index * 4.0, zero + 4 * count, index * 4.0 + 3], axis=1)
        boxes = np.where((index % 2 == 0)[:, None], across, across[:, [1, 0, 3, 2]])
    return boxes.astype(np.float32)


def agnostic_peers(boxes: Boxes, scores: Any) -> dict[str, Peer | str]:
    """OpenCV first; a string says why one is not there."""
    import cv2

    sides = _sides(boxes)
    peers: dict[str, Peer | str] = {
        "cv2.dnn.NMSBoxes": lambda: len(cv2.dnn.NMSBoxes(sides, scores, 0.0, THRESHOLD)),
        "edgecv": lambda: len(nms(boxes, scores, THRESHOLD)),
    }
    peers["supervision"] = _supervision(boxes, scores, np.zeros(len(boxes), np.int64))
    peers["onnxruntime"] = _operator(boxes, scores, None)
    return peers


def aware_peers(boxes: Boxes, scores: Any, classes: Any) -> dict[str, Peer | str]:
    """As `agnostic_peers`, within classes."""
    import cv2

    sides = _sides(boxes)
    peers: dict[str, Peer | str] = {
        "cv2.dnn.NMSBoxesBatched": lambda: len(cv2.dnn.NMSBoxesBatched(sides, scores, classes, 0.0, THRESHOLD)),
        "edgecv": lambda: len(nms(boxes, scores, THRESHOLD, classes=classes)),
    }
    peers["supervision"] = _supervision(boxes, scores, classes)
    peers["onnxruntime"] = _operator(boxes, scores, classes)
    return peers


def _sides(boxes: Boxes) -> Boxes:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _supervision(boxes: Boxes, scores: Any, classes: Any) -> Peer | str:
    try:
        library: Any = importlib.import_module("supervision")
    except ImportError as error:
        return f"not installed ({error})"
    rows = np.concatenate([boxes, scores[:, None], classes[:, None].astype(np.float32)], axis=1)
    return lambda: int(library.box_non_max_suppression(rows, iou_threshold=THRESHOLD).sum())


def _operator(boxes: Boxes, scores: Any, classes: Any) -> Peer | str:
    """ONNX Runtime's NonMaxSuppression, one thread; its scores are a matrix of classes × boxes."""
    try:
        onnxruntime, helper = importlib.import_module("onnxruntime"), importlib.import_module("onnx.helper")
        real = importlib.import_module("onnx").TensorProto
    except ImportError as error:
        return f"not installed ({error})"
    graph = helper.make_graph(
        [helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["kept"])],
        "nms",
        [
            helper.make_tensor_value_info("boxes", real.FLOAT, [1, None, 4]),
            helper.make_tensor_value_info("scores", real.FLOAT, [1, None, None]),
        ],
        [helper.make_tensor_value_info("kept", real.INT64, [None, 3])],
        [
            helper.make_tensor("most", real.INT64, [1], [len(boxes)]),
            helper.make_tensor("iou", real.FLOAT, [1], [THRESHOLD]),
            helper.make_tensor("least", real.FLOAT, [1], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    if classes is None:
        table_of = scores[None, None]
    else:
        table_of = np.zeros((1, int(classes.max()) + 1, len(boxes)), np.float32)
        table_of[0, classes, np.arange(len(boxes))] = scores
    feeds = {"boxes": boxes[None], "scores": table_of}
    return lambda: len(session.run(None, feeds)[0])


def time_in_turn(peers: dict[str, Peer | str], runs: int, seconds: float = 20.0) -> list[dict[str, Any]]:
    """Medians over `runs` turns, fewer where they would take longer than `seconds`; the first peer's counts as 1.

    In a turn each peer runs three times in succession, and the quickest counts: a cache that another peer filled is
    nobody's merit.
    """
    rows: list[dict[str, Any]] = []
    times: dict[str, list[float]] = {name: [] for name, peer in peers.items() if not isinstance(peer, str)}
    kept: dict[str, int] = {}
    started = time.perf_counter()
    for turn in range(-1, runs):  # the first turn warms up
        if turn > 1 and time.perf_counter() - started > seconds:
            break
        for name, collected in times.items():
            peer: Any = peers[name]
            spent = []
            for _ in range(_SUCCESSION):
                before = time.perf_counter()
                kept[name] = peer()
                spent.append(time.perf_counter() - before)
                if spent[0] > _LONG:
                    break
            if turn >= 0:
                collected.append(min(spent))
    base = statistics.median(next(iter(times.values())))
    for name, peer in peers.items():
        if isinstance(peer, str):
            rows.append({"peer": name, "skipped": peer})
        else:
            median = statistics.median(times[name])
            rows.append({"peer": name, "ms": 1e3 * median, "ratio": median / base, "kept": kept[name]})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs="+", type=_common.positive, default=list(COUNTS), metavar="N")
    parser.add_argument("--classes", type=_common.positive, default=80, metavar="C")
    parser.add_argument("--runs", type=_common.positive, default=15, metavar="R")
    parser.add_argument("--worst", type=_common.positive, default=COUNTS[-1], metavar="N", help="boxes in a worst case")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for count in options.counts:
        boxes, scores, classes = clustered(count, options.classes)
        for question, peers in (
            ("agnostic", agnostic_peers(boxes, scores)),
            ("in classes", aware_peers(boxes, scores, classes)),
        ):
            rows += [{"boxes": count, "question": question, **row} for row in time_in_turn(peers, options.runs)]
    scores = np.random.default_rng(1).random(options.worst).astype(np.float32)
    for name in WORST:
        peers = agnostic_peers(worst_case(name, options.worst), scores)
        chosen = {peer: peers[peer] for peer in ("cv2.dnn.NMSBoxes", "edgecv")}
        rows += [{"boxes": options.worst, "question": name, **row} for row in time_in_turn(chosen, 3)]
    print(_common.machine_line())
    print(table(("boxes", "question", "peer", "ms", "ratio", "kept"), [_row(row) for row in rows]))
    _common.write_json(options.json, {"rows": rows})
    return 0


def _row(row: dict[str, Any]) -> list[str]:
    head = [f"{row['boxes']:,}", row["question"], row["peer"]]
    if "skipped" in row:
        return [*head, "", "", row["skipped"]]
    return [*head, f"{row['ms']:.3f}", f"{row['ratio']:.3f}", f"{row['kept']:,}"]


if __name__ == "__main__":
    raise SystemExit(main())
