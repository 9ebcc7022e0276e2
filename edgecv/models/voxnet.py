"""A classifier of volumes and short clips: VoxNet's two 3-D convolutions (Maturana & Scherer 2015)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.layers.heads import dense_classifier
from edgecv.models.imagenet import NO_WEIGHTS, builder_of
from edgecv.models.registry import ModelRecord, Paper, Preprocessing, register

_RECORD = ModelRecord(
    name="voxnet",
    task="volume-classification",
    summary="two 3-D convolutions for volumes or clips: occupancy grids, CT cubes, frames in depth",
    paper=Paper(
        "Maturana, Scherer", 2015, "VoxNet: A 3D Convolutional Neural Network for Real-Time Object Recognition (IROS)"
    ),
    input_shape=(32, 32, 32, 1),
    classes=40,
    parameters=921_736,
    macs=59_641_600,
    # Occupancy in -1..1, as the paper's sensor models give it.
    preprocessing=Preprocessing(mean=(0.0,), std=(1.0,), color="GRAY"),
    weights_note=NO_WEIGHTS,
    minimum_size=12,
)


def body(volume: Any) -> Any:
    """Section III.C: C(32, 5, 2), C(32, 3, 1), P(2): 6 x 6 x 6 x 32 of 32 x 32 x 32 voxels.

    Parameters
    ----------
    volume : (N, depth, height, width, channels) tensor
        For clips depth is time.
    """
    import keras

    layers = keras.layers
    x = volume
    for number, (kernel, strides) in enumerate(((5, 2), (3, 1)), start=1):
        x = layers.Conv3D(32, kernel, strides=strides, kernel_initializer="he_normal", name=f"conv{number}")(x)
        x = layers.LeakyReLU(0.1, name=f"conv{number}_relu")(x)
    return layers.MaxPooling3D(2, name="pool")(x)


voxnet = register(_RECORD)(builder_of(_RECORD, body, partial(dense_classifier, dense_width=128, count=1, dropout=0.4)))
