"""MACs against the papers, receptive fields and memory by hand."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import edgecv
from edgecv.complexity import ReceptiveField, complexity
from edgecv_runtime.errors import InputError

layers = keras.layers


def chain(shape: tuple[int, ...], *stack: Any) -> Any:
    x = image = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    ("name", "arguments", "millions"),
    [
        ("mobilenet_v1", {}, 569),  # Howard et al. 2017, table 6
        ("mobilenet_v1", {"alpha": 0.75}, 325),
        ("mobilenet_v1", {"alpha": 0.5}, 149),
        ("mobilenet_v1", {"alpha": 0.25}, 41),
        ("mobilenet_v1", {"input_shape": (192, 192, 3)}, 418),  # table 7
        ("mobilenet_v1", {"input_shape": (160, 160, 3)}, 290),
        ("mobilenet_v1", {"input_shape": (128, 128, 3)}, 186),
    ],
)
def test_macs_of_mobilenet_v1_are_those_of_the_paper(name: str, arguments: dict, millions: int) -> None:
    assert round(complexity(edgecv.create_model(name, **arguments)).macs / 1e6) == pytest.approx(millions, abs=1)


def test_macs_of_mobilenet_v2_and_efficientnet_are_those_of_the_papers() -> None:
    # Sandler et al. 2018, table 4: 300 million. Tan & Le 2019, table 2: 0.39 billion.
    assert round(complexity(edgecv.create_model("mobilenet_v2")).macs, -7) == 300_000_000
    assert round(complexity(edgecv.create_model("efficientnet_b0")).macs / 1e9, 2) == 0.39


def test_lenet_by_hand() -> None:
    cost = complexity(edgecv.create_model("lenet5"))
    macs = {row.name: row.macs for row in cost.layers if row.macs}
    assert macs == {
        "c1": 28 * 28 * 6 * 5 * 5,
        "c3": 10 * 10 * 16 * 5 * 5 * 6,
        "c5": 400 * 120,
        "f6": 120 * 84,
        "output": 84 * 10,
    }
    assert cost.macs == 117_600 + 240_000 + 48_000 + 10_080 + 840
    assert cost.parameters == cost.trainable_parameters == 61_706
    # The two largest neighbours: 28·28·6 and 14·14·6 values of 4 bytes.
    assert (cost.peak_activation_bytes, cost.peak_layer) == (4 * (28 * 28 * 6 + 14 * 14 * 6), "s2")


@pytest.mark.parametrize(
    ("stack", "shape", "macs"),
    [
        ([layers.Conv2D(8, 3, padding="same")], (10, 12, 4), 10 * 12 * 8 * 9 * 4),
        ([layers.Conv2D(8, 3, groups=2, padding="same")], (10, 12, 4), 10 * 12 * 8 * 9 * 2),
        ([layers.Conv2D(8, 3, strides=2)], (11, 11, 4), 5 * 5 * 8 * 9 * 4),
        ([layers.DepthwiseConv2D(3, depth_multiplier=2)], (10, 10, 4), 8 * 8 * 8 * 9),
        ([layers.SeparableConv2D(6, 3)], (10, 10, 4), 8 * 8 * (9 * 4 + 4 * 6)),
        ([layers.Conv2DTranspose(6, 2, strides=2)], (5, 5, 4), 5 * 5 * 4 * 4 * 6),
        ([layers.Conv1D(6, 3)], (10, 4), 8 * 6 * 3 * 4),
        ([layers.Conv3D(6, 3)], (5, 6, 7, 4), 3 * 4 * 5 * 6 * 27 * 4),
        ([layers.SeparableConv1D(6, 3)], (10, 4), 8 * (3 * 4 + 4 * 6)),
        ([layers.Dense(7)], (5, 5, 4), 5 * 5 * 4 * 7),
        ([layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D()], (8, 8, 4), 0),
    ],
)
def test_macs_by_hand(stack: list, shape: tuple[int, ...], macs: int) -> None:
    assert complexity(chain(shape, *stack)).macs == macs


def test_macs_of_a_model_inside_a_model() -> None:
    inner = chain((8, 8, 3), layers.Conv2D(4, 3))
    outer = chain((8, 8, 3), inner, layers.Flatten(), layers.Dense(2))
    cost = complexity(outer)
    assert cost.macs == 6 * 6 * 4 * 27 + 144 * 2
    assert cost.parameters == outer.count_params()


def test_a_layer_used_twice_costs_twice_but_is_stored_once() -> None:
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    model = chain((8, 8, 3), shared, shared)
    cost = complexity(model)
    assert [(row.parameters, row.macs) for row in cost.layers if row.name == "shared"] == [(84, 5184), (0, 5184)]
    assert sum(row.parameters for row in cost.layers) == cost.parameters == 84


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        # Simonyan & Zisserman 2015, section 2.3: two 3x3 see 5x5, three see 7x7.
        ([layers.Conv2D(1, 3)] * 1, ReceptiveField((3, 3), (1, 1), (1, 1))),
        ([layers.Conv2D(1, 3), layers.Conv2D(1, 3)], ReceptiveField((5, 5), (1, 1), (2, 2))),
        ([layers.Conv2D(1, 3), layers.Conv2D(1, 3), layers.Conv2D(1, 3)], ReceptiveField((7, 7), (1, 1), (3, 3))),
        # Padding moves the centre and nothing else.
        ([layers.Conv2D(1, 3, padding="same")], ReceptiveField((3, 3), (1, 1), (0, 0))),
        ([layers.ZeroPadding2D(1), layers.Conv2D(1, 3)], ReceptiveField((3, 3), (1, 1), (0, 0))),
        ([layers.Cropping2D(2), layers.Conv2D(1, 3)], ReceptiveField((3, 3), (1, 1), (3, 3))),
        # Two 3x3, a pool of 2, one 3x3: 5 + 1 + 2·2 = 10.
        (
            [layers.Conv2D(1, 3), layers.Conv2D(1, 3), layers.MaxPooling2D(2), layers.Conv2D(1, 3)],
            ReceptiveField((10, 10), (2, 2), (4.5, 4.5)),
        ),
        # An even input of 32: "same" with stride 2 pads below and on the right only.
        ([layers.Conv2D(1, 3, strides=2, padding="same")], ReceptiveField((3, 3), (2, 2), (1, 1))),
        # Dilation 2 spreads three taps over five pixels; a 1x5 window reaches in one direction only.
        ([layers.Conv2D(1, 3, dilation_rate=2)], ReceptiveField((5, 5), (1, 1), (2, 2))),
        ([layers.Conv2D(1, (1, 5))], ReceptiveField((1, 5), (1, 1), (0, 2))),
    ],
)
def test_receptive_field_by_hand(stack: list, expected: ReceptiveField) -> None:
    assert complexity(chain((32, 32, 1), *stack)).receptive_field == expected


@pytest.mark.parametrize(("name", "size"), [("mobilenet_v1", 315), ("mobilenet_v2", 491)])
def test_receptive_fields_published_by_araujo(name: str, size: int) -> None:
    # Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks", table of models.
    field = complexity(edgecv.create_model(name)).receptive_field
    assert field is not None
    assert field.size == (size, size)
    assert field.stride == (32, 32)


def test_the_farthest_branch_counts() -> None:
    image = keras.Input((32, 32, 1))
    near = layers.Conv2D(1, 3, padding="same")(image)
    far = layers.Conv2D(1, 7, padding="same")(image)
    cost = complexity(keras.Model(image, layers.Add()([near, far])))
    assert cost.receptive_field == ReceptiveField((7, 7), (1, 1), (0, 0))


def test_a_gate_on_the_global_average_is_left_out() -> None:
    image = keras.Input((32, 32, 4))
    x = layers.Conv2D(4, 3, padding="same")(image)
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))
    cost = complexity(keras.Model(image, layers.Multiply(name="excite")([x, layers.Conv2D(4, 1)(gate)])))
    assert cost.layers[-1].receptive_field == ReceptiveField((3, 3), (1, 1), (0, 0))


def test_unknown_reach_is_not_guessed() -> None:
    cost = complexity(chain((8, 8, 3), layers.Conv2D(2, 3), layers.Permute((2, 1, 3)), layers.Conv2D(2, 3)))
    assert [row.receptive_field is None for row in cost.layers] == [False, False, True, True]
    assert cost.receptive_field == ReceptiveField((3, 3), (1, 1), (1, 1))


def test_memory_of_a_skip_connection_by_hand() -> None:
    image = keras.Input((4, 4, 2))
    x = layers.Conv2D(2, 1, name="one")(image)
    x = layers.Conv2D(2, 1, name="two")(x)
    model = keras.Model(image, layers.Add(name="add")([image, x]))
    cost = complexity(model)
    tensor = 4 * 4 * 2 * 4
    assert all(row.activation_bytes == tensor for row in cost.layers)
    assert cost.peak_activation_bytes == 3 * tensor  # while "two" runs the image waits for the addition


def test_an_output_stays_alive() -> None:
    image = keras.Input((4, 4, 1))
    first = layers.Conv2D(1, 1)(image)
    second = layers.Conv2D(1, 1)(layers.Conv2D(1, 1)(first))
    assert complexity(keras.Model(image, [first, second])).peak_activation_bytes == 3 * 64


def test_sequential_models_too() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)])
    assert complexity(model).macs == 6 * 6 * 4 * 27


def test_rows_add_up_and_become_json() -> None:
    import json

    model = edgecv.create_model("mobilenet_v2", (96, 96, 3))
    cost = complexity(model)
    assert len(cost.layers) == len(model.layers)
    assert sum(row.parameters for row in cost.layers) == cost.parameters == 3_538_984
    assert cost.parameters - cost.trainable_parameters == 34_112  # moving means and variances
    assert json.loads(json.dumps(cost.to_dict()))["layers"][1]["output_shape"] == [48, 48, 32]


def test_what_has_no_graph_is_refused() -> None:
    class Written(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(InputError, match=r"a functional Keras model is required.*received Written"):
        complexity(Written())


def test_open_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="every size must be fixed but the batch"):
        complexity(chain((None, None, 3), layers.Conv2D(2, 3)))
