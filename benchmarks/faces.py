"""Faces from detection to the name: verification, identification and open-set figures on real pictures.

    python benchmarks/faces.py [--people N] [--quality] [--save DIR] [--json FILE]

Needs the models and pictures that EDGECV_DATA names (default: ../shared/data beside the checkout). Each model becomes a
bundle as ``edgecv wrap`` makes it, in a temporary folder.

Three tables: the embedder on aligned faces, as they come and moved to its own template; one photograph enrolled for
each person and the rest identified, half of the people being unknown; and the whole pipeline on pictures that are not
aligned: the same faces turned and scaled at random, small faces in large frames, and portraits that fill the picture.
--quality adds what the quality gates are set by: faces spoiled step by step. --save writes photographs and frames of a
video with boxes, landmarks and names drawn in.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
import cv2
import numpy as np
import numpy.typing as npt

import edgecv_runtime as ert
from edgecv_export.wrapping import wrap
from edgecv_runtime.cli.output import table
from edgecv_runtime.contact_sheet import write_picture
from edgecv_runtime.evaluate_faces import read_identities
from edgecv_runtime.faces import FacePipeline
from edgecv_runtime.faces.quality import measure
from edgecv_runtime.faces.recognition import FaceRecognizer
from edgecv_runtime.images import Image
from edgecv_runtime.manifest import Normalization
from edgecv_runtime.metrics.verification import verification_rates

FAR = 1e-3
# Detector file -> (decoder, alignment)
DETECTORS = {
    "blazeface_back.tflite": ("blazeface", "auto"),
    "blazeface_short_range.tflite": ("blazeface", "auto"),
    "ultraface_rfb_320.onnx": ("ultraface", "box"),
    "ultraface_slim_320.onnx": ("ultraface", "box"),
}
_COMPARED = ("blazeface_back.tflite", "ultraface_rfb_320.onnx")  # also without the second look, and in large frames
# The first two operations in the model are (pixel - 127.5) / 128.
IN_GRAPH = Normalization((0.0,) * 3, (1.0,) * 3)

# These pictures are aligned to the template of 112×96, eight pixels left of the embedder's own.
_TO_TEMPLATE = np.array([[1, 0, 8], [0, 1, 0]], np.float64)

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Portraits:
    """Aligned faces of known people, as many of each."""

    images: list[Image]
    people: Labels

    @property
    def each(self) -> int:
        return int((self.people == 0).sum())


def read_portraits(folder: Path, people: int | None) -> Portraits:
    """The first people of a folder, their pictures moved to nowhere yet."""
    items = [item for item in read_identities(folder) if people is None or item.class_index < people]
    labels = np.array([item.class_index for item in items], np.int64)
    return Portraits([ert.read_image(item.path) for item in items], labels)


def to_template(image: Image) -> Image:
    """An aligned face with its eyes where the embedder was trained to see them."""
    moved: Image = cv2.warpAffine(image, _TO_TEMPLATE, (112, 112), borderMode=cv2.BORDER_REPLICATE)
    return moved


def embed(embedder: ert.Model, images: list[Image]) -> Vectors:
    """One after another: a batch of hundreds takes gigabytes."""
    return np.stack([embedder(image).vector for image in images])


# -- figures -----------------------------------------------------------------------------------------------------------


def leave_one_out(vectors: Vectors, people: Labels) -> float:
    """Share of the pictures whose nearest other picture is of the same person."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    return float((people[similarity.argmax(axis=1)] == people).mean())


def rates(vectors: Vectors, people: Labels) -> dict[str, Any]:
    found = verification_rates(vectors, people, (FAR,))
    return {
        "n": len(people),
        "rank1": leave_one_out(vectors, people),
        "tar": float(found.tar[0]),
        "threshold": float(found.thresholds[0]),
        "eer": found.eer,
    }


def identification(vectors: Vectors, people: Labels, each: int) -> dict[str, float]:
    """One picture enrolled, the others probes; each picture of a person is the enrolled one once.

    For the open set half of the people are enrolled, in turn, and the probes of the others are strangers. FNIR is the
    share of the known whose best match is somebody else or below the threshold (ISO/IEC 19795-1).
    """
    place = np.arange(len(people)) % each
    count = int(people.max()) + 1
    right, known, strangers = [], [], []
    for enrolled in range(each):
        base = place == enrolled
        similarity = vectors[~base] @ vectors[base].T
        probes = people[~base]
        right.append(float((similarity.argmax(axis=1) == probes).mean()))
        for half in (np.arange(count) % 2 == 0, np.arange(count) % 2 == 1):
            columns = np.flatnonzero(half)
            among = similarity[:, columns]
            best, score = columns[among.argmax(axis=1)], among.max(axis=1)
            inside = half[probes]
            known.append(np.where(best[inside] == probes[inside], score[inside], -1))
            strangers.append(score[~inside])
    scores, others = np.concatenate(known), np.concatenate(strangers)
    figures = {"rank1": float(np.mean(right))}
    for share in (0.1, 0.01):
        threshold = float(np.quantile(others, 1 - share, method="higher"))
        figures[f"fnir_at_fpir_{share:g}"] = float((scores < threshold).mean())
        figures[f"threshold_at_fpir_{share:g}"] = threshold
    return figures


# -- pictures that are not aligned -------------------------------------------------------------------------------------


def turned(portraits: Portraits) -> Iterator[tuple[int, Image]]:
    """Each face alone in a picture of 480 × 360, turned by up to 20°, 70 to 120 pixels large."""
    generator = np.random.default_rng(0)
    for image, person in zip(portraits.images, portraits.people.tolist(), strict=True):
        face = cv2.copyMakeBorder(image, 112, 112, 112, 112, cv2.BORDER_REPLICATE)
        matrix = cv2.getRotationMatrix2D((168, 168), generator.uniform(-20, 20), generator.uniform(0.8, 1.4))
        matrix[:, 2] += np.array([240, 180]) + generator.uniform(-30, 30, 2) - 168
        yield person, cv2.warpAffine(face, matrix, (480, 360), borderMode=cv2.BORDER_REPLICATE)


def embed_pictures(pipeline: FacePipeline, pictures: Iterator[tuple[int, Image]]) -> dict[str, Any]:
    """The largest face of each picture through the whole pipeline."""
    vectors, people, count, refused, seconds = [], [], 0, 0, 0.0
    for person, picture in pictures:
        count += 1
        started = time.perf_counter()
        faces = pipeline.faces(picture)
        seconds += time.perf_counter() - started
        vector = faces[0].vector if faces else None
        refused += bool(faces) and vector is None
        if vector is not None:
            vectors.append(vector)
            people.append(person)
    return {
        "pictures": count,
        "refused": refused,
        "ms": 1e3 * seconds / count,
        **rates(np.stack(vectors), np.array(people, np.int64)),
    }


def in_frames(pipeline: FacePipeline, portraits: Portraits, side: float) -> dict[str, Any]:
    """Eight small faces in each frame of 1920 × 1080, turned by up to 15°."""
    generator = np.random.default_rng(0)
    vectors, people, refused = [], [], 0
    for first in range(0, len(portraits.images), 8):
        frame = np.full((1080, 1920, 3), 110, np.uint8)
        shown = portraits.images[first : first + 8]
        for place, image in enumerate(shown):
            face = cv2.copyMakeBorder(image, 60, 60, 60, 60, cv2.BORDER_REPLICATE)
            matrix = cv2.getRotationMatrix2D((116, 116), generator.uniform(-15, 15), side * 1.3 / 112)
            matrix[:, 2] += np.array([240 + 480 * (place % 4), 270 + 540 * (place // 4)]) - 116
            cv2.warpAffine(face, matrix, (1920, 1080), dst=frame, borderMode=cv2.BORDER_TRANSPARENT)
        for found in pipeline.faces(frame):
            x, y = ((found.box[:2] + found.box[2:]) / 2).tolist()
            place = int(x // 480) + 4 * int(y // 540)
            if found.vector is None:
                refused += 1
            elif 0 <= place < len(shown):
                vectors.append(found.vector)
                people.append(int(portraits.people[first + place]))
    measured = rates(np.stack(vectors), np.array(people, np.int64))
    return {"pictures": len(portraits.images), "refused": refused, "ms": float("nan"), **measured}


# -- what spoils a face ------------------------------------------------------------------------------------------------


def _smaller(image: Image, side: int) -> Image:
    shrunk = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    grown: Image = cv2.resize(shrunk, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return grown


def _exposed(image: Image, gain: float) -> Image:
    noise = np.random.default_rng(0).normal(0, 1.5, image.shape) if gain < 1 else 0
    return np.clip(np.rint(image * gain + noise), 0, 255).astype(np.uint8)


def _blurred(image: Image, sigma: float) -> Image:
    blurred: Image = cv2.GaussianBlur(image, (0, 0), sigma)
    return blurred


def spoiled(embedder: ert.Model, portraits: Portraits) -> list[list[str]]:
    """TAR of pairs of an untouched and a spoiled picture, and the median of what the gate measures."""
    images = [to_template(image) for image in portraits.images]
    clean = embed(embedder, images)
    threshold = verification_rates(clean, portraits.people, (FAR,)).thresholds[0]
    same = portraits.people[:, None] == portraits.people[None]
    np.fill_diagonal(same, False)
    steps: list[tuple[str, Callable[[Image], Image]]] = [("untouched", lambda image: image)]
    steps += [(f"blur σ {sigma:g} px", lambda image, s=sigma: _blurred(image, s)) for sigma in (1, 1.5, 2, 2.5)]
    steps += [
        (f"face of {side / 1.3:.0f} px", lambda image, s=side: _smaller(image, s)) for side in (64, 48, 40, 32, 24)
    ]
    steps += [
        (f"light × {gain:g}", lambda image, g=gain: _exposed(image, g)) for gain in (0.25, 0.15, 0.1, 1.5, 2, 2.5)
    ]
    rows = []
    for name, change in steps:
        changed = [change(image) for image in images]
        vectors = embed(embedder, changed)
        tar = float(((clean @ vectors.T)[same] >= threshold).mean())
        measures = [measure(image, size=86) for image in changed]
        medians = [float(np.median([getattr(m, key) for m in measures])) for key in ("sharpness", "brightness")]
        clipped = float(np.mean([m.clipped for m in measures]))
        rows.append([name, f"{tar:.3f}", f"{medians[0]:.0f}", f"{medians[1]:.0f}", f"{clipped:.2f}"])
    return rows


# -- pictures to look at -----------------------------------------------------------------------------------------------


def draw_names(pipeline: FacePipeline, data: Path, folder: Path, work: Path) -> None:
    """Everyone in the first group photograph is enrolled; who is seen again in the others and in the video?"""
    from edgecv_runtime.gallery import Gallery

    photographs = sorted((data / "faces" / "group-photos").iterdir())
    with Gallery(work / "faces.db", fingerprint=pipeline.fingerprint, threshold=0.4) as gallery:
        for number, face in enumerate(sorted(pipeline.faces(photographs[0]), key=lambda face: float(face.box[0])), 1):
            if face.vector is not None:
                gallery.enroll(f"person {number}", face.vector)
        recognizer = FaceRecognizer(pipeline, gallery)
        for path in photographs:
            write_picture(folder / f"{path.stem}.png", ert.draw(ert.read_image(path), recognizer(path).detections))
        with ert.open_stream(data / "video" / "faces.mp4") as frames:
            for frame in frames:
                if frame.index % 20 == 0:
                    drawn = ert.draw(frame.image, recognizer(frame.image).detections)
                    write_picture(folder / f"frame_{frame.index:03d}.png", drawn)


# -- the run -----------------------------------------------------------------------------------------------------------


def measure_pipelines(data: Path, portraits: Portraits, embedder: ert.Model, work: Path) -> list[dict[str, Any]]:
    rows = []
    stills = read_portraits(data / "faces" / "tv-stills-8x5", None)
    for name, (decoder, alignment) in DETECTORS.items():
        path = work / f"{Path(name).stem}.edgecv"
        wrap(data / "models" / "face" / name, path, decoder=decoder)
        with ert.load(path) as detector:
            compared = name in _COMPARED
            for second_look in (True, False) if compared else (True,):
                pipeline = FacePipeline(detector, embedder, "off", alignment, second_look=second_look)
                about = {"detector": path.stem, "second_look": second_look}
                rows.append({**about, "set": "turned", **embed_pictures(pipeline, turned(portraits))})
                pictures = zip(stills.people.tolist(), stills.images, strict=True)
                rows.append({**about, "set": "portraits", **embed_pictures(pipeline, pictures)})
                if compared:
                    rows.append({**about, "set": "150 px in 1080p", **in_frames(pipeline, portraits, 150)})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=_common.positive, metavar="N", help="only the first N people")
    parser.add_argument("--quality", action="store_true", help="what spoils a face, and what the gates measure then")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write photographs with names drawn in")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    data = _common.data_folder()
    if data is None:
        print("real models and pictures are needed: set EDGECV_DATA", file=sys.stderr)
        return 2
    portraits = read_portraits(data / "faces" / "lfw-aligned-112", options.people)
    with ExitStack() as opened:
        work = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        path = work / "mobilefacenet.edgecv"
        wrap(data / "models" / "face" / "mobilefacenet_y1.onnx", path, task="embedding", normalization=IN_GRAPH)
        embedder = opened.enter_context(ert.load(path))
        print(f"{len(portraits.images)} faces of {portraits.people.max() + 1} people; {_common.machine_line()}")
        aligned = {}
        for name, images in (
            ("as they come", portraits.images),
            ("moved to the template", [to_template(image) for image in portraits.images]),
        ):
            vectors = embed(embedder, images)
            one = identification(vectors, portraits.people, portraits.each)
            aligned[name] = {**rates(vectors, portraits.people), "one_enrolled": one}
        print(table(_ALIGNED, [_aligned_row(name, row) for name, row in aligned.items()]))
        rows = measure_pipelines(data, portraits, embedder, work)
        print(table(_PIPELINE, [_pipeline_row(row) for row in rows]))
        if options.quality:
            print(table(("spoiled", "TAR", "sharpness", "brightness", "clipped"), spoiled(embedder, portraits)))
        if options.save is not None:
            with FacePipeline(work / "blazeface_back.edgecv", embedder) as pipeline:
                draw_names(pipeline, data, options.save, work)
    _common.write_json(options.json, {"aligned": aligned, "pipeline": rows})
    return 0


_ALIGNED = (
    "aligned faces", "rank-1", f"TAR@{FAR:g}", "EER %", "rank-1, one enrolled", "FNIR@FPIR 10 %", "FNIR@FPIR 1 %",
)  # fmt: skip
_PIPELINE = ("detector", "pictures", "second look", "found", "rank-1", f"TAR@{FAR:g}", "threshold", "ms")


def _aligned_row(name: str, row: dict[str, Any]) -> list[str]:
    one = row["one_enrolled"]
    return [
        name,
        f"{row['rank1']:.4f}",
        f"{row['tar']:.4f}",
        f"{100 * row['eer']:.2f}",
        f"{one['rank1']:.4f}",
        f"{one['fnir_at_fpir_0.1']:.4f}",
        f"{one['fnir_at_fpir_0.01']:.4f}",
    ]


def _pipeline_row(row: dict[str, Any]) -> list[str]:
    return [
        row["detector"],
        row["set"],
        "yes" if row["second_look"] else "no",
        f"{row['n']}/{row['pictures']}",
        f"{row['rank1']:.4f}",
        f"{row['tar']:.4f}",
        f"{row['threshold']:.3f}",
        f"{row['ms']:.1f}" if np.isfinite(row["ms"]) else "",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
