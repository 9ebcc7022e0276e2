"""Advice: silent on clean networks, and for each rule a network that calls for it and one that does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import edgecv
from edgecv_export.advice import Advice, advise
from edgecv_export.advice.ranges import channel_ratio
from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_runtime.errors import InputError, UnsupportedError


def rules(model: Any, format: str | None = None, precision: str | None = None) -> dict[str, Advice]:
    found = advise(model, format, precision)
    assert len({advice.rule for advice in found}) == len(found)  # each thing is said once
    return {advice.rule: advice for advice in found}


def network(middle: Callable[[Any], Any], channels: int = 16, size: int = 16) -> Any:
    """A clean network around what `middle` makes of a (size, size, channels) map."""
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(6.0, name="stem_relu")(x)
    x = middle(x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="out")(x))


# -- registered models -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenet_v1", {}),
        ("mobilenet_v1", {"alpha": 0.25, "classes": 10}),
        ("mobilenet_v2", {}),
        ("efficientnet_lite0", {}),
    ],
)
def test_clean_networks(name: str, options: dict[str, Any]) -> None:
    assert advise(edgecv.create_model(name, **options)) == ()


def test_clean_with_batch_statistics(mobilenet: Any) -> None:
    assert "channel_ranges" not in rules(mobilenet)


def test_lenet5() -> None:
    found = rules(edgecv.create_model("lenet5", weights="digits"))
    assert set(found) == {"few_channels", "heavy_head"}
    assert found["few_channels"].layers == ("c1",)  # 6 channels
    # LeCun et al. 1998, figure 2: C5 48,120, F6 10,164, and 850 of 61,706 parameters.
    assert "59,134 of 61,706" in found["heavy_head"].cost
    assert found["heavy_head"].title == "Dense layers hold 96 % of the parameters"


def test_efficientnet() -> None:
    found = advise(edgecv.create_model("efficientnet_b0"), "tflite", "int8")
    assert [(advice.rule, advice.severity) for advice in found] == [("swish", "high"), ("squeeze_excite", "medium")]
    # Tan & Le 2019, table 1: 16 blocks. Swish stands behind the stem, the head, 15 expansions, 16 depthwise
    # convolutions and 16 squeezes.
    assert len(found[0].layers) == 1 + 1 + 15 + 16 + 16
    assert found[1].layers[0] == "block1a_se_excite"
    assert len(found[1].layers) == 16
    assert "int16x8" in found[0].remedy
    assert "efficientnet_lite0" in found[0].remedy


@pytest.mark.parametrize(("format", "said"), [("tflite", True), ("onnx", False), ("openvino", False), (None, True)])
def test_int16_is_advised_where_there_is_one(format: str | None, said: bool) -> None:
    found = rules(network(layers.Activation("swish", name="act")), format)
    assert ("int16x8" in found["swish"].remedy) == said


@pytest.mark.data
def test_real_weights(data_dir: Path) -> None:
    """MobileNetV1 0.25, which loses points in int8, has wild channels; MobileNetV2 1.0, which does not, has none."""
    folder = data_dir / "models" / "classification"
    small = edgecv.create_model("mobilenet_v1", weights=str(folder / "mobilenet_v1_0.25_224.h5"), alpha=0.25)
    found = rules(small)
    assert found["channel_ranges"].layers == ("conv_dw_13",)
    assert found["channel_ranges"].severity == "medium"
    folded = fold_batch_norms(small).get_layer("conv_dw_13")
    # max |kernel| of each channel by numpy alone, from the file's own arrays.
    kernel = np.asarray(small.get_layer("conv_dw_13").kernel)[..., 0]
    norm = small.get_layer("conv_dw_13_bn")
    gain = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    ranges = np.abs(kernel * gain).max(axis=(0, 1))
    assert channel_ratio(folded) == pytest.approx(ranges.max() / np.median(ranges), rel=1e-4)
    assert channel_ratio(folded) == pytest.approx(170.5, abs=0.5)


# -- activations -------------------------------------------------------------------------------------------------------


def squeeze(x: Any) -> Any:
    gate = layers.GlobalAveragePooling2D(name="mean")(x)
    gate = layers.Dense(8, activation=layers.ReLU(6.0), name="reduce")(gate)
    gate = layers.Dense(16, activation="hard_sigmoid", name="expand")(gate)
    gate = layers.Reshape((1, 1, 16), name="shape")(gate)
    return layers.Multiply(name="excite")([x, gate])


def own_gate(x: Any) -> Any:
    return layers.Multiply(name="product")([x, layers.Activation("sigmoid", name="gate")(x)])


def attention_gate(x: Any) -> Any:
    gate = layers.Conv2D(16, 1, activation="sigmoid", name="gate")(x)
    return layers.Multiply(name="product")([x, gate])


ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], str, str, tuple[str, ...]]] = {
    "swish": (layers.Activation("swish", name="act"), "swish", "high", ("act",)),
    "silu": (lambda x: layers.Conv2D(16, 1, activation="silu", name="act")(x), "swish", "high", ("act",)),
    "x sigmoid(x)": (own_gate, "swish", "high", ("product",)),
    "hard swish": (layers.Activation("hard_swish", name="act"), "hard_swish", "medium", ("act",)),
    "squeeze-excite": (squeeze, "squeeze_excite", "medium", ("excite",)),
    "gate": (attention_gate, "sigmoid_gate", "medium", ("product",)),
    "softmax": (layers.Softmax(name="act"), "inner_softmax", "medium", ("act",)),
    "elu": (layers.ELU(name="act"), "smooth_activation", "low", ("act",)),
    "selu": (layers.Activation("selu", name="act"), "smooth_activation", "low", ("act",)),
    "relu": (layers.ReLU(name="act"), "unbounded_activation", "low", ("act",)),
    "leaky relu": (layers.LeakyReLU(name="act"), "unbounded_activation", "low", ("act",)),
}


@pytest.mark.parametrize("case", ACTIVATIONS)
def test_activations(case: str) -> None:
    middle, rule, severity, names = ACTIVATIONS[case]
    model = network(middle)
    found = rules(model)
    assert set(found) == {rule}
    assert (found[rule].severity, found[rule].layers) == (severity, names)
    # In float nothing of it matters, and 16 bits hold it.
    for precision in ("fp32", "fp16", "dynamic", "int16x8"):
        assert rules(model, "tflite", precision) == {}


@pytest.mark.parametrize("middle", [layers.ReLU(6.0), layers.Activation("relu6"), layers.Activation("tanh")])
def test_bounded_activations_are_clean(middle: Any) -> None:
    assert rules(network(middle)) == {}


def test_the_final_activation_is_left_to_the_decoder() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(image))
    assert rules(keras.Model(image, layers.Softmax()(layers.Dense(4)(x)))) == {}


def test_exact_gelu() -> None:
    model = network(layers.Activation("gelu", name="act"))
    assert set(rules(model, "tflite")) == {"smooth_activation"}
    for format in ("onnx", "openvino"):
        for precision in ("fp32", "int8"):
            assert rules(model, format, precision)["exact_gelu"].severity == "high"
    approximate = network(lambda x: keras.ops.gelu(x, approximate=True))
    assert set(rules(approximate, "onnx")) == {"smooth_activation"}


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_exact_gelu_is_what_the_export_says(format: str) -> None:
    """The advice and the exporter must not part: once ONNX takes it, the rule goes."""
    from edgecv.models.registry import Preprocessing
    from edgecv_export.plan import Plan
    from edgecv_export.sources import source_of

    model = network(layers.Activation("gelu", name="act"), size=4)
    source = source_of(model, Preprocessing((0.0,) * 3, (1.0,) * 3))
    if format == "tflite":
        assert source.convert(Plan(format, "fp32"), source.pixels([])).size > 0
    else:
        with pytest.raises(UnsupportedError, match="Erfc"):
            source.convert(Plan(format, "fp32"), source.pixels([]))


# -- ranges ------------------------------------------------------------------------------------------------------------


def with_ranges(factors: list[float]) -> Any:
    """A depthwise layer whose batch norm gives its channels these ranges."""
    model = network(
        lambda x: layers.BatchNormalization(name="bn")(
            layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="wild")(x)
        ),
        channels=len(factors),
    )
    model.get_layer("wild").set_weights([np.ones((3, 3, len(factors), 1))])
    gamma = np.array(factors) * np.sqrt(1 + model.get_layer("bn").epsilon)
    model.get_layer("bn").set_weights([gamma, *(np.full(len(factors), value) for value in (0, 0, 1))])
    return model


@pytest.mark.parametrize(
    ("largest", "severity"), [(1, None), (36, None), (127, None), (129, "medium"), (255, "medium"), (257, "high")]
)
def test_channel_ranges(largest: float, severity: str | None) -> None:
    found = rules(with_ranges([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, largest]))
    if severity is None:
        assert found == {}
        return
    assert found["channel_ranges"].severity == severity
    assert found["channel_ranges"].layers == ("wild",)
    assert f"{largest:.0f} times" in found["channel_ranges"].cost


def test_channels_that_are_switched_off_do_not_count() -> None:
    """Five dead channels of eight would make the median zero."""
    assert rules(with_ranges([1.0, 1.0, 2.0, 1e-9, 1e-9, 1e-9, 0.0, 0.0])) == {}


def test_channel_ratio() -> None:
    layer = layers.Conv2D(4, 1)
    layer.build((None, 1, 1, 2))
    layer.set_weights([np.array([[1, 2, -3, 40], [0, -2, 1, 5]], np.float32).reshape(1, 1, 2, 4), np.zeros(4)])
    assert channel_ratio(layer) == pytest.approx(40 / 2.5)  # of 1, 2, 3, 40
    layer.set_weights([np.zeros((1, 1, 2, 4)), np.zeros(4)])
    assert channel_ratio(layer) == 1.0


@pytest.mark.parametrize(
    ("middle", "rule", "name"),
    [
        (layers.BatchNormalization(name="norm"), "unfolded_batch_norm", "norm"),  # behind a ReLU6
        (layers.LayerNormalization(name="norm"), "runtime_normalisation", "norm"),
        (layers.GroupNormalization(4, name="norm"), "runtime_normalisation", "norm"),
    ],
)
def test_normalisation(middle: Any, rule: str, name: str) -> None:
    found = rules(network(middle))
    assert set(found) == {rule}
    assert found[rule].layers == (name,)


@pytest.mark.parametrize(("side", "warned"), [(90, False), (92, True)])  # 64,800 and 67,712 products: 66,311 fit
def test_long_sums(side: int, warned: bool) -> None:
    image = keras.Input((side, side, 8))
    x = layers.Conv2D(64, 1, name="wide")(image)
    x = layers.Conv2D(8, 1, name="narrow")(x)
    model = keras.Model(image, layers.Dense(1, name="out")(layers.Flatten()(x)))
    assert ("long_sums" in rules(model)) == warned


# -- structure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("middle", "rule", "severity"),
    [
        (layers.UpSampling2D(2, name="x"), "resize_rounding", "low"),
        (layers.UpSampling2D(2, interpolation="bilinear", name="x"), "resize_rounding", "low"),
        (layers.Resizing(8, 8, name="x"), "resize_rounding", "low"),
        (layers.UpSampling2D(2, interpolation="bicubic", name="x"), "resize_mode", "high"),
        (layers.AveragePooling2D(3, 2, padding="same", name="x"), "padded_average", "low"),
        (layers.AveragePooling2D(7, 1, name="x"), "large_average", "low"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_modes(middle: Any, rule: str, severity: str, precision: str) -> None:
    found = rules(network(middle), precision=precision)
    assert set(found) == {rule}
    assert (found[rule].severity, found[rule].layers) == (severity, ("x",))


@pytest.mark.parametrize(
    "middle",
    [
        layers.AveragePooling2D(2, padding="same"),  # 16 divides by 2: no window reaches over
        layers.AveragePooling2D(3, 2, padding="valid"),
        layers.MaxPooling2D(3, 2, padding="same"),
        layers.Conv2DTranspose(16, 2, strides=2),
    ],
)
def test_modes_that_are_clean(middle: Any) -> None:
    assert rules(network(middle)) == {}


@pytest.mark.parametrize(("channels", "warned"), [(6, True), (7, True), (8, False)])
def test_few_channels(channels: int, warned: bool) -> None:
    found = rules(network(layers.Conv2D(channels, 3, name="narrow")))
    assert set(found) == ({"few_channels"} if warned else set())


def test_heavy_head() -> None:
    model = network(layers.Flatten(), channels=8, size=16)
    # 3·3·3·8 weights and 4·8 of the batch norm, against 2048·10 + 10.
    assert rules(model)["heavy_head"].title == "Dense layers hold 99 % of the parameters"
    assert "20,490 of 20,738" in rules(model)["heavy_head"].cost


# -- the whole ---------------------------------------------------------------------------------------------------------


def test_nested_models_are_looked_into() -> None:
    inner = network(layers.Activation("swish", name="act"))
    image = keras.Input((16, 16, 3))
    assert rules(keras.Model(image, inner(image)))["swish"].layers == ("act",)


def test_the_gravest_comes_first() -> None:
    def middle(x: Any) -> Any:
        x = layers.Activation("swish")(layers.LayerNormalization()(layers.ReLU()(x)))
        return layers.UpSampling2D(2, interpolation="bicubic")(x)

    assert [advice.severity for advice in advise(network(middle))] == ["high", "high", "medium", "low"]


def test_to_dict() -> None:
    (advice,) = advise(network(layers.ReLU(name="act")))
    facts = advice.to_dict()
    assert list(facts) == ["rule", "severity", "title", "layers", "cost", "remedy", "source"]
    assert facts["layers"] == ["act"]
    assert all(facts.values())


@pytest.mark.parametrize(("format", "precision"), [("caffe", None), (None, "int4")])
def test_unknown_words(format: str | None, precision: str | None) -> None:
    with pytest.raises(InputError, match="must be one of"):
        advise(network(layers.ReLU(6.0)), format, precision)
