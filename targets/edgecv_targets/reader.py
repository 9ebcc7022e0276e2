"""From the TOML files to `Target`, with every field checked."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from edgecv_targets.accelerator import load_accelerator
from edgecv_targets.parsing import TargetError, read_toml, refuse_others, take
from edgecv_targets.target import CPU, AcceleratorUse, BackendUse, CompileTool, Figure, PublishedLatency, Target

_FOLDER = Path(__file__).parent

KINDS = ("board", "module", "accelerator", "pc", "phone", "microcontroller")
ARCHITECTURES = ("aarch64", "armv7l", "armv7e-m", "armv8.1-m", "x86_64", "arm64")
FORMATS = ("tflite", "onnx", "openvino")
PRECISIONS = ("fp32", "fp16", "dynamic", "int8", "int16x8", "mixed")

_FIGURES = ("memory_bytes", "memory_bandwidth", "flash_bytes", "sram_bytes")

__all__ = ["TargetError", "list_targets", "load_target"]


@functools.cache
def list_targets() -> tuple[str, ...]:
    """Identifiers of all devices, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@functools.cache
def load_target(identifier: str) -> Target:
    """Read a device.

    Parameters
    ----------
    identifier : str
        One of `list_targets`, for example ``"pi-5"``.

    Raises
    ------
    TargetError
        There is none of that name (the message lists them), or its file is not what is required.

    Examples
    --------
    >>> load_target("pi-5").precisions[0]
    'int8'
    """
    if identifier not in list_targets():
        raise TargetError(f"target must be one of {', '.join(list_targets())}; received {identifier!r}")
    return parse_target(identifier, read_toml(_FOLDER / f"{identifier}.toml"))


def parse_target(identifier: str, data: Mapping[str, Any]) -> Target:
    """The device that a file's content describes.

    Raises
    ------
    TargetError
        A field is missing, misspelt or of the wrong type, or a figure has no source.
    """
    reader = _Reader(f"{identifier}.toml", take(data, "sources", dict, f"{identifier}.toml"))
    refuse_others(data, {field.name for field in fields(Target)} - {"id"}, reader.origin)
    reader.words(data, "formats", FORMATS)
    reader.words(data, "precisions", PRECISIONS)
    target = Target(
        id=identifier,
        name=take(data, "name", str, reader.origin),
        kind=reader.word(data, "kind", KINDS),
        cpu=reader.cpu(take(data, "cpu", dict, reader.origin)),
        formats=tuple(data["formats"]),
        precisions=tuple(data["precisions"]),
        backends=tuple(reader.plain(BackendUse, entry) for entry in take(data, "backends", list, reader.origin)),
        install=take(data, "install", str, reader.origin),
        start=take(data, "start", str, reader.origin),
        sources=dict(data["sources"]),
        accelerator=reader.accelerator(take(data, "accelerator", dict, reader.origin, default=None)),
        tool=reader.tool(take(data, "tool", dict, reader.origin, default=None)),
        not_published=tuple(take(data, "not_published", list, reader.origin, default=[])),
        latencies=tuple(reader.sourced(PublishedLatency, entry) for entry in data.get("latencies", [])),
        notes=tuple(take(data, "notes", list, reader.origin, default=[])),
        **{name: reader.figure(data, name) for name in _FIGURES},
    )
    reader.check_all_used()
    return target


class _Reader:
    """Reads one file, and remembers which sources were used."""

    def __init__(self, origin: str, sources: Mapping[str, Any]) -> None:
        self.origin, self._sources = origin, sources
        self._used: set[str] = set()
        for key, value in sources.items():
            if not isinstance(value, str) or not value.strip():
                raise TargetError(f"{origin}: source {key!r} must say where; received {value!r}")

    def source(self, data: Mapping[str, Any], what: str) -> str:
        key = data.get("source")
        if not isinstance(key, str) or key not in self._sources:
            raise TargetError(
                f"{self.origin}: {what} must name one of the file's sources ({', '.join(self._sources)}); "
                f"received {key!r}"
            )
        self._used.add(key)
        return key

    def figure(self, data: Mapping[str, Any], name: str) -> Figure | None:
        entry = take(data, name, dict, self.origin, default=None)
        if entry is None:
            return None
        refuse_others(entry, {"value", "source"}, f"{self.origin}: {name}")
        value = take(entry, "value", float, f"{self.origin}: {name}")
        if value <= 0:
            raise TargetError(f"{self.origin}: {name} must be positive; received {value}")
        return Figure(value, self.source(entry, name))

    def word(self, data: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
        value: str = take(data, name, str, self.origin)
        if value not in known:
            raise TargetError(f"{self.origin}: {name} must be one of {', '.join(known)}; received {value!r}")
        return value

    def words(self, data: Mapping[str, Any], name: str, known: tuple[str, ...]) -> None:
        values = take(data, name, list, self.origin)
        wrong = [value for value in values if value not in known]
        if wrong or not values:
            raise TargetError(f"{self.origin}: {name} must be among {', '.join(known)}; received {wrong or 'none'}")

    def cpu(self, data: Mapping[str, Any]) -> CPU:
        origin = f"{self.origin}: cpu"
        refuse_others(data, {field.name for field in fields(CPU)}, origin)
        speeds = take(data, "macs_per_cycle", dict, origin, default={})
        return CPU(
            name=take(data, "name", str, origin),
            architecture=self.word(data, "architecture", ARCHITECTURES),
            cores=take(data, "cores", int, origin, default=None),
            source=self.source(data, "cpu"),
            clock_hz=self.figure(data, "clock_hz"),
            features=tuple(take(data, "features", list, origin, default=[])),
            macs_per_cycle={name: figure for name in speeds if (figure := self.figure(speeds, name)) is not None},
        )

    def accelerator(self, data: Mapping[str, Any] | None) -> AcceleratorUse | None:
        if data is None:
            return None
        figures = {name: self.figure(data, name) for name in ("peak_ops", "weight_bandwidth")}
        found = self.sourced(AcceleratorUse, {"table": None, **data}, **figures)
        if found.table is not None:
            load_accelerator(found.table)
        return found

    def tool(self, data: Mapping[str, Any] | None) -> CompileTool | None:
        return None if data is None else self.sourced(CompileTool, data)

    def sourced(self, kind: Any, data: Mapping[str, Any], **parsed: Any) -> Any:
        """A dataclass of plain fields with a `source`, and of those parsed before."""
        return self.plain(kind, {**data, "source": self.source(data, kind.__name__)}, **parsed)

    def plain(self, kind: Any, data: Mapping[str, Any], **parsed: Any) -> Any:
        known = {field.name for field in fields(kind)}
        origin = f"{self.origin}: {kind.__name__}"
        refuse_others(data, known, origin)
        missing = [
            field.name
            for field in fields(kind)
            if field.name not in data and field.default is MISSING and field.default_factory is MISSING
        ]
        if missing:
            raise TargetError(f"{origin}: {missing[0]!r} is missing")
        return kind(**{**data, **parsed})

    def check_all_used(self) -> None:
        unused = sorted(set(self._sources) - self._used)
        if unused:
            raise TargetError(f"{self.origin}: source {unused[0]!r} is not used by any figure")
