"""The whole road on what the package ships: build, quantize, export, prove, run.

LeNet-5 with trained weights, on digits that are drawn on the spot: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.data.digits import draw_digits
from edgecv.models.factory import create_model
from edgecv_export.exporter import export
from edgecv_export.sources import source_of
from edgecv_runtime.bench import measure_latency
from edgecv_runtime.bundle import write_atomically
from edgecv_runtime.errors import CheckFailedError, OutputError
from edgecv_runtime.evaluate import LABELS_FILE
from edgecv_runtime.images import cv2
from edgecv_runtime.manifest import FORMATS
from edgecv_runtime.model import load
from edgecv_runtime.parity import verify

PRECISIONS = ("fp32", "int8")

_CALIBRATION, _EVALUATION, _SHOWN = 100, 500, 10  # digits drawn for each purpose
_SEED = 7
_RUNS = 50


@dataclass(frozen=True)
class Row:
    """One bundle of the quickstart.

    Attributes
    ----------
    bundle : str
    format, precision : str
    size : int
        Bytes of the artefact.
    accuracy : float in [0, 1]
        On freshly drawn digits.
    agreement : float in [0, 1]
        Share of the digits on which the best class is the float source's.
    latency_ms : float
        Median from picture to result, on this machine.
    """

    bundle: str
    format: str
    precision: str
    size: int
    accuracy: float
    agreement: float
    latency_ms: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def quickstart(folder: str | Path) -> Iterator[Row]:
    """Walk the whole road, one bundle after the other.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist; receives the bundles and a few drawn digits.

    Yields
    ------
    Row
        As soon as a bundle is made, proven and measured.

    Raises
    ------
    OutputError
        The folder cannot be written.
    CheckFailedError
        A bundle does not verify.
    """
    folder = Path(folder)
    _make(folder / "digits")
    calibration, _ = _pictures(_CALIBRATION, _SEED)
    digits, truth = _pictures(_EVALUATION, _SEED + 1)
    _save(folder / "digits", digits[:_SHOWN], truth[:_SHOWN])
    model = create_model("lenet5", weights="digits")
    float_answers = source_of(model).predict(digits).argmax(-1)
    for format in FORMATS:
        for precision in PRECISIONS:
            path = folder / f"lenet5_{format}_{precision}.edgecv"
            labels = [str(digit) for digit in range(10)]
            exported = export(
                model, path, format=format, precision=precision, calibration=calibration, labels=labels, name="lenet5"
            )
            verification = verify(path)
            if not verification.passed:
                failed = next(check for check in verification.checks if not check.passed)
                raise CheckFailedError(f"{path}: {failed.name}: {failed.detail}")
            with load(path) as runnable:
                answers = np.array([result.indices[0] for result in runnable(digits)])
                (latency,) = measure_latency([runnable], [digits[0]], _RUNS)
            yield Row(
                bundle=str(path),
                format=format,
                precision=precision,
                size=int(exported.report["size"]),
                accuracy=float((answers == truth).mean()),
                agreement=float((answers == float_answers).mean()),
                latency_ms=latency.p50_ms,
            )


def _pictures(count: int, seed: int) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.int64]]:
    images, labels = draw_digits(count, seed)
    return [np.repeat(image[:, :, None], 3, axis=2) for image in images], labels


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from None


def _save(folder: Path, images: list[npt.NDArray[np.uint8]], labels: npt.NDArray[np.int64]) -> None:
    """The pictures, and the list that makes them a labelled folder."""
    opencv = cv2("writing the drawn digits")
    rows = ["file,class_index"]
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path = folder / f"{index:02d}_is_{label}.png"
        if not opencv.imwrite(str(path), image):
            raise OutputError(f"cannot write {path}")
        rows.append(f"{path.name},{label}")
    write_atomically(folder / LABELS_FILE, "\n".join([*rows, ""]).encode())
