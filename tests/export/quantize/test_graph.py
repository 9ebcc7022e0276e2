"""Walking a functional model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_export.quantize.graph import Graph, functional
from edgecv_runtime.errors import UnsupportedError


@pytest.fixture(scope="module")
def keras() -> Any:
    import keras

    return keras


@pytest.fixture
def branched(keras: Any) -> Any:
    """conv → relu → (+ dense path) with the conv's kernel shared by two calls of another layer."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    shared = layers.Conv2D(4, 1, name="shared")
    left, right = shared(stem), shared(layers.ReLU(name="relu")(stem))
    return keras.Model(image, layers.Flatten(name="flat")(layers.Add(name="add")([left, right])))


def test_steps_come_in_the_order_of_computation(branched: Any) -> None:
    graph = Graph(branched)
    names = [step.layer.name for step in graph.steps]
    assert sorted(names) == ["add", "flat", "relu", "shared", "shared", "stem"]
    seen = set(graph.inputs)
    for step in graph.steps:
        assert set(step.inputs) <= seen, step.layer.name
        seen |= set(step.outputs)
    assert set(graph.outputs) <= seen


def test_consumers_and_producers(branched: Any) -> None:
    graph = Graph(branched)
    by_name = {step.layer.name: step for step in graph.steps}
    stem = by_name["stem"].outputs[0]
    assert sorted(step.layer.name for step in graph.consumers(stem)) == ["relu", "shared"]
    assert graph.only_consumer(stem) is None
    assert graph.only_consumer(by_name["relu"].outputs[0]).layer.name == "shared"
    assert graph.only_consumer(by_name["flat"].outputs[0]) is None  # the model's output
    assert graph.producer(stem) is by_name["stem"]
    assert graph.producer(graph.inputs[0]) is None
    assert graph.consumers(graph.outputs[0]) == []


def test_calls_count_shared_layers(branched: Any) -> None:
    graph = Graph(branched)
    assert {step.layer.name: graph.calls(step.layer) for step in graph.steps} == {
        "stem": 1, "relu": 1, "shared": 2, "add": 1, "flat": 1,
    }  # fmt: skip


def test_an_output_that_another_layer_takes_has_no_only_consumer(keras: Any) -> None:
    image = keras.Input((4,))
    first = keras.layers.Dense(3)(image)
    model = keras.Model(image, [first, keras.layers.ReLU()(first)])
    graph = Graph(model)
    assert graph.only_consumer(graph.steps[0].outputs[0]) is None


def test_running_the_steps_is_running_the_model(branched: Any) -> None:
    graph = Graph(branched)
    images = np.random.default_rng(0).normal(0, 1, (2, 8, 8, 3)).astype(np.float32)
    values = {graph.inputs[0]: images}
    for step in graph.steps:
        values[step.outputs[0]] = step.call(values)
    np.testing.assert_allclose(values[graph.outputs[0]], branched(images), atol=1e-6)


def test_steps_run_as_for_inference(keras: Any) -> None:
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dropout(0.9)(image, training=True))
    graph = Graph(model)
    ones = np.ones((3, 4), np.float32)
    np.testing.assert_array_equal(graph.steps[0].call({graph.inputs[0]: ones}), ones)


def test_a_sequential_model_is_walked(keras: Any) -> None:
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
    assert [step.layer.name for step in Graph(model).steps] == ["a", "b"]
    assert functional(model).get_layer("b") is model.get_layer("b")


def test_a_functional_model_is_itself(branched: Any) -> None:
    assert functional(branched) is branched


def test_a_subclassed_model_is_refused(keras: Any) -> None:
    class Own(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(UnsupportedError, match="'mine' is a subclass of keras.Model: build it with keras.Model"):
        Graph(Own(name="mine"))


def test_a_sequential_model_without_input_is_refused(keras: Any) -> None:
    with pytest.raises(UnsupportedError, match="has no input shape yet"):
        Graph(keras.Sequential([keras.layers.Dense(3)], name="unbuilt"))
