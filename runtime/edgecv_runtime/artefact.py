"""The artefact: a model file in memory, and the manifest that travels inside it.

The three containers are read here with a few dozen lines each, because the device has neither the
flatbuffers, the protobuf nor the XML tooling of the workstation, and needs just one string of each file.
Writing is the exporter's job (`edgecv_export.metadata`).
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from edgecv_runtime.errors import BundleError, InputError, MissingFileError
from edgecv_runtime.manifest import Manifest

METADATA_KEY = "edgecv"

# Which file of a bundle holds the model, by format. OpenVINO keeps its weights beside the graph.
MODEL_MEMBERS = {"tflite": "model.tflite", "onnx": "model.onnx", "openvino": "model.xml"}
WEIGHTS_MEMBER = "model.bin"
DEFLATED_MEMBER = MODEL_MEMBERS["openvino"]  # text, which shrinks to a tenth: the one member a bundle holds deflated

_FORMAT_BY_SUFFIX = {".tflite": "tflite", ".onnx": "onnx", ".xml": "openvino"}
MODEL_SUFFIXES = tuple(_FORMAT_BY_SUFFIX)


def deflated(content: bytes) -> bytes:
    """As a bundle holds `DEFLATED_MEMBER` (RFC 1951)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@dataclass(frozen=True)
class Artefact:
    """A model in one of the three formats, as bytes."""

    format: str
    model: bytes
    weights: bytes | None = None

    def __post_init__(self) -> None:
        if self.format == "openvino" and self.weights is None:
            raise BundleError(f"an OpenVINO model needs its weights ({WEIGHTS_MEMBER}) beside the .xml; received none")

    def __repr__(self) -> str:
        return f"<Artefact {self.format}, {self.size:,} bytes>"

    @property
    def size(self) -> int:
        """Bytes of graph and weights together as a bundle holds them, where OpenVINO's text is deflated."""
        graph = deflated(self.model) if self.format == "openvino" else self.model
        return len(graph) + len(self.weights or b"")

    def sha256(self) -> str:
        """Digest of graph and weights together, in hexadecimal."""
        digest = hashlib.sha256(self.model)
        digest.update(self.weights or b"")
        return digest.hexdigest()

    def digests(self) -> dict[str, str]:
        """sha256 of each of its files, by bundle member."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.members().items()}

    def members(self) -> dict[str, bytes]:
        """The artefact as bundle members, by file name."""
        members = {MODEL_MEMBERS[self.format]: self.model}
        if self.weights is not None:
            members[WEIGHTS_MEMBER] = self.weights
        return members

    def manifest(self) -> Manifest | None:
        """The manifest inside the artefact, or None if it carries none."""
        text = read_metadata(self)
        return None if text is None else Manifest.from_json(text, origin=f"the {self.format} artefact's metadata")

    @classmethod
    def from_file(cls, path: str | Path) -> Artefact:
        """Read ``model.tflite``, ``model.onnx`` or ``model.xml`` (with its ``.bin``).

        Raises
        ------
        MissingFileError
            The file, or the ``.bin`` beside an ``.xml``, does not exist.
        InputError
            The file name has none of the three suffixes.
        """
        path = Path(path)
        format = _FORMAT_BY_SUFFIX.get(path.suffix.lower())
        if format is None:
            raise InputError(f"a model file must end in .tflite, .onnx or .xml; received {path.name!r}")
        if not path.is_file():
            raise MissingFileError(f"no model file at {path}")
        if format != "openvino":
            return cls(format, path.read_bytes())
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise MissingFileError(f"{path} needs its weights beside it; no file at {weights}")
        return cls(format, path.read_bytes(), weights.read_bytes())


def read_metadata(artefact: Artefact) -> str | None:
    """The edgecv metadata string inside an artefact, or None where there is none.

    Raises
    ------
    BundleError
        The container is damaged.
    """
    reader = {"tflite": _tflite_metadata, "onnx": _onnx_metadata, "openvino": _openvino_metadata}[artefact.format]
    try:
        raw = reader(artefact.model)
        return None if raw is None else raw.decode()
    except (struct.error, IndexError, ValueError) as error:
        raise BundleError(f"the {artefact.format} model is damaged: its metadata cannot be read ({error})") from None


# -- TFLite: flatbuffers, schema.fbs: table Model { 4: buffers, 6: metadata }, Metadata { 0: name, 1: buffer } ----


def _tflite_metadata(data: bytes) -> bytes | None:
    if data[4:8] != b"TFL3":
        raise ValueError("it lacks the TFL3 identifier")
    model = _u32(data, 0)
    metadata_field, buffers_field = _table_field(data, model, 6), _table_field(data, model, 4)
    if metadata_field is None or buffers_field is None:
        return None
    for entry in _vector_of_tables(data, metadata_field):
        name, buffer_index = _table_field(data, entry, 0), _table_field(data, entry, 1)
        if name is None or _byte_vector(data, name) != METADATA_KEY.encode():
            continue
        index = 0 if buffer_index is None else _u32(data, buffer_index)
        buffer = list(_vector_of_tables(data, buffers_field))[index]
        content = _table_field(data, buffer, 0)
        return None if content is None else _byte_vector(data, content)
    return None


def _u32(data: bytes, position: int) -> int:
    return int(struct.unpack_from("<I", data, position)[0])


def _table_field(data: bytes, table: int, index: int) -> int | None:
    """Position of field number `index` of a flatbuffers table, or None where it is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    slot = 4 + 2 * index
    offset = struct.unpack_from("<H", data, vtable + slot)[0] if slot < size else 0
    return table + offset if offset else None


def _vector_of_tables(data: bytes, field: int) -> Iterator[int]:
    start = field + _u32(data, field)
    count = _u32(data, start)
    if count > len(data) // 4:
        raise ValueError(f"a vector claims {count} entries")
    for position in range(start + 4, start + 4 + 4 * count, 4):
        yield position + _u32(data, position)


def _byte_vector(data: bytes, field: int) -> bytes:
    start = field + _u32(data, field)
    end = start + 4 + _u32(data, start)
    if end > len(data):
        raise ValueError("a byte vector ends past the file")
    return data[start + 4 : end]


# -- ONNX: protobuf, ModelProto { 14: repeated StringStringEntryProto { 1: key, 2: value } } -----------------------


def _onnx_metadata(data: bytes) -> bytes | None:
    for number, value in _protobuf_fields(data, 0, len(data)):
        if number != 14:
            continue
        entry = {key: data[start:end] for key, (start, end) in _protobuf_fields(data, *value)}
        if entry.get(1) == METADATA_KEY.encode():
            return entry.get(2, b"")
    return None


def _protobuf_fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Number and (start, end) of each length-delimited field between two positions; others are stepped over."""
    while position < end:
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 2:
            length, position = _varint(data, position)
            if position + length > end:
                raise ValueError("a field ends past the file")
            yield number, (position, position + length)
            position += length
        elif wire_type == 0:
            _, position = _varint(data, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire_type}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a varint has more than ten bytes")


# -- OpenVINO: <rt_info> ... <edgecv value="..."/> ------------------------------------------------------------------

_RT_INFO = re.compile(rb"<" + METADATA_KEY.encode() + rb'\s+value="([^"]*)"\s*/>')


def _openvino_metadata(data: bytes) -> bytes | None:
    # rt_info stands at the end of the file, after every layer: search only behind the last edge.
    tail = data[data.rfind(b"</edges>") :]
    if b"</net>" not in tail:
        raise ValueError("the .xml has no end")
    found = _RT_INFO.search(tail)
    return None if found is None else unescape(found.group(1).decode()).encode()
