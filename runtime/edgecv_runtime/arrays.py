"""Inputs that are no pictures: signals and volumes, from a file or an array to the input tensor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.files import existing_file, list_files
from edgecv_runtime.manifest import ARRAY_LAYOUTS, InputSpec
from edgecv_runtime.npz import UNREADABLE, reason
from edgecv_runtime.preprocess import Geometry, Preprocessor, quantize

Floats = npt.NDArray[np.float32]

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})

# What decoders of pictures map their answers by; an array has no places in a picture.
_NOWHERE = Geometry((1, 1), (1.0, 1.0), (0.0, 0.0))


class ArrayPreprocessor:
    """From a signal or a volume to the input tensor: normalised, and quantized where the input is an integer.

    Parameters
    ----------
    spec : InputSpec
        Of layout NWC or NDHWC.

    Raises
    ------
    InputError
        An integer input without a scale.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec, self._dtype = spec, np.dtype(spec.dtype)
        if self._dtype.kind != "f" and spec.quantization is None:
            raise InputError(
                f"input {spec.name!r} is {self._dtype}, but its quantization is not given: a manifest for such a model "
                "must state scale and zero point"
            )
        self._moments: tuple[Floats, Floats] | None = None
        if spec.normalization is not None:
            self._moments = np.array(spec.normalization.mean, np.float32), np.array(spec.normalization.std, np.float32)

    def __call__(self, array: Any) -> tuple[npt.NDArray[Any], Geometry]:
        """One input, (1, ...) of the input's dtype, of an array that `as_example` takes."""
        tensor: npt.NDArray[Any] = as_example(array, self._spec)
        if self._moments is not None:
            tensor = (tensor - self._moments[0]) / self._moments[1]
        quantization = self._spec.quantization
        if quantization is not None:
            tensor = quantize(tensor, quantization.scale, quantization.zero_point, self._dtype)
        return np.ascontiguousarray(tensor, self._dtype)[None], _NOWHERE

    def read(self, path: str | Path) -> Floats:
        """The one example in a file."""
        found = examples(read_array_file(path), self._spec, str(path))
        if len(found) != 1:
            raise InputError(f"{path} holds {len(found)} {ARRAY_LAYOUTS[self._spec.layout]}s: pass one, or a list")
        return found[0]


def preprocessor_of(spec: InputSpec) -> ArrayPreprocessor | Preprocessor:
    """What turns one picture, signal or volume (or the file of one, by its `read`) into the input tensor."""
    return Preprocessor(spec) if spec.is_image else ArrayPreprocessor(spec)


def as_example(array: Any, spec: InputSpec) -> Floats:
    """One signal or volume as float32 of the input's shape, without the batch.

    Parameters
    ----------
    array : (length, channels) or (depth, height, width, channels) array of numbers
        A single channel may be left out.
    spec : InputSpec

    Raises
    ------
    InputError
        Another shape, no numbers, or numbers that are not finite.
    """
    kind, shape = ARRAY_LAYOUTS[spec.layout], spec.shape[1:]
    if not isinstance(array, np.ndarray):
        raise InputError(f"a {kind} must be a numpy array or the path of one; received {type(array).__name__}")
    if array.shape == shape[:-1] and shape[-1] == 1:
        array = array[..., None]
    if array.shape != shape:
        hint = ". Are they several? Pass a list of them" if array.shape[1:] in (shape, shape[:-1]) else ""
        raise InputError(f"a {kind} must have shape {shape}; received {array.shape}{hint}")
    if array.dtype.kind not in "fiub":
        raise InputError(f"a {kind} must hold numbers; received {array.dtype}")
    values: Floats = array.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise InputError(f"a {kind} must hold finite numbers; received NaN or infinity")
    return values


def examples(arrays: list[npt.NDArray[Any]], spec: InputSpec, origin: str) -> list[Floats]:
    """All signals or volumes in some arrays, each of which is one, or a stack of them.

    Raises
    ------
    InputError
        As `as_example`; the message begins with `origin`.
    """
    shape = spec.shape[1:]
    single = {shape, shape[:-1]} if shape[-1] == 1 else {shape}
    found: list[Floats] = []
    for array in arrays:
        several = array.shape not in single and array.shape[1:] in single
        try:
            found += [as_example(item, spec) for item in (array if several else [array])]
        except InputError as error:
            raise InputError(f"{origin}: {error}") from None
    return found


def read_array_file(path: str | Path) -> list[npt.NDArray[Any]]:
    """The arrays of a ``.npy`` or ``.npz`` file; objects, which could run code, are not read.

    Raises
    ------
    MissingFileError
    InputError
        It cannot be read.
    """
    path = existing_file(path, "array")
    try:
        with path.open("rb") as file:  # np.load leaves a damaged .npz open
            loaded = np.load(file, allow_pickle=False)
            return [loaded] if isinstance(loaded, np.ndarray) else [loaded[name] for name in loaded.files]
    except UNREADABLE as error:
        raise InputError(f"{path} is not a .npy or .npz file that can be read ({reason(error)})") from None


def list_array_files(folder: str | Path) -> list[Path]:
    """The ``.npy`` and ``.npz`` files in a folder and below, in sorted order; of the path of a file, that file.

    Raises
    ------
    MissingFileError
    InputError
        There are none.
    """
    return [Path(folder)] if Path(folder).is_file() else list_files(folder, ARRAY_SUFFIXES, "array")


def named_examples(source: str | Path, spec: InputSpec) -> Iterator[tuple[str, Floats]]:
    """Each signal or volume of a file or folder, file by file, and what to call it.

    Raises
    ------
    MissingFileError, InputError
    """
    for path in list_array_files(source):
        found = examples(read_array_file(path), spec, str(path))
        for number, example in enumerate(found):
            yield str(path) if len(found) == 1 else f"{path}[{number}]", example
