"""The bundle ``name.edgecv``: a zip of stored members that is read whole or refused.

Every member's sha256 stands in the manifest and is checked when the bundle is opened, so what reaches a back
end is what the exporter wrote. Members are stored uncompressed: no member can be larger than the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecv_runtime.artefact import MODEL_MEMBERS, WEIGHTS_MEMBER, Artefact
from edgecv_runtime.errors import BundleError, InputError, MissingFileError, OutputError
from edgecv_runtime.manifest import Manifest

SUFFIX = ".edgecv"
MANIFEST_MEMBER = "manifest.json"
GOLDEN_MEMBER = "golden.npz"
REPORT_MEMBER = "report.json"

_MANIFEST_LIMIT = 16 * 2**20  # bytes; 10,000 labels take about 0.3 MiB
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content gives the same file


class Bundle:
    """An opened bundle: its manifest and its checked members.

    Parameters
    ----------
    path : str or Path
        A ``.edgecv`` file.

    Raises
    ------
    MissingFileError
        No such file.
    NewerFormatError
        The bundle was written in a format version this runtime does not know.
    BundleError
        It is truncated, altered, or not a bundle.

    Examples
    --------
    >>> bundle = Bundle("lenet5.edgecv")             # doctest: +SKIP
    >>> bundle.manifest.precision                    # doctest: +SKIP
    'int8'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise MissingFileError(f"no bundle at {self.path}" + (" (it is a folder)" if self.path.is_dir() else ""))
        try:
            self._members = _read_members(self.path)
        except zipfile.BadZipFile as error:
            raise BundleError(
                f"{self.path} is not a complete bundle: truncated, damaged or not a bundle at all ({error}); "
                "copy or export it again"
            ) from None
        if MANIFEST_MEMBER not in self._members:
            raise BundleError(f"{self.path} is not a bundle: it has no {MANIFEST_MEMBER}")
        self.manifest = Manifest.from_json(self._members[MANIFEST_MEMBER], origin=str(self.path))
        self._check_members()

    def __repr__(self) -> str:
        manifest = self.manifest
        return f"<Bundle {manifest.name}: {manifest.format} {manifest.precision}, {self.path.name}>"

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(len(content) for content in self._members.values())

    @property
    def fingerprint(self) -> str:
        """sha256 that tells this model from every other: its files, its preprocessing and its decoder."""
        return self.manifest.identity({name: self.manifest.members[name] for name in self.artefact().members()})

    def artefact(self) -> Artefact:
        """The model file with its weights."""
        return Artefact(
            self.manifest.format,
            self._members[MODEL_MEMBERS[self.manifest.format]],
            self._members.get(WEIGHTS_MEMBER) if self.manifest.format == "openvino" else None,
        )

    def report(self) -> dict[str, Any]:
        """What the exporter measured; empty where the bundle has no report."""
        content = self._members.get(REPORT_MEMBER)
        if content is None:
            return {}
        try:
            report = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{self.path}: {REPORT_MEMBER} is not valid JSON ({error})") from None
        if not isinstance(report, dict):
            raise BundleError(f"{self.path}: {REPORT_MEMBER} must hold an object; received {type(report).__name__}")
        return report

    def member(self, name: str) -> bytes | None:
        """The bytes of a member, or None where the bundle has no such member."""
        return self._members.get(name)

    def _check_members(self) -> None:
        promised = dict(self.manifest.members)
        model = MODEL_MEMBERS[self.manifest.format]
        if model not in promised:
            raise BundleError(f"{self.path}: the manifest gives no digest for {model}")
        for name, digest in promised.items():
            if name not in self._members:
                raise BundleError(f"{self.path} is incomplete: member {name} is missing; copy or export it again")
            if hashlib.sha256(self._members[name]).hexdigest() != digest:
                raise BundleError(
                    f"{self.path}: member {name} is not the one this bundle was made with (its sha256 differs); "
                    "do not use it, copy or export the bundle again"
                )
        unknown = sorted(set(self._members) - set(promised) - {MANIFEST_MEMBER})
        if unknown:
            raise BundleError(
                f"{self.path}: member {unknown[0]!r} is not named in the manifest; the bundle was altered"
            )


def _read_members(path: Path) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            # Where the end is cut off, zipfile finds the end of the golden.npz inside and reads that instead.
            if min((entry.header_offset for entry in entries), default=0) != 0:
                raise zipfile.BadZipFile("it does not begin with its first member")
            for entry in entries:
                _check_entry(path, entry)
            claimed, there = sum(entry.file_size for entry in entries), path.stat().st_size
            if claimed > there:  # members that overlap
                raise BundleError(f"{path} is damaged: its members claim {claimed:,} bytes, the file has {there:,}")
            for entry in entries:
                if entry.filename in members:
                    raise BundleError(f"{path}: member {entry.filename!r} occurs twice; the bundle was altered")
                members[entry.filename] = archive.read(entry)
    except (NotImplementedError, EOFError, OverflowError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}") from None
    return members


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1:
        raise BundleError(
            f"{path}: member {name!r} is compressed or encrypted; a bundle stores its members as they are"
        )
    if name == MANIFEST_MEMBER and entry.file_size > _MANIFEST_LIMIT:
        raise BundleError(
            f"{path}: the manifest claims {entry.file_size:,} bytes; at most {_MANIFEST_LIMIT:,} are read"
        )
    if entry.file_size != entry.compress_size:
        raise BundleError(f"{path}: member {name!r} claims {entry.file_size:,} bytes but holds {entry.compress_size:,}")


def write_bundle(path: str | Path, manifest: Manifest, members: Mapping[str, bytes]) -> Manifest:
    """Write a bundle in one step: either the whole file appears under its name, or nothing does.

    Parameters
    ----------
    path : str or Path
        Ends in ``.edgecv``. An existing bundle is replaced only once the new one is complete on disk.
    manifest : Manifest
        Its `members` are filled in here.
    members : Mapping of str to bytes
        Everything but the manifest.

    Returns
    -------
    Manifest
        As written, with the digests.

    Raises
    ------
    InputError
        The name does not end in ``.edgecv``, or `members` holds a manifest of its own.
    OutputError
        The folder does not exist or cannot be written, or the disk is full.
    """
    path = Path(path)
    check_output_path(path)
    if MANIFEST_MEMBER in members:
        raise InputError(f"{MANIFEST_MEMBER} is written from the manifest; leave it out of the members")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    manifest = replace(manifest, members=digests)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {MANIFEST_MEMBER: manifest.to_json().encode(), **members}.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    write_atomically(path, buffer.getvalue())
    return manifest


def check_output_path(path: Path) -> None:
    """Refuse early, before minutes of work, an output that could not be written.

    Raises
    ------
    InputError
        The name does not end in ``.edgecv``.
    OutputError
        The folder does not exist or is not writable.
    """
    if path.suffix != SUFFIX:
        raise InputError(f"a bundle's name must end in {SUFFIX}; received {path.name!r}")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: a folder of that name is there")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: the folder {path.parent} is not writable")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` under `path` through a temporary file beside it, flushed to disk before the rename.

    Raises
    ------
    OutputError
        It could not be written; neither a partial file nor the temporary one remains.
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; nothing was left behind") from None
    finally:
        if temporary is not None:  # also after an interrupt
            with suppress(OSError):
                temporary.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
