"""The conditions that operator tables name, each as a function of an operator.

A rule answers with None where it holds, and else with what is wrong in words. Conditions that would need what the file
does not say (a shape known only at run time) do not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecv_export.compatibility.rules import operators, tensors, weights, windows
from edgecv_export.compatibility.rules.base import CHECKS
from edgecv_export.tflite_graph import Operator
from edgecv_targets import Rule

# The modules register their rules when they are imported.
__all__ = ["broken", "rule_names", "Broken", "operators", "tensors", "weights", "windows"]


@dataclass(frozen=True)
class Broken:
    """A rule that does not hold.

    Attributes
    ----------
    rule : str
    reason : str
        What is required and what was found, in words.
    """

    rule: str
    reason: str


def broken(operator: Operator, rules: Sequence[Rule]) -> Broken | None:
    """The first rule that does not hold, or None.

    Raises
    ------
    KeyError
        A table names a rule that is not known here: a mistake in the table.
    """
    for rule in rules:
        reason = CHECKS[rule.name](operator, rule.parameters)
        if reason is not None:
            return Broken(rule.name, reason)
    return None


def rule_names() -> frozenset[str]:
    """The rules that tables may name."""
    return frozenset(CHECKS)
