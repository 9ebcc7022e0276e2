"""Small pictures inside the page."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecv_runtime.arrays import ARRAY_SUFFIXES
from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.images import Image, cv2, read_image

_SIDE = 320  # pixels of the longer side: sharp at the size shown, a few kB each
_QUALITY = 82


def data_uri(image: Image) -> str:
    """A picture as a JPEG data URI, shrunk to 320 pixels.

    Parameters
    ----------
    image : (H, W, 3) uint8, RGB
    """
    opencv = cv2("putting pictures into a report")
    factor = _SIDE / max(image.shape[:2])
    if factor < 1:
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        image = opencv.resize(image, size, interpolation=opencv.INTER_AREA)
    bgr = opencv.cvtColor(image, opencv.COLOR_RGB2BGR)
    done, encoded = opencv.imencode(".jpg", bgr, [opencv.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise InputError(f"a picture of shape {image.shape} cannot be written as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def load_thumbnails(report: Mapping[str, Any], folder: str | Path) -> dict[str, Image]:
    """The pictures of a report's worst images.

    Parameters
    ----------
    report : mapping
    folder : str or Path
        Holds them under the names that the report gives, or below it under the same file name.

    Returns
    -------
    dict of (H, W, 3) uint8 RGB
        By the ``file`` of the report's entry.

    Raises
    ------
    MissingFileError
        No such folder.

    Warns
    -----
    RuntimeWarning
        For each picture that is not there or cannot be read; the page shows the entry without it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"no folder of pictures at {folder}")
    names = [str(entry["file"]) for entry in report.get("worst_images") or () if isinstance(entry, Mapping)]
    names = [name for name in names if Path(name).suffix.lower() not in ARRAY_SUFFIXES]  # nothing to look at
    if not names:
        return {}
    root = folder.resolve()
    by_name = {path.name: path for path in sorted(folder.rglob("*")) if path.is_file()}
    found = {}
    for name in names:
        path = (folder / name).resolve()
        if not (path.is_relative_to(root) and path.is_file()):  # a report from elsewhere may name any path
            path = by_name.get(Path(name).name, folder / Path(name).name)
        try:
            found[name] = read_image(path)
        except (InputError, FileNotFoundError) as error:
            warnings.warn(f"picture left out of the report: {error}", RuntimeWarning, stacklevel=2)
    return found
