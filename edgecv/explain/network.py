"""A classifier cut in two at a layer: what lies before a feature map, and what the classes make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.explain.gradients import Array, gradient
from edgecv.receptive_field import Step, flat, steps_of
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

_BATCH = 32  # inputs that run at once


class Network:
    """A model, its feature map of interest, and its scores before the softmax.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, with one input and one output.
    layer : str, optional
        Whose output is the feature map. Default: the last one with more than one position.

    Raises
    ------
    InputError
        Not such a model, or no such layer, or its output is no map.
    """

    def __init__(self, model: keras.Model, layer: str | None = None) -> None:
        self._steps = list(steps_of(model))
        inputs, outputs = flat(model.inputs), flat(model.outputs)
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(
                f"a model with one input and one output is required; received {len(inputs)} and {len(outputs)}"
            )
        self.input_shape: tuple[int, ...] = tuple(inputs[0].shape[1:])
        self._input, self._output = inputs[0], outputs[0]
        self.classes = int(self._output.shape[-1])
        chosen = self._find(layer)
        self.layer = chosen.name
        self._map = chosen.outputs[0]

    def _find(self, layer: str | None) -> Step:
        maps = [step for step in self._steps if len(step.outputs[0].shape) == 4]
        if layer is None:
            wide = [step for step in maps if tuple(step.outputs[0].shape[1:3]) != (1, 1)]
            wide = [step for step in wide if type(step.layer).__name__ != "InputLayer"]
            if not wide:
                raise InputError("a model with a feature map (height, width, channels) is required; it has none")
            return wide[-1]
        named = [step for step in self._steps if step.name == layer]
        if not named:
            raise InputError(f"the model has no layer {layer!r}: it has {', '.join(s.name for s in self._steps[-5:])}…")
        if named[-1] not in maps:
            raise InputError(f"layer {layer!r} must give a feature map; its output is {named[-1].outputs[0].shape}")
        return named[-1]

    # -- running ---------------------------------------------------------------------------------------

    def features(self, inputs: Any) -> Array:
        """(N, h, w, C) feature maps of (N, H, W, C) inputs."""
        return self._in_batches(self.check(inputs), lambda values: values[id(self._map)])

    def scores(self, inputs: Any) -> Array:
        """(N, classes) scores before the softmax."""
        return self._in_batches(self.check(inputs), self._score)

    def features_and_scores(self, inputs: Any) -> tuple[Array, Array]:
        """Both, of one run."""
        parts = [
            (self._numpy(values[id(self._map)]), self._numpy(self._score(values)))
            for values in map(self._run, _parts(self.check(inputs)))
        ]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def sensitivity(self, inputs: Any, class_index: int) -> tuple[Array, Array, Array]:
        """Feature maps, scores, and how much the score of a class grows with each value of the map: ∂y^c / ∂A.

        Returns
        -------
        features, gradients : (N, h, w, C)
        scores : (N, classes)
        """
        found = []
        for part in _parts(self.check(inputs)):
            before = self._run(part)
            features = self._numpy(before[id(self._map)])
            after = self._downstream()

            def score_of(features: Any, before: dict[int, Any] = before, after: list[Step] = after) -> Any:
                values = {**before, id(self._map): features}
                for step in after:
                    self._take(step, values)
                return self._score(values)[:, class_index]

            _, slope = gradient(score_of, features)
            found.append((features, slope, self._numpy(self._score(before))))
        return (
            np.concatenate([part[0] for part in found]),
            np.concatenate([part[1] for part in found]),
            np.concatenate([part[2] for part in found]),
        )

    def check(self, inputs: Any) -> Array:
        """The batch (N, H, W, C), float32.

        Raises
        ------
        InputError
            Another shape than the model's input.
        """
        batch = np.asarray(inputs, np.float32)
        fits = batch.ndim == len(self.input_shape) + 1 and all(
            wanted in (None, size) for wanted, size in zip(self.input_shape, batch.shape[1:], strict=True)
        )
        if not fits:
            raise InputError(f"inputs must be (N, {', '.join(map(str, self.input_shape))}); received {batch.shape}")
        return batch

    def check_class(self, class_index: int) -> int:
        """Refuse a class the model does not have."""
        if not 0 <= class_index < self.classes:
            raise InputError(f"class must be 0 to {self.classes - 1}; received {class_index}")
        return int(class_index)

    def _in_batches(self, batch: Array, wanted: Any) -> Array:
        return np.concatenate([self._numpy(wanted(self._run(part))) for part in _parts(batch)])

    def _run(self, part: Array) -> dict[int, Any]:
        """Every tensor of the graph, by id."""
        import keras

        values: dict[int, Any] = {id(self._input): keras.ops.convert_to_tensor(part)}
        for step in self._steps:
            if id(step.outputs[0]) not in values:
                self._take(step, values)
        return values

    def _take(self, step: Step, values: dict[int, Any]) -> None:
        if step.node.is_input:
            return
        arguments, options = step.node.arguments.fill_in(values)
        results = flat(step.layer(*arguments, **options))
        values.update(zip(map(id, step.outputs), results, strict=True))

    def _downstream(self) -> list[Step]:
        """Steps that depend on the feature map."""
        reached, steps = {id(self._map)}, []
        for step in self._steps:
            if reached.intersection(map(id, step.inputs)):
                steps.append(step)
                reached.update(map(id, step.outputs))
        return steps

    def _score(self, values: dict[int, Any]) -> Any:
        """The output before its softmax: probabilities cannot grow once a class is sure, scores can."""
        import keras

        last = next(step for step in self._steps if id(self._output) in map(id, step.outputs))
        activation = getattr(last.layer, "activation", None)
        if type(last.layer).__name__ == "Softmax":
            return values[id(last.inputs[0])]
        if activation is keras.activations.softmax:
            source = values[id(last.inputs[0])]
            if type(last.layer).__name__ != "Dense":
                return source
            scores = keras.ops.matmul(source, last.layer.kernel)
            return scores if last.layer.bias is None else scores + last.layer.bias
        return values[id(self._output)]

    def linear_head(self) -> npt.NDArray[np.float32]:
        """(C, classes) weights w_k^c between the average of each map and each class (Zhou et al. 2016, eq. 1).

        Raises
        ------
        InputError
            The map does not go through global average pooling and one linear layer to the classes.
        """
        weights: list[Array] = []
        pooled = False
        for step in self._downstream():
            kind = type(step.layer).__name__
            if kind == "GlobalAveragePooling2D":
                pooled = True
            elif kind in ("Dense", "Conv2D") and pooled and not weights:
                weights.append(self._numpy(step.layer.kernel))
            elif kind not in ("Dropout", "Reshape", "Flatten", "Activation", "Softmax"):
                pooled = False
                break
        channels = int(self._map.shape[-1])
        if not pooled or not weights or weights[0].size != channels * self.classes:
            raise InputError(
                "CAM needs global average pooling and one linear layer behind the feature map; "
                f"{self.layer} is followed by something else: use grad-cam"
            )
        return weights[0].reshape(channels, self.classes)

    @staticmethod
    def _numpy(value: Any) -> Array:
        import keras

        return np.asarray(keras.ops.convert_to_numpy(value), np.float32)


def _parts(batch: Array) -> list[Array]:
    return [batch[start : start + _BATCH] for start in range(0, len(batch), _BATCH)]
