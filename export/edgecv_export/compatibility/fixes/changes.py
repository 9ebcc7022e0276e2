"""The changes that can bring an operator onto an accelerator, each as a function of a draft and an operator.

A change answers with what it did in words, or with None where it has nothing to do and has touched nothing. Whether it
helps is asked of the accelerator's table afterwards, and whether it holds is proven: a change need know neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv_export.compatibility.fixes.draft import Draft

Change = Callable[[Draft, Any], str | None]
CHANGES: list[Change] = []


def change(function: Change) -> Change:
    """Register a change; they are tried in the order of their registration."""
    CHANGES.append(function)
    return function


def label(draft: Draft, operator: Any) -> str:
    """The name of what an operator computes."""
    return (draft.graph.tensors[operator.outputs[0]].name or b"").decode()


def title(draft: Draft, operator: Any) -> str:
    """How an operator is called in words."""
    return f"{draft.kind(operator)} {label(draft, operator)!r}"
