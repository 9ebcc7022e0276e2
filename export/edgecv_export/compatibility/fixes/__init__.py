"""Changes to a TFLite file that take a reason for falling back away and leave what it computes as it is.

Each is proven on the spot: the file before and the file after are run on the same inputs, and must agree to the bit,
or be one function in real numbers and as near to it in integers. What would change the answers (another activation,
another stride) is advice, and the business of whoever trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgecv_export.compatibility.check import ACCELERATOR, place

# The modules register their changes when they are imported, and are tried in this order.
from edgecv_export.compatibility.fixes import activations, resizing, windows, rearranging, islands  # isort: skip
from edgecv_export.compatibility.fixes.borders import make_static, take_integers
from edgecv_export.compatibility.fixes.changes import CHANGES
from edgecv_export.compatibility.fixes.draft import Draft
from edgecv_export.compatibility.fixes.proof import prove_border, prove_change
from edgecv_export.tflite_graph import Graph, read_graph
from edgecv_runtime.errors import CheckFailedError
from edgecv_targets import Accelerator

__all__ = ["Fixed", "apply_fixes", "offer_fixes", "activations", "resizing", "windows", "rearranging", "islands"]


@dataclass(frozen=True)
class Fixed:
    """A file after the fixes.

    Attributes
    ----------
    content : bytes
    done : tuple of str
        What was changed and how it was proven, in words; empty where there was nothing to change.
    refused : tuple of str
        What would have helped and did not pass its proof, with the reason.
    """

    content: bytes
    done: tuple[str, ...]
    refused: tuple[str, ...] = ()


def apply_fixes(content: bytes, accelerator: Accelerator | None = None, *, borders: bool = True) -> Fixed:
    """Make every safe change that helps: at the borders, and for an accelerator inside the graph.

    Parameters
    ----------
    content : bytes
        A TFLite file of one graph.
    accelerator : Accelerator, optional
        Whose operators are wanted; None: the borders only.
    borders : bool
        Whether inputs and outputs may become integers; shapes become static either way.

    Raises
    ------
    CheckFailedError
        With static shapes and integers at the borders it does not answer as before: nothing is given back.
    InputError
        It has more than one graph.
    """
    draft = Draft(content)
    done = make_static(draft) + (take_integers(draft) if borders else ())
    fixed = content
    if done:
        draft.forget_signatures()
        fixed = draft.pack()
        prove_border(content, fixed)
    refused: list[str] = []
    while accelerator is not None:
        for said, changed in _helpful(fixed, accelerator):
            if any(entry.startswith(f"{said}: ") for entry in refused):
                continue
            try:
                done = (*done, f"{said}: {prove_change(fixed, changed)}")
            except (CheckFailedError, RuntimeError) as error:  # LiteRT says so of what it cannot run
                refused.append(f"{said}: {str(error).splitlines()[0]}")
                continue
            fixed = changed
            break
        else:
            break
    return Fixed(fixed, done, tuple(refused))


def offer_fixes(content: bytes, accelerator: Accelerator | None) -> tuple[str, ...]:
    """What `apply_fixes` would try, in words, without a proof.

    Parameters
    ----------
    content : bytes
    accelerator : Accelerator or None
    """
    draft = Draft(content)
    found = make_static(draft) + take_integers(draft)
    if found:
        draft.forget_signatures()
        content = draft.pack()
    while accelerator is not None and (step := next(_helpful(content, accelerator), None)) is not None:
        found, content = (*found, step[0]), step[1]
    return found


def _helpful(content: bytes, accelerator: Accelerator) -> Iterator[tuple[str, bytes]]:
    """Every single change after which fewer operators are left to the CPU, or as many with fewer products."""
    graph = read_graph(content)
    left, before = _cost(graph, accelerator)
    if not left:
        return
    draft = Draft(content)
    for change in CHANGES:
        for index in left:
            said = change(draft, draft.operators[index])
            if said is None:
                continue
            changed, draft = draft.pack(), Draft(content)
            if _cost(read_graph(changed), accelerator)[1] < before:
                yield said, changed


def _cost(graph: Graph, accelerator: Accelerator) -> tuple[list[int], tuple[int, int]]:
    """The operators that are left to the CPU; how many, and the products of the whole graph."""
    left = [entry.index for entry in place(graph, accelerator) if entry.where != ACCELERATOR]
    return left, (len(left), graph.macs)
