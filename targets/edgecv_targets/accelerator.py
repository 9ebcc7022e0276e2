"""Operator tables of accelerators: which operators they take, under which conditions."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv_targets.parsing import TargetError, read_toml, take

_FOLDER = Path(__file__).parent / "accelerators"


@dataclass(frozen=True)
class Rule:
    """A condition that an operator must meet.

    Attributes
    ----------
    name : str
        What is checked, for example ``"stride"``.
    parameters : Mapping
        Of the check, for example ``{"maximum": 3}``.
    """

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Accelerator:
    """An operator table.

    Attributes
    ----------
    id, name : str
    format : {"tflite", "onnx"}
        Whose operators it speaks of.
    operators : Mapping of str to tuple of Rule
        The conditions of each operator that can run there, those for all operators among them. One that is not
        named runs on the CPU.
    sources : Mapping of str to str
    version : str
        Of the tool whose documentation was read.
    continues_after_cpu : bool
        Whether operators behind one that falls back can run on the accelerator again. Those before the first that
        runs there do not count.
    joined_padding_stride : int or None
        The compiler joins a padding with the convolution behind it, and then fails at longer strides than this; None:
        at none.
    """

    id: str
    name: str
    format: str
    operators: Mapping[str, tuple[Rule, ...]]
    sources: Mapping[str, str]
    version: str
    continues_after_cpu: bool = True
    joined_padding_stride: int | None = None


@functools.cache
def list_accelerators() -> tuple[str, ...]:
    """Identifiers of the operator tables, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@functools.cache
def load_accelerator(identifier: str) -> Accelerator:
    """Read an operator table.

    Raises
    ------
    TargetError
        There is none of that name, or the file is not what is required.
    """
    if identifier not in list_accelerators():
        raise TargetError(f"an operator table must be one of {', '.join(list_accelerators())}; received {identifier!r}")
    data = read_toml(_FOLDER / f"{identifier}.toml")
    origin = f"{identifier}.toml"
    groups = {name: tuple(map(_rule, rules)) for name, rules in take(data, "groups", dict, origin, default={}).items()}
    generic = take(data, "generic", list, origin, default=[])
    operators: dict[str, tuple[Rule, ...]] = {}
    for kind, own in take(data, "operators", dict, origin).items():
        rules = [_rule(rule) for rule in generic if kind not in rule.get("except", ())]
        for entry in own:
            if isinstance(entry, str):
                if entry not in groups:
                    raise TargetError(f"{origin}: {kind} names the group {entry!r}, which the file does not have")
                rules += groups[entry]
            else:
                rules.append(_rule(entry))
        operators[kind] = tuple(rules)
    sources = take(data, "sources", dict, origin)
    if not sources:
        raise TargetError(f"{origin}: an operator table must name the documentation that it was read from")
    return Accelerator(
        identifier,
        take(data, "name", str, origin),
        take(data, "format", str, origin),
        operators,
        sources,
        take(data, "version", str, origin),
        take(data, "continues_after_cpu", bool, origin, default=True),
        take(data, "joined_padding_stride", int, origin, default=None),
    )


def _rule(data: Mapping[str, Any]) -> Rule:
    return Rule(data["rule"], {key: value for key, value in data.items() if key not in ("rule", "except")})
