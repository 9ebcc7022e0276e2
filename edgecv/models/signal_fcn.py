"""A classifier of signals: three 1-D convolutions and a global mean (Wang, Yan, Oates 2017, arXiv:1611.06455)."""

from __future__ import annotations

from typing import Any

from edgecv.models.imagenet import NO_WEIGHTS, builder_of
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register

# Figure 1 (b): (filters, kernel) of each block.
BLOCKS = ((128, 8), (256, 5), (128, 3))

_RECORD = ModelRecord(
    name="signal_fcn",
    task="signal-classification",
    summary="three 1-D convolutions for signals: vibration, ECG, accelerometers",
    paper=Paper(
        "Wang, Yan, Oates", 2017, "Time Series Classification from Scratch with Deep Neural Networks", "1611.06455"
    ),
    input_shape=(128, 1),
    classes=10,
    parameters=267_018,
    macs=33_686_784,
    # Each signal is standardised by itself, before the network.
    preprocessing=Preprocessing(mean=(0.0,), std=(1.0,), color="GRAY"),
    options=(Option("alpha", float, 1.0, 0.05, 4.0, "width multiplier α: channels of every layer"),),
    weights_note=NO_WEIGHTS,
    minimum_size=8,
)


def body(signal: Any, alpha: float = 1.0) -> Any:
    """Convolution, batch normalisation and ReLU, three times: (N, length, 128 α).

    Parameters
    ----------
    signal : (N, length, channels) tensor
        Each signal with mean 0 and standard deviation 1.
    alpha : float
    """
    import keras

    layers = keras.layers
    x = signal
    for number, (filters, kernel) in enumerate(BLOCKS, start=1):
        name = f"conv{number}"
        x = layers.Conv1D(
            max(1, int(filters * alpha)), kernel, padding="same", kernel_initializer="he_normal", name=f"{name}_conv"
        )(x)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        x = layers.Activation("relu", name=f"{name}_relu")(x)
    return x


signal_fcn = register(_RECORD)(builder_of(_RECORD, body))
