"""Quantization-aware training from a float network and pictures to kernels and ranges, in one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.aware.augment import Augmentation, Pixels
from edgecv_export.quantize.aware.finetune import History, Labels, Schedule, ToReal, finetune
from edgecv_export.quantize.aware.insert import RangeKind, correct_biases, finish, prepare

_CALIBRATION_PICTURES = 256
_CORRECTION_PICTURES = 64


@dataclass(frozen=True, eq=False)
class AwareResult:
    """What quantization-aware training hands over.

    Attributes
    ----------
    network : keras.Model
        Float, batch norms folded, kernels already on their int8 grid.
    ranges : dict from layer name to Range
        Of every stored tensor.
    history : History
    """

    network: Any
    ranges: dict[str, Range]
    history: History


def train_aware(
    network: Any,
    pixels: Pixels,
    labels: Labels | None,
    grid_to_real: ToReal,
    *,
    teacher: Any | None = None,
    calibration: Pixels | None = None,
    ranges: RangeKind = "moving_average",
    initial: Mapping[str, Range] | None = None,
    widen: float = 1.0,
    float_layers: Collection[str] = (),
    fused_sums: bool = False,
    epochs: int = 10,
    batch: int = 32,
    learning_rate: float = 1e-3,
    augmentation: Augmentation | None = None,
    seed: int = 0,
) -> AwareResult:
    """Fine-tune a network for its int8 artefact.

    Training begins with the post-training network: ranges calibrated, kernels rounded, biases corrected.

    Parameters
    ----------
    network : keras.Model
        Where training starts: float, trained, ending at the logits, batch norms folded or not; perhaps already
        equalized and bias-corrected by the post-training transforms.
    pixels : (N, H, W, C) uint8
        Training pictures as the artefact's input holds them, at least 20. They stay as they are in memory; float
        values are made batch by batch.
    labels : (N,) int, or None
        Class indices. Without them the float network alone is imitated.
    grid_to_real : callable
        From uint8 pictures to the float32 values that `network` takes (`InputGrid.to_real`).
    teacher : keras.Model, optional
        The float network to imitate. Default: `network` itself.
    calibration : (M, H, W, C) uint8, optional
        Pictures that the first ranges come from. Default: the first training pictures of a seeded order.
    ranges, initial, widen, float_layers, fused_sums
        As for `insert.prepare`.
    epochs, batch, learning_rate, augmentation
        As for `finetune.Schedule`.
    seed : int

    Returns
    -------
    AwareResult
        On the pictures kept aside it is never below the post-training start.

    Raises
    ------
    InputError, UnsupportedError
        As `insert.prepare` and `finetune.finetune` do.

    Examples
    --------
    >>> result = train_aware(network, pixels, labels, grid.to_real, epochs=5)  # doctest: +SKIP
    >>> result.history.start.accuracy, result.history.best.accuracy  # doctest: +SKIP
    (0.791, 0.823)
    """
    schedule = Schedule(
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        augmentation=augmentation or Augmentation(),
        seed=seed,
    )
    if calibration is None:
        order = np.random.default_rng(seed).permutation(len(pixels))
        calibration = pixels[order[:_CALIBRATION_PICTURES]]
    values = grid_to_real(calibration)
    aware = prepare(
        network,
        values,
        ranges=ranges,
        widen=widen,
        float_layers=float_layers,
        fused_sums=fused_sums,
        initial=initial,
        seed=seed,
    )
    correct_biases(aware, values[:_CORRECTION_PICTURES])
    history = finetune(aware, network if teacher is None else teacher, pixels, labels, grid_to_real, schedule)
    trained, found = finish(aware)
    return AwareResult(trained, found, history)
