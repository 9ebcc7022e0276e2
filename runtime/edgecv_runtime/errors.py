"""Everything edgecv raises on purpose, drawn as a tree.

EdgecvError
├── InputError            (ValueError)         an argument or an image is not what is required
├── MissingFileError      (FileNotFoundError)  a path leads nowhere
├── OutputError           (OSError)            the result cannot be written; nothing was left behind
├── MissingPackageError   (ImportError)        an optional package is needed; the message names the extra
├── UnsupportedError      (ValueError)         this combination is refused, with the reason
│   └── AcceleratorError                       the accelerator that was asked for is not there, or takes nothing
├── BundleError           (ValueError)         a bundle or artefact cannot be trusted or read
│   └── NewerFormatError                       it was written by a newer edgecv
├── BackendError          (RuntimeError)       the inference library refused or failed
└── CheckFailedError      (RuntimeError)       a check ran and the answer is no (exit status 1)

A message is one line: what is required, what was received, what to do.
"""

from __future__ import annotations


class EdgecvError(Exception):
    """Base of every error edgecv raises on purpose."""


class InputError(EdgecvError, ValueError):
    """An argument, an image or a file's content is not what is required."""


class MissingFileError(EdgecvError, FileNotFoundError):
    """A file or folder that was named does not exist."""


class OutputError(EdgecvError, OSError):
    """The output cannot be written (permissions, disk full); no partial file remains."""


class MissingPackageError(EdgecvError, ImportError):
    """An optional package is not installed; the message names what to install."""


class UnsupportedError(EdgecvError, ValueError):
    """A model × format × precision × target combination is refused, with the reason."""


class AcceleratorError(UnsupportedError):
    """The accelerator that was asked for is not there, or takes nothing: the model would run on the CPU."""


class BundleError(EdgecvError, ValueError):
    """A bundle is corrupt, altered or incomplete."""


class NewerFormatError(BundleError):
    """A bundle was written in a format version this runtime does not know."""


class BackendError(EdgecvError, RuntimeError):
    """The inference library refused the model or failed while running it."""


class CheckFailedError(EdgecvError, RuntimeError):
    """A check was carried out and failed: the command exits with status 1.

    Attributes
    ----------
    report : dict or None
        What was measured, where there is more to say than one line.
    """

    report: dict[str, object] | None = None
