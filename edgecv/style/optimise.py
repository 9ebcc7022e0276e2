"""Style transfer by optimisation: the pixels themselves go down the loss (Gatys, Ecker, Bethge 2016)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.style.descent import choose_method, descend
from edgecv.style.perception import PARTS, Goal, PerceptualNetwork, Weights, as_pixels
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image

STARTS = ("noise", "content")


@dataclass(frozen=True, eq=False)
class Transfer:
    """What came of an optimisation.

    Attributes
    ----------
    image : (H, W, 3) uint8, RGB
    history : (steps + 1, 3) float32
        The weighed losses of `PARTS` at the start and after each step.
    start, end : Mapping
        The losses of `Goal.of` before and after.
    method : {"l-bfgs", "adam"}
    """

    image: Image
    history: npt.NDArray[np.float32]
    start: Mapping[str, float]
    end: Mapping[str, float]
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the picture."""
        return {
            "method": self.method,
            "steps": len(self.history) - 1,
            "start": dict(self.start),
            "end": dict(self.end),
        }


def transfer_style(
    network: PerceptualNetwork,
    content: Any,
    style: Any,
    *,
    steps: int = 200,
    weights: Weights | None = None,
    start: str = "noise",
    method: str | None = None,
    seed: int = 0,
    notify: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Transfer:
    """Paint one picture in the style of another (section 2.3, eq. 7).

    Parameters
    ----------
    network : PerceptualNetwork
        Both pictures are scaled to cover its size, and their middles taken.
    content, style : (H, W) or (H, W, 3) uint8
    steps : int
    weights : Weights, optional
    start : {"noise", "content"}
        White noise, as published; or the content picture, of which more is then kept.
    method : {"l-bfgs", "adam"}, optional
        Default: L-BFGS, as published, where SciPy is installed.
    seed : int
        Of the noise.
    notify : callable, optional
        Is given the number of each step and the weighed losses after it.

    Returns
    -------
    Transfer

    Raises
    ------
    InputError
        Fewer than one step, or another start or method.
    MissingPackageError
        L-BFGS without SciPy.
    UnsupportedError
        Keras runs on a back end without gradients.
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1; received {steps}")
    if start not in STARTS:
        raise InputError(f"start must be {' or '.join(STARTS)}; received {start!r}")
    method = choose_method(method)
    shown = network.fit(content)[None]
    goal = Goal(network, network.fit(style), shown, weights)
    _ = goal.units  # before the loss is traced
    wanted, _ = network.maps(shown)
    first = shown if start == "content" else np.random.default_rng(seed).random(shown.shape, np.float32)
    history: list[npt.NDArray[np.float32]] = []

    def note(step: int, parts: npt.NDArray[np.float32]) -> None:
        history.append(parts.reshape(len(PARTS)))
        if notify is not None:
            notify(step, dict(zip(PARTS, history[-1].tolist(), strict=True)))

    found = descend(lambda image: goal.losses(image, wanted), first, steps, method, note)
    return Transfer(as_pixels(found[0]), np.stack(history), goal.of(first, shown), goal.of(found, shown), method)
