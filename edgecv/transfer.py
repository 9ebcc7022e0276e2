"""Transfer learning: the body of a trained network, a head for other classes, and two learning rates.

A network with other classes is built anew and given the weights of the trained one, layer by layer, but for the head:
what is trained so is a network of the registry like any other, and its weight file goes through ``edgecv export``.
"""

from __future__ import annotations

import difflib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv.layers.graph import functional, without_weights
from edgecv.models.factory import create_model
from edgecv.models.registry import get_record
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class Transfer:
    """A network whose body is trained and whose head is new.

    Attributes
    ----------
    model : keras.Model
        Of `create_model`.
    head : tuple of str
        Names of the layers that begin anew: those whose weights depend on the number of classes.
    """

    model: keras.Model
    head: tuple[str, ...]


def replace_head(
    name: str,
    classes: int,
    weights: str | Path,
    input_shape: tuple[int, int, int] | None = None,
    **options: Any,
) -> Transfer:
    """A registered network for `classes` classes with the body of trained weights.

    Parameters
    ----------
    name : str
        Of a model with classes.
    classes : int
    weights : "imagenet", a shipped name or a path
        As `create_model` takes them; a file for any number of classes.
    input_shape : (height, width, channels), optional
        Networks that end in a pooling take weights of another input size.
    **options
        As of `create_model`; those the weights were trained with.

    Returns
    -------
    Transfer
        The head's weights are drawn from Keras's global seed.

    Raises
    ------
    InputError
        A model without classes, or weights that do not fit.
    MissingFileError
        There is no such file.

    Examples
    --------
    >>> transfer = replace_head("lenet5", classes=3, weights="digits")
    >>> transfer.head, transfer.model.output_shape
    (('output',), (None, 3))
    """
    record = get_record(name)
    if not record.classes:
        raise InputError(f"{name} ends in no classes (task {record.task}): it has no head to replace")
    places = _head_places(name, classes, input_shape, options)
    trained = _trained_classes(weights, name, places, input_shape, options) or record.classes
    donor = create_model(name, input_shape, trained, weights, **options)
    model = create_model(name, input_shape, classes, **options)
    for place, (layer, other) in enumerate(zip(model.layers, donor.layers, strict=True)):
        if place not in places and layer.weights:
            layer.set_weights(other.get_weights())
    return Transfer(model, tuple(model.layers[place].name for place in places))


def _head_places(
    name: str, classes: int, input_shape: tuple[int, int, int] | None, options: Mapping[str, Any]
) -> tuple[int, ...]:
    """Places, among a network's layers, of those whose weights depend on the number of classes."""
    with without_weights():
        one, other = (create_model(name, input_shape, count, **options) for count in (classes, classes + 1))
    return tuple(
        place
        for place, layers in enumerate(zip(one.layers, other.layers, strict=True))
        if len({tuple(tuple(weight.shape) for weight in layer.weights) for layer in layers}) > 1
    )


def _trained_classes(
    weights: str | Path,
    name: str,
    places: tuple[int, ...],
    input_shape: tuple[int, int, int] | None,
    options: Mapping[str, Any],
) -> int | None:
    """How many classes the head in a weight file has; None where the file does not say, or is named by a word.

    The layouts of Keras name layers in three ways. The kernel of the head has the same inputs in all of them.
    """
    path = Path(weights)
    if not path.is_file():
        return None
    with without_weights():
        probe = create_model(name, input_shape, **options)
    kernels = [tuple(weight.shape) for place in places for weight in probe.layers[place].weights]
    inputs = max((shape for shape in kernels if len(shape) > 1), key=len, default=None)
    if inputs is None:
        return None
    shapes = _shapes(path)
    known = get_record(name).classes
    found = {shape[-1] for shape in shapes if len(shape) == len(inputs) and shape[:-1] == inputs[:-1]}
    # A bias or scale of the same length goes with the head's kernel.
    found = {count for count in found if (count,) in shapes} or found
    return known if known in found or not found else min(found)


def _shapes(path: Path) -> set[tuple[int, ...]]:
    """Shapes of all arrays in a weight file; none of a file that is not one, which loading will say better."""
    import h5py

    shapes: set[tuple[int, ...]] = set()

    def note(_: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            shapes.add(tuple(entry.shape))

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as file:
                file.visititems(note)
        else:
            with h5py.File(path, "r") as file:
                file.visititems(note)
    except (OSError, KeyError):
        return set()
    return shapes


def freeze_to(model: keras.Model, layer: str) -> tuple[str, ...]:
    """Freeze a layer and everything that leads to it.

    Batch norms among them keep their statistics too: Keras runs a batch norm that is not trainable on its moving
    averages, so that a small set of pictures does not unsettle what many have settled.

    Parameters
    ----------
    model : keras.Model
        A functional one, such as of `create_model`.
    layer : str

    Returns
    -------
    tuple of str
        Names of the frozen layers that have weights.

    Raises
    ------
    InputError
        There is no such layer, or nothing would be left to train.
    """
    names = [entry.name for entry in model.layers]
    if layer not in names:
        close = difflib.get_close_matches(layer, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"the last ones are {', '.join(names[-5:])}"
        raise InputError(f"{model.name} has no layer {layer!r}: {hint}")
    frozen = functional(model.inputs, model.get_layer(layer).output, "frozen").layers
    held = {weight.path for entry in frozen for weight in entry.weights}
    if all(weight.path in held for weight in model.trainable_weights):
        raise InputError(f"freezing {model.name} up to {layer!r} leaves nothing to train: name an earlier layer")
    for entry in frozen:
        entry.trainable = False
    return tuple(entry.name for entry in frozen if entry.weights)


def freeze_statistics(model: keras.Model) -> int:
    """Freeze every batch norm that is not frozen yet, scale and shift too, and say how many."""
    import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    for layer in norms:
        layer.trainable = False
    return len(norms)


def two_rates(model: keras.Model, head: Sequence[str], learning_rate: Any, body_factor: float) -> keras.Optimizer:
    """Adam that trains the head at one rate and the rest of the network at another, in one pass.

    Gradients that are scaled would not do: Adam divides each by its own size.

    Parameters
    ----------
    model : keras.Model
    head : sequence of str
        Layers trained at `learning_rate`.
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
    body_factor : float
        The others learn at this times `learning_rate`; at least 0.

    Raises
    ------
    InputError
        A negative factor, or a head that is not in the model.
    """
    if body_factor < 0:
        raise InputError(f"body_factor must be at least 0; received {body_factor}")
    known = {layer.name for layer in model.layers}
    missing = [name for name in head if name not in known]
    if missing:
        raise InputError(f"{model.name} has no layer {missing[0]!r}")
    own = {weight.path for layer in model.layers if layer.name in head for weight in layer.weights}
    return _adam_of_two_rates(learning_rate, own, body_factor)


def _adam_of_two_rates(learning_rate: Any, head: set[str], body_factor: float) -> Any:
    import keras

    class TwoRateAdam(keras.optimizers.Adam):
        """Where a back end updates all variables at once, as PyTorch's does, they come in two groups."""

        def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
            pairs = list(zip(grads, trainable_variables, strict=True))
            for factor, chosen in (
                (1.0, [pair for pair in pairs if pair[1].path in head]),
                (body_factor, [pair for pair in pairs if pair[1].path not in head]),
            ):
                if chosen:
                    gradients, variables = map(list, zip(*chosen, strict=True))
                    super()._backend_update_step(gradients, variables, learning_rate * factor)

    return TwoRateAdam(learning_rate)
