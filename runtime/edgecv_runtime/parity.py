"""The parity contract: does this bundle, on this machine, still answer as its float source did?

A bundle carries a few pictures and what the float source model answered to them. Replaying them through the whole
road (resize, artefact, back end, activation) catches what no digest can: a CPU whose kernels saturate, a back end
that changed, a preprocessing that no longer is the one of the training.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime import cpu
from edgecv_runtime.backends.registry import check_options
from edgecv_runtime.bundle import GOLDEN_MEMBER, Bundle
from edgecv_runtime.errors import BundleError, EdgecvError, InputError, UnsupportedError
from edgecv_runtime.images import Image, as_rgb
from edgecv_runtime.model import Model

# What numpy, zipfile and zlib raise between them on an .npz that is not one, or that claims what is not there.
_UNREADABLE = (
    ValueError, TypeError, KeyError, AttributeError, OSError, EOFError, MemoryError, OverflowError, RuntimeError,
    SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Golden:
    """A few pictures and the float source model's outputs for them.

    Attributes
    ----------
    images : tuple of (H, W, 3) uint8 RGB
        Before any preprocessing.
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
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                names = set(arrays.files)
                images = tuple(as_rgb(arrays[f"image_{i}"]) for i in range(len(names)) if f"image_{i}" in names)
                outputs = tuple(
                    arrays[f"output_{i}"].astype(np.float32) for i in range(len(names)) if f"output_{i}" in names
                )
                tolerance = arrays["tolerance"].astype(np.float64, casting="same_kind")
                return cls(images, outputs, tolerance, str(arrays["origin"]))
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"{origin}: {GOLDEN_MEMBER} is damaged ({reason or type(error).__name__})") from None


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """All checks of one bundle on this machine."""

    path: str
    checks: tuple[Check, ...]
    machine: str

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        checks = [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in self.checks]
        return {"bundle": self.path, "passed": self.passed, "machine": self.machine, "checks": checks}


def verify(
    path: str | Path, *, backend: str | None = None, device: str | None = None, threads: int | None = None
) -> Verification:
    """Check a bundle's integrity and replay its parity contract here.

    Every finding is a check in the answer, not an exception, save for a file that is not there.

    Raises
    ------
    MissingFileError
        No such bundle.
    MissingPackageError
        No back end for it is installed.
    InputError, UnsupportedError
        `backend`, `device` or `threads` is not one there is: that says nothing about the bundle.
    """
    check_options(backend, threads)
    checks: list[Check] = []

    def ask(name: str, question: Callable[[], Any]) -> Any:
        """Ask, record, and hand on the answer (None if it was no)."""
        try:
            answer, detail = question()
        except (FileNotFoundError, ImportError, UnsupportedError):
            raise
        except EdgecvError as error:
            checks.append(Check(name, False, str(error)))
            return None
        checks.append(Check(name, True, detail))
        return answer

    bundle = ask("integrity", lambda: _open(path))
    if bundle is not None:
        ask("manifest", lambda: _compare_manifests(bundle))
        model = ask("load", lambda: _load(bundle, backend, device, threads))
        if model is not None:
            with model:
                ask("parity", lambda: (True, replay(model, _golden(bundle))))
    return Verification(str(path), tuple(checks), cpu.describe())


def _open(path: str | Path) -> tuple[Bundle, str]:
    bundle = Bundle(path)
    return bundle, f"{len(bundle.manifest.members)} members, every sha256 as in the manifest"


def _load(bundle: Bundle, backend: str | None, device: str | None, threads: int | None) -> tuple[Model, str]:
    model = Model(bundle.artefact(), bundle.manifest, backend=backend, device=device, threads=threads)
    return model, repr(model)


def _golden(bundle: Bundle) -> Golden:
    content = bundle.member(GOLDEN_MEMBER)
    if content is None:
        raise BundleError(f"{bundle.path} carries no parity contract ({GOLDEN_MEMBER}): export it again")
    return Golden.from_bytes(content, origin=str(bundle.path))


def _compare_manifests(bundle: Bundle) -> tuple[bool, str]:
    inside = bundle.artefact().manifest()
    if inside is None:
        raise BundleError("the artefact carries no edgecv metadata: it is not the one this bundle was made with")
    outer, inner = bundle.manifest.embedded().to_dict(), inside.to_dict()
    different = [key for key in outer if outer[key] != inner.get(key)]
    if different:
        raise BundleError(
            f"the manifest differs from the one inside the artefact in {', '.join(different)}: it was edited after "
            "the export; do not use this bundle, export it again"
        )
    return True, "equal to the one inside the artefact"


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
    measured = differences(model, golden.images, golden.outputs)
    lines = []
    for spec, (largest, rms), (largest_allowed, rms_allowed) in zip(
        model.manifest.outputs, measured, golden.tolerance, strict=True
    ):
        figures = f"{spec.name}: max |Δ| {largest:.3g} (≤ {largest_allowed:.3g}), rms {rms:.3g} (≤ {rms_allowed:.3g})"
        # Written so that a NaN fails.
        if not (largest <= largest_allowed and rms <= rms_allowed):
            raise BundleError(
                f"on this machine the model no longer answers as its float source did on {len(golden.images)} images: "
                f"{figures} [{cpu.describe()}, {model.backend.name} {model.backend.version()}]"
            )
        lines.append(figures)
    return f"{len(golden.images)} images; " + "; ".join(lines)


def differences(
    model: Model, images: Sequence[Image], expected: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float64]:
    """(outputs, 2): largest absolute and root-mean-square difference of each output over the images.

    Raises
    ------
    BundleError
        The model's outputs have other shapes than the expected ones.
    """
    rows = [model.raw_outputs(image) for image in images]
    measured = np.zeros((len(expected), 2))
    if any(len(row) != len(expected) for row in rows):
        raise BundleError(f"the parity contract has {len(expected)} outputs; the model gives {len(rows[0])}")
    for index, wanted in enumerate(expected):
        got = np.concatenate([row[index] for row in rows])
        if got.shape != wanted.shape:
            raise BundleError(f"output {index} must have shape {wanted.shape}; the model gives {got.shape}")
        delta = got.astype(np.float64) - wanted
        measured[index] = np.abs(delta).max(), np.sqrt(np.mean(delta**2))
    return measured
