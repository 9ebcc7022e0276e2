"""The bundle ``name.edgecv``: a zip that is read whole or refused.

Every member's sha256 stands in the manifest and is checked when the bundle is opened, so what reaches a back
end is what the exporter wrote. Members are stored uncompressed, so that none can be larger than the file; only
OpenVINO's text is deflated, up to a limit. They follow one another without a gap from the first byte to the directory,
so there is one way to read the file and nothing else in it.

A bundle may carry ``signature.json`` as well (see `edgecv_runtime.signing`): the one member that the manifest does not
name.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from edgecv_runtime.artefact import DEFLATED_MEMBER, MODEL_MEMBERS, WEIGHTS_MEMBER, Artefact
from edgecv_runtime.errors import BundleError, InputError, OutputError
from edgecv_runtime.files import existing_file
from edgecv_runtime.manifest import Manifest

SUFFIX = ".edgecv"
MANIFEST_MEMBER = "manifest.json"
GOLDEN_MEMBER = "golden.npz"
REPORT_MEMBER = "report.json"
SIGNATURE_MEMBER = "signature.json"

_LIMITS = {MANIFEST_MEMBER: 16 * 2**20, SIGNATURE_MEMBER: 4 * 2**10}  # bytes; 10,000 labels take about 0.3 MiB
_TEXT_LIMIT = 16 * 2**20  # of the deflated member, inflated; a larger one is stored as it is
_BUNDLE_LIMIT = 2 * 2**30 - 1  # what a zip holds without its 64-bit extension
_MEMBERS_LIMIT = 256
_DIRECTORY_LIMIT = 2**18  # of all entries together: zipfile makes an object of each before one can be looked at
_END_RECORD = struct.Struct("<4s4H2LH")  # APPNOTE.TXT 4.3.16
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # 4.3.7
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_NAME_LIMIT = 200  # characters
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content gives the same file


class Bundle:
    """An opened bundle: its manifest and its checked members.

    Parameters
    ----------
    path : str or Path
        A ``.edgecv`` file.
    content : bytes, optional
        Its bytes, where they lie in another bundle (see `edgecv_runtime.sizes`); `path` then says where.

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

    def __init__(self, path: str | Path, content: bytes | None = None) -> None:
        self.path = existing_file(path, "bundle") if content is None else Path(path)
        try:
            self._members = _read_members(self.path, content)
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

    def members(self) -> dict[str, bytes]:
        """All members by name, the manifest as it is stored and the signature among them."""
        return dict(self._members)

    def _check_members(self) -> None:
        promised = dict(self.manifest.members)
        model = MODEL_MEMBERS[self.manifest.format]
        if model not in promised:
            raise BundleError(f"{self.path}: the manifest gives no digest for {model}")
        for own in (MANIFEST_MEMBER, SIGNATURE_MEMBER):
            if own in promised:
                raise BundleError(f"{self.path}: the manifest gives a digest for {own}, which cannot have one")
        for name, digest in promised.items():
            if not _is_plain(name):
                raise BundleError(f"{self.path}: the manifest names a member {name!r:.80}, which no bundle may have")
            if name not in self._members:
                raise BundleError(f"{self.path} is incomplete: member {name} is missing; copy or export it again")
            if hashlib.sha256(self._members[name]).hexdigest() != digest:
                raise BundleError(
                    f"{self.path}: member {name} is not the one this bundle was made with (its sha256 differs); "
                    "do not use it, copy or export the bundle again"
                )
        unknown = sorted(set(self._members) - set(promised) - {MANIFEST_MEMBER, SIGNATURE_MEMBER})
        if unknown:
            raise BundleError(
                f"{self.path}: member {unknown[0]!r} is not named in the manifest; the bundle was altered"
            )


def _read_members(path: Path, content: bytes | None) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    try:
        # One opened file: what is looked at is what is read, even where another takes its name meanwhile.
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            there = file.seek(0, os.SEEK_END)
            _check_end(path, file, there)
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                names: set[str] = set()
                for entry in entries:
                    _check_entry(path, entry)
                    if entry.filename in names:
                        raise BundleError(f"{path}: member {entry.filename!r} occurs twice; the bundle was altered")
                    names.add(entry.filename)
                claimed = sum(entry.compress_size for entry in entries)
                if claimed > there:  # members that overlap
                    raise BundleError(
                        f"{path} is damaged: its members claim {claimed:,} bytes, the file has {there:,} (a zip bomb)"
                    )
                begins = _check_layout(path, file, entries, archive.start_dir)
                for entry in entries:
                    if entry.compress_type == zipfile.ZIP_DEFLATED:
                        file.seek(begins[entry.filename])
                        members[entry.filename] = _inflated(path, file.read(entry.compress_size), entry)
                    else:
                        members[entry.filename] = archive.read(entry)
    except (RuntimeError, EOFError, OverflowError, UnicodeDecodeError, ValueError, struct.error, zlib.error) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}") from None
    return members


def _check_end(path: Path, file: IO[bytes], there: int) -> None:
    """The directory's place and size, before zipfile reads it into memory."""
    if there > _BUNDLE_LIMIT:
        raise BundleError(f"{path} has {there:,} bytes; a bundle has at most {_BUNDLE_LIMIT:,}")
    # zipfile looks for an end anywhere in the last 64 KiB. Where a bundle's own is cut off, that may be the end of the
    # golden.npz inside.
    locator = 20
    file.seek(max(0, there - _END_RECORD.size - locator))
    tail = file.read(_END_RECORD.size + locator)
    if len(tail) < _END_RECORD.size:
        raise zipfile.BadZipFile("it is too short")
    signature, *_, count, size, offset, comment = _END_RECORD.unpack(tail[-_END_RECORD.size :])
    if signature != b"PK\x05\x06" or comment:
        raise zipfile.BadZipFile("it does not end as a bundle does")
    if tail.startswith(b"PK\x06\x07"):
        raise zipfile.BadZipFile("it is a 64-bit zip")
    if count > _MEMBERS_LIMIT or size > _DIRECTORY_LIMIT:
        raise BundleError(
            f"{path}: a bundle has at most {_MEMBERS_LIMIT} members, named in {_DIRECTORY_LIMIT:,} bytes; "
            f"this one claims {count:,} in {size:,}"
        )
    if offset + size + _END_RECORD.size != there:
        raise zipfile.BadZipFile("it does not begin with its first member, or a part of it is missing")


def _is_plain(name: str) -> bool:
    """A name that means the same file below any folder, on any system."""
    return len(name) <= _NAME_LIMIT and _PLAIN_NAME.fullmatch(name) is not None


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if not _is_plain(entry.orig_filename) or entry.orig_filename != name:
        raise BundleError(
            f"{path}: member {entry.orig_filename!r:.80} has a name that could lead out of a folder; a bundle's names "
            "are letters, digits, dots, dashes and underscores"
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        what = "a symbolic link" if stat.S_ISLNK(kind) else "no plain file"
        raise BundleError(f"{path}: member {name!r} is {what}; a bundle holds plain files only")
    packed = entry.compress_type == zipfile.ZIP_DEFLATED and name == DEFLATED_MEMBER
    if (entry.compress_type != zipfile.ZIP_STORED and not packed) or entry.flag_bits & 0x1:
        bomb = f" (it would unpack to {entry.file_size:,} bytes: a zip bomb?)"
        raise BundleError(
            f"{path}: member {name!r} is compressed or encrypted; a bundle stores its members as they are"
            + (bomb if entry.file_size > 100 * max(1, entry.compress_size) else "")
        )
    limit = _TEXT_LIMIT if packed else _LIMITS.get(name)
    if limit is not None and entry.file_size > limit:
        raise BundleError(
            f"{path}: the {name.removesuffix('.json')} claims {entry.file_size:,} bytes; at most {limit:,} are read"
        )
    if not packed and entry.file_size != entry.compress_size:
        raise BundleError(f"{path}: member {name!r} claims {entry.file_size:,} bytes but holds {entry.compress_size:,}")


def _check_layout(path: Path, file: IO[bytes], entries: list[zipfile.ZipInfo], directory: int) -> dict[str, int]:
    """Each member begins where the one before it ends, the last ends at the directory, and no size is told twice.

    Returns
    -------
    dict
        At which byte each member's content begins.
    """
    position, begins = 0, {}
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if entry.header_offset != position or len(header) < _LOCAL_HEADER.size:
            raise BundleError(
                f"{path} is damaged: member {entry.filename!r} should begin at byte {position:,}; the directory says "
                f"{entry.header_offset:,}"
            )
        *_, stored, size, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        for claimed, lie in ((entry.file_size, size), (entry.compress_size, stored)):
            if claimed != lie:
                raise BundleError(
                    f"{path}: member {entry.filename!r} claims {claimed:,} bytes in one place and {lie:,} in "
                    "another; the bundle was altered"
                )
        begins[entry.filename] = position + _LOCAL_HEADER.size + name_length + extra_length
        position = begins[entry.filename] + stored
    if position != directory:
        raise BundleError(
            f"{path} is damaged: its members end at byte {position:,}, and the directory begins at {directory:,}"
        )
    return begins


def _inflated(path: Path, packed: bytes, entry: zipfile.ZipInfo) -> bytes:
    """The deflated member: what it claims, not a byte more, and nothing behind it."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(packed, entry.file_size + 1)
    if len(content) != entry.file_size or not inflater.eof or inflater.unused_data:
        raise BundleError(
            f"{path}: member {entry.filename!r} claims {entry.file_size:,} bytes but holds others; "
            "the bundle was altered"
        )
    if zlib.crc32(content) != entry.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {entry.filename!r}")
    return content


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
    if SIGNATURE_MEMBER in members:
        raise InputError(f"{SIGNATURE_MEMBER} is made of the written bundle (edgecv sign); leave it out of the members")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    manifest = replace(manifest, members=digests)
    write_atomically(path, pack({MANIFEST_MEMBER: manifest.to_json().encode(), **members}))
    return manifest


def pack(members: Mapping[str, bytes]) -> bytes:
    """The file that holds these members, the manifest among them. The same members give the same bytes.

    Raises
    ------
    InputError
        A name or the whole is not what `Bundle` would read.
    """
    odd = next((name for name in members if not _is_plain(name)), None)
    if odd is not None:
        raise InputError(f"a member's name must be letters, digits, dots, dashes and underscores; received {odd!r}")
    size = sum(map(len, members.values()))
    if len(members) > _MEMBERS_LIMIT or size > _BUNDLE_LIMIT - _DIRECTORY_LIMIT:
        raise InputError(
            f"a bundle has at most {_MEMBERS_LIMIT} members and {_BUNDLE_LIMIT - _DIRECTORY_LIMIT:,} bytes; "
            f"received {len(members)} and {size:,}"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            if name == DEFLATED_MEMBER and len(content) <= _TEXT_LIMIT:
                entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=9)
    return buffer.getvalue()


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
