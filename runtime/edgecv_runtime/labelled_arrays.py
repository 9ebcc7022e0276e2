"""Signals and volumes whose classes are known: ``DIR/<class>/*.npy``, each file one of them or a stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgecv_runtime.arrays import ARRAY_SUFFIXES, Floats, examples, read_array_file
from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.evaluate import read_labelled_files
from edgecv_runtime.manifest import ARRAY_LAYOUTS, InputSpec


class ArrayFiles:
    """Reads the examples of files and keeps those of the last one, since a stack is asked for piece by piece.

    Parameters
    ----------
    spec : InputSpec
        What an example must be.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._last: tuple[Path | None, list[Floats]] = (None, [])

    def read(self, path: Path) -> list[Floats]:
        """All examples of a file, each of the input's shape.

        Raises
        ------
        InputError, MissingFileError
            It cannot be read, or holds something else.
        """
        if self._last[0] != path:
            self._last = path, examples(read_array_file(path), self._spec, str(path))
        return self._last[1]


@dataclass(frozen=True)
class LabelledArray:
    """A signal or volume and the index of its class.

    Attributes
    ----------
    path : Path
    class_index : int
    number : int
        Which of those in the file.
    files : ArrayFiles
    """

    path: Path
    class_index: int
    number: int
    files: ArrayFiles = field(repr=False, compare=False)

    def read(self) -> Floats:
        """The values, float32 of the input's shape.

        Raises
        ------
        InputError, MissingFileError
        """
        found = self.files.read(self.path)
        if self.number >= len(found):
            raise InputError(f"{self.path} holds {len(found)} examples now; there were more")
        return found[self.number]


def read_labelled_arrays(
    folder: str | Path, labels: tuple[str, ...] | None, classes: int, spec: InputSpec
) -> list[LabelledArray]:
    """Find labelled signals or volumes; folders and lists as of `read_labelled_images`.

    A file that cannot be read counts as one, which says why when it is read.

    Parameters
    ----------
    folder : str or Path
    labels : tuple of str, or None
        The model's class names.
    classes : int
        How many classes the model has.
    spec : InputSpec
        Of the model's input, whose shape tells a stack from one example.

    Raises
    ------
    MissingFileError, InputError
        As `read_labelled_images`.
    """
    files = ArrayFiles(spec)
    found = []
    for item in read_labelled_files(folder, labels, classes, ARRAY_SUFFIXES, ARRAY_LAYOUTS[spec.layout]):
        try:
            count = len(files.read(item.path))
        except (InputError, MissingFileError):
            count = 1
        found += [LabelledArray(item.path, item.class_index, number, files) for number in range(count)]
    return found
