"""EfficientNet by compound scaling, and the named B0 to B7 (Tan & Le 2019, arXiv:1905.11946)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecv.layers.graph import functional
from edgecv.layers.inverted_residual import (
    B0_STAGES,
    HEAD_FILTERS,
    STEM_FILTERS,
    BlockStyle,
    classifier,
    head,
    mbconv_stages,
    stem,
)
from edgecv.layers.shapes import check_classes, check_image_shape, make_divisible, round_repeats
from edgecv.models.compound_scaling import PUBLISHED, Coefficients, Scaling, compound_scaling
from edgecv.models.registry import Builder, ModelRecord, OfficialWeights, Option, Paper, Preprocessing, register
from edgecv_runtime.manifest import Resize

if TYPE_CHECKING:
    import keras

# The table of the reference implementation. It is NOT the formula: B1 to B7 were rounded by hand (B1 has
# resolution 240 where 224 · 1.15 is 258; B7 has depth 3.1 where 1.2^7 is 3.6), and the dropout rises in steps.
# `efficientnet(phi)` follows the formula; the names below follow the table, as the official weights do.
NAMED = {
    "b0": Scaling(width=1.0, depth=1.0, resolution=224, dropout=0.2),
    "b1": Scaling(width=1.0, depth=1.1, resolution=240, dropout=0.2),
    "b2": Scaling(width=1.1, depth=1.2, resolution=260, dropout=0.3),
    "b3": Scaling(width=1.2, depth=1.4, resolution=300, dropout=0.3),
    "b4": Scaling(width=1.4, depth=1.8, resolution=380, dropout=0.4),
    "b5": Scaling(width=1.6, depth=2.2, resolution=456, dropout=0.4),
    "b6": Scaling(width=1.8, depth=2.6, resolution=528, dropout=0.5),
    "b7": Scaling(width=2.0, depth=3.1, resolution=600, dropout=0.5),
}

_PARAMETERS = {
    "b0": 5_330_571,
    "b1": 7_856_239,
    "b2": 9_177_569,
    "b3": 12_320_535,
    "b4": 19_466_823,
    "b5": 30_562_527,
    "b6": 43_265_143,
    "b7": 66_658_687,
}

# Multiply-accumulates for one picture.
_MACS = {
    "b0": 385_814_752,
    "b1": 686_802_832,
    "b2": 993_561_872,
    "b3": 1_827_141_392,
    "b4": 4_393_771_024,
    "b5": 10_266_384_752,
    "b6": 19_067_593_536,
    "b7": 37_745_884_192,
}

_ADDRESS = "https://storage.googleapis.com/keras-applications/"

# md5 as Keras publishes them: with the classifier, without it.
_MD5 = {
    "b0": ("902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
    "b1": ("1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
    "b2": ("b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    "b3": ("ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
    "b4": ("18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    "b5": ("ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
    "b6": ("165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
    "b7": ("8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
}

PAPER = Paper("Tan, Le", 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", "1905.11946")

_STYLE = BlockStyle(activation="swish", squeeze=0.25, explicit_padding=True)
_MINIMUM_SIZE = 32
_IMAGENET_STD = (0.229, 0.224, 0.225)  # of pixels 0..1, RGB


def evaluation_rule(resolution: int) -> Resize:
    """The centred crop of size / (size + 32), then bicubic (TPU repository, ``preprocessing.py``)."""
    return Resize(mode="crop", crop_fraction=resolution / (resolution + CROP_PADDING), interpolation="cubic")


CROP_PADDING = 32


def build(
    scaling: Scaling,
    name: str,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 1000,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build an EfficientNet of any scaling.

    Parameters
    ----------
    scaling : Scaling
    name : str
    input_shape : (height, width, channels), optional
        Default: the scaling's resolution with 3 channels. At least 32 x 32. The network expects pixels
        0..255 and normalises them itself.
    classes : int
    include_top : bool
        False ends with the (N, H/32, W/32, 1280 width) feature map.
    classifier_activation : {"softmax", None}
        None ends with the logits.

    Returns
    -------
    keras.Model
        From (N, height, width, channels) pixels to (N, classes) probabilities.

    Raises
    ------
    InputError
        A shape, class count or activation that cannot be built.

    Notes
    -----
    Layer order, names and weight shapes are those of ``keras.applications``: its files load. The softmax
    follows the layer ``predictions`` instead of being inside it.
    """
    import keras

    layers = keras.layers
    default = (scaling.resolution, scaling.resolution, 3)
    shape = check_image_shape(name, input_shape, default, _MINIMUM_SIZE)
    check_classes(name, classes)
    inputs = layers.Input(shape, name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Normalization(axis=-1)(x)
    x = stem(x, make_divisible(STEM_FILTERS * scaling.width), _STYLE)
    x = mbconv_stages(
        x,
        filters=tuple(make_divisible(stage.filters * scaling.width) for stage in B0_STAGES),
        repeats=tuple(round_repeats(stage.repeats, scaling.depth) for stage in B0_STAGES),
        style=_STYLE,
    )
    x = head(x, make_divisible(HEAD_FILTERS * scaling.width), _STYLE)
    if include_top:
        x = classifier(x, classes, scaling.dropout, classifier_activation)
    return functional(inputs, x, name)


def repair_normalization(model: keras.Model) -> None:
    """Put the variance of the in-model normalisation right after loading an official file.

    The official files hold ImageNet's standard deviation (0.229, 0.224, 0.225) where the layer expects the
    variance, so that pixels would be divided by its square root (tensorflow issue 49930). keras.applications
    makes up for it with one more layer, only for ``weights="imagenet"``. Here the stored value itself is put
    right: every file saved afterwards is right by itself, and the graph is the same with any weights. A file
    fine-tuned from the official one still carries the mistake and is treated alike; any other variance is
    left alone.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    """
    import keras
    import numpy as np

    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = (np.asarray(value) for value in layer.get_weights())
    if variance.shape == (3,) and np.allclose(variance, _IMAGENET_STD, rtol=0, atol=1e-4):
        layer.set_weights([mean, variance**2, count])
    # Keras computes with a copy that set_weights and the legacy loader do not refresh on every back end.
    layer.finalize_state()


def _preprocessing(resolution: int) -> Preprocessing:
    return Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, resize=evaluation_rule(resolution), crop_padding=CROP_PADDING)


@register(
    ModelRecord(
        name="efficientnet",
        task="classification",
        summary="compound scaling by φ: depth 1.2^φ, width 1.1^φ, resolution 224·1.15^φ",
        paper=PAPER,
        input_shape=(224, 224, 3),
        classes=1000,
        parameters=_PARAMETERS["b0"],
        macs=_MACS["b0"],
        preprocessing=_preprocessing(224),
        options=(
            # 12 is 3.1 times the channels and 8.9 times the layers: beyond any edge device.
            Option("phi", float, 0.0, 0.0, 12.0, "compound coefficient φ: each unit doubles the MACs"),
        ),
        weights_note="official weights belong to the named efficientnet_b0 to efficientnet_b7",
        minimum_size=_MINIMUM_SIZE,
        after_loading=repair_normalization,
    )
)
def efficientnet(
    phi: float = 0.0,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 1000,
    *,
    coefficients: Coefficients = PUBLISHED,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "efficientnet",
) -> keras.Model:
    """Build an EfficientNet scaled by φ as the paper's formula says (equation 3).

    The named models are a hand-rounded table instead (`NAMED`): ``efficientnet(1)`` is not B1.

    Parameters
    ----------
    phi : float
        At least 0; 0 is B0.
    coefficients : Coefficients
        α, β, γ; those of the paper, or found by `search_coefficients`.
    input_shape, classes, include_top, classifier_activation, name
        As for `build`; the default input is ``224 γ^φ`` pixels.

    Raises
    ------
    InputError
        φ, a shape, a class count or an activation that cannot be built.

    Examples
    --------
    >>> efficientnet(0).count_params()
    5330571
    """
    return build(compound_scaling(phi, coefficients), name, input_shape, classes, include_top, classifier_activation)


def _named(variant: str) -> Builder:
    """Register and return the builder of one row of the table."""
    scaling = NAMED[variant]
    model_name = f"efficientnet_{variant}"

    def builder(
        input_shape: tuple[int, int, int] | None = None,
        classes: int = 1000,
        *,
        include_top: bool = True,
        classifier_activation: str | None = "softmax",
        name: str = model_name,
    ) -> Any:
        return build(scaling, name, input_shape, classes, include_top, classifier_activation)

    builder.__name__ = builder.__qualname__ = model_name
    builder.__doc__ = f"Build EfficientNet-{variant.upper()}: `build` with {scaling}."
    files = ((f"efficientnet{variant}.h5", True), (f"efficientnet{variant}_notop.h5", False))
    record = ModelRecord(
        name=model_name,
        task="classification",
        summary=f"width {scaling.width:g}, depth {scaling.depth:g}, {scaling.resolution} pixels",
        paper=PAPER,
        input_shape=(scaling.resolution, scaling.resolution, 3),
        classes=1000,
        parameters=_PARAMETERS[variant],
        macs=_MACS[variant],
        preprocessing=_preprocessing(scaling.resolution),
        weights=tuple(
            OfficialWeights(
                address=f"{_ADDRESS}{file}",
                file=file,
                licence="Apache-2.0",
                input_size=scaling.resolution,
                include_top=top,
                md5=md5,
            )
            for (file, top), md5 in zip(files, _MD5[variant], strict=True)
        ),
        minimum_size=_MINIMUM_SIZE,
        after_loading=repair_normalization,
    )
    return register(record)(builder)


efficientnet_b0 = _named("b0")
efficientnet_b1 = _named("b1")
efficientnet_b2 = _named("b2")
efficientnet_b3 = _named("b3")
efficientnet_b4 = _named("b4")
efficientnet_b5 = _named("b5")
efficientnet_b6 = _named("b6")
efficientnet_b7 = _named("b7")
