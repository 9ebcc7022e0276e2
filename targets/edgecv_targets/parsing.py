"""Values out of a TOML file, refused by name where they are not what is required."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomllib

_MISSING = object()


class TargetError(ValueError):
    """A target is not known, or its file is not what is required."""


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a file.

    Raises
    ------
    TargetError
        It is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path.name} is not valid TOML: {error}") from None


def take(data: Mapping[str, Any], key: str, kind: type, origin: str, *, default: Any = _MISSING) -> Any:
    """A value of a table.

    Raises
    ------
    TargetError
        It is missing and has no default, or of another type.
    """
    if key not in data:
        if default is _MISSING:
            raise TargetError(f"{origin}: {key!r} is missing")
        return default
    value = data[key]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TargetError(f"{origin}: {key!r} must be of type {kind.__name__}; received {value!r:.60}")
    return value


def refuse_others(data: Mapping[str, Any], known: set[str], origin: str) -> None:
    """Refuse keys that nobody reads: a misspelt one would be ignored in silence.

    Raises
    ------
    TargetError
    """
    others = sorted(set(data) - known)
    if others:
        raise TargetError(f"{origin}: {others[0]!r} is not a field; there are {', '.join(sorted(known))}")
