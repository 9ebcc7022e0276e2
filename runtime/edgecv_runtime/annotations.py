"""Labelled pictures of objects: COCO JSON, YOLO label folders and Pascal VOC XML become one form."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecv_runtime.errors import InputError
from edgecv_runtime.files import existing_folder
from edgecv_runtime.images import IMAGE_SUFFIXES, list_images
from edgecv_runtime.metrics.coco import Truth
from edgecv_runtime.outlines import draw_outline

_NAME_FILES = ("config.yaml", "data.yaml", "dataset.yaml", "classes.txt")
LAYOUTS = (
    "DIR/images with DIR/labels (YOLO), annotations.json (COCO) in DIR or below DIR/annotations, "
    "or DIR/Annotations with DIR/JPEGImages (VOC)"
)


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """A picture file and its objects.

    Attributes
    ----------
    path : Path
    truth : Truth
        With ``fractions``, boxes and areas are fractions of the picture's size, which is not known yet.
    fractions : bool
    outlines : tuple, or None
        Each object's as COCO writes it; they are drawn when masks are asked for.
    """

    path: Path
    truth: Truth
    fractions: bool = False
    outlines: tuple[Any, ...] | None = None

    def in_pixels(self, height: int, width: int, *, masks: bool = False) -> Truth:
        """The objects in pixels of the picture; with their masks, if they are wanted and known.

        Raises
        ------
        InputError
            An outline cannot be drawn.
        """
        if not self.fractions:
            if not masks or self.outlines is None:
                return self.truth
            drawn = [draw_outline(outline, height, width) for outline in self.outlines]
            return replace(self.truth, masks=np.array(drawn, np.bool_).reshape(-1, height, width))
        boxes = self.truth.boxes * np.array([width, height, width, height], np.float64)
        return Truth(boxes, self.truth.classes, self.truth.areas * width * height, self.truth.crowd)


@dataclass(frozen=True, eq=False)
class AnnotatedImages:
    """A labelled set of pictures.

    Attributes
    ----------
    images : tuple of AnnotatedImage
    names : mapping of class index to name, or None
    """

    images: tuple[AnnotatedImage, ...]
    names: Mapping[int, str] | None


def read_annotated_images(source: str | Path) -> AnnotatedImages:
    """Read labelled pictures, in whichever of the three layouts they lie.

    Parameters
    ----------
    source : str or Path
        A folder, or a COCO JSON file with its pictures beside it or in ``images``.

    Raises
    ------
    MissingFileError
        No such folder or file.
    InputError
        It is laid out in no known way, or a label is not valid; the message names file and line.
    """
    source = Path(source)
    if source.is_file():
        return _read_coco(source)
    existing_folder(source)
    documents = [*source.glob("*annotations*.json"), *(source / "annotations").glob("*.json")]
    if len(documents) > 1:
        raise InputError(f"{source} holds {len(documents)} annotation files: name the one to be read")
    if documents:
        return _read_coco(documents[0])
    if (source / "Annotations").is_dir():
        return _read_voc(source)
    if (source / "labels").is_dir() and (source / "images").is_dir():
        return _read_yolo(source)
    raise InputError(f"{source} holds no labelled pictures of objects: {LAYOUTS} is required")


# -- YOLO ----------------------------------------------------------------------------------------------------------


def _read_yolo(folder: Path) -> AnnotatedImages:
    """``labels/a.txt`` beside ``images/a.jpg``: a line an object, class, centre x and y, width and height as fractions.

    A picture without a label file has no objects.
    """
    images = []
    for path in list_images(folder / "images"):
        label = (folder / "labels" / path.relative_to(folder / "images")).with_suffix(".txt")
        rows = _yolo_rows(label) if label.is_file() else np.zeros((0, 5))
        half = rows[:, 3:] / 2
        boxes = np.concatenate([rows[:, 1:3] - half, rows[:, 1:3] + half], axis=1)
        images.append(AnnotatedImage(path, Truth.of(boxes, rows[:, 0]), fractions=True))
    return AnnotatedImages(tuple(images), _yolo_names(folder))


def _yolo_rows(path: Path) -> np.ndarray:
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        if len(values) != 5 or values[0] < 0 or values[0] != int(values[0]) or not np.isfinite(values).all():
            raise InputError(
                f"{path}, line {number}: class, centre x and y, width and height are required; received {line!r:.60}"
            )
        rows.append(values)
    return np.array(rows, np.float64).reshape(-1, 5)


def _yolo_names(folder: Path) -> dict[int, str] | None:
    """The class names that lie beside YOLO labels: the ``names`` of a YAML file, or one a line."""
    path = next((folder / name for name in _NAME_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    lines = _text(path).splitlines()
    if path.suffix == ".txt":
        return dict(enumerate(line.strip() for line in lines if line.strip()))
    start = next((place for place, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        return None
    inline = lines[start].partition(":")[2].strip()
    if inline.startswith("["):
        return dict(enumerate(_unquoted(name) for name in inline.strip("[]").split(",")))
    names: dict[int, str] = {}
    for line in lines[start + 1 :]:
        entry = line.strip()
        if not line.startswith((" ", "-")) or not entry:
            break
        key, _, value = entry.partition(":")
        if entry.startswith("- "):
            names[len(names)] = _unquoted(entry[2:])
        elif key.isdecimal():
            names[int(key)] = _unquoted(value)
    return names or None


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"")


# -- COCO ----------------------------------------------------------------------------------------------------------


def _read_coco(path: Path) -> AnnotatedImages:
    """``images``, ``annotations`` (bbox x, y, width, height; area; iscrowd) and ``categories``.

    Class indices are the places of the categories in order of their ids. ``segmentation`` and ``keypoints`` are read
    where every object has them.
    """
    try:
        document = json.loads(_text(path))
        categories = sorted(document["categories"], key=lambda category: category["id"])
        index = {category["id"]: place for place, category in enumerate(categories)}
        rows: dict[Any, list[tuple[Any, ...]]] = {image["id"]: [] for image in document["images"]}
        entries: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
        for entry in document["annotations"]:
            x, y, width, height = (float(value) for value in entry["bbox"])
            crowd = bool(entry.get("iscrowd", 0))
            area = float(entry.get("area", width * height))
            rows[entry["image_id"]].append((x, y, x + width, y + height, index[entry["category_id"]], area, crowd))
            entries[entry["image_id"]].append(entry)
        files = {image["id"]: str(image["file_name"]) for image in document["images"]}
        names = {place: str(category["name"]) for place, category in enumerate(categories)}
        outlined = all(entry.get("segmentation") for entry in document["annotations"])
        points = _keypoints(entries)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing or unknown" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} must be COCO JSON: {reason:.120}") from None
    folders = [path.parent / "images", path.parent, path.parent.parent / "images", path.parent.parent]
    images = []
    for key in sorted(files, key=lambda key: (str(type(key)), key)):
        table = np.array(rows[key], np.float64).reshape(-1, 7)
        truth = Truth(
            table[:, :4],
            table[:, 4].astype(np.int64),
            table[:, 5],
            table[:, 6] > 0,
            None,
            None if points is None else points[key],
        )
        place = next((folder / files[key] for folder in folders if (folder / files[key]).is_file()), None)
        outlines = tuple(entry["segmentation"] for entry in entries[key]) if outlined else None
        images.append(AnnotatedImage(place or folders[0] / files[key], truth, outlines=outlines))
    if not images:
        raise InputError(f"{path} names no picture")
    return AnnotatedImages(tuple(images), names)


def _keypoints(entries: Mapping[Any, list[dict[str, Any]]]) -> dict[Any, np.ndarray] | None:
    """(N, K, 3) of every picture; None where an object has none."""
    first = next((entry for there in entries.values() for entry in there), {})
    count = len(first.get("keypoints") or ())
    if not count or any("keypoints" not in entry for there in entries.values() for entry in there):
        return None
    return {
        key: np.array([entry["keypoints"] for entry in there], np.float64).reshape(len(there), count // 3, 3)
        for key, there in entries.items()
    }


# -- VOC -----------------------------------------------------------------------------------------------------------


def _read_voc(folder: Path) -> AnnotatedImages:
    """``Annotations/*.xml`` beside ``JPEGImages``. Pixels count from 1, and the last one belongs to the box.

    Class indices are the places of the names in sorted order. Objects called difficult count neither way.
    """
    documents = {path: _voc_objects(path) for path in sorted((folder / "Annotations").glob("*.xml"))}
    if not documents:
        raise InputError(f"{folder / 'Annotations'} holds no XML file")
    names = sorted({name for objects in documents.values() for name, _, _ in objects})
    pictures = {
        path.stem: path for path in sorted((folder / "JPEGImages").glob("*")) if path.suffix.lower() in IMAGE_SUFFIXES
    }
    images = []
    for path, objects in documents.items():
        boxes = np.array([box for _, box, _ in objects], np.float64).reshape(-1, 4) - [1, 1, 0, 0]
        truth = Truth.of(boxes, [names.index(name) for name, _, _ in objects])
        hard = np.array([difficult for _, _, difficult in objects], np.bool_)
        picture = pictures.get(path.stem, folder / "JPEGImages" / f"{path.stem}.jpg")
        images.append(AnnotatedImage(picture, Truth(truth.boxes, truth.classes, truth.areas, hard)))
    return AnnotatedImages(tuple(images), dict(enumerate(names)))


def _voc_objects(path: Path) -> list[tuple[str, list[float], bool]]:
    try:
        text = _text(path)
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise InputError(f"{path} must be plain VOC XML, without a document type")
        objects = []
        for entry in ElementTree.fromstring(text).iter("object"):
            name, box = entry.findtext("name"), entry.find("bndbox")
            if name is None or box is None:
                raise InputError(f"{path}: an object needs name and bndbox")
            corners = [float(box.findtext(side) or "") for side in ("xmin", "ymin", "xmax", "ymax")]
            objects.append((name.strip(), corners, (entry.findtext("difficult") or "0").strip() == "1"))
    except (ElementTree.ParseError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be VOC XML: {error}") from None
    return objects


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} must be UTF-8 text") from None
