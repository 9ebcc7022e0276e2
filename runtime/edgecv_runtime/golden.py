"""What a bundle promises: a few pictures, what the float source answered to them, and how far one may be from it."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime import cpu
from edgecv_runtime.bundle import GOLDEN_MEMBER
from edgecv_runtime.errors import BundleError, InputError
from edgecv_runtime.images import Image, as_rgb
from edgecv_runtime.model import Model
from edgecv_runtime.npz import UNREADABLE, reason

_LIMIT = 2**29  # bytes of all arrays together, unpacked


@dataclass(frozen=True, eq=False)
class Golden:
    """A few pictures and the float source model's outputs for them.

    Attributes
    ----------
    images : tuple of (H, W, 3) uint8 RGB
        Before any preprocessing. Of a model that takes no pictures: float32 arrays of its input's shape.
    outputs : tuple of (N, ...) float32
        One array for each output of the manifest, one row for each image; where the artefact ends before the source's
        last activation, the source's values there.
    tolerance : (outputs, 2) float64
        Largest absolute and largest root-mean-square difference allowed, for each output.
    origin : str
        Where the pictures come from: ``"calibration"`` or ``"generated"``.
    """

    images: tuple[Image, ...]
    outputs: tuple[npt.NDArray[np.float32], ...]
    tolerance: npt.NDArray[np.float64]
    origin: str

    def __post_init__(self) -> None:
        if not self.images or any(len(output) != len(self.images) for output in self.outputs):
            raise InputError("a parity contract must have one row of outputs for each of its images, and at least one")
        if self.tolerance.shape != (len(self.outputs), 2):
            raise InputError(f"tolerance must be ({len(self.outputs)}, 2); received shape {self.tolerance.shape}")
        if not np.isfinite(self.tolerance).all():
            raise InputError("tolerance must be finite")

    def to_bytes(self) -> bytes:
        """As ``golden.npz``."""
        arrays: dict[str, npt.NDArray[Any]] = {f"image_{index}": image for index, image in enumerate(self.images)}
        arrays |= {f"output_{index}": output for index, output in enumerate(self.outputs)}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, tolerance=self.tolerance, origin=np.array(self.origin), **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, origin: str) -> Golden:
        """Read ``golden.npz``.

        Raises
        ------
        BundleError
            It is damaged or incomplete.
        """
        try:
            _check_claims(content)
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                names = set(arrays.files)
                images = tuple(_shown(arrays[f"image_{i}"]) for i in range(len(names)) if f"image_{i}" in names)
                outputs = tuple(
                    arrays[f"output_{i}"].astype(np.float32) for i in range(len(names)) if f"output_{i}" in names
                )
                tolerance = arrays["tolerance"].astype(np.float64, casting="same_kind")
                return cls(images, outputs, tolerance, str(arrays["origin"]))
        except UNREADABLE as error:
            raise BundleError(f"{origin}: {GOLDEN_MEMBER} is damaged ({reason(error)})") from None


def _shown(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a model was shown: a picture, or an array of float32."""
    return array if array.dtype == np.float32 else as_rgb(array)


def _check_claims(content: bytes) -> None:
    """Refuse arrays that claim more than they may, or more than is there: numpy makes room before it reads."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > _LIMIT:
            raise ValueError(f"its arrays claim {claimed:,} bytes, at most {_LIMIT:,} are read: a zip bomb?")
        for entry in archive.infolist():
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                if math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
                    raise ValueError(f"{entry.filename} claims shape {shape} and has {entry.file_size:,} bytes")


@dataclass(frozen=True)
class Replayed:
    """A contract that was replayed.

    Attributes
    ----------
    kept : bool
        Every output is within its tolerance.
    figures : str
        What was measured, in one line: of the output that is not, or of all.
    """

    kept: bool
    figures: str


def measure(model: Model, golden: Golden) -> Replayed:
    """Replay a parity contract on a loaded model.

    Raises
    ------
    BundleError
        The model's outputs have other shapes than the contract's.
    """
    lines = []
    measured = differences(model, golden.images, golden.outputs)
    for spec, (largest, rms), (largest_allowed, rms_allowed) in zip(
        model.manifest.outputs, measured, golden.tolerance, strict=True
    ):
        figures = f"{spec.name}: max |Δ| {largest:.3g} (≤ {largest_allowed:.3g}), rms {rms:.3g} (≤ {rms_allowed:.3g})"
        # Written so that a NaN fails.
        if not (largest <= largest_allowed and rms <= rms_allowed):
            return Replayed(False, figures)
        lines.append(figures)
    return Replayed(True, f"{len(golden.images)} images; " + "; ".join(lines))


def replay(model: Model, golden: Golden) -> str:
    """Run a parity contract on a loaded model.

    Returns
    -------
    str
        What was measured, in one line.

    Raises
    ------
    BundleError
        An output differs by more than the tolerance.
    """
    replayed = measure(model, golden)
    if not replayed.kept:
        raise BundleError(broken(model, golden, replayed))
    return replayed.figures


def broken(model: Model, golden: Golden, replayed: Replayed) -> str:
    """What to say of a contract that was not kept."""
    return (
        f"on this machine the model no longer answers as its float source did on {len(golden.images)} images: "
        f"{replayed.figures} [{cpu.describe()}, {model.backend.name} {model.backend.version()}, "
        f"{model.backend.kernels} kernels]"
    )


def differences(
    model: Model, images: Sequence[Image], expected: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float64]:
    """(outputs, 2): largest absolute and root-mean-square difference of each output over the images.

    Outputs are compared in the form that the decoder says (see `Decoder.comparable`).

    Raises
    ------
    BundleError
        The model's outputs have other shapes than the expected ones.
    """
    raw = [model.raw_outputs(image) for image in images]
    if any(len(row) != len(expected) for row in raw):
        raise BundleError(f"the parity contract has {len(expected)} outputs; the model gives {len(raw[0])}")
    for index, wanted in enumerate(expected):
        shape = (sum(len(np.atleast_1d(row[index])) for row in raw), *raw[0][index].shape[1:])
        if shape != wanted.shape:
            raise BundleError(f"output {index} must have shape {wanted.shape}; the model gives {shape}")
    got = model.comparable([np.concatenate([row[index] for row in raw]) for index in range(len(expected))])
    measured = np.zeros((len(expected), 2))
    for index, (ours, theirs) in enumerate(zip(got, model.comparable(expected), strict=True)):
        delta = ours.astype(np.float64) - theirs
        measured[index] = np.abs(delta).max(initial=0), np.sqrt(np.mean(delta**2)) if delta.size else 0
    return measured
